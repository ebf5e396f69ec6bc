"""The forms in which calls may be made: layouts, shapes and kinds of tables, positions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .parameters import Roles

__all__ = ["KINDS", "LAYOUTS", "Drawn", "Form", "Sizes", "draw", "forms", "from_layout", "to_layout"]


@dataclass(frozen=True)
class Sizes:
    """Sizes that differ from each other, so that axes that do not meet are noticed."""

    batch: int = 2
    heads: int = 3
    tokens: int = 5
    dim: int = 16
    rows: int = 11


#: Axes of x; b batch, h heads, s tokens, d channels. Three axes: one head, or one sequence.
LAYOUTS = ("bhsd", "bshd", "sbhd", "bsd", "shd")

#: Shapes of tables: those with B have a row for each token of each sequence, N more rows than tokens.
_SHARED = ("[S, R]", "[1, S, R]", "[1, 1, S, R]", "[1, S, 1, R]", "[S, 1, R]", "[S, 1, 1, R]")
_PER_TOKEN = ("[B, S, R]", "[B, 1, S, R]", "[B, S, 1, R]")
_ROWS = ("[N, R]", "[1, 1, N, R]")
_POSITIONS = ("[B, S]", "[S]", "[B, S, 2]", "[B, 1, S]")

#: What one argument that stands for cos and sin may be.
KINDS = ("complex", "(cos, sin)", "angles", "cos|sin", "sin|cos", "stacked", "matrices")


@dataclass(frozen=True)
class Form:
    """One way to call: layout of x, kind, shape and width of the tables, shape of positions, options."""

    layout: str
    kind: str = "cos, sin"
    shape: str = ""
    width: int = 0
    positions: str = ""
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Drawn:
    """Arguments of one form.

    Attributes:
        arguments: by parameter name; the tensors that are turned are not among them.
        cells: for each tensor that is turned, the rows of cos and sin of each token, ``[B, S, R]`` each; None
            where the function makes them itself.
        positions: ``[B, S]``, where the function takes them.
        sizes: of the tensors.
    """

    arguments: dict[str, Any]
    cells: tuple[tuple[Tensor, Tensor], ...] | None
    positions: Tensor | None
    sizes: Sizes


def to_layout(x: Tensor, layout: str) -> Tensor:
    """``[B, H, S, D]`` in another order of axes; batch or heads of 1 are dropped for three axes."""
    if layout == "bsd":
        return x[:, 0]
    if layout == "shd":
        return x[0].transpose(0, 1)
    order = ["bhsd".index(axis) for axis in layout]
    return x.permute(order)


def from_layout(x: Tensor, layout: str) -> Tensor:
    """Undo `to_layout`."""
    if layout == "bsd":
        return x[:, None]
    if layout == "shd":
        return x.transpose(0, 1)[None]
    return x.permute([layout.index(axis) for axis in "bhsd"])


def forms(roles: Roles, dim: int, layouts: tuple[str, ...] = LAYOUTS) -> Iterator[Form]:
    """All forms that a reading of the signature admits."""
    kinds = KINDS if roles.has("table") else ("cos, sin",) if roles.has("first") else ("",)
    wide = tuple(dict.fromkeys((dim, dim // 2, dim // 4))) if kinds != ("",) else (0,)
    axes = [{}] if not roles.has("axis") else [{roles.names("axis")[0]: axis} for axis in (1, 2)]
    for kind in kinds:
        for layout in layouts:
            for shape, positions in _shapes(roles, kind):
                for axis in axes:
                    for width in wide:
                        yield Form(layout, kind, shape, width, positions, tuple(axis.items()))


def _shapes(roles: Roles, kind: str) -> list[tuple[str, str]]:
    has = roles.has("positions")
    if not kind:
        return [("", positions) for positions in (_POSITIONS if has else ("",))]
    if roles.has("sections"):
        return [("[3, B, S, R]", "")]
    direct = [*_PER_TOKEN, *_SHARED]
    if not has:
        return [(shape, "") for shape in direct]
    gathered = [(shape, positions) for shape in _ROWS for positions in ("[B, S]", "[S]")]
    return gathered + [(shape, positions) for shape in direct for positions in ("[B, S]", "[B, S, 2]")]


def draw(roles: Roles, form: Form, sizes: Sizes, angles: Tensor | None = None) -> Drawn:
    """Tables and positions of a form: random numbers, or cosines and sines of `angles` ``[R]``."""
    source = _Numbers(angles)
    if form.layout == "bsd":
        sizes = Sizes(sizes.batch, 1, sizes.tokens, sizes.dim, sizes.rows)
    elif form.layout == "shd":
        sizes = Sizes(1, sizes.heads, sizes.tokens, sizes.dim, sizes.rows)
    arguments: dict[str, Any] = dict(form.options)
    positions = _positions(form, sizes)
    for name in roles.names("positions"):
        arguments[name] = _shaped_positions(positions, form.positions)
    for name in roles.names("offset"):
        arguments[name] = 0
    for name in roles.names("sections"):
        arguments[name] = [2, 3, sizes.dim // 2 - 5]
    cells: tuple[tuple[Tensor, Tensor], ...] | None = None
    if form.kind:
        tables = _tables(form, sizes, positions, source)
        cells = (tables[1:],)
        _name_tables(arguments, roles, ("first", "second"), form, tables[0])
        if roles.has("first of k"):
            other = _tables(form, sizes, positions, source)
            cells += (other[1:],)
            _name_tables(arguments, roles, ("first of k", "second of k"), form, other[0])
    return Drawn(arguments, cells, positions if roles.has("positions") else None, sizes)


def _positions(form: Form, sizes: Sizes) -> Tensor:
    if not form.kind:
        ramp = torch.tensor([1, 0, 2, 3, 7, *list(range(8, 8 + max(sizes.tokens - 5, 0)))])[: sizes.tokens]
        second = ramp.flip(0) if form.positions != "[S]" else ramp
        return torch.stack([ramp, second])[: sizes.batch]
    count = sizes.batch * sizes.tokens
    rows = (torch.arange(count) * 7 + 4) % sizes.rows
    rows = rows.view(sizes.batch, sizes.tokens)
    return rows[:1].expand(sizes.batch, -1) if form.positions == "[S]" else rows


def _shaped_positions(positions: Tensor, shape: str) -> Tensor:
    if shape == "[S]":
        return positions[0].clone()
    if shape == "[B, 1, S]":
        return positions[:, None].clone()
    return torch.stack((positions, positions), -1) if shape == "[B, S, 2]" else positions.clone()


class _Numbers:
    """Distinct numbers between 0.1 and 1 for tables, or those of angles that are given."""

    def __init__(self, angles: Tensor | None) -> None:
        self._given, self._used = angles, 0

    def angles(self, shape: tuple[int, ...]) -> Tensor:
        return self._random(shape) + 0.1 if self._given is None else self._given.expand(shape).clone()

    def table(self, shape: tuple[int, ...], function: Callable[[Tensor], Tensor]) -> Tensor:
        return self._random(shape) if self._given is None else function(self._given).expand(shape).clone()

    def _random(self, shape: tuple[int, ...]) -> Tensor:
        self._used += 1
        return _pool(self._used)[: math.prod(shape)].view(shape).clone()


@lru_cache(maxsize=8)
def _pool(seed: int) -> Tensor:
    return torch.rand(1 << 14, generator=torch.Generator().manual_seed(seed)) * 0.9 + 0.1


Tables = tuple[tuple[Tensor, Tensor], Tensor, Tensor]


def _tables(form: Form, sizes: Sizes, positions: Tensor, source: _Numbers) -> Tables:
    """The two tables (angles count as one) as they are passed, and each token's rows of cos and sin."""
    lead = _lead(form.shape, sizes)
    shape = (*lead, form.width)
    if form.kind == "angles":
        angles = source.angles(shape)
        first, second = angles.cos(), angles.sin()
        passed = (angles, angles)
    else:
        first, second = source.table(shape, torch.cos), source.table(shape, torch.sin)
        passed = (first, second)
    if "N" in form.shape:
        rows = [each.reshape(sizes.rows, form.width)[positions] for each in (first, second)]
    elif "3" in form.shape:  # all axes of positions side by side: a channel may be turned by any of them
        rows = [each.permute(1, 2, 0, 3).flatten(2) for each in (first, second)]
    elif "B" in form.shape:
        rows = [each.reshape(sizes.batch, sizes.tokens, form.width) for each in (first, second)]
    else:
        flat = [each.reshape(1, sizes.tokens, form.width) for each in (first, second)]
        rows = [each.expand(sizes.batch, -1, -1) for each in flat]
    return passed, rows[0], rows[1]


def _lead(shape: str, sizes: Sizes) -> list[int]:
    known = {"B": sizes.batch, "S": sizes.tokens, "N": sizes.rows, "1": 1, "3": 3}
    return [known[axis] for axis in shape.strip("[]").split(", ")[:-1]]


def _name_tables(
    arguments: dict[str, Any], roles: Roles, pair: tuple[Any, Any], form: Form, tables: tuple[Tensor, Tensor]
) -> None:
    if form.kind == "cos, sin":
        for role, table in zip(pair, tables, strict=True):
            for name in roles.names(role):
                arguments[name] = table
    elif pair[0] == "first":
        arguments[roles.names("table")[0]] = _joined(form.kind, *tables)


def _joined(kind: str, first: Tensor, second: Tensor) -> Any:
    if kind == "angles":
        return first
    if kind == "complex":
        return torch.complex(first, second)
    if kind == "cos|sin":
        return torch.cat((first, second), -1)
    if kind == "sin|cos":
        return torch.cat((second, first), -1)
    if kind == "stacked":
        return torch.stack((first, second), -1)
    if kind == "matrices":
        return torch.stack((first, -second, second, first), -1).reshape(*first.shape, 2, 2)
    return first, second
