"""What a module of transformers answers when it is asked for a name that it does not have.

A name of the table gives what stands for it. Any other gives the `AttributeError` that it always gave, so
that `hasattr` and `getattr` with a default say what they said; a ``from ... import`` of a name that some
release had fails with the reason. Costs nothing until a name is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

from ..._patching.edits import MISSING
from ..._patching.references import name_of, namespace

__all__ = [
    "Answers",
    "is_import_statement",
    "is_importing_name",
    "lazy_getattr",
    "module_getattr",
    "native_of",
]

Getattr = Callable[..., Any]
Selects = Callable[[str, str], bool]

#: Under this name a function that is made here remembers the one that it stands for.
_NATIVE = "__stands_for__"


class Answers:
    """What is given for names that are gone; each object is built once, so that its identity holds."""

    def __init__(self, release: str | None, written_for: str | None, selects: Selects) -> None:
        self._release = release
        self._written_for = written_for
        self._selects = selects
        self._built: dict[tuple[str, str], Any] = {}

    def find(self, module: str, name: str) -> Any:
        """The object that stands for ``module:name``; `MISSING` where there is none."""
        key = (module, name)
        if key not in self._built:
            from .lookup import build, record_of

            record = record_of(module, name, self._release)
            if record is None or not record.restored or not self._selects(module, name):
                return MISSING
            value = build(record, module, name, self._written_for)
            if value is MISSING:
                return MISSING
            self._built.setdefault(key, value)
        return self._built[key]

    def explain(self, module: ModuleType, name: str) -> None:
        """Raise `RemovedNameError` where some release had the name; otherwise do nothing."""
        from ...errors import RemovedNameError
        from .history import what_happened
        from .lookup import record_of

        place = name_of(module)
        happened = what_happened(place, name, self._release)
        if not happened:
            return
        record = record_of(place, name, self._release)
        advice = f"; {record.instead}" if record is not None and record.instead else ""
        path = namespace(module).get("__file__")
        where = f" ({path})" if isinstance(path, str) else ""
        raise RemovedNameError(
            f"cannot import name {name!r} from {place!r}{where}: {happened}{advice}",
            name=place,
            path=path if isinstance(path, str) else None,
        )

    def explain_module(self, name: str) -> None:
        """Raise `RemovedModuleError` where some release had the module; otherwise do nothing."""
        from ...errors import RemovedModuleError
        from .history import what_happened

        happened = what_happened(name, "", self._release)
        if happened:
            raise RemovedModuleError(f"No module named {name!r}: {happened}", name=name)


def module_getattr(module: ModuleType, native: Getattr | None, answers: Answers) -> Getattr:
    """The ``__getattr__`` of an ordinary module; `native` is the one that it has of its own."""

    def __getattr__(name: str) -> Any:  # noqa: N807
        if native is not None:
            try:
                return native(name)
            except AttributeError:
                if name.startswith("__"):
                    raise
        if name.startswith("__"):
            raise _no_attribute(module, name)
        return _answer(module, name, answers, sys._getframe(1))

    return _marked(__getattr__, native)


def lazy_getattr(native: Getattr, answers: Answers) -> Getattr:
    """The ``__getattr__`` of the class of transformers' lazy modules."""

    def __getattr__(self: ModuleType, name: str) -> Any:  # noqa: N807
        try:
            return native(self, name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return _answer(self, name, answers, sys._getframe(1))

    return _marked(__getattr__, native)


def native_of(function: Any) -> Getattr | None:
    """The function behind one that was made here; any other is its own. None stays None."""
    native: Getattr | None = getattr(function, _NATIVE, function)
    return native


def _marked(function: Any, native: Getattr | None) -> Getattr:
    setattr(function, _NATIVE, native)
    marked: Getattr = function
    return marked


def _answer(module: ModuleType, name: str, answers: Answers, caller: FrameType) -> Any:
    place = name_of(module)
    value = answers.find(place, name)
    if value is not MISSING:
        return value
    # A submodule that is still being imported is found by the import statement itself.
    if is_importing_name(caller) and f"{place}.{name}" not in sys.modules:
        answers.explain(module, name)
    raise _no_attribute(module, name)


def _no_attribute(module: ModuleType, name: str) -> AttributeError:
    # The words that Python has for it.
    return AttributeError(f"module {name_of(module)!r} has no attribute {name!r}", name=name, obj=module)


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
