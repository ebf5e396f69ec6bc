"""What an instance computes that the release's own forward would not, in one attribute of the instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ...errors import RopeConfigError
from ..init_functions.rope_parameters import RopeParameters, compute

__all__ = ["STATE", "LegacyTables", "Scaled", "State", "by_length", "cos_sin"]

#: Name of the attribute. The class has None under it, so that looking it up costs no exception.
STATE = "_rope_compat_state"


class State(Protocol):
    """Takes the place of a forward for one instance."""

    def rows(self, module: Any, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin for positions, ``[..., D]`` behind the axes of `position_ids`, in the dtype of `x`."""

    def tables(self, module: Any, x: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """cos and sin of all positions below `length`, ``[length, D]``, in the dtype of `x`."""


def cos_sin(inv_freq: Tensor, positions: Tensor, scaling: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin in half layout, ``[..., D]`` for positions ``[...]``, computed in fp32."""
    freqs = positions[..., None].float() * inv_freq.float()
    angles = torch.cat((freqs, freqs), dim=-1)
    return (angles.cos() * scaling).to(dtype), (angles.sin() * scaling).to(dtype)


def by_length(given: RopeParameters, length: Any, device: Any) -> tuple[Tensor, float]:
    """Frequencies and attention scaling for a sequence of `length`.

    Raises:
        RopeConfigError: the type is not one that rope_compat computes, or a parameter is missing.
    """
    found = compute(given, length, device)
    if found is None:
        raise RopeConfigError(
            f"rope_type={given.rope_type!r} is not known to this release, nor to rope_compat"
        )
    return found


@dataclass(frozen=True)
class Scaled:
    """An embedding of a type that the class of the release does not compute.

    Up to 4.42.4 a rotary class knew one type; the others were classes of their own.
    """

    given: RopeParameters

    def rows(self, module: Any, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """See `State`."""
        return self._at(x, position_ids, int(position_ids.max()) + 1)

    def tables(self, module: Any, x: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """See `State`."""
        return self._at(x, torch.arange(length, device=x.device), length)

    def _at(self, x: Tensor, positions: Tensor, length: int) -> tuple[Tensor, Tensor]:
        inv_freq, scaling = by_length(self.given, length, x.device)
        return cos_sin(inv_freq.to(x.device), positions.to(x.device), scaling, x.dtype)


@dataclass(frozen=True)
class LegacyTables:
    """A user's subclass that fills tables in ``_set_cos_sin_cache``, as classes did to 4.37.2.

    Nothing calls that method in later releases, so the subclass's scaling would be lost.
    """

    def rows(self, module: Any, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """See `State`."""
        cos, sin = self.tables(module, x, int(position_ids.max()) + 1)
        return cos[position_ids], sin[position_ids]

    def tables(self, module: Any, x: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """See `State`."""
        if length > module.max_seq_len_cached:
            module._set_cos_sin_cache(seq_len=length, device=x.device, dtype=x.dtype)
        # They may be [1, 1, S, D], as up to 4.34.1.
        cos, sin = (table.reshape(table.shape[-2:]) for table in (module.cos_cached, module.sin_cached))
        return cos[:length].to(x.device, x.dtype), sin[:length].to(x.device, x.dtype)
