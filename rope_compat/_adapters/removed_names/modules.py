"""Modules that stand for those that transformers has taken away as a whole."""

from __future__ import annotations

import functools
import importlib
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["standing_for"]


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
    """The module called `name`, with the names of `source`; one in a process."""
    module = _Standing(name, f"{name}, restored by rope_compat from {source}.")
    module.__spec__ = ModuleSpec(name, None, origin="rope_compat")
    module.__package__ = name.rpartition(".")[0]
    module._source = source
    return module
