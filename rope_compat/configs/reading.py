"""From the fields of a configuration to theta, type and parameters; fields that contradict are refused."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from .._facts.config_fields import (
    ALL_FIELDS,
    ATTENTION_DICTS,
    DICTS,
    LOCAL_THETAS,
    PARTIAL_FACTORS,
    THETAS,
)
from .._facts.rope_types import ALIASES, ORIGINAL, WITH_ORIGINAL
from ..errors import RopeConfigError

__all__ = [
    "Fields",
    "agreed",
    "canonical_type",
    "head_dim_of",
    "local_theta",
    "merged",
    "nested_keys",
    "number",
    "partial_factors",
    "plain_fields",
    "source_of",
    "thetas",
    "with_original_length",
]

Fields = Mapping[str, Any]
#: A value, and the name to show for where it stands.
Named = tuple[str, Any]

_HIDDEN_SIZES = ("hidden_size", "n_embd", "d_model")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_HEAD_DIMS = ("head_dim", "attention_head_dim", "kv_channels")
#: Layer types whose name does not say that it is one (deepseek_v4, and sets of labels in custom code).
_LABELS = ("main", "compress", "global", "local")


def plain_fields(config: Any) -> dict[str, Any]:
    """The attributes of a configuration as they are stored, or the items of a dictionary.

    Properties are not asked: `rope_scaling` is one on 5.x, and rope_compat adds some. Class attributes
    count, and the names that `attribute_map` redirects.
    """
    if isinstance(config, Mapping):
        return dict(config)
    fields: dict[str, Any] = {}
    for owner in reversed(type(config).__mro__[:-1]):
        fields.update(
            {
                name: value
                for name, value in vars(owner).items()
                if not name.startswith("_") and not hasattr(value, "__get__")
            }
        )
    fields.update(getattr(config, "__dict__", {}))
    mapping = fields.get("attribute_map")
    for name, stored in mapping.items() if isinstance(mapping, Mapping) else ():
        if name not in ALL_FIELDS and stored in fields:
            fields.setdefault(name, fields[stored])
    return fields


def agreed(values: Iterable[Named], what: str) -> Any:
    """The one value that is not None, or None. Raises `RopeConfigError` where two differ."""
    said = [(name, value) for name, value in values if value is not None]
    for name, value in said[1:]:
        if value != said[0][1]:
            raise RopeConfigError(
                f"the configuration gives two values of {what}: {said[0][0]}={said[0][1]!r} and "
                f"{name}={value!r}; remove the one that is wrong"
            )
    return said[0][1] if said else None


def canonical_type(name: Any, parameters: Fields) -> str:
    """The name that a rope type has now."""
    if not isinstance(name, str):
        raise RopeConfigError(f"rope_type={name!r}: expected the name of a rope type")
    if name == "yarn" and "short_factor" in parameters:
        # Phi-3's configurations of 4.41 and 4.42; transformers reads them as longrope from 4.43 on.
        return "longrope"
    return ALIASES.get(name, name)


def merged(fields: Fields, containers: tuple[str, ...] = DICTS) -> dict[str, Any]:
    """`rope_parameters` and `rope_scaling` together, with `rope_type` in place of its other spellings."""
    found: dict[str, list[Named]] = {}
    for container in containers:
        value = fields.get(container)
        if not value:
            continue
        if not isinstance(value, Mapping):
            raise RopeConfigError(f"{container}={value!r}: expected a dictionary or None")
        for key, item in value.items():
            is_type = key in ("type", "rope_type")
            if is_type and item is not None:
                item = canonical_type(item, value)
            found.setdefault("rope_type" if is_type else key, []).append((f"{container}[{key!r}]", item))
    return {key: agreed(values, key) for key, values in found.items()}


def nested_keys(parameters: Fields, fields: Fields) -> list[str]:
    """The layer types that a dictionary is nested by, none if it is flat."""
    labels = [
        label
        for name in ("layer_types", "_rope_type_labels")
        for label in fields.get(name) or ()
        if isinstance(label, str)
    ]
    return [
        key
        for key, value in parameters.items()
        if (isinstance(value, Mapping) or value is None)
        and (key in labels or key in _LABELS or key.endswith("_attention"))
    ]


def thetas(fields: Fields) -> list[Named]:
    """Every theta at the top level of a configuration."""
    found = [(name, fields.get(name)) for name in THETAS]
    for name in ATTENTION_DICTS:
        inner = fields.get(name)
        if inner is not None and not isinstance(inner, str):
            found.append((f"{name}.rope_theta", plain_fields(inner).get("rope_theta")))
    if str(fields.get("model_type", "")).startswith("lfm2") and "theta" in fields:
        # The key of the original checkpoints, which Lfm2Config prefers to `rope_theta`.
        found = [("theta", fields["theta"])]
    return found


def number(values: Iterable[Named], what: str) -> Any:
    """As `agreed`, for numbers."""
    value = agreed(values, what)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise RopeConfigError(f"{what}={value!r}: expected a number")
    return value


def local_theta(fields: Fields, full: Any) -> Named | None:
    """Name and value of the theta of the `sliding_attention` layers, None where there is none."""
    name = next((name for name in LOCAL_THETAS if name in fields), None)
    if name is None:
        return None
    value = fields[name]
    # ModernBertConfig(local_rope_theta=None): those layers use the other theta.
    return name, full if value is None else value


def partial_factors(fields: Fields, head_dim: int | None) -> list[Named]:
    """Every statement about the rotated part of a head at the top level of a configuration."""
    found = [(name, fields.get(name)) for name in PARTIAL_FACTORS]
    rotary_dim = fields.get("rotary_dim")
    if rotary_dim is None or not head_dim:
        return found
    # A factor is a rounded quotient, so the two are compared by the dimension that they mean.
    if all(factor is None or int(head_dim * factor) != rotary_dim for _, factor in found):
        found.append(("rotary_dim / head_dim", rotary_dim / head_dim))
    return found


def with_original_length(parameters: dict[str, Any], fields: Fields) -> dict[str, Any]:
    """`parameters` with a length that stands beside them (phi3): it belongs to the types that need one."""
    if parameters.get("rope_type") not in WITH_ORIGINAL:
        return parameters
    inner = (f"rope_parameters[{ORIGINAL!r}]", parameters.get(ORIGINAL))
    value = agreed([(ORIGINAL, fields.get(ORIGINAL)), inner], ORIGINAL)
    return parameters if value is None else {**parameters, ORIGINAL: value}


def head_dim_of(fields: Fields) -> int | None:
    """Size of an attention head, or of the part of it that is rotated apart (DeepSeek); None if unknown."""
    stated = _first_int(fields, _HEAD_DIMS)
    apart = fields.get("qk_rope_head_dim")
    if isinstance(apart, int):
        factor = next((fields[name] for name in PARTIAL_FACTORS if fields.get(name) is not None), None)
        inner = (fields.get("rope_parameters") or {}).get("partial_rotary_factor", factor)
        whole = stated is not None and inner is not None and int(stated * inner) == apart
        return stated if whole else apart
    if stated is not None:
        return stated
    hidden, heads = _first_int(fields, _HIDDEN_SIZES), _first_int(fields, _HEADS)
    return hidden // heads if hidden and heads else None


def _first_int(fields: Fields, names: tuple[str, ...]) -> int | None:
    return next((fields[name] for name in names if isinstance(fields.get(name), int)), None)


def source_of(fields: Fields) -> dict[str, Any]:
    """A copy of what the configuration says about its rotary embedding, as it is spelled."""
    kept = {name: copy.deepcopy(fields[name]) for name in fields if name in ALL_FIELDS}
    if ORIGINAL in fields and kept:
        kept[ORIGINAL] = fields[ORIGINAL]
    return kept
