"""The smallest example of what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..rotary import reference
from .forms import Form, Sizes, draw
from .survey import Reading
from .trial import call, try_form

__all__ = ["Example", "keeps_lengths", "smallest"]


@dataclass(frozen=True)
class Example:
    """One head of one token: what went in, what came out, and what a rotation gives.

    Attributes:
        given: the channels that went in.
        angles: by which each pair had to turn, in radians.
        output: the channels that came out.
        half: what a rotation of the pairs (i, i + D/2) gives.
        interleaved: what a rotation of the pairs (2i, 2i + 1) gives.
        scores: where the function makes its own angles: what a query at position m and the same key at n
            make, as ``(m, n, score)``; in a rotation the scores of one distance are equal.
    """

    given: tuple[float, ...]
    angles: tuple[float, ...]
    output: tuple[float, ...]
    half: tuple[float, ...]
    interleaved: tuple[float, ...]
    scores: tuple[tuple[int, int, float], ...] = ()


def smallest(
    function: Callable[..., Any], reading: Reading, dims: tuple[int, ...] = (4, 8, 16)
) -> Example | None:
    """The example with the smallest head that the function takes; None if it takes none of `dims`."""
    trial = reading.trial
    for dim in dims:
        width = trial.form.width * dim // trial.drawn.sizes.dim
        form = Form(
            trial.form.layout,
            trial.form.kind,
            trial.form.shape,
            width,
            trial.form.positions,
            trial.form.options,
        )
        x = torch.arange(1.0, dim + 1)
        found = (
            _with_tables(function, reading, form, dim, x)
            if form.kind
            else _own(function, reading, form, dim, x)
        )
        if found is not None:
            return found
    return None


def _with_tables(
    function: Callable[..., Any], reading: Reading, form: Form, dim: int, x: Tensor
) -> Example | None:
    """The first pair turns as (5, 0) to (4, 3), the others rest; tables as `cat((freqs, freqs))`."""
    angles = torch.zeros(dim // 2)
    angles[0] = math.atan2(3, 4)
    sizes = Sizes(dim=dim)
    columns = torch.arange(form.width) % (dim // 2)
    drawn = draw(reading.trial.roles, form, sizes, angles[columns])
    given = x.expand(drawn.sizes.batch, drawn.sizes.heads, drawn.sizes.tokens, dim).clone()
    answers = call(function, reading.trial.roles, form, drawn, [given] * len(reading.trial.roles.names("x")))
    return None if answers is None else _example(x, angles, answers[reading.turned[0]][0, 0, 0].float())


def _own(function: Callable[..., Any], reading: Reading, form: Form, dim: int, x: Tensor) -> Example | None:
    trial = try_form(function, reading.trial.roles, form, Sizes(dim=dim))
    if trial is None:
        return None
    matrices = trial.matrices[reading.turned[0]][0, 0]
    if torch.equal(matrices, matrices[:1].expand_as(matrices)):
        return _example(x, torch.full((dim // 2,), math.pi / 2), matrices[0] @ x)
    positions = trial.drawn.positions
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


def keeps_lengths(function: Callable[..., Any], reading: Reading) -> bool:
    """Whether some tables of cosines and sines make every matrix of this form orthogonal."""
    trial = reading.trial
    width, sizes = trial.form.width, trial.drawn.sizes
    if not trial.form.kind:
        return all(_is_orthogonal(each) for each in trial.matrices)
    angles = torch.linspace(0.3, 2.0, width)
    columns = torch.arange(width)
    for chosen in (columns, columns % max(width // 2, 1), columns // 2):
        drawn = draw(trial.roles, trial.form, Sizes(dim=sizes.dim), angles[chosen])
        columns_found = []
        for channel in range(sizes.dim):
            basis = torch.zeros(drawn.sizes.batch, drawn.sizes.heads, drawn.sizes.tokens, sizes.dim)
            basis[..., channel] = 1
            xs = [basis.clone() for _ in trial.roles.names("x")]
            answers = call(function, trial.roles, trial.form, drawn, xs)
            if answers is None:
                break
            columns_found.append(answers[0].float())
        else:
            if _is_orthogonal(torch.stack(columns_found, -1)):
                return True
    return False


def _is_orthogonal(matrices: Tensor) -> bool:
    product = matrices.transpose(-1, -2) @ matrices
    return bool(((product - torch.eye(matrices.shape[-1])).abs() < 1e-4).all())
