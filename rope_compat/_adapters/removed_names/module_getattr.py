"""What a module of transformers answers when it is asked for a name that it does not have.

A name of the table gives what stands for it. Any other gives the `AttributeError` that it always gave, so
that `hasattr` and `getattr` with a default say what they said; a ``from ... import`` of a name that some
release had fails with the reason. Costs nothing until a name is missing.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any

from ..._patching.edits import MISSING
from ..._patching.references import name_of, namespace
from .lookup import RemovedNames

__all__ = ["is_import_statement", "is_importing_name", "lazy_getattr", "module_getattr", "standing_for"]

Getattr = Callable[..., Any]

#: Under this name a function that is made here remembers the one that it stands for.
_NATIVE = "__stands_for__"


def module_getattr(module: ModuleType, names: RemovedNames) -> Getattr:
    """The ``__getattr__`` of an ordinary module, which may have one of its own."""
    native = _native_of(namespace(module).get("__getattr__"))

    def __getattr__(name: str) -> Any:  # noqa: N807
        if native is not None:
            try:
                return native(name)
            except AttributeError:
                if name.startswith("__"):
                    raise
        return _answer(module, name, names, sys._getframe(1))

    setattr(__getattr__, _NATIVE, native)
    return __getattr__


def lazy_getattr(lazy: type, names: RemovedNames) -> Getattr:
    """The ``__getattr__`` of the class of lazy modules: transformers itself, and its packages."""
    native: Any = _native_of(vars(lazy)["__getattr__"])

    def __getattr__(self: ModuleType, name: str) -> Any:  # noqa: N807
        try:
            return native(self, name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return _answer(self, name, names, sys._getframe(1))

    setattr(__getattr__, _NATIVE, native)
    return __getattr__


def _native_of(function: Any) -> Any:
    """The library's own: a nested patch() finds the function of the outer one."""
    return getattr(function, _NATIVE, function)


def _answer(module: ModuleType, name: str, names: RemovedNames, caller: FrameType) -> Any:
    place = name_of(module)
    if not name.startswith("__"):
        value = names.find(place, name)
        if value is not MISSING:
            return value
        # A submodule that is still being imported is found by the import statement itself.
        if is_importing_name(caller) and f"{place}.{name}" not in sys.modules:
            names.explain(module, name)
    # The words that Python has for it.
    raise AttributeError(f"module {place!r} has no attribute {name!r}", name=name, obj=module)


def is_importing_name(frame: FrameType) -> bool:
    """Whether a frame is at a ``from ... import`` statement: only there an ImportError is expected."""
    import dis

    code = frame.f_code.co_code
    return 0 <= frame.f_lasti < len(code) and code[frame.f_lasti] == dis.opmap["IMPORT_FROM"]


def is_import_statement() -> bool:
    """Whether the import system wants to import, and not only to know whether it could."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        where, what = frame.f_code.co_filename, frame.f_code.co_name
        if where == "<frozen importlib._bootstrap>" and what == "_find_and_load_unlocked":
            return True
        if what == "find_spec" and where.endswith(("importlib/util.py", "importlib\\util.py")):
            return False
        if where == "<frozen importlib.util>" and what == "find_spec":
            return False
        frame = frame.f_back
    return False


class _Standing(ModuleType):
    """Gives the names of another module, which is imported when the first one is asked for."""

    _source: str

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            source = importlib.import_module(self._source)
            if name in vars(source).get("__all__", vars(source)):
                return getattr(source, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}", name=name, obj=self)

    def __dir__(self) -> list[str]:
        source = vars(importlib.import_module(self._source))
        return sorted(source.get("__all__", source))


@functools.cache
def standing_for(name: str, source: str) -> ModuleType:
    """A module that transformers has taken away as a whole, with the names of `source`; one in a process."""
    module = _Standing(name, f"{name}, restored by rope_compat from {source}.")
    module.__spec__ = ModuleSpec(name, None, origin="rope_compat")
    module.__package__ = name.rpartition(".")[0]
    module._source = source
    return module
