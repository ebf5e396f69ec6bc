"""`verify` of a model: its rotary modules one by one, then its attention, by running it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from ..._environment import detect
from ..._outcome import Item, Report
from ...errors import ArgumentError, RopeCompatError
from ..drift import known_drift
from .attention import judge_attention
from .compare_with_twin import compare_with_constructed
from .embedding import Curve, Judge, judge
from .embeddings import Settings, units

__all__ = ["verify_model"]


def verify_model(model: nn.Module, *, compare: bool = True) -> tuple[Report, list[Curve]]:
    """The report on a model, and the phase errors of its rotary embeddings over positions.

    Args:
        model: a loaded model.
        compare: whether what no config speaks of (vision towers) is compared with what the constructor makes
            of the config.

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
    judged = [judge(unit, dtype) for unit in found]
    items = [item for each, _ in judged for item in each]
    if compare:
        items = list(compare_with_constructed(model, found, items))
    attention = list(_attention(model, settings, judged))
    if any(item.status == "ok" for item in attention):
        items = [item if item not in _provisional(judged) else _made_up_for(item) for item in items]
    curves = [judging.curve for _, judging in judged if judging.curve is not None]
    return Report(type(model).__name__, (*items, *attention, *_drift(model)), "verify"), curves


def _drift(model: nn.Module) -> Iterator[Item]:
    """What other releases compute from the same config."""
    version = detect().transformers.version
    config = getattr(model, "config", None)
    if version is None or config is None or isinstance(config, dict):
        return
    try:
        yield from known_drift(config, None, version)
    except RopeCompatError:
        return  # what is wrong with the config is told by the items of its modules


def _attention(
    model: nn.Module, settings: Settings, judged: list[tuple[list[Item], Judge]]
) -> Iterator[Item]:
    certain = [item for each, judging in judged if not judging.is_provisional for item in each]
    if any(item.status == "wrong" for item in certain):
        reason = "not looked at while rotary modules are wrong: verify again when they are right"
        yield Item(type(model).__name__, "attention", "skipped", reason)
        return
    found = list(judge_attention(model, settings, [judging.unit for _, judging in judged]))
    if any(item.status == "wrong" for item in found) and _provisional(judged):
        return  # the same once more, in other words
    yield from found


def _provisional(judged: list[tuple[list[Item], Judge]]) -> list[Item]:
    return [item for each, judging in judged if judging.is_provisional for item in each]


def _made_up_for(item: Item) -> Item:
    return replace(item, status="ok", reason="", fault="", advice="", max_error=None, position=None)


def _dtype_of(model: nn.Module) -> torch.dtype:
    for parameter in model.parameters():
        if parameter.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            return parameter.dtype
    return torch.get_default_dtype()
