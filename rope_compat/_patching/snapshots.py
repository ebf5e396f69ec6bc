"""What the modules of libraries held while nothing was patched, and whether they still hold it.

Most of a `patch()` with many modules loaded goes into looking at what has not changed since the last one.
A snapshot answers by comparing lists in C, without touching what is in them: a module that holds what it held
is not asked about again, and one that holds what it held before `patch()` has nothing to be moved back.

Snapshots keep what they have seen alive, so that identities stay comparable. They are for modules of
libraries, which are there for good, never for those of a program, which may hold large things for a while.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Set
from operator import is_
from types import ModuleType
from typing import TypeAlias
from weakref import ref

from .references import class_holdings, classes_of, name_of, namespace

__all__ = ["Places", "Snapshot", "Snapshots"]

#: Whether the module itself holds something, and which of its classes do.
Places: TypeAlias = tuple[bool, tuple[type, ...]]

_NOWHERE: Places = (False, ())


class Snapshot:
    """One module: its attributes, and those of the classes that it defines."""

    __slots__ = ("_classes", "_held", "_values", "module")

    def __init__(self, module: ModuleType, *, with_classes: bool) -> None:
        self.module = ref(module)
        self._held = namespace(module).values()
        self._values = list(self._held)
        self._classes = list(class_holdings(classes_of(module, self._values))) if with_classes else []

    def is_current(self) -> bool:
        """Whether every attribute is bound to what it was bound to."""
        try:
            if len(self._held) != len(self._values) or not all(map(is_, self._held, self._values)):
                return False
            # Lists of the same objects are equal without their elements being asked, which takes half the
            # time. In a module equal tables can be two; classes hold none.
            for _, held, values, _ in self._classes:
                if list(held) != values:
                    return False
        except Exception:
            # Something else stands there, and does not like to be compared.
            return False
        return True

    def places(self, wanted: Set[int]) -> Places:
        """Where the objects with these ids were: in the module itself, and in which of its classes."""
        classes = tuple(
            cls
            for cls, _, values, wrapped in self._classes
            if not (wanted.isdisjoint(map(id, values)) and wanted.isdisjoint(map(id, wrapped)))
        )
        return not wanted.isdisjoint(map(id, self._values)), classes


class Snapshots:
    """Snapshots of the modules of some packages. Take them only while nothing is patched."""

    def __init__(self, strangers: frozenset[str]) -> None:
        self._strangers = strangers
        self._known: dict[int, Snapshot] = {}
        self._wanted: frozenset[int] = frozenset()
        self._found: dict[Snapshot, Places] = {}

    def take(
        self, modules: Iterable[ModuleType], packages: Collection[str]
    ) -> list[tuple[str, ModuleType, Snapshot]]:
        """Of the modules in `packages`, which are returned, and of strangers.

        What is known and still true is kept.
        """
        known, now, taken = self._known, {}, []
        for module in modules:
            name = name_of(module)
            package = name.partition(".")[0]
            is_asked = package in packages
            if not is_asked and package not in self._strangers:
                continue
            found = known.get(id(module))
            if found is None or found.module() is not module or not found.is_current():
                found = Snapshot(module, with_classes=is_asked)
            now[id(module)] = found
            if is_asked:
                taken.append((name, module, found))
        self._known = now
        return taken

    def of(self, module: ModuleType) -> Snapshot | None:
        """The snapshot of a module, None where there is none."""
        found = self._known.get(id(module))
        return found if found is not None and found.module() is module else None

    def clear(self) -> None:
        """Forget everything."""
        self._known, self._found = {}, {}

    def places(
        self, wanted: Iterable[int], modules: Iterable[ModuleType]
    ) -> Iterator[tuple[ModuleType, Places | None]]:
        """Where in `modules` the objects were when the snapshots were taken; None for those without one."""
        ids = frozenset(wanted)
        if ids != self._wanted:
            self._wanted, self._found = ids, {}
        known, self._found = self._found, {}
        for module in modules:
            snapshot = self.of(module)
            if snapshot is None:
                yield module, None
                continue
            found = known.get(snapshot)
            self._found[snapshot] = found = snapshot.places(ids) if found is None else found
            if found != _NOWHERE:
                yield module, found

    def changed(self, modules: Iterable[ModuleType]) -> Iterator[ModuleType]:
        """Those of `modules` that hold something else than when their snapshot was taken, or have none."""
        for module in modules:
            snapshot = self.of(module)
            if snapshot is None or not snapshot.is_current():
                yield module
