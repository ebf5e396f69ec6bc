"""Remember the buffers of a model, and put them back where something else stands now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Remembered", "buffers_not_saved", "put_back", "remember", "same_bits", "submodule"]


@dataclass(frozen=True)
class Remembered:
    """One buffer with the value that the constructor gave it.

    ``name`` is the path in the model, for people; ``module`` and ``attribute`` are where it belongs.
    """

    name: str
    module: nn.Module
    attribute: str
    value: Tensor


def buffers_not_saved(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """(path, module, attribute, buffer) of each buffer that no checkpoint holds, under every name it has."""
    for path, module in model.named_modules():
        for attribute in sorted(module._non_persistent_buffers_set):
            buffer = module._buffers.get(attribute)
            if buffer is not None:
                yield f"{path}.{attribute}".lstrip("."), module, attribute, buffer


def remember(model: nn.Module, missing: frozenset[str] = frozenset()) -> list[Remembered]:
    """The buffers with values that loading does not bring: those never saved, and the `missing` saved ones.

    Buffers on meta have no value and are left out.
    """
    found = [Remembered(*entry) for entry in buffers_not_saved(model) if not entry[3].is_meta]
    for name in sorted(missing):
        path, _, attribute = name.rpartition(".")
        module = submodule(model, path)
        buffer = module._buffers.get(attribute) if module is not None else None
        if module is None or buffer is None or buffer.is_meta:
            continue
        if attribute not in module._non_persistent_buffers_set:
            found.append(Remembered(name, module, attribute, buffer))
    return found


def put_back(
    remembered: list[Remembered], *, keep_dtype: bool = False, compare: bool = True
) -> list[Remembered]:
    """Give each buffer its value, on the device where the buffer is now; return those that were wrong.

    One tensor under several names stays one. A value that is right already is not touched; without
    `compare`, where a loader is known to have overwritten all, that is not looked for. With `keep_dtype` the
    buffer keeps the dtype that it has now, otherwise it gets the constructor's.
    """
    moved: dict[tuple[int, torch.device, torch.dtype], Tensor] = {}
    wrong = []
    for entry in remembered:
        current = entry.module._buffers.get(entry.attribute)
        device = entry.value.device if current is None or current.is_meta else current.device
        dtype = current.dtype if keep_dtype and current is not None else entry.value.dtype
        key = (id(entry.value), device, dtype)
        if key not in moved:
            moved[key] = entry.value.to(device=device, dtype=dtype)
        value = moved[key]
        if compare and current is not None and same_bits(current, value):
            continue
        entry.module._buffers[entry.attribute] = value
        wrong.append(entry)
    return wrong


def submodule(model: nn.Module, path: str) -> nn.Module | None:
    """The module at a path of the model, None where there is none."""
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Equal in shape, dtype, device and value; NaN equals NaN in the same place."""
    if first is second:
        return True
    if (first.shape, first.dtype, first.device) != (
        second.shape,
        second.dtype,
        second.device,
    ) or first.is_meta:
        return False
    same: Any = (first == second) | ((first != first) & (second != second))
    return bool(same.all())
