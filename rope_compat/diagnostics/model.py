"""`verify` of a model: its rotary modules one by one, then its attention, by running it."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import ArgumentError
from ..outcome import Item, Report
from .attention import judge_attention
from .modules import Curve, judge
from .units import Settings, units

__all__ = ["verify_model"]


def verify_model(model: nn.Module) -> tuple[Report, list[Curve]]:
    """The report on a model, and the phase errors of its rotary embeddings over positions.

    Raises:
        ArgumentError: `model` is not a module.
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(
            f"verify() takes a loaded model, not {type(model).__name__}; without an argument it looks at the "
            "installation"
        )
    settings = Settings(model)
    found = units(model, settings)
    dtype = _dtype_of(model)
    items: list[Item] = []
    curves: list[Curve] = []
    for unit in found:
        each, curve = judge(unit, dtype)
        items += each
        curves += [curve] if curve is not None else []
    if any(item.status == "wrong" for item in items):
        reason = "not looked at while rotary modules are wrong: verify again when they are right"
        items.append(Item(type(model).__name__, "attention", "skipped", reason))
    else:
        items += judge_attention(model, settings, found)
    return Report(type(model).__name__, tuple(items), "verify"), curves


def _dtype_of(model: nn.Module) -> torch.dtype:
    for parameter in model.parameters():
        if parameter.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            return parameter.dtype
    return torch.get_default_dtype()
