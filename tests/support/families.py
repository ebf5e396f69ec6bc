"""Inputs and fp64 references for functions of every family, by the operation that restores them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rope_compat.rotary import reference

B, H, S, D = 2, 3, 5, 16
SECTIONS = [2, 3, 3]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def tables(rows: int = 24, width: int = D, pairing: str = "half") -> tuple[Tensor, Tensor]:
    cos, sin = reference.cos_sin(rows, width, pairing=pairing)
    return cos.float(), sin.float()


def positions(*shape: int, seed: int = 1, rows: int = 24) -> Tensor:
    return torch.randint(rows, shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Case:
    """One call in the native form, and what it should give."""

    arguments: tuple[Any, ...]
    expected: Callable[..., Any]
    tolerance: float = 2e-6


def _pair(pairing: str = "half", layout: str | None = None) -> tuple[Any, ...]:
    cos, sin = tables(pairing=layout or pairing)
    rows = positions(B, S)
    return draw(B, 4, S, D), draw(B, 2, S, D, seed=2), cos[rows], sin[rows]


def _by_axis(sections: list[int]) -> tuple[Any, ...]:
    cos, sin = tables()
    rows = positions(max(3, len(sections)), B, S)
    return draw(B, 4, S, D), draw(B, 2, S, D, seed=2), cos[rows], sin[rows], sections


def _interleaved_from_halves(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    columns = [channel // 2 for channel in range(cos.shape[-1])]
    return reference.apply(q, k, cos[..., columns], sin[..., columns], pairing="interleaved")


def _rank4(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return reference.rotate(x, cos[:, :, : x.shape[-2]], sin[:, :, : x.shape[-2]])


def _half_turn(x: Tensor) -> Tensor:
    return reference.rotate(x, torch.zeros(x.shape[-1]), torch.ones(x.shape[-1]))


def _yarn(scale: float, factor: float) -> float:
    return 1.0 if scale <= 1 else 1 + factor * torch.tensor(scale, dtype=torch.float64).log().item() / 10


def _attention(parameters: dict[str, Any], scaling: float) -> float:
    return scaling * _yarn(parameters["factor"], parameters.get("mscale_all_dim", 0)) ** 2


def cases(operation: str) -> list[Case]:
    """What to call an operation of `rope_compat._adapters.functions.restoring` with."""
    rank4 = tuple(table[None, None] for table in tables())
    half_tables = tuple(table[:, : D // 2] for table in tables())
    starts = torch.tensor([0, 3, 4, 9])
    yarn = {"rope_type": "yarn", "factor": 40.0}
    return {
        "multimodal": [Case(_by_axis(SECTIONS), reference.multimodal)],
        "multimodal interleaved": [
            Case(_by_axis(SECTIONS), lambda *args: reference.multimodal(*args, pairing="interleaved"))
        ],
        "multimodal float32": [
            Case(_by_axis([2, 2, 2, 2]), lambda *args: reference.multimodal(*args, doubled=True))
        ],
        "plain": [Case(_pair(), reference.apply)],
        "pairs of halves": [Case(_pair(), _interleaved_from_halves)],
        "pairs": [Case(_pair("interleaved"), lambda *args: reference.apply(*args, pairing="interleaved"))],
        "deinterleave": [Case(_pair(), reference.deinterleave)],
        "rank 4": [Case((draw(B, H, S, D), *rank4), _rank4)],
        "rotate half": [Case((draw(B, H, S, D),), _half_turn, tolerance=0)],
        "unpadded": [
            Case(
                (draw(9, 3, H, D), *half_tables, starts, 5),
                lambda qkv, cos, sin, cu, _: reference.unpadded(qkv, cos, sin, cu.tolist()),
            )
        ],
        "npu": [
            Case(
                (draw(B, S, H, D), *(table[:S] for table in half_tables)),
                lambda x, cos, sin: reference.rotate(
                    x, *(torch.cat((t, t), -1)[:, None] for t in (cos, sin))
                ),
            )
        ],
        "mscale": [Case((40.0, 0.7), _yarn), Case((0.5, 0.7), _yarn), Case((1.0, 1.0), _yarn)],
        "scale attention": [
            Case((yarn | {"mscale_all_dim": 1.0}, 0.125), _attention),
            Case((yarn | {"mscale_all_dim": 0}, 0.125), lambda parameters, scaling: scaling),
            Case(({"rope_type": "default"}, 0.125), lambda parameters, scaling: scaling),
        ],
    }[operation]


def as_list(value: Any) -> list[Tensor]:
    """Results as tensors, one or several."""
    values = value if isinstance(value, (tuple, list)) else [value]
    return [each if isinstance(each, Tensor) else torch.tensor(float(each)) for each in values]


def largest_error(found: Any, expected: Any) -> float:
    """The largest difference between two results."""
    pairs = list(zip(as_list(found), as_list(expected), strict=True))
    assert all(one.shape == other.shape for one, other in pairs)
    return max((one.double() - other.double()).abs().max().item() for one, other in pairs)
