"""Tensors that a module keeps as plain attributes, which no loader knows of."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

__all__ = ["restore_unregistered"]

#: What `nn.Module` itself keeps in an instance.
_INTERNAL = frozenset(nn.Module().__dict__)


def restore_unregistered(module: nn.Module, source: nn.Module) -> list[str]:
    """Give attributes of `module` that hold tensors on meta the values of `source`; return their names.

    Looks into lists, tuples and dicts.
    """
    names = []
    for name, value in list(module.__dict__.items()):
        if name in _INTERNAL or not _has_meta(value):
            continue
        if name in source.__dict__ and not _has_meta(source.__dict__[name]):
            module.__dict__[name] = source.__dict__[name]
            names.append(name)
    return names


def _has_meta(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_meta and not isinstance(value, nn.Parameter)
    if isinstance(value, dict):
        return any(_has_meta(item) for item in value.values())
    return isinstance(value, (list, tuple)) and any(_has_meta(item) for item in value)
