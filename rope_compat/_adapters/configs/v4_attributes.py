"""``rope_parameters`` and the fields that it replaced, as attributes of 4.x configurations.

What an instance stores is what is read, as ever. What it does not store is derived from the other style, and
never stored, so that `to_dict`, `save_pretrained`, `__eq__`, copies and pickles are as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import Any, cast

from ..._facts.config_fields import (
    ALL_FIELDS,
    FULL,
    LOCAL_THETAS,
    PARTIAL_FACTORS,
    SLIDING,
    THETAS,
    LegacyNames,
)
from ..._utils.ownership import is_custom
from ...configs.reading import merged, nested_keys, plain_fields
from ...configs.spec import RopeSpec
from ...errors import RopeConfigError
from .v4_classes import assigns, legacy_names, parameters_of
from .wrapping import MARK, is_under_construction

__all__ = ["FIELDS", "field_property", "rope_parameters_property"]

_NAME = "rope_parameters"
#: Fields that can be derived, and fields that are only kept in step.
_DERIVED = ("rope_theta", "rope_scaling", "partial_rotary_factor", "rope_local_base_freq")
_KEPT = ("global_rope_theta", "local_rope_theta", "rotary_emb_base", "rotary_pct")
FIELDS = (*_DERIVED, *_KEPT)
#: gpt_neox keeps two fields each for theta and for the factor, and models read either.
_TWINS = {"rotary_emb_base": "rope_theta", "rotary_pct": "partial_rotary_factor"}
#: Without one of these a configuration had no `rope_parameters` in 5.x either (gptj has `rotary_dim`).
_ESSENTIAL = ("rope_theta", "global_rope_theta", "rotary_emb_base", "rope_scaling")


def rope_parameters_property() -> property:
    """The attribute of 5.x, for classes that do not have it."""

    def fget(self: Any) -> Any:
        stored = vars(self)
        if stored.get(_NAME) is not None:
            return stored[_NAME]
        fields = plain_fields(self)
        if any(fields.get(name) is not None for name in _ESSENTIAL):
            return RopeSpec.of(self).rope_parameters()
        if _NAME in stored:
            return None
        raise _no_attribute(self, _NAME)

    def fset(self: Any, value: Any) -> None:
        stored = vars(self)
        before = dict(stored)
        stored[_NAME] = value
        if isinstance(value, Mapping) and value and not is_under_construction(self):
            try:
                _write_fields(self)
            except RopeConfigError:
                stored.clear()
                stored.update(before)
                raise

    return _property(_NAME, fget, fset)


def field_property(name: str) -> property:
    """One of the fields of 4.x, derived from ``rope_parameters`` where an instance does not store it."""

    def fget(self: Any) -> Any:
        stored = vars(self)
        if name in stored:
            return stored[name]
        if name in _DERIVED and isinstance(stored.get(_NAME), Mapping) and stored[_NAME]:
            return _derived(self, name)
        raise _no_attribute(self, name)

    def fset(self: Any, value: Any) -> None:
        stored = vars(self)
        parameters = stored.get(_NAME)
        if not isinstance(parameters, Mapping) or not parameters or is_under_construction(self):
            stored[name] = value
        elif name in stored or name in _owned(cast("Hashable", type(self))):
            # The first value comes from the constructor, which may not have looked at rope_parameters.
            is_first = name not in stored
            stored[name] = value
            if not is_first:
                stored[_NAME] = _with_field(self, parameters, name, value)
        else:
            stored[_NAME] = _with_field(self, parameters, name, value)

    return _property(name, fget, fset)


def _property(name: str, fget: Callable[[Any], Any], fset: Callable[[Any, Any], None]) -> property:
    def fdel(self: Any) -> None:
        if name not in vars(self):
            raise _no_attribute(self, name)
        del vars(self)[name]

    setattr(fget, MARK, name)
    return property(fget, fset, fdel)


def _no_attribute(config: Any, name: str) -> AttributeError:
    return AttributeError(
        f"{type(config).__name__!r} object has no attribute {name!r}", name=name, obj=config
    )


@cache
def _owned(cls: Hashable) -> frozenset[str]:
    """RoPE fields that the constructors of a class set by themselves."""
    found: set[str] = set()
    for each in cast("type", cls).__mro__:
        if each.__name__ not in ("PretrainedConfig", "object"):
            constructor = vars(each).get("__init__")
            constructor = getattr(constructor, MARK, constructor)
            found |= parameters_of(constructor) | assigns(constructor)
    return ALL_FIELDS & found


def _spec_of(config: Any) -> RopeSpec:
    """The specification in an instance's own ``rope_parameters``, whatever its older fields say."""
    fields = {name: value for name, value in plain_fields(config).items() if name not in ALL_FIELDS}
    return RopeSpec.of({**fields, _NAME: vars(config)[_NAME]})


def _derived(config: Any, name: str) -> Any:
    spec = _spec_of(config)
    if name == "rope_local_base_freq":
        sliding = spec.layers.get(SLIDING)
        if sliding is None or sliding.theta is None:
            raise _no_attribute(config, name)
        return sliding.theta
    layers = [spec.for_layer(key) for key, layer in spec.layers.items() if layer is not None] or [spec]
    values = [_value(layer, name) for layer in layers]
    if any(value != values[0] for value in values):
        if any(other in vars(config) for other in (*THETAS, *LOCAL_THETAS)):
            # A class with fields of its own for each kind of layer: it never had this one.
            raise _no_attribute(config, name)
        raise RopeConfigError(
            f"{type(config).__name__}.{name} differs by layer type ({', '.join(spec.layers)}): read "
            f"rope_parameters[layer_type] instead"
        )
    if values[0] is None and name != "rope_scaling":
        raise _no_attribute(config, name)
    return values[0]


def _value(spec: RopeSpec, name: str) -> Any:
    if name == "rope_theta":
        return spec.theta
    if name == "partial_rotary_factor":
        return spec.partial_rotary_factor
    return spec.legacy(LegacyNames(type_key="both"))["rope_scaling"]


def _write_fields(config: Any) -> None:
    """Bring the stored fields of 4.x in step with ``rope_parameters``, which has been written."""
    stored = vars(config)
    present = [name for name in stored if name in ALL_FIELDS and name != _NAME]
    if not present:
        return
    spec = _spec_of(config)
    names = _names_of(config, spec.rope_type)
    missing = spec.lost(names)
    if missing and not is_custom(type(config)):
        raise RopeConfigError(f"{type(config).__name__} has no field for {', '.join(missing)}")
    for name, value in ({} if missing else spec.legacy(names)).items():
        if name in stored and not _same(name, stored[name], value):
            stored[name] = value
            if _TWINS.get(name) in stored:
                stored[_TWINS[name]] = value


def _names_of(config: Any, rope_type: str = "default") -> LegacyNames:
    constructor = vars(type(config)).get("__init__")
    return legacy_names(type(config), getattr(constructor, MARK, constructor), rope_type)


def _same(name: str, old: Any, new: Any) -> bool:
    if name == "rope_scaling" and isinstance(old, Mapping) and isinstance(new, Mapping):
        return merged({name: old}) == merged({name: new})
    return bool(old == new)


def _with_field(config: Any, parameters: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """``rope_parameters`` after one of the fields of 4.x was written."""
    layers = nested_keys(parameters, plain_fields(config))
    layers = [key for key in layers if parameters[key] is not None]
    if not layers:
        return _with_value(parameters, name, value)
    stored = vars(config)
    has_local = any(local in stored for local in LOCAL_THETAS)
    chosen = layers
    if name in LOCAL_THETAS:
        chosen = [key for key in layers if key == SLIDING]
    elif name not in PARTIAL_FACTORS and (has_local or name == "rope_scaling"):
        scaled = _names_of(config).scaled_layers if name == "rope_scaling" else {FULL}
        chosen = [key for key in layers if key in scaled]
    return {**parameters, **{key: _with_value(parameters[key], name, value) for key in chosen}}


def _with_value(parameters: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    if name in PARTIAL_FACTORS:
        return {**parameters, "partial_rotary_factor": value}
    if name != "rope_scaling":
        return {**parameters, "rope_theta": value}
    # A new scaling takes the place of the old one, and says nothing about theta or the factor.
    kept = {key: parameters[key] for key in ("rope_theta", "partial_rotary_factor") if key in parameters}
    scaling = merged({"rope_scaling": value}) if isinstance(value, Mapping) else {}
    return {"rope_type": "default", **kept, **scaling}
