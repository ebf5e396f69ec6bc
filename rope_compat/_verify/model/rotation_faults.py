"""What happened to q and k: the rotation that carries one position's vector to another's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .frequency_faults import Cause

__all__ = ["Rotation", "axes", "cause_of", "chord", "structures"]


@dataclass(frozen=True)
class Rotation:
    """How the channels of a head are turned.

    Attributes:
        pairing: ``half`` or ``interleaved``.
        start: the first channel of the rotated part.
        mixed: angles are laid out for the other pairing: no rotation at all.
    """

    pairing: str
    start: int
    mixed: bool = False

    def apply(self, x: Tensor, phases: Tensor, factor: float = 1.0) -> Tensor:
        """``[heads, 1 or positions, d]`` turned by ``[positions, pairs]``: ``[heads, positions, d]``."""
        pairs = phases.shape[-1]
        part = x[..., self.start : self.start + 2 * pairs]
        laid_out = (
            self.pairing if not self.mixed else {"half": "interleaved", "interleaved": "half"}[self.pairing]
        )
        angles = torch.cat((phases, phases), -1) if laid_out == "half" else phases.repeat_interleave(2, -1)
        turned = part * angles.cos() + _quarter(part, self.pairing) * angles.sin()
        whole = x.expand(x.shape[0], len(phases), x.shape[-1]).clone()
        whole[..., self.start : self.start + 2 * pairs] = turned * factor
        return whole


def _quarter(x: Tensor, pairing: str) -> Tensor:
    if pairing == "half":
        first, second = x.chunk(2, dim=-1)
        return torch.cat((-second, first), dim=-1)
    return torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)


def structures(width: int, pairs: int) -> list[Rotation]:
    """The rotations that there are in a head of `width` channels: its beginning or its end is turned."""
    starts = sorted({0, width - 2 * pairs})
    return [Rotation(pairing, start) for start in starts for pairing in ("half", "interleaved")]


def axes(sections: list[int], pairs: int, *, interleaved: bool) -> Tensor:
    """Which of the three axes of multimodal positions each pair is turned by."""
    if interleaved:
        # Qwen3-VL: pairs take turns (t, h, w, t, h, w, ...) as long as h and w have some.
        kinds = [0] * pairs
        for axis in (1, 2):
            for pair in range(axis, min(3 * sections[axis], pairs), 3):
                kinds[pair] = axis
        return torch.tensor(kinds)
    kinds = [index % 3 for index, size in enumerate(sections) for _ in range(size)]
    return torch.tensor((kinds + [0] * pairs)[:pairs])


def chord(x: Tensor, y: Tensor) -> Tensor:
    """The largest distance between two sets of rows, in units of a typical channel: ``[positions]``."""
    scale = y.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-12)
    return ((x - y).abs() / scale).amax(dim=(0, 2))


def cause_of(
    x: Tensor, base: Tensor, phases: Tensor, inv_freq: Tensor, factor: float, tolerance: float
) -> Cause | None:
    """The mistake that turned `base`, ``[heads, 1, d]``, into `x`, ``[heads, positions, d]``.

    None if no mistake that is known fits. `phases` are the right ones, ``[positions, pairs]``.
    """
    for cause, mistaken in _mistakes(x, base, phases, inv_freq, factor):
        if float(chord(mistaken, x).max()) <= tolerance:
            return cause
    return None


def _mistakes(
    x: Tensor, base: Tensor, phases: Tensor, inv_freq: Tensor, factor: float
) -> Iterator[tuple[Cause, Tensor]]:
    pairs = phases.shape[-1]
    for one in structures(x.shape[-1], pairs):
        where = "" if one.start == 0 else f" from channel {one.start} on"
        mixed = Rotation(one.pairing, one.start, mixed=True)
        other = "half" if one.pairing == "interleaved" else "interleaved"
        words = f"channels are paired {one.pairing}, angles laid out {other}{where}: no rotation"
        yield Cause("pairing", words), mixed.apply(base, phases, factor)
        yield Cause("sign", f"rotated backwards{where}"), one.apply(base, -phases, factor)
        yield Cause("pairing", "paired wrongly, and backwards"), mixed.apply(base, -phases, factor)
        yield (
            Cause("swapped", f"cos and sin are interchanged{where}"),
            one.apply(base, math.pi / 2 - phases, factor),
        )
        for step, words in ((1, "one ahead"), (-1, "one behind")):
            yield (
                Cause("off-by-one", f"positions are {words}"),
                one.apply(base, phases + step * inv_freq, factor),
            )
        order = torch.arange(len(phases), dtype=torch.float64)[:, None] * inv_freq
        yield Cause("positions-ignored", "position_ids are not looked at"), one.apply(base, order, factor)
        yield Cause("attention-factor", "the attention factor is missing"), one.apply(base, phases)
        yield (
            Cause("attention-factor", "the attention factor is applied twice"),
            one.apply(base, phases, factor * factor),
        )
        yield Cause("rotated-twice", "the rotation is applied twice"), one.apply(base, 2 * phases, factor**2)
    yield Cause("not-applied", "it is not rotated at all"), base.expand_as(x)
    yield from _other_widths(x, base, phases, factor)


def _other_widths(x: Tensor, base: Tensor, phases: Tensor, factor: float) -> Iterator[tuple[Cause, Tensor]]:
    width, pairs = x.shape[-1], phases.shape[-1]
    for fewer in range(1, pairs):
        for one in structures(width, fewer):
            words = f"{2 * fewer} channels are rotated instead of {2 * pairs}"
            yield Cause("partial", words), one.apply(base, phases[:, :fewer], factor)
