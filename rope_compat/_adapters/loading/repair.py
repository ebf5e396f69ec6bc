"""`repair`: the buffers of a loaded model as its constructor computes them."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import torch
from torch import Tensor, nn

from ..._outcome import Item, Report
from ..._utils.ownership import qualified_name
from ...errors import ArgumentError, RopeBufferError
from .buffers import Remembered, buffers_not_saved, put_back, same_bits, submodule
from .plausible import fault, is_rotary
from .twin import build_twin, constructible
from .unregistered import restore_unregistered

__all__ = ["repair"]


def repair(model: nn.Module) -> Report:
    """Recompute what loading destroyed: every buffer that no checkpoint holds, and tensors left on meta.

    The model is constructed once more from its config, with its parameters on meta, and what its constructor
    computes is compared and put back: same device, same dtype as the buffer has now. Parameters and saved
    buffers are not touched. Rotary modules whose state has moved on since construction (tables grown by long
    texts, dynamic NTK) are left alone unless their values are impossible.

    Args:
        model: a transformers model, or a module that holds some, such as a PEFT or DDP wrapper.

    Returns:
        The report: each buffer, whether it was right, and by how much it was wrong.

    Raises:
        ArgumentError: there is no transformers model in `model`.
        RopeBufferError: a rotary buffer is on meta, not finite or impossible, and cannot be recomputed.
    """
    found = constructible(model) if isinstance(model, nn.Module) else []
    if not found:
        raise ArgumentError(
            f"repair() takes a transformers model, or a module that holds one, not {type(model).__name__}. "
            "Others have no config to construct them from: construct them again and copy their buffers."
        )
    items = [item for path, inner in found for item in _repair_one(path, inner)]
    wrong = [item for item in items if item.status == "wrong"]
    if wrong:
        raise RopeBufferError(
            "; ".join(f"{item.name}: {item.reason}" for item in wrong)
            + ". The constructor of the model does not give it a value either; set it by hand."
        )
    return Report(type(model).__name__, tuple(items))


def _repair_one(path: str, model: Any) -> list[Item]:
    faults = list(_faults(path, model))
    try:
        twin = build_twin(model)
    except Exception as error:
        if not faults:
            reason = f"{type(model).__name__} cannot be constructed from its config: {error}"
            return [Item(path or type(model).__name__, "model", "skipped", reason)]
        raise RopeBufferError(
            f"{'; '.join(f'{name}: {why}' for name, why in faults)}. To recompute, "
            f"{qualified_name(type(model))} was constructed from its config, which failed: "
            f"{type(error).__name__}: {error}"
        ) from error
    items: list[Item] = []
    for twin_path, source in twin.named_modules():
        items += _repair_module(f"{path}.{twin_path}".strip("."), submodule(model, twin_path), source)
    known = {item.name for item in items}
    return items + [Item(name, "rotary buffer", "wrong", why) for name, why in _faults(path, model, known)]


def _repair_module(path: str, module: nn.Module | None, source: nn.Module) -> Iterator[Item]:
    """Make one module's buffers those of `source`, the same module of the twin."""
    buffers = [entry for entry in buffers_not_saved(source) if entry[1] is source]
    if module is None or type(module) is not type(source):
        for name, _, attribute, _value in buffers:
            reason = "the model has another module there than its constructor makes"
            yield Item(f"{path}.{name}".strip("."), _kind(source, attribute), "skipped", reason)
        return
    restored = [f"{path}.{name}".strip(".") for name in restore_unregistered(module, source)]
    yield from (Item(name, "tensor", "repaired", "it was on the meta device") for name in restored)
    moved_on = _has_moved_on(module, source)
    sound = moved_on and _is_sound(module, source)
    for _, _, attribute, value in buffers:
        name = f"{path}.{attribute}".strip(".")
        if sound:
            yield Item(name, _kind(module, attribute), "skipped", "its state has moved on since construction")
        else:
            yield _repair_buffer(name, module, attribute, value)
    if moved_on and not sound:
        module.__dict__.update(_state(source))


def _repair_buffer(name: str, module: nn.Module, attribute: str, value: Tensor) -> Item:
    kind = _kind(module, attribute)
    current = module._buffers.get(attribute)
    if value.is_meta:
        why = fault(attribute, current) if current is not None and kind == "rotary buffer" else ""
        return Item(name, kind, "wrong" if why else "skipped", why or "its constructor gives it no value")
    reason = "" if current is None else fault(attribute, current)
    error = _difference(current, value)
    if not put_back([Remembered(name, module, attribute, value)], keep_dtype=True):
        return Item(name, kind, "ok", max_error=0.0, tolerance=0.0)
    return Item(name, kind, "repaired", reason or "it differs from its constructor's value", error, 0.0)


def _faults(path: str, model: nn.Module, known: Set[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """(name, what is impossible) of rotary buffers, but for `known` ones."""
    for name, module, attribute, value in buffers_not_saved(model):
        full = f"{path}.{name}".strip(".")
        if full not in known and is_rotary(module, attribute):
            why = fault(attribute, value)
            if why:
                yield full, why


def _kind(module: nn.Module, attribute: str) -> str:
    return "rotary buffer" if is_rotary(module, attribute) else "buffer"


def _has_moved_on(module: nn.Module, source: nn.Module) -> bool:
    """Whether the module has computed since it was constructed: its counters or shapes are others."""
    if _state(module) != _state(source):
        return True
    return _shapes(module) != _shapes(source)


def _is_sound(module: nn.Module, source: nn.Module) -> bool:
    """Whether what a module that has moved on holds can be what it has computed itself."""
    for name, value in module._buffers.items():
        if value is None:
            continue
        if fault(name, value):
            return False
        first = source._buffers.get(name)
        if first is None or first.is_meta or "inv_freq" not in name or _changes_frequencies(module):
            continue
        # Tables grow, frequencies stay.
        if value.shape != first.shape or _difference(value, first.to(value.dtype)) != 0.0:
            return False
    return True


def _changes_frequencies(module: nn.Module) -> bool:
    """Dynamic NTK and longrope replace their frequencies as texts grow."""
    words = f"{getattr(module, 'rope_type', '')} {type(module).__name__}".lower()
    return any(word in words for word in ("dynamic", "ntk", "longrope", "scaledrotary"))


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module._buffers.items() if value is not None}


def _state(module: nn.Module) -> dict[str, Any]:
    """The plain numbers that a module keeps, such as ``max_seq_len_cached``."""
    state: dict[str, Any] = {}
    for name, value in module.__dict__.items():
        if name.startswith("_") or name == "training":  # nn.Module's own, and what the loader marks
            continue
        if isinstance(value, Tensor) and value.numel() == 1 and not value.is_meta:
            value = value.item()
        if value is None or isinstance(value, (bool, int, float)):
            state[name] = value
    return state


def _difference(current: Tensor | None, value: Tensor) -> float | None:
    if current is None or current.is_meta or current.shape != value.shape:
        return None
    if same_bits(current, value):
        return 0.0
    wide = torch.complex128 if value.is_complex() else torch.float64
    size = (current.detach().cpu().to(wide) - value.cpu().to(wide)).abs().max()
    return float(size) if bool(size.isfinite()) else float("inf")
