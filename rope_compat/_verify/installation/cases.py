"""Calls that have one right answer: inputs in a dtype, how a function is called, and the exact result.

A call's cosines and sines are those of the pairs, ``[rows, pairs]``, one row a position; what lays them out
as a function wants them is part of the call. The exact result is linear in them, which is what the bounds of
`rope_compat._verify.tolerances` are computed from.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..._facts.conventions import Convention
from ...rotary import reference
from ..tolerances import ROTATION

__all__ = [
    "BATCH",
    "HEADS",
    "LENGTH",
    "ROWS",
    "WIDTH",
    "Case",
    "angles",
    "draw",
    "laid_out",
    "rows",
    "turned",
]

Tensors = tuple[Tensor, ...]
Call = Callable[[Callable[..., Any], Tensors, Tensor, Tensor, Any], Any]
Exact = Callable[[Tensors, Tensor, Tensor, Convention], Tensors]

BATCH, HEADS, LENGTH, WIDTH, ROWS = 2, 3, 5, 16, 24


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        key: equal for calls with equal inputs and results; see `judge`.
        xs: what is rotated, in the dtype of the call.
        cos: cosines of the pairs, ``[rows, pairs]``, in the dtype of the call or wider.
        sin: sines.
        convention: what the function means.
        call: ``call(function, xs, cos, sin, rows)``.
        exact: ``exact(xs, cos, sin, convention)`` in float64; cos and sin of the tokens.
        rows: which rows of cos and sin are the tokens', int64; None where these are the tokens' already.
        positions: of the tokens, int64, broadcastable with the results.
        count: operations that an input passes through.
        more: relative error of cos and sin that the function computes itself.
        absolute: their absolute error.
        optional: a function may refuse the call with a `RuntimeError`.
        form: which form of calls this is, for people.
    """

    key: Hashable
    xs: Tensors
    cos: Tensor
    sin: Tensor
    convention: Convention
    call: Call
    exact: Exact
    rows: Tensor | None = None
    positions: Tensor | None = None
    count: int = ROTATION
    more: float = 0.0
    absolute: float = 0.0
    optional: bool = False
    form: str = field(default="", compare=False)

    def compute(
        self, xs: Tensors, cos: Tensor, sin: Tensor, convention: Convention, rows: Tensor | None = None
    ) -> Tensors:
        """The exact result, of other inputs or for another meaning; `rows` in place of the case's."""
        rows = self.rows if rows is None else rows
        if rows is not None:
            cos, sin = cos[rows], sin[rows]
        return self.exact(xs, cos, sin, convention)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normal numbers that `dtype` has exactly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def rows(*shape: int, seed: int = 1, count: int = ROWS) -> Tensor:
    """Positions, neither in order nor equal in two sequences: int64."""
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(seed))


def angles(pairs: int, count: int = ROWS) -> Tensor:
    """Angles of each position and pair, float64 ``[count, pairs]``; no two pairs turn alike."""
    return reference.freqs(count, 2 * pairs, 50.0)


def laid_out(table: Tensor, tables: str) -> Tensor:
    """A table of pairs as `Convention.tables` says: ``[..., pairs]`` to ``[..., pairs or 2 * pairs]``."""
    if tables == "halves":
        return torch.cat((table, table), dim=-1)
    return table.repeat_interleave(2, dim=-1) if tables == "pairs" else table


def turned(x: Tensor, cos: Tensor, sin: Tensor, convention: Convention) -> Tensor:
    """The exact rotation, float64; cos and sin are ``[..., pairs]``, broadcastable with x otherwise."""
    width = 2 * cos.shape[-1]
    layouts = ("halves", "pairs")
    layout = layouts[(convention.pairing == "interleaved") ^ (convention.tables == "crossed")]
    cos, sin = laid_out(cos.double(), layout), laid_out(sin.double(), layout) * convention.direction
    if not convention.last:
        return reference.rotate(x, cos, sin, convention.pairing)
    kept = x.double()[..., : x.shape[-1] - width]
    return torch.cat((kept, reference.rotate(x[..., kept.shape[-1] :], cos, sin, convention.pairing)), dim=-1)
