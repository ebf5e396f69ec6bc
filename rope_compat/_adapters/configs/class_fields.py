"""What a live configuration class of 4.x takes and computes, read from its code and its model's source."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from types import CodeType, FunctionType
from typing import Any

from ..._facts.config_fields import ALL_FIELDS, FULL, LegacyNames
from ..._facts.rope_types import ALIASES, ROPE_TYPES, UTILS
from ..._utils.ownership import is_custom

__all__ = [
    "assigns",
    "legacy_names",
    "longrope_check_fails",
    "parameters_of",
    "takes_rope",
]

#: Keys that a validation method of 4.x mentions if `rope_scaling` may have them.
_SCALING_KEYS = frozenset(
    ("factor", "short_factor", "long_factor", "short_mscale", "long_mscale", "alpha", "attention_factor")
)
#: How models that do without `modeling_rope_utils` choose: `if scaling_type == "linear"`.
_COMPARED = re.compile(r"""(?:scaling_type|rope_type)\s*==\s*["'](\w+)["']""")
#: What models are called by that rotate a part of a head.
_PART = re.compile(r"\b(partial_rotary_factor|rotary_dim|rotary_ndims)\b")
#: Olmo3: `rope_scaling` is for full attention alone, the other layers' type is written into the model.
_SLIDING_IS_PLAIN = re.compile(r"""["']sliding_attention["']:\s*\w+\(.*rope_type=["']default["']""")


def parameters_of(function: Any) -> frozenset[str]:
    """Names of the parameters of a plain function, without `self` and without ``**kwargs``."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return frozenset()
    return frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount][1:])


def assigns(function: Any) -> frozenset[str]:
    """RoPE fields that the code of a constructor mentions, with or without a parameter for them."""
    code = getattr(function, "__code__", None)
    return ALL_FIELDS.intersection(code.co_names) if isinstance(code, CodeType) else frozenset()


def takes_rope(constructor: Any) -> bool:
    """Whether a constructor of 4.x has to do with a rotary embedding."""
    if not isinstance(constructor, FunctionType):
        return False
    taken = parameters_of(constructor)
    return bool(ALL_FIELDS & taken or "rope_theta" in assigns(constructor) or "attn_config" in taken)


def legacy_names(cls: type, constructor: Any, rope_type: str = "default") -> LegacyNames:
    """The 4.x fields that a class takes, with the types that its model computes.

    For transformers' own classes the source of the model beside the configuration tells what is computed,
    as far as it mentions a rotary embedding at all. It is read, not imported.
    """
    names = _taken(constructor)
    form = _own_form(cls)
    if is_custom(cls):
        return replace(names, scaling=names.scaling or form is not None, **(form or {"type_key": "both"}))
    if form is None:
        # The key was `type` before 4.43 brought modeling_rope_utils.
        form = {"type_key": "rope_type" if _has_utils() else "type"}
    form["floats"] = True
    model = model_of(cls.__module__)
    if model is None:
        # A composite: what it is given goes on to the classes inside it.
        partial = names.partial_rotary_factor or "partial_rotary_factor"
        return replace(names, scaling=True, partial_rotary_factor=partial, **form)
    accepted = form.get("types")
    computed = _live_types() if model.uses_utils else model.types
    form["types"] = computed if accepted is None else accepted & computed
    # A part of the head needs a model that leaves the rest alone; proportional is about the whole head.
    is_taken = model.rotates_part or (rope_type == "proportional" and model.uses_utils)
    factor = "partial_rotary_factor" if is_taken else None
    return replace(
        names,
        partial_rotary_factor=names.partial_rotary_factor or factor,
        scaling=names.scaling or model.uses_utils,
        scaled_layers=frozenset({FULL}) if model.scales_full_only else names.scaled_layers,
        **form,
    )


def _taken(constructor: Any) -> LegacyNames:
    """The fields that a constructor declares, or sets without declaring them (bamba's theta)."""
    declared = LegacyNames.of(parameters_of(constructor))
    assigned = LegacyNames.of(assigns(constructor))
    return replace(
        declared,
        theta=declared.theta or assigned.theta,
        partial_rotary_factor=declared.partial_rotary_factor or assigned.partial_rotary_factor,
        scaling=declared.scaling or assigned.scaling,
    )


def _own_form(cls: type) -> dict[str, Any] | None:
    """How `rope_scaling` is spelled for a class that checks it by itself; None if it does not.

    `_rope_scaling_validation` of 4.31 to 4.57: an exact number of keys, `type` and a few others.
    """
    check = getattr(cls, "_rope_scaling_validation", None)
    code = getattr(check, "__code__", None)
    if not isinstance(code, CodeType) or "rope_config_validation" in code.co_names:
        return None
    words = frozenset(_constants(code))
    if "type" not in words:
        return None
    accepted = words & (ROPE_TYPES.keys() | ALIASES) - {"default", "mrope", "proportional"}
    form: dict[str, Any] = {"type_key": "type", "scaling_keys": words & _SCALING_KEYS}
    if accepted:
        form["types"] = frozenset(ALIASES.get(name, name) for name in accepted)
        if "su" in accepted and "longrope" not in accepted:
            form["type_names"] = (("longrope", "su"),)
    return form


def _constants(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, (tuple, frozenset)):
            yield from (each for each in constant if isinstance(each, str))


def _has_utils() -> bool:
    from importlib.util import find_spec

    return UTILS in sys.modules or find_spec(UTILS) is not None


def _live_types() -> frozenset[str]:
    from importlib import import_module

    return frozenset(import_module(UTILS).ROPE_INIT_FUNCTIONS)


def longrope_check_fails() -> bool:
    """Whether the live check of longrope fails for parameters that it means to accept."""
    from importlib import import_module
    from types import SimpleNamespace

    checks = getattr(import_module(UTILS), "ROPE_VALIDATION_FUNCTIONS", {}) if _has_utils() else {}
    scaling = {"rope_type": "longrope", "factor": 2.0, "short_factor": [1.0], "long_factor": [1.0]}
    probe = SimpleNamespace(hidden_size=2, num_attention_heads=1, rope_scaling=scaling)
    try:
        if "longrope" in checks:
            checks["longrope"](probe)
    except TypeError:
        return True
    return False


@dataclass(frozen=True, slots=True)
class _Model:
    """What the source of a model says about its rotary embedding."""

    uses_utils: bool
    types: frozenset[str]
    rotates_part: bool
    scales_full_only: bool


@cache
def model_of(module: str) -> _Model | None:
    """What the models beside a configuration module compute; None if they have no rotary embedding."""
    file = getattr(sys.modules.get(module), "__file__", None)
    folder = os.path.dirname(file) if file else ""
    texts = []
    for name in sorted(os.listdir(folder)) if folder and os.path.isdir(folder) else ():
        if name.startswith("modeling_") and not name.startswith(("modeling_tf_", "modeling_flax_")):
            with open(os.path.join(folder, name), encoding="utf-8") as opened:
                texts.append(opened.read())
    source = "\n".join(texts)
    if "rotary" not in source and "rope_" not in source:
        return None
    return _Model(
        uses_utils="ROPE_INIT_FUNCTIONS" in source,
        types=frozenset(ALIASES.get(name, name) for name in _COMPARED.findall(source)),
        rotates_part=_PART.search(source) is not None,
        scales_full_only=_SLIDING_IS_PLAIN.search(source) is not None,
    )
