"""The shims for ``trust_remote_code`` modules, which transformers imports in a way of its own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ..patching.edits import MISSING, Assign, Edit, Resolve, Rule
from ..patching.references import namespace
from .functions import FunctionRule, Options
from .selection import Selection
from .shim import Shim

__all__ = ["PREFIX", "SHIMS", "is_wanted", "rules"]

PREFIX = "transformers_modules."
_FAMILIES = ("apply_rotary_pos_emb", "apply_rotary_pos_emb_vision")

FUNCTIONS = tuple(
    Shim(
        name=f"remote-{family.replace('_', '-')}",
        kind="adapt",
        targets=(f"{PREFIX}*:{family}",),
        why="remote code carries copies of the function from many releases, and others call them",
        since="4.36.0",
        until=None,
        upstream="copies of src/transformers/models/*/modeling_*.py",
        helps="code that calls a rotary function of a remote-code model in another release's form",
    )
    for family in _FAMILIES
)

LOADER = Shim(
    name="remote-code-loader",
    kind="watch",
    targets=("transformers.dynamic_module_utils:get_class_in_module",),
    why="transformers executes a remote-code file without the import system, so import hooks do not see it",
    since="4.36.0",
    until=None,
    upstream="src/transformers/dynamic_module_utils.py, get_class_in_module",
    helps="the shims above",
)

SHIMS = (*FUNCTIONS, LOADER)


@dataclass(frozen=True, slots=True)
class LoaderRule:
    """Hands every remote-code module to `adapt` after transformers has executed it."""

    shim: Shim
    adapt: Callable[[ModuleType], None]
    options: Options

    @property
    def name(self) -> str:
        """The name of the shim."""
        return self.shim.name

    @property
    def packages(self) -> tuple[str, ...]:
        """Top-level packages of the modules."""
        return ("transformers",)

    def matches(self, module_name: str) -> bool:
        """Whether this is the module that loads remote code."""
        return module_name == "transformers.dynamic_module_utils"

    def propose(self, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        """Wrap `get_class_in_module`, once, whatever its signature."""
        target = self.shim.targets[0]
        loader = namespace(module).get("get_class_in_module", MISSING)
        if loader is MISSING or not is_wanted(self.options.selection):
            return
        key: Hashable = self.name
        make: Callable[[], object] = lambda: _watching(loader, self.adapt)  # noqa: E731 - typed for mypy
        yield Assign(
            target,
            module,
            "get_class_in_module",
            make,
            key,
            self.name,
            "remote code is seen when loaded",
            copies=True,
        )


def is_wanted(selection: Selection, families: tuple[str, ...] = ()) -> bool:
    """Whether `selection` covers one of the families, by default any, in some remote-code module."""
    return any(selection.selects(f"{PREFIX}any", family) for family in families or _FAMILIES)


def _watching(loader: Any, adapt: Callable[[ModuleType], None]) -> Callable[..., Any]:
    def get_class_in_module(*args: Any, **kwargs: Any) -> Any:
        found = loader(*args, **kwargs)
        for name, module in list(sys.modules.items()):
            if name.startswith(PREFIX) and isinstance(module, ModuleType):
                adapt(module)
        return found

    get_class_in_module.__signature__ = inspect.signature(loader)  # type: ignore[attr-defined]
    get_class_in_module.__doc__ = loader.__doc__
    return get_class_in_module


def rules(options: Options, adapt: Callable[[ModuleType], None]) -> list[Rule]:
    """The rules for remote code."""
    found: list[Rule] = [
        FunctionRule(shim, shim.targets[0].partition(":")[2], PREFIX, "", options) for shim in FUNCTIONS
    ]
    found.append(LoaderRule(LOADER, adapt, options))
    return found
