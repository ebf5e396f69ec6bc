"""Whether a module holds what it held: the cheap question before its rules are asked again."""

from __future__ import annotations

from types import ModuleType

from .references import name_of, namespace

__all__ = ["fingerprint"]


def fingerprint(module: ModuleType) -> int:
    """Changes when a name of the module, or an attribute of a class that it defines, is rebound."""
    values = list(namespace(module).values())
    home, ids = name_of(module), list(map(id, values))
    for value in values:
        if issubclass(type(value), type) and getattr(value, "__module__", None) == home:
            ids.extend(map(id, list(vars(value).values())))
    return hash(tuple(ids))
