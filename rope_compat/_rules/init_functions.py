"""The shims for ``ROPE_INIT_FUNCTIONS`` and its neighbours in ``transformers.modeling_rope_utils``.

Releases before 4.43.0 have no such module, and none is made up: their rotary classes take numbers, not
configs. What the shims do is in `init_edits`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from .._facts.rope_types import MODELING, OF_CLASS, ROPE_TYPES, TABLE, UPDATE_NAME, UTILS
from .._patching.edits import Edit, Resolve, Rule
from .options import Options
from .rule import ModuleRule, is_modeling
from .shim import Shim

__all__ = ["ADDED", "SHIMS", "rules"]

#: Types that a table has only while rope_compat is on. Modules of transformers compute them through it.
ADDED = frozenset(name for name, each in ROPE_TYPES.items() if each.since != "4.43.0")

#: The library's functions that every release from 4.43.0 on has.
_ALWAYS = [each.function for each in ROPE_TYPES.values() if each.since == "4.43.0" and each.until is None]
_DEFAULT, _PROPORTIONAL = (ROPE_TYPES[name].function for name in ("default", "proportional"))

FUNCTIONS = Shim(
    name="rope-init-functions",
    kind="adapt",
    targets=(*(f"{UTILS}:{name}" for name in _ALWAYS), f"{UTILS}:{TABLE}"),
    why=(
        "the functions took dim=, base= and so on instead of a config up to 4.53.3, and take layer_type= "
        "from 5.0.0 on; they read rope_theta and rope_scaling up to 4.57.6, rope_parameters since"
    ),
    since="4.43.0",
    until=None,
    upstream="src/transformers/modeling_rope_utils.py at 4.54.0 and 5.0.0",
    helps="rotary classes of custom code that look their frequencies up in ROPE_INIT_FUNCTIONS",
)

DEFAULT = Shim(
    name="restore-default-rope-init",
    kind="restore",
    targets=(f"{UTILS}:{_DEFAULT}",),
    why="ROPE_INIT_FUNCTIONS[\"default\"] and its function are gone from 5.0.0 on: KeyError: 'default'",
    since="5.0.0",
    until=None,
    upstream="src/transformers/modeling_rope_utils.py at 5.0.0",
    helps="custom code written for 4.43 to 4.57, whose unscaled models look up the default type",
)

NATIVE_TABLE = Shim(
    name="native-rope-init-table",
    kind="guard",
    targets=(f"{MODELING}:{TABLE}",),
    why=(
        "modeling_utils merges ROPE_INIT_FUNCTIONS over each module's own compute_default_rope_parameters "
        "from 5.17.0 on: a restored default in it would override these"
    ),
    since="5.0.0",
    until=None,
    upstream="src/transformers/modeling_utils.py, PreTrainedModel._init_weights at 5.17.0",
    helps="restore-default-rope-init: transformers' own modules compute what they always did",
)

UPDATE = Shim(
    name="dynamic-rope-update",
    kind="adapt",
    targets=(f"{UTILS}:{UPDATE_NAME}",),
    why=(
        "the decorator calls the module's rope_init_fn up to 4.57.6, looks in ROPE_INIT_FUNCTIONS from 5.0.0 "
        "on, and gives a short text after a long one stale frequencies from 5.0.0 to 5.12.1"
    ),
    since="4.51.0",
    until=None,
    upstream="src/transformers/modeling_rope_utils.py at 4.51.0, 5.0.0 and 5.13.0",
    helps="rotary classes of custom code that are decorated with it",
)

UPDATE_EARLY = Shim(
    name="early-dynamic-rope-update",
    kind="restore",
    targets=(f"{UTILS}:{UPDATE_NAME}",),
    why="the decorator came with 4.51.0: custom code for newer releases cannot import it before",
    since="4.43.0",
    until="4.50.3",
    upstream="src/transformers/modeling_rope_utils.py at 4.51.0",
    helps="rotary classes of custom code written for 4.51 and later",
)

PARAMETERS_EARLY = Shim(
    name="early-rope-parameters",
    kind="restore",
    targets=(f"{UTILS}:RopeParameters",),
    why="the type came with 5.0.0: configs written for 5.x name it in annotations",
    since="4.43.0",
    until="4.57.6",
    upstream="src/transformers/modeling_rope_utils.py at 5.0.0",
    helps="config classes of custom code written for 5.x",
)

PROPORTIONAL_EARLY = Shim(
    name="early-proportional-rope",
    kind="restore",
    targets=(f"{UTILS}:{_PROPORTIONAL}",),
    why='the type "proportional" came with 5.5.0',
    since="4.43.0",
    until="5.4.0",
    upstream="src/transformers/modeling_rope_utils.py at 5.5.0",
    helps="custom code in the style of Gemma 4",
)

VALIDATION = Shim(
    name="rope-config-validation",
    kind="adapt",
    targets=(f"{UTILS}:rope_config_validation",),
    why="ignore_keys= came with 4.45.2",
    since="4.43.0",
    until="4.45.1",
    upstream="src/transformers/modeling_rope_utils.py at 4.45.2",
    helps="config classes of custom code written for 4.45.2 to 4.57.6",
)

OF_CLASSES_EARLY = Shim(
    name="early-compute-default-rope-parameters",
    kind="restore",
    targets=(f"transformers.models.*:*RotaryEmbedding.{OF_CLASS}",),
    why="rotary classes compute their default frequencies themselves from 5.0.0 on, and look them up before",
    since="4.43.0",
    until="4.57.6",
    upstream="src/transformers/models/*/modeling_*.py at 5.0.0",
    helps="custom code written for 5.x that calls a transformers class's function",
)

CUSTOM_ROTARY = Shim(
    name="custom-rotary-init",
    kind="guard",
    targets=(f"{MODELING}:PreTrainedModel._init_weights",),
    why=(
        "transformers computes the frequencies of every ...RotaryEmbedding anew, by a function that classes "
        "written for 4.x lack: 'has no attribute compute_default_rope_parameters'"
    ),
    since="5.0.0",
    until=None,
    upstream="src/transformers/modeling_utils.py, PreTrainedModel._init_weights at 5.0.0",
    helps="models of custom code written for 4.43 to 4.57, constructed or loaded",
)

SHIMS = (
    FUNCTIONS,
    DEFAULT,
    NATIVE_TABLE,
    UPDATE,
    UPDATE_EARLY,
    PARAMETERS_EARLY,
    PROPORTIONAL_EARLY,
    VALIDATION,
    OF_CLASSES_EARLY,
    CUSTOM_ROTARY,
)


#: Names the function of `init_edits` that proposes what a shim does.
_Choose = Callable[[Any], Callable[..., Iterable[Edit]]]


def _rule(shim: Shim, wants: str | Callable[[str], bool], choose: _Choose, options: Options) -> ModuleRule:
    def edits(module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        if "torch" not in sys.modules:
            # Configs import modeling_rope_utils from 5.0.0 on, also where there is no torch to compute with.
            return ()
        from . import init_edits

        return choose(init_edits)(shim, options, module, resolve)

    return ModuleRule(shim, wants, edits, lasting=wants is is_modeling)


def rules(options: Options) -> list[Rule]:
    """The rules for init functions."""
    return [
        _rule(FUNCTIONS, UTILS, lambda edits: edits.functions, options),
        _rule(DEFAULT, UTILS, lambda edits: edits.default, options),
        _rule(NATIVE_TABLE, MODELING, lambda edits: edits.native_table, options),
        _rule(UPDATE, UTILS, lambda edits: edits.update, options),
        _rule(UPDATE_EARLY, UTILS, lambda edits: edits.update_early, options),
        _rule(PARAMETERS_EARLY, UTILS, lambda edits: edits.parameters_early, options),
        _rule(PROPORTIONAL_EARLY, UTILS, lambda edits: edits.proportional_early, options),
        _rule(VALIDATION, UTILS, lambda edits: edits.validation, options),
        _rule(OF_CLASSES_EARLY, is_modeling, lambda edits: edits.of_classes_early, options),
        _rule(CUSTOM_ROTARY, MODELING, lambda edits: edits.custom_rotary, options),
    ]
