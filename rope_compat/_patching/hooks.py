"""Call back when a module whose name matches has been executed, also when it is reloaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["ImportHook"]

Fresh = Callable[[], list[str]]
Ready = Callable[[ModuleType, Fresh], None]
Absent = Callable[[str], None]


class ImportHook:
    """A finder that finds nothing itself: it asks the others and watches the execution.

    `wants(name)` is asked for every import and must be cheap. `ready(module, fresh)` is
    called after the module's code has run, under the module's import lock; ``fresh()`` names
    the modules that were imported meanwhile. The module keeps its own loader: nothing of
    the hook can be seen on it. ``absent(name)`` is told of a module that no finder finds, and may raise what
    the import is to fail with.
    """

    def __init__(
        self, wants: Callable[[str], bool], ready: Ready, absent: Absent = lambda name: None
    ) -> None:
        self._wants = wants
        self._ready = ready
        self._absent = absent

    def install(self) -> None:
        """Start watching; nothing happens if it is watching already."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Stop watching."""
        if self in sys.meta_path:
            # A new list: a thread that walks the old one would skip a finder if its elements moved up.
            sys.meta_path = [finder for finder in sys.meta_path if finder is not self]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders find, with a loader that calls back; None for unmatched names."""
        if not self._wants(fullname):
            return None
        finders = list(sys.meta_path)
        # Those before this one have been asked; another hook among them would ask this one again.
        for finder in finders[finders.index(self) + 1 :] if self in finders else finders:
            find = getattr(finder, "find_spec", None)
            if find is None:
                continue
            spec: ModuleSpec | None = find(fullname, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    # Not a subclass of importlib.abc.Loader: that module takes ten milliseconds to import.
                    spec.loader = _WatchingLoader(spec.loader, self._ready)  # type: ignore[assignment]
                return spec
        self._absent(fullname)
        return None


class _WatchingLoader:
    def __init__(self, loader: Any, ready: Ready) -> None:
        self._loader = loader
        self._ready = ready

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":
            raise AttributeError(name)
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        # The module must show the loader that it would have had, also while its code runs.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        # Not a set of all names: there are thousands, and hundreds of imports that are watched.
        count, last = len(sys.modules), next(reversed(sys.modules), "")
        self._loader.exec_module(module)
        self._ready(module, partial(_names_after, last, count))


def _names_after(last: str, count: int) -> list[str]:
    """The names of modules that came after `last`, which was the last of `count`.

    All names where it has gone from its place meanwhile.
    """
    names = list(sys.modules)
    place = names.index(last) + 1 if last in names else count + 1
    return names[place:] if place <= count else names
