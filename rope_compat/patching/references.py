"""Find and move the references that modules and classes hold to given objects.

``from module import name`` copies a reference, so replacing the attribute of the module
alone leaves the copies behind. Module attributes and class attributes are searched, by
identity; closures, containers and instances are not.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple

__all__ = ["Moved", "loaded_modules", "move_references", "namespace"]

_namespace = ModuleType.__dict__["__dict__"].__get__


class Moved(NamedTuple):
    """A reference that was moved."""

    place: str
    before: object
    after: object


def namespace(module: ModuleType) -> dict[str, Any]:
    """The module's attributes, without waking a lazy module."""
    found: dict[str, Any] = _namespace(module)
    return found


def loaded_modules() -> list[ModuleType]:
    """A snapshot of the modules that are loaded."""
    return [module for module in list(sys.modules.values()) if issubclass(type(module), ModuleType)]


def move_references(
    moves: Mapping[int, tuple[object, object]], modules: Iterable[ModuleType]
) -> Iterator[Moved]:
    """Rebind every attribute that holds an object of `moves` to the object's successor.

    `moves` maps ``id(before)`` to ``(before, after)``. A `staticmethod` or `classmethod`
    around an object counts as the object.
    """
    if not moves:
        return
    wanted = moves.keys()
    for module in modules:
        attributes = namespace(module)
        values = list(attributes.values())
        if not wanted.isdisjoint(map(id, values)):
            for name, value in list(attributes.items()):
                if id(value) in wanted:
                    after = moves[id(value)][1]
                    attributes[name] = after
                    yield Moved(f"{module.__name__}:{name}", value, after)
        name = attributes.get("__name__")
        for value in values:
            if issubclass(type(value), type) and getattr(value, "__module__", None) == name:
                yield from _in_class(value, moves, set())


def _in_class(owner: type, moves: Mapping[int, tuple[object, object]], seen: set[type]) -> Iterator[Moved]:
    seen.add(owner)
    attributes = vars(owner)
    values = list(attributes.values())
    # One pass in C over the usual class, which holds nothing of interest: there are ten thousands of them.
    kinds = set(map(type, values))
    if moves.keys().isdisjoint(map(id, values)) and not any(
        kind is staticmethod or kind is classmethod or issubclass(kind, type) for kind in kinds
    ):
        return
    for name, value in list(attributes.items()):
        kind = type(value)
        held = value.__func__ if kind is staticmethod or kind is classmethod else value
        if id(held) in moves:
            after = moves[id(held)][1]
            bound = kind(after) if held is not value else after
            try:
                setattr(owner, name, bound)
            except (AttributeError, TypeError):
                # A class that does not let its attributes be set keeps what it has.
                continue
            yield Moved(f"{owner.__module__}:{owner.__qualname__}.{name}", value, bound)
        elif issubclass(type(value), type) and value.__module__ == owner.__module__ and value not in seen:
            yield from _in_class(value, moves, seen)
