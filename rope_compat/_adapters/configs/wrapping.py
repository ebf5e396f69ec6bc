"""Small things that the functions in transformers' places share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..._utils import disguise as dressing

__all__ = ["MARK", "dressed", "is_ours", "is_under_construction", "under_construction"]

#: Attribute of everything that rope_compat puts on a configuration class.
MARK = "__rope_compat_config__"

#: Configurations that a constructor is at work on, by id. A plain set: compilers follow a look at it.
_building: set[int] = set()


def dressed(function: Callable[..., Any], original: Any) -> Callable[..., Any]:
    """`function` as `rope_compat._utils.disguise` dresses it, and marked with what it stands for."""
    setattr(function, MARK, original)
    return dressing.dressed(function, original)


def is_ours(value: Any) -> bool:
    """Whether rope_compat put a function or a property there."""
    function = getattr(value, "fget", None) or getattr(value, "__func__", value)
    return hasattr(function, MARK)


@contextmanager
def under_construction(config: Any) -> Iterator[None]:
    """While it lasts, fields of `config` are stored as they are given: its constructor is at work."""
    if id(config) in _building:
        yield
        return
    _building.add(id(config))
    try:
        yield
    finally:
        _building.discard(id(config))


def is_under_construction(config: Any) -> bool:
    """Whether a constructor is at work on `config`."""
    return bool(_building) and id(config) in _building
