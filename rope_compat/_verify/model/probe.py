"""What a rotary module gives for positions, as phases and amplitudes; asked of a copy."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..._adapters.classes.shape import native_of, parameters
from .embeddings import Unit, gives_sin_first, real

__all__ = ["Answer", "Asker", "answer_of"]


@dataclass(frozen=True)
class Answer:
    """What cos and sin say, for some positions.

    Attributes:
        phases: radians, float64 ``[positions, pairs]``, between -pi and pi.
        amplitudes: what cos and sin were multiplied by, the same shape.
        layout: ``half`` (``cat(freqs, freqs)``), ``interleaved`` (each twice in a row), ``single`` (each
            once), ``both`` where one pair cannot tell, ``neither``; ``angles`` where no cos and sin were
            given, and so no amplitude.
        dtype: of what was given.
    """

    phases: Tensor
    amplitudes: Tensor
    layout: str
    dtype: torch.dtype


def answer_of(result: Any, count: int, pairs: int) -> Answer | None:
    """Read what a rotary module or table gave; None if it is not cos and sin, nor complex rotations."""
    if isinstance(result, Tensor) and result.is_complex():
        rows = real(result).reshape(-1, result.shape[-1])[:count]
        return Answer(rows.angle(), rows.abs(), "single", result.dtype)
    if not (isinstance(result, (tuple, list)) and len(result) == 2):
        return None
    cos, sin = result
    if not (isinstance(cos, Tensor) and isinstance(sin, Tensor) and cos.shape == sin.shape and cos.dim() > 1):
        return None
    dtype = cos.dtype
    cos, sin = (real(table).reshape(-1, table.shape[-1])[:count] for table in (cos, sin))
    layout = _layout(cos, sin, pairs)
    if layout == "interleaved":
        cos, sin = cos[:, ::2], sin[:, ::2]
    elif layout in ("half", "both", "neither"):
        half = cos.shape[-1] // 2
        cos, sin = cos[:, :half], sin[:, :half]
    return Answer(torch.atan2(sin, cos), torch.hypot(cos, sin), layout, dtype)


def _answer_of_angles(result: Any, count: int, pairs: int) -> Answer | None:
    if not isinstance(result, Tensor) or result.is_complex() or result.shape[-1] != pairs:
        return answer_of(result, count, pairs)
    phases = real(result).reshape(-1, pairs)
    return Answer(phases, torch.ones_like(phases), "angles", result.dtype) if len(phases) == count else None


def _layout(cos: Tensor, sin: Tensor, pairs: int) -> str:
    width = cos.shape[-1]
    if width == pairs and not _is_half(cos, sin):
        return "single"
    if width % 2:
        return "neither"
    half, pairwise = _is_half(cos, sin), all(torch.equal(t[:, ::2], t[:, 1::2]) for t in (cos, sin))
    if half and pairwise:
        return "both"
    return "half" if half else "interleaved" if pairwise else "neither"


def _is_half(cos: Tensor, sin: Tensor) -> bool:
    half = cos.shape[-1] // 2
    return 2 * half == cos.shape[-1] and all(torch.equal(t[:, :half], t[:, half:]) for t in (cos, sin))


class Asker:
    """Calls a copy of one rotary module in the form that its forward has."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._names = parameters(native_of(type(unit.module).forward))
        self._module: nn.Module | None = None

    @property
    def form(self) -> str:
        """``rows`` for ``(x, position_ids)``, ``tables`` for ``(x, seq_len)``, ``angles`` for
        ``(position_ids)``, empty for another.
        """
        if self._names == ("position_ids",) and self._unit.is_named_rotary:
            return "angles"
        if not (self._unit.is_named_rotary or self._names[:1] == ("x",)):
            return ""
        second = self._names[1:2]
        if second == ("position_ids",):
            return "rows"
        return "tables" if second == ("seq_len",) else ""

    def ask(self, positions: Tensor, pairs: int, dtype: torch.dtype = torch.float32) -> Answer | None:
        """What the module gives for `positions`, int64 ``[n]``; None if that is not cos and sin.

        Raises:
            Exception: whatever the module raises.
        """
        if self._module is None:
            self._module = copy.deepcopy(self._unit.module)
        described = self._unit.described
        device = next((value.device for value in self._module.buffers()), torch.device("cpu"))
        positions = positions.to(device)
        width = 2 * pairs
        x = torch.zeros(1, 1, len(positions), width, dtype=dtype, device=device)
        with torch.no_grad():
            if self.form == "tables":
                length = int(positions.max()) + 1
                result = self._module(x, seq_len=length)
                if isinstance(result, tuple):
                    result = tuple(table.reshape(-1, table.shape[-1])[positions] for table in result)
                return answer_of(result, len(positions), pairs)
            rows = positions[None]
            if self.form == "angles":
                return _answer_of_angles(self._module(rows), len(positions), pairs)
            if described is not None and "mrope_section" in described.spec.parameters:
                rows = rows.expand(3, 1, -1)
            more = {"layer_type": self._unit.layer_type} if self._unit.by_type else {}
            result = self._module(x, rows, **more)
            if isinstance(result, tuple) and gives_sin_first(type(self._module)):
                result = result[::-1]
            return answer_of(result, len(positions), pairs)
