"""The shims for ``trust_remote_code`` modules, which transformers imports in a way of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType
from typing import Any

from .._patching.edits import MISSING, Assign, Edit, Resolve, Rule
from .._patching.references import namespace
from .._utils.disguise import dressed
from .functions import FunctionRule
from .options import Options
from .rule import ModuleRule
from .selection import Selection
from .shim import Shim

__all__ = ["PREFIX", "SHIMS", "is_wanted", "rules"]

PREFIX = "transformers_modules."
_FAMILIES = (
    "apply_rotary_pos_emb",
    "apply_rotary_pos_emb_vision",
    "apply_rotary_pos_emb_interleave",
    "apply_multimodal_rotary_pos_emb",
)

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


def _loader(options: Options, adapt: Callable[[ModuleType], None]) -> ModuleRule:
    """Hands every remote-code module to `adapt` after transformers has executed it."""
    target, rule, attribute = LOADER.targets[0], LOADER.name, "get_class_in_module"

    def edits(module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        loader = namespace(module).get(attribute, MISSING)
        if loader is MISSING or not is_wanted(options.selection):
            return
        make = partial(_watching, loader, adapt)
        detail = "remote code is seen when loaded"
        yield Assign(target, module, attribute, make, rule, rule, detail, copies=True)

    return ModuleRule(LOADER, "transformers.dynamic_module_utils", edits)


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

    return dressed(get_class_in_module, loader)


def rules(options: Options, adapt: Callable[[ModuleType], None]) -> list[Rule]:
    """The rules for remote code."""
    return [FunctionRule.of("remote-code", FUNCTIONS, PREFIX, "", options), _loader(options, adapt)]
