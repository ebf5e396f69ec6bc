"""The smallest example of what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..rotary import reference
from .call_forms import Form, Sizes, call, draw, try_form
from .readings import Reading
from .result import Example

__all__ = ["keeps_lengths", "smallest"]

Function = Callable[..., Any]


def smallest(function: Function, reading: Reading, dims: tuple[int, ...] = (4, 8, 16)) -> Example | None:
    """The example with the smallest head that the function takes; None if it takes none of `dims`."""
    trial = reading.trial
    make = _with_tables if trial.form.kind else _own
    for dim in dims:
        form = replace(trial.form, width=trial.form.width * dim // trial.sizes.dim)
        found = make(function, reading, form, torch.arange(1.0, dim + 1))
        if found is not None:
            return found
    return None


def _with_tables(function: Function, reading: Reading, form: Form, x: Tensor) -> Example | None:
    """The first pair turns as (5, 0) to (4, 3), the others rest; tables as `cat((freqs, freqs))`."""
    angles = torch.zeros(len(x) // 2)
    angles[0] = math.atan2(3, 4)
    found = _turned(function, reading, form, x, angles[torch.arange(form.width) % len(angles)])
    return None if found is None else _example(x, angles, found[reading.turned[0]][0, 0, 0].float())


def _turned(
    function: Function, reading: Reading, form: Form, x: Tensor, angles: Tensor
) -> list[Tensor] | None:
    """What comes out of `x` in every head of every token, with tables of these angles."""
    roles = reading.trial.roles
    arguments = draw(roles, form, Sizes(dim=len(x)), angles)
    given = x.expand(arguments.sizes.batch, arguments.sizes.heads, arguments.sizes.tokens, -1)
    return call(function, arguments, [given.clone() for _ in roles.names("x")])


def _own(function: Function, reading: Reading, form: Form, x: Tensor) -> Example | None:
    dim = len(x)
    trial = try_form(function, reading.trial.roles, form, Sizes(dim=dim))
    if trial is None:
        return None
    matrices = trial.matrices[reading.turned[0]][0, 0]
    if torch.equal(matrices, matrices[:1].expand_as(matrices)):
        return _example(x, torch.full((dim // 2,), math.pi / 2), matrices[0] @ x)
    positions = trial.positions
    order = (torch.arange(len(matrices)) if positions is None else positions[0]).tolist()
    at = {position: matrices[place] for place, position in enumerate(order)}
    if not {0, 1, 2} <= set(at):
        return None
    angles = torch.tensor([10000.0 ** (-2 * i / dim) for i in range(dim // 2)])
    if reading.rates is not None and len(reading.rates) == dim // 2:
        angles = reading.rates[:, 0].float()
    scores = tuple((m, m + 1, round(float((at[m] @ x) @ (at[m + 1] @ x)), 4)) for m in (0, 1))
    return _example(x, angles, at[1] @ x, scores)


def _example(
    x: Tensor, angles: Tensor, output: Tensor, scores: tuple[tuple[int, int, float], ...] = ()
) -> Example:
    half = reference.rotate_by_angle(x, angles, "half")
    interleaved = reference.rotate_by_angle(x, angles, "interleaved")
    return Example(
        _rounded(x), _rounded(angles), _rounded(output), _rounded(half), _rounded(interleaved), scores
    )


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(float(value), 4) + 0.0 for value in values)


def keeps_lengths(function: Function, reading: Reading) -> bool:
    """Whether some tables of cosines and sines make every matrix of this form orthogonal."""
    form, dim = reading.trial.form, reading.trial.sizes.dim
    if not form.kind:
        return all(_is_orthogonal(each) for each in reading.trial.matrices)
    angles, columns = torch.linspace(0.3, 2.0, form.width), torch.arange(form.width)
    for chosen in (columns, columns % max(form.width // 2, 1), columns // 2):
        found = [_turned(function, reading, form, x, angles[chosen]) for x in torch.eye(dim)]
        results = [each[0].float() for each in found if each is not None]
        if len(results) == dim and _is_orthogonal(torch.stack(results, -1)):
            return True
    return False


def _is_orthogonal(matrices: Tensor) -> bool:
    product = matrices.transpose(-1, -2) @ matrices
    return bool(((product - torch.eye(matrices.shape[-1])).abs() < 1e-4).all())
