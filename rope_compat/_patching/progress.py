"""Modules that some thread is importing at this moment."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from .references import namespace

__all__ = ["is_initializing", "names_in_progress", "wait_for"]

# Private, the same from Python 3.10 to 3.14: there is no public way to ask what is being imported.
# Without them, imports that another thread has begun are not waited for.
_bootstrap: Any = getattr(importlib, "_bootstrap", None)
_module_locks: Mapping[str, object] = getattr(_bootstrap, "_module_locks", {})
_lock_unlock_module: Callable[[str], None] | None = getattr(_bootstrap, "_lock_unlock_module", None)


def is_initializing(module: ModuleType) -> bool:
    """Whether the module's code is still running."""
    return bool(getattr(namespace(module).get("__spec__"), "_initializing", False))


def names_in_progress() -> set[str]:
    """Modules that are being looked for or executed, also those not in `sys.modules` yet."""
    return set(_module_locks)


def wait_for(name: str) -> None:
    """Wait until no other thread imports the module; at once where that thread waits for this one."""
    if _lock_unlock_module is not None:
        _lock_unlock_module(name)
