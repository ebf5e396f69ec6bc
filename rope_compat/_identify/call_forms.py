"""The forms in which an unknown function may be called, and the matrix that it is in one of them."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count, product
from typing import Any

import torch
from torch import Tensor

from .signature import Role, Roles

__all__ = [
    "Arguments",
    "Form",
    "Sizes",
    "Trial",
    "call",
    "draw",
    "forms",
    "quiet",
    "random_x",
    "tensors_of",
    "try_form",
]

Function = Callable[..., Any]

#: Axes of x; b batch, h heads, s tokens, d channels. Three axes: one head, or one sequence.
_LAYOUTS = ("bhsd", "bshd", "sbhd", "bsd", "shd")

#: Shapes of tables: those with B have a row for each token of each sequence, N more rows than tokens.
_SHARED = ("[S, R]", "[1, S, R]", "[1, 1, S, R]", "[1, S, 1, R]", "[S, 1, R]", "[S, 1, 1, R]")
_PER_TOKEN = ("[B, S, R]", "[B, 1, S, R]", "[B, S, 1, R]")
_ROWS = ("[N, R]", "[1, 1, N, R]")
_POSITIONS = ("[B, S]", "[S]", "[B, S, 2]", "[B, 1, S]")

#: What one argument that stands for cos and sin may be, made of the two (angles count as both).
_JOINED: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "complex": torch.complex,
    "(cos, sin)": lambda first, second: (first, second),
    "angles": lambda first, second: first,
    "cos|sin": lambda first, second: torch.cat((first, second), -1),
    "sin|cos": lambda first, second: torch.cat((second, first), -1),
    "stacked": lambda first, second: torch.stack((first, second), -1),
    "matrices": lambda first, second: torch.stack((first, -second, second, first), -1).view(
        *first.shape, 2, 2
    ),
}


@dataclass(frozen=True)
class Sizes:
    """Sizes that differ from each other, so that axes that do not meet are noticed."""

    batch: int = 2
    heads: int = 3
    tokens: int = 5
    dim: int = 16
    rows: int = 11


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
class Arguments:
    """What is passed in one form.

    Attributes:
        values: by parameter name; the tensors that are turned are not among them.
        cells: for each tensor that is turned, the rows of cos and sin of each token, ``[B, S, R]`` each; None
            where the function makes them itself.
        positions: ``[B, S]``, where the function takes them.
        sizes: of the tensors.
    """

    roles: Roles
    form: Form
    values: dict[str, Any]
    cells: tuple[tuple[Tensor, Tensor], ...] | None
    positions: Tensor | None
    sizes: Sizes


@dataclass(frozen=True)
class Trial(Arguments):
    """Arguments that a function takes, and what it is with them.

    Attributes:
        matrices: for each tensor that it takes, ``[B, H, S, D, D]``: results by output and channel.
        linear: whether a random tensor comes out as the matrices say: nothing is added, no tokens, heads or
            sequences are mixed.
    """

    matrices: tuple[Tensor, ...]
    linear: bool


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No gradients, no warnings, and the caller's random numbers as they were."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def forms(roles: Roles, dim: int) -> Iterator[Form]:
    """All forms that a reading of the signature admits."""
    kinds = tuple(_JOINED) if roles.names("table") else ("cos, sin",) if roles.names("first") else ("",)
    widths = tuple(dict.fromkeys((dim, dim // 2, dim // 4))) if kinds != ("",) else (0,)
    axis = roles.names("axis")
    options = [((axis[0], 1),), ((axis[0], 2),)] if axis else [()]
    for kind, layout in product(kinds, _LAYOUTS):
        for (shape, positions), chosen, width in product(_shapes(roles, kind), options, widths):
            yield Form(layout, kind, shape, width, positions, chosen)


def _shapes(roles: Roles, kind: str) -> list[tuple[str, str]]:
    """Shapes of tables, each with the shape of positions."""
    if not kind:
        return [("", positions) for positions in (_POSITIONS if roles.names("positions") else ("",))]
    if roles.names("sections"):
        return [("[3, B, S, R]", "")]
    if not roles.names("positions"):
        return [(shape, "") for shape in (*_PER_TOKEN, *_SHARED)]
    return [*product(_ROWS, ("[B, S]", "[S]")), *product((*_PER_TOKEN, *_SHARED), ("[B, S]", "[B, S, 2]"))]


def draw(roles: Roles, form: Form, sizes: Sizes, angles: Tensor | None = None) -> Arguments:
    """Tables and positions of a form: random numbers, or cosines and sines of `angles` ``[R]``."""
    if len(form.layout) == 3:
        sizes = replace(sizes, heads=1) if form.layout == "bsd" else replace(sizes, batch=1)
    values: dict[str, Any] = dict(form.options)
    positions = _positions(form, sizes)
    for name in roles.names("positions"):
        values[name] = _shaped_positions(positions, form.positions)
    values |= dict.fromkeys(roles.names("offset"), 0)
    values |= {name: [2, 3, sizes.dim // 2 - 5] for name in roles.names("sections")}
    cells: tuple[tuple[Tensor, Tensor], ...] | None = None
    if form.kind:
        seeds = count(1)
        cells = ()
        pairs: list[tuple[Role, Role]] = [("first", "second"), ("first of k", "second of k")]
        for pair in pairs if roles.names("first of k") else pairs[:1]:
            passed, rows = _tables(form, sizes, positions, angles, seeds)
            cells += (rows,)
            if form.kind == "cos, sin":
                for role, table in zip(pair, passed, strict=True):
                    values |= dict.fromkeys(roles.names(role), table)
            elif pair[0] == "first":
                values[roles.names("table")[0]] = _JOINED[form.kind](*passed)
    return Arguments(roles, form, values, cells, positions if roles.names("positions") else None, sizes)


def _positions(form: Form, sizes: Sizes) -> Tensor:
    """``[B, S]``: of a function that makes its own angles 0, 1 and others, otherwise rows of the tables."""
    if not form.kind:
        ramp = torch.tensor([1, 0, 2, 3, 7, *range(8, max(sizes.tokens + 3, 8))])[: sizes.tokens]
        second = ramp.flip(0) if form.positions != "[S]" else ramp
        return torch.stack([ramp, second])[: sizes.batch]
    rows = (torch.arange(sizes.batch * sizes.tokens) * 7 + 4) % sizes.rows
    rows = rows.view(sizes.batch, sizes.tokens)
    return rows[:1].expand(sizes.batch, -1) if form.positions == "[S]" else rows


def _shaped_positions(positions: Tensor, shape: str) -> Tensor:
    if shape == "[S]":
        return positions[0].clone()
    if shape == "[B, 1, S]":
        return positions[:, None].clone()
    return torch.stack((positions, positions), -1) if shape == "[B, S, 2]" else positions.clone()


@lru_cache(maxsize=8)
def _pool(seed: int) -> Tensor:
    """Distinct numbers between 0.1 and 1."""
    return torch.rand(1 << 14, generator=torch.Generator().manual_seed(seed)) * 0.9 + 0.1


def _tables(
    form: Form, sizes: Sizes, positions: Tensor, angles: Tensor | None, seeds: Iterator[int]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two tables (angles count as one) as they are passed, and each token's rows of cos and sin."""
    known = {"B": sizes.batch, "S": sizes.tokens, "N": sizes.rows, "R": form.width, "1": 1, "3": 3}
    shape = [known[axis] for axis in form.shape.strip("[]").split(", ")]

    def random() -> Tensor:
        return _pool(next(seeds))[: math.prod(shape)].view(shape).clone()

    if angles is not None:
        angles = angles.expand(shape).clone()
    elif form.kind == "angles":
        angles = random() + 0.1
    tables = (random(), random()) if angles is None else (angles.cos(), angles.sin())
    passed = (angles, angles) if form.kind == "angles" and angles is not None else tables
    return passed, (_rows(tables[0], form, sizes, positions), _rows(tables[1], form, sizes, positions))


def _rows(table: Tensor, form: Form, sizes: Sizes, positions: Tensor) -> Tensor:
    """``[B, S, R]``: the row of each token."""
    if "N" in form.shape:
        return table.reshape(sizes.rows, form.width)[positions]
    if "3" in form.shape:  # all axes of positions side by side: a channel may be turned by any of them
        return table.permute(1, 2, 0, 3).flatten(2)
    return table.reshape(-1, sizes.tokens, form.width).expand(sizes.batch, -1, -1)


def random_x(arguments: Arguments) -> list[Tensor]:
    """The tensors that are turned, ``[B, H, S, D]`` each."""
    generator, sizes = torch.Generator().manual_seed(1), arguments.sizes
    shape = (sizes.batch, sizes.heads, sizes.tokens, sizes.dim)
    return [torch.randn(shape, generator=generator) for _ in arguments.roles.names("x")]


def call(function: Function, arguments: Arguments, xs: list[Tensor]) -> list[Tensor] | None:
    """One call with ``[B, H, S, D]`` tensors; the results in that layout, None if it is no answer."""
    # Of three axes the fourth, which has size 1, comes first and is dropped.
    dropped = "".join(axis for axis in "bhsd" if axis not in arguments.form.layout)
    axes = dropped + arguments.form.layout
    given = [x.permute(["bhsd".index(axis) for axis in axes]) for x in xs]
    given = [(x[0] if dropped else x).contiguous() for x in given]
    queue = iter(given)
    roles, values = arguments.roles, arguments.values
    named = {name: next(queue) if role == "x" else _copy(values[name]) for name, role in roles.given}
    rest = {name: value for name, value in values.items() if name not in named}
    try:
        answer = function(*named.values(), **rest) if roles.by_place else function(**named, **rest)
    except Exception:  # a form that the function does not take
        return None
    # None: it may work in place
    answers = given if answer is None else tensors_of(answer)[: len(xs)]
    if len(answers) < len(xs) or not all(isinstance(each, Tensor) for each in answers):
        return None
    if any(a.shape != x.shape or not a.is_floating_point() for a, x in zip(answers, given, strict=True)):
        return None
    return [(a[None] if dropped else a).permute([axes.index(axis) for axis in "bhsd"]) for a in answers]


def tensors_of(answer: Any) -> list[Any]:
    """What a function returned, one by one."""
    return list(answer) if isinstance(answer, (tuple, list)) else [answer]


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def try_form(
    function: Function, roles: Roles, form: Form, sizes: Sizes, *, quick: bool = False
) -> Trial | None:
    """The matrices, if the function answers in this form; None if it does not.

    With `quick` also None where the first channel's results are nothing of the tables.
    """
    arguments = draw(roles, form, sizes)
    xs = random_x(arguments)
    answers = call(function, arguments, xs)
    if answers is None or not all(bool(torch.isfinite(each).all()) for each in answers):
        return None
    if all(torch.equal(x, answer) for x, answer in zip(xs, answers, strict=True)):
        return None  # a function that returns what it gets answers in every form, and turns nothing
    columns: list[list[Tensor]] = [[] for _ in xs]
    for channel in range(sizes.dim):
        basis = torch.zeros_like(xs[0])
        basis[..., channel] = 1
        found = call(function, arguments, [basis.clone() for _ in xs])
        if found is None or (quick and channel == 0 and not _of_tables(found[0], arguments)):
            return None
        for each, answer in zip(columns, found, strict=True):
            each.append(answer.float())
    matrices = tuple(torch.stack(each, -1) for each in columns)
    linear = all(
        bool(torch.allclose(torch.einsum("bhsij,bhsj->bhsi", m, x), a.float(), atol=1e-4, rtol=1e-4))
        for m, x, a in zip(matrices, xs, answers, strict=True)
    )
    return Trial(**vars(arguments), matrices=matrices, linear=linear)


def _of_tables(answer: Tensor, arguments: Arguments) -> bool:
    """Whether every number of the first token is 0, 1 or plus or minus a cell of that token's rows."""
    if arguments.cells is None:
        return True
    rows = torch.cat([each[0, 0] for pair in arguments.cells for each in pair] + [torch.tensor([0.0, 1.0])])
    return bool(((answer[0, 0, 0, :, None].abs() - rows).abs().amin(-1) < 1e-5).all())
