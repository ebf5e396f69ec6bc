"""cos and sin for a call that does not bring them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .form import CACHES
from .owner import attention_of, layer_type_of, rotary_of

__all__ = ["embeddings_for", "positions_for"]


def embeddings_for(module: nn.Module, given: Mapping[str, Any]) -> Any | None:
    """What the model would hand down for this call, or None where there is no rotary module to ask."""
    attention = attention_of(module)
    rotary = rotary_of(attention)
    if rotary is None:
        return None
    parameters = inspect.signature(type(rotary).forward).parameters
    hidden: Tensor = given["hidden_states"]
    positions = positions_for(attention, given)
    if "position_ids" not in parameters:
        return _rows_of_tables(rotary, hidden, positions) if "seq_len" in parameters else None
    if positions.ndim == 2 and _has_sections(attention):
        positions = positions[None].expand(3, -1, -1)
    if "layer_type" in parameters:
        return rotary(hidden, position_ids=positions, layer_type=layer_type_of(attention))
    return rotary(hidden, position_ids=positions)


def _rows_of_tables(rotary: nn.Module, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """``[B, S, D]`` from a module that gives tables, ``[S, D]`` or ``[1, 1, S, D]`` (some to 4.44.2)."""
    cos, sin = rotary(hidden, seq_len=int(positions.max()) + 1)
    return cos.flatten(0, -2)[positions], sin.flatten(0, -2)[positions]


def positions_for(attention: nn.Module, given: Mapping[str, Any]) -> Tensor:
    """``position_ids``, else ``cache_position``, else what follows the tokens of the KV cache."""
    hidden: Tensor = given["hidden_states"]
    positions: Tensor | None = given.get("position_ids")
    if positions is not None:
        return positions if positions.ndim > 1 else positions[None]
    if given.get("cache_position") is not None:
        at: Tensor = given["cache_position"]
        return at[None] if at.ndim == 1 else at
    cache = next((given[name] for name in CACHES if given.get(name) is not None), None)
    past = 0
    if cache is not None:
        index = vars(attention).get("layer_idx") or 0
        past = int(cache.get_seq_length(index))
    return torch.arange(past, past + hidden.shape[1], device=hidden.device)[None]


def _has_sections(attention: nn.Module) -> bool:
    """Whether positions have three axes: time, height and width."""
    config = vars(attention).get("config")
    # The stored fields: what stands for one that is not there raises, which no compiler follows.
    stored = vars(config) if config is not None else {}
    return any("mrope_section" in (stored.get(name) or {}) for name in ("rope_parameters", "rope_scaling"))
