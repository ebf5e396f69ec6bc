"""Import the modules of transformers that have targets, with something to look at meanwhile."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from rope_compat._api import SHIMS
from rope_compat._cli.progress import watched
from rope_compat._cli.source import Found
from rope_compat._environment.model import Environment
from rope_compat._report.words import counted
from rope_compat._rules.selection import Selection
from rope_compat._rules.x_transformers import MODULE as X_TRANSFORMERS
from rope_compat._utils.imports import quiet, reason_of

__all__ = ["Imported", "choose", "import_modules", "import_x_transformers"]


class Imported(NamedTuple):
    """The modules that could be imported, by name, and those that could not, with the reason."""

    modules: dict[str, ModuleType]
    failed: tuple[tuple[str, str], ...]


def choose(found: Found, package: str, selection: Selection | None = None) -> list[str]:
    """The modules to import: those that define a function, and those in which a shim would restore one.

    ``package`` is the directory of transformers; ``selection`` narrows as for `rope_compat.patch`.
    """
    wanted = selection or Selection(None)
    restored = [
        (module, name)
        for shim in SHIMS
        for module, _, name in (target.partition(":") for target in shim.targets)
        if shim.kind == "restore" and _exists(module, package)
    ]
    return sorted({module for module, name in [*found, *restored] if wanted.selects(module, name)})


def import_modules(names: Sequence[str], about: str) -> Imported:
    """Import modules one by one; whatever one of them raises is its reason, and the next one's turn comes.

    ``about`` names the whole for the progress display, which goes to standard error.
    """
    modules: dict[str, ModuleType] = {}
    failed: list[tuple[str, str]] = []
    with watched(names, f"importing {counted(len(names), 'module')} of {about}") as counting, quiet():
        for name in counting:
            try:
                modules[name] = import_module(name)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                # Also SystemExit: whatever a module does instead of being imported is a finding.
                if "transformers" not in sys.modules:
                    # The package itself fails, and would for each of its modules.
                    failed.append(("transformers", reason_of(error)))
                    break
                failed.append((name, reason_of(error)))
    return Imported(modules, tuple(failed))


def import_x_transformers(environment: Environment) -> None:
    """Import the one module of x-transformers that has targets, where it is installed."""
    found = environment.x_transformers
    if found.present:
        import_modules([X_TRANSFORMERS], about=f"x-transformers {found.version}")


def _exists(module: str, package: str) -> bool:
    return os.path.isfile(os.path.join(package, *module.split(".")[1:]) + ".py")
