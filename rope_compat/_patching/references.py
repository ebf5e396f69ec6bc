"""Find and move the references that modules and classes hold to given objects.

``from module import name`` copies a reference, so replacing the attribute of the module
alone leaves the copies behind. Module attributes and class attributes are searched, by
identity; closures, containers and instances are not.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, ValuesView
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

__all__ = [
    "Moved",
    "Moves",
    "class_holdings",
    "classes_of",
    "closed_over",
    "loaded_modules",
    "move_in_class",
    "move_references",
    "name_of",
    "namespace",
    "own_classes",
]

#: ``id(before)`` to ``(before, after)``.
Moves: TypeAlias = Mapping[int, tuple[object, object]]

#: Under this name a holder of a replacement remembers the holder that it stands for.
_STANDS_FOR = "__stands_for__"

#: Types of most class attributes, which are not looked into.
_HOLD_NOTHING = frozenset(
    {
        bool, dict, float, frozenset, int, list, property, set, str, tuple, type(None),
        types.BuiltinFunctionType, types.ClassMethodDescriptorType, types.FunctionType,
        types.GetSetDescriptorType, types.MemberDescriptorType, types.MethodDescriptorType, types.ModuleType,
        types.WrapperDescriptorType,
    }
)  # fmt: skip

_namespace: Callable[[ModuleType], dict[str, Any]] = vars(ModuleType)["__dict__"].__get__


class Moved(NamedTuple):
    """A reference that was moved, in a module or a class."""

    owner: object
    place: str
    before: object
    after: object


def namespace(module: ModuleType) -> dict[str, Any]:
    """The module's attributes, without waking a lazy module."""
    return _namespace(module)


def name_of(module: ModuleType) -> str:
    """The module's name, without waking a lazy module; empty where it has none."""
    name = namespace(module).get("__name__")
    return name if isinstance(name, str) else ""


def loaded_modules(names: Iterable[str] | None = None) -> list[ModuleType]:
    """A snapshot of the modules that are loaded; given `names`, of those that are loaded of these."""
    found = list(sys.modules.values()) if names is None else map(sys.modules.get, names)
    return [module for module in found if module is not None and issubclass(type(module), ModuleType)]


def own_classes(module: ModuleType) -> list[tuple[str, type[Any]]]:
    """The classes that a module defines, by their names in it."""
    home = name_of(module)
    return [
        (name, value)
        for name, value in list(namespace(module).items())
        if isinstance(value, type) and value.__module__ == home
    ]


def closed_over(function: object) -> list[Any]:
    """What a function holds in its closure; cells that are not filled yet are left out."""
    values = []
    for cell in getattr(function, "__closure__", None) or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:
            continue
    return values


def move_references(
    moves: Moves,
    modules: Iterable[ModuleType],
    *,
    classes: bool = True,
    strangers: frozenset[str] = frozenset(),
) -> Iterator[Moved]:
    """Rebind every attribute that holds an object of `moves` to the object's successor.

    Searches the modules and, unless `classes` is false, the classes that they define. A
    `staticmethod` or `classmethod` around an object counts as the object. Classes in packages of
    `strangers` are passed over.
    """
    if not moves:
        return
    wanted = moves.keys()
    for module in modules:
        attributes = namespace(module)
        values = list(attributes.values())
        if not wanted.isdisjoint(map(id, values)):
            for name, value in attributes.copy().items():
                if id(value) in wanted:
                    after = moves[id(value)][1]
                    attributes[name] = after
                    yield Moved(module, f"{name_of(module)}:{name}", value, after)
        if not classes or name_of(module).partition(".")[0] in strangers:
            continue
        for cls in classes_of(module, values):
            if _may_hold(list(vars(cls).values()), wanted):
                yield from move_in_class(cls, moves, set())


def classes_of(module: ModuleType, values: Iterable[object]) -> list[type[Any]]:
    """Those of a module's values that are classes which it defines."""
    home = namespace(module).get("__name__")
    classes: Iterable[Any] = (value for value in values if issubclass(type(value), type))
    return [each for each in classes if getattr(each, "__module__", None) == home]


def class_holdings(
    classes: Iterable[type[Any]],
) -> Iterator[tuple[type[Any], ValuesView[Any], list[object], list[object]]]:
    """Classes, and the classes in them, with what they hold: live, by now, and what is in wrappers."""
    waiting, seen = list(classes), set()
    while waiting:
        cls = waiting.pop()
        seen.add(id(cls))
        held = vars(cls).values()
        values, wrapped = list(held), []
        if not _HOLD_NOTHING.issuperset(map(type, values)):
            for value in values:
                kind = type(value)
                if kind is staticmethod or kind is classmethod:
                    wrapped.append(value.__func__)
                elif (
                    issubclass(kind, type)
                    and id(value) not in seen
                    and getattr(value, "__module__", None) == cls.__module__
                ):
                    waiting.append(value)
        yield cls, held, values, wrapped


def _may_hold(values: list[object], wanted: KeysView[int]) -> bool:
    """Whether a class with these attributes is worth a look. In C for most: there are ten thousands."""
    if not wanted.isdisjoint(map(id, values)):
        return True
    return not _HOLD_NOTHING.issuperset(map(type, values)) and any(
        kind is staticmethod or kind is classmethod or issubclass(kind, type) for kind in map(type, values)
    )


def move_in_class(owner: type, moves: Moves, seen: set[int]) -> Iterator[Moved]:
    """The same for one class and the classes in it; `seen` holds the ids of those already visited."""
    seen.add(id(owner))
    for name, value in vars(owner).copy().items():
        kind = type(value)
        held = value.__func__ if kind is staticmethod or kind is classmethod else value
        if id(held) in moves:
            after = moves[id(held)][1]
            bound = after if held is value else _hold(value, after)
            if _set(owner, name, bound):
                yield Moved(owner, f"{owner.__module__}:{owner.__qualname__}.{name}", value, bound)
        elif issubclass(kind, type) and value.__module__ == owner.__module__ and id(value) not in seen:
            yield from move_in_class(value, moves, seen)


def _hold(holder: Any, held: object) -> object:
    """A `staticmethod` or `classmethod` around `held`; the very first one, once it holds that again."""
    first = vars(holder).get(_STANDS_FOR, holder)
    if first.__func__ is held:
        return first
    successor = type(holder)(held)
    setattr(successor, _STANDS_FOR, first)
    return successor


def _set(owner: type, name: str, value: object) -> bool:
    try:
        setattr(owner, name, value)
    except Exception:
        # A class that does not let its attributes be set keeps what it has; its metaclass may raise anything.
        return False
    return True
