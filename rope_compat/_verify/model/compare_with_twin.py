"""Rotary tensors that no config speaks of, against those that the constructor makes: vision towers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..._adapters.loading.buffers import submodule
from ..._adapters.loading.twin import build_twin, constructible
from ..._outcome import Item
from .embeddings import Unit, own_tensors, real
from .frequency_faults import advice_for

__all__ = ["compare_with_constructed"]


def compare_with_constructed(model: nn.Module, units: list[Unit], items: list[Item]) -> Iterator[Item]:
    """The items, with those of units without a description replaced where the constructor gives values."""
    open_units = {unit.name: unit for unit in units if unit.described is None}
    twins: dict[str, nn.Module] | None = None
    for item in items:
        unit = open_units.get(item.name)
        if item.status != "skipped" or unit is None:
            yield item
            continue
        twins = _twins(model) if twins is None else twins
        yield from _compared(unit, item, twins)


def _twins(model: nn.Module) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {}
    for path, inner in constructible(model):
        try:
            found[path] = build_twin(inner)
        except Exception:
            continue  # without one, its units stay skipped, with their reason
    return found


def _compared(unit: Unit, item: Item, twins: dict[str, nn.Module]) -> Iterator[Item]:
    source = _source(unit, twins)
    held = own_tensors(unit.module)
    if source is None or type(source) is not type(unit.module) or not held:
        yield item
        return
    wrong = [
        Item(
            f"{unit.path}.{name}",
            "rotary embedding",
            "wrong",
            words,
            error,
            0.0,
            fault,
            None,
            advice_for(fault),
        )
        for name, value in held.items()
        for fault, words, error in _difference(value, own_tensors(source).get(name))
    ]
    yield from wrong or [Item(item.name, item.kind, "ok", "as its constructor makes it", 0.0, 0.0)]


def _source(unit: Unit, twins: dict[str, nn.Module]) -> nn.Module | None:
    for path, twin in twins.items():
        if not path or unit.path.startswith(f"{path}."):
            return submodule(twin, unit.path[len(path) :].lstrip("."))
    return None


def _difference(value: Tensor, made: Tensor | None) -> Iterator[tuple[str, str, float | None]]:
    if made is None or made.is_meta or value.shape != made.shape:
        return
    if value.dtype != made.dtype and value.dtype in (torch.bfloat16, torch.float16):
        name = str(value.dtype).removeprefix("torch.")
        yield "half-precision", f"kept in {name}; its constructor makes {made.dtype}", None
        return
    if made.dtype in (torch.bfloat16, torch.float16):
        value = value.to(made.dtype)  # the loader keeps in float32 what was computed in less, or rounds it
    off = float((real(value) - real(made)).abs().max()) if value.numel() else 0.0
    if off > 0.0:
        yield "garbage", "it is not what its constructor makes of the config", off
