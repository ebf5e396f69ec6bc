"""The shim for what others put in place, after `patch()` too: a model is made of what is there by then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType
from typing import Any

from .._patching.edits import Assign, Edit, Resolve, Rule
from .._patching.references import namespace
from .._utils.disguise import dressed
from .dead_patch_modules import assignments
from .dead_patches import dead_attributes
from .options import Options
from .rule import ModuleRule, is_modeling
from .shim import Shim

__all__ = ["SHIMS", "rules"]

_MODELING = "transformers.modeling_utils"

PATCHES = Shim(
    name="other-patches",
    kind="watch",
    targets=(f"{_MODELING}:PreTrainedModel.__init__",),
    why=(
        "Liger, FastChat and others put functions and classes of their own in transformers' places, before "
        "patch() or after it: in call forms of other releases, or under names that nothing looks up any more"
    ),
    since="4.36.0",
    until=None,
    upstream="src/transformers/models/*/modeling_*.py at 4.36.0, 4.48.0, 4.53.0 and 5.0.0",
    helps="whoever combines patches: theirs are adapted when a model is made, and dead ones are told",
)

SHIMS = (PATCHES,)

Recheck = Callable[[list[ModuleType]], None]


def rules(options: Options, recheck: Recheck) -> list[Rule]:
    """The rules: look again when a model is made; tell of what was put in place in vain."""
    return [
        ModuleRule(PATCHES, _MODELING, partial(_watch, recheck)),
        ModuleRule(PATCHES, is_modeling, partial(_dead, options), lasting=True),
        ModuleRule(PATCHES, is_modeling, partial(assignments, options, PATCHES.name), lasting=True),
    ]


def _dead(options: Options, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
    for skip in dead_attributes(module, PATCHES.name, resolve):
        if options.selection.selects(*skip.target.split(":", 1)):
            yield skip


def _watch(recheck: Recheck, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
    owner = namespace(module).get("PreTrainedModel")
    if not isinstance(owner, type) or "__init__" not in vars(owner):
        return
    make = partial(_constructor, vars(owner)["__init__"], recheck)
    detail = "what others have put in place by then is seen"
    yield Assign(PATCHES.targets[0], owner, "__init__", make, PATCHES.name, PATCHES.name, detail)


def _constructor(native: Callable[..., None], recheck: Recheck) -> Callable[..., Any]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        # Models call it first, before they make their layers.
        homes = dict.fromkeys(cls.__module__ for cls in type(self).__mro__)
        modules = [sys.modules.get(home) for home in homes if ".modeling_" in home]
        recheck([module for module in modules if module is not None])
        native(self, *args, **kwargs)

    return dressed(__init__, native)
