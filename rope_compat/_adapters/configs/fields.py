"""RoPE fields as attributes of configs, in the style that the installed release does not store.

4.x stores ``rope_theta``, ``rope_scaling`` and others, 5.x ``rope_parameters``. What an instance stores is
what is read, as ever. What it does not store is read from the other style, and never stored, so that
`to_dict`, `save_pretrained`, `__eq__`, copies and pickles are as they were.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, cast

from ..._facts.config_fields import (
    ALL_FIELDS,
    FULL,
    LOCAL_THETAS,
    MEANINGS,
    PARTIAL_FACTORS,
    SLIDING,
    THETAS,
    LegacyNames,
)
from ..._utils.ownership import is_custom
from ...configs.reading import merged, nested_keys, plain_fields
from ...configs.spec import RopeSpec
from ...errors import RopeConfigError
from . import scaling_view as views
from .class_fields import assigns, legacy_names, parameters_of
from .construction import is_constructed, is_under_construction, native_of

__all__ = ["BASE_FIELDS", "FIELDS_OF_4", "MODEL_FIELDS", "MovedField", "is_free", "scaling_property"]

_MISSING: Any = object()
_NAME = "rope_parameters"

#: Who tries attributes out, and is answered as without rope_compat where the answer would be an error: an
#: AttributeError is expected there, and any other error ends a program that would have gone on.
_PROBING = (
    "transformers",
    "accelerate",
    "peft",
    "trl",
    "torch",
    "deepspeed",
    "huggingface_hub",
    "safetensors",
    "bitsandbytes",
    "datasets",
    # Brings configs into the form of 5.x. What vLLM computes with a config is elsewhere.
    "vllm.config",
    "vllm.transformers_utils",
    "IPython",
    "debugpy",
    "_pydevd_bundle",
)
_OWN = __name__.partition(".")[0] + "."


class _Field:
    """A field of 4.x that is part of `rope_parameters` from 5.0 on.

    A data descriptor, so that writing through any ``__setattr__`` ends here. Classes that define the name
    themselves, as an attribute or a dataclass field, are not concerned: theirs comes first.

    Attributes:
        name: the name of the field.
        key: the key in `rope_parameters`.
        layer: the layer type whose parameters are meant, where they are nested; None for no particular one.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.key, self.layer = MEANINGS.get(name, (name, None))

    def __get__(self, config: Any, owner: type[Any] | None = None) -> Any:
        if config is None:
            # As without the bridge. `dataclass` asks the class for the default of a field without one.
            raise AttributeError(
                f"type object {getattr(owner, '__name__', '?')!r} has no attribute {self.name!r}"
            )
        stored = vars(config)
        if self.name in stored:
            return stored[self.name]
        value = self._derived(config)
        if value is _MISSING:
            raise self._absent(config)
        return value

    def __set__(self, config: Any, value: Any) -> None:
        raise NotImplementedError

    def __delete__(self, config: Any) -> None:
        if vars(config).pop(self.name, _MISSING) is _MISSING:
            raise self._absent(config)

    def _derived(self, config: Any) -> Any:
        """The value that the other style gives, `_MISSING` for none."""
        raise NotImplementedError

    def _absent(self, config: Any) -> AttributeError:
        # Without `name` and `obj`, which Python adds: compilers do not follow keyword arguments here.
        return AttributeError(f"{type(config).__name__!r} object has no attribute {self.name!r}")

    def _differs(self, config: Any, layers: Mapping[str, Mapping[str, Any]]) -> RopeConfigError:
        values = ", ".join(f"{label}: {layer.get(self.key)!r}" for label, layer in layers.items())
        others = [
            name
            for cls in type(config).__mro__
            for name, field in vars(cls).items()
            if isinstance(field, MovedField) and field.layer in layers and field.key == self.key
        ]
        return RopeConfigError(
            f"{type(config).__name__}.{self.name} is not one value, it differs by layer type ({values}): use "
            f"config.rope_parameters[layer_type][{self.key!r}] of the layers that are meant"
            + "".join(f", or config.{name}" for name in others)
        )


class MovedField(_Field):
    """A field on 5.x: it is read from ``rope_parameters``, and written into it."""

    @property
    def place(self) -> str:
        """Where the value is, as code."""
        layer = f"[{self.layer!r}]" if self.layer else ""
        return f"rope_parameters{layer}[{self.key!r}]"

    def __set__(self, config: Any, value: Any) -> None:
        stored = vars(config)
        is_ours = is_constructed(config) and not self._belongs_to(type(config))
        parameters = _parameters(config) if is_ours else None
        # Custom code's own constructor takes the field from the file that is saved: it stays in it.
        keeps = self.name in stored or not parameters or is_custom(type(config))
        if views.is_number(value) and (parameters or self._is_first(config)):
            # A new dictionary, since a shallow copy of the config shares the old one.
            config.rope_parameters = self._written(config, parameters or {"rope_type": "default"}, value)
        elif parameters and not is_custom(type(config)):
            raise RopeConfigError(f"{type(config).__name__}.{self.name} = {value!r}: expected a number")
        if keeps:
            stored[self.name] = value

    def _is_first(self, config: Any) -> bool:
        """Whether custom code's constructor has assigned `rope_scaling`, None, and theta is next."""
        is_open = _NAME in vars(config) and not config.rope_parameters
        return is_open and self.name == "rope_theta" and is_constructed(config) and is_custom(type(config))

    def _belongs_to(self, cls: type[Any]) -> bool:
        """Whether transformers' own class has kept the field: dinov3_vit and sam3, 5.0 to 5.3."""
        taken = parameters_of(cls.__init__)
        return self.name in taken and _NAME not in taken and not is_custom(cls)

    def _derived(self, config: Any) -> Any:
        if not is_constructed(config):
            return _MISSING
        parameters = _parameters(config)
        layers = views.layers_of(parameters)
        if self.layer is not None:
            parameters = layers.get(self.layer, {})
        elif layers:
            parameters = next(iter(layers.values()))
            if any(layer.get(self.key) != parameters.get(self.key) for layer in layers.values()):
                if _asked_by_library():
                    return _MISSING
                raise self._differs(config, layers)
        value = parameters.get(self.key)
        return _MISSING if value is None else value

    def _written(self, config: Any, parameters: dict[str, Any], value: Any) -> dict[str, Any]:
        """The parameters with another value."""
        layers = views.layers_of(parameters)
        if not layers and self.layer is None:
            return {**parameters, self.key: value}
        if self.layer is not None and self.layer not in layers:
            raise RopeConfigError(
                f"{type(config).__name__}.{self.name} = {value!r}: rope_parameters has nothing for "
                f"{self.layer}, only {', '.join(layers) or 'one set of parameters for all layers'}"
            )
        chosen = [self.layer] if self.layer is not None else list(layers)
        if any(layers[label].get(self.key) != layers[chosen[0]].get(self.key) for label in chosen):
            raise self._differs(config, layers)
        return {**parameters, **{label: {**layers[label], self.key: value} for label in chosen}}


class _StoredField(_Field):
    """A field on 4.x: it is stored, and kept in step with ``rope_parameters`` where an instance has both."""

    #: Names that modules of 4.x read off configs of any model. The others are only kept in step.
    derived = ("rope_theta", "partial_rotary_factor", "rope_local_base_freq")

    def _derived(self, config: Any) -> Any:
        parameters = vars(config).get(_NAME)
        if self.name not in self.derived or not isinstance(parameters, Mapping) or not parameters:
            return _MISSING
        layers = _layers(config, parameters)
        if self.layer is not None:
            value = layers.get(self.layer, {}).get(self.key)
            return _MISSING if value is None else value
        shared = parameters.get(self.key)
        values = [shared if layer.get(self.key) is None else layer[self.key] for layer in layers.values()]
        values = values or [shared]
        if any(value != values[0] for value in values):
            if _has_own_thetas(config):
                return _MISSING
            raise self._differs(config, layers)
        return _MISSING if values[0] is None else values[0]

    def __set__(self, config: Any, value: Any) -> None:
        stored = vars(config)
        parameters = stored.get(_NAME)
        if not isinstance(parameters, Mapping) or not parameters or is_under_construction(config):
            stored[self.name] = value
            return
        # The first value comes from the constructor, which may not have looked at rope_parameters.
        is_first = self.name not in stored and self.name in _owned(cast("Hashable", type(config)))
        if is_first or self.name in stored:
            stored[self.name] = value
        if not is_first:
            stored[_NAME] = self._written(config, parameters, value)

    def _written(self, config: Any, parameters: Mapping[str, Any], value: Any) -> dict[str, Any]:
        """``rope_parameters`` after the field was written."""
        chosen = layers = _layers(config, parameters)
        if not layers:
            return self._with(parameters, value)
        if self.name in LOCAL_THETAS:
            chosen = {key: layers[key] for key in layers if key == SLIDING}
        elif self.name == "rope_scaling":
            scaled = _names_of(config).scaled_layers
            chosen = {key: layers[key] for key in layers if key in scaled}
        elif self.name not in PARTIAL_FACTORS and any(local in vars(config) for local in LOCAL_THETAS):
            chosen = {key: layers[key] for key in layers if key == FULL}
        return {**parameters, **{key: self._with(layer, value) for key, layer in chosen.items()}}

    def _with(self, parameters: Mapping[str, Any], value: Any) -> dict[str, Any]:
        return {**parameters, self.key: value}


class _StoredScaling(_StoredField):
    """``rope_scaling`` on 4.x."""

    def _derived(self, config: Any) -> Any:
        parameters = vars(config).get(_NAME)
        if not isinstance(parameters, Mapping) or not parameters:
            return _MISSING
        spec = _spec_of(config)
        layers = [spec.for_layer(key) for key, layer in spec.layers.items() if layer is not None] or [spec]
        values = [layer.legacy(LegacyNames(type_key="both"))["rope_scaling"] for layer in layers]
        if any(value != values[0] for value in values):
            if _has_own_thetas(config):
                return _MISSING
            raise RopeConfigError(views.disagreement(config, dict(parameters)))
        return values[0]

    def _with(self, parameters: Mapping[str, Any], value: Any) -> dict[str, Any]:
        # A new scaling takes the place of the old one, and says nothing about theta or the factor.
        kept = {key: parameters[key] for key in views.BESIDE if key in parameters}
        scaling = merged({"rope_scaling": value}) if isinstance(value, Mapping) else {}
        return {"rope_type": "default", **kept, **scaling}


class _StoredParameters(_Field):
    """``rope_parameters`` on 4.x: derived, or as a class that was written for 5.x has assigned it."""

    #: Without one of these a config had no `rope_parameters` in 5.x either (gptj has `rotary_dim`).
    essential = ("rope_theta", "global_rope_theta", "rotary_emb_base", "rope_scaling")

    def __get__(self, config: Any, owner: type[Any] | None = None) -> Any:
        if config is None or vars(config).get(_NAME, _MISSING) is not None:
            return super().__get__(config, owner)
        derived = self._derived(config)
        return None if derived is _MISSING else derived

    def _derived(self, config: Any) -> Any:
        fields = plain_fields(config)
        if any(fields.get(name) is not None for name in self.essential):
            return RopeSpec.of(fields).rope_parameters()
        return _MISSING

    def __set__(self, config: Any, value: Any) -> None:
        stored = vars(config)
        before = dict(stored)
        stored[_NAME] = value
        if isinstance(value, Mapping) and value and not is_under_construction(config):
            try:
                _write_fields(config)
            except RopeConfigError:
                stored.clear()
                stored.update(before)
                raise


#: On the base class of 5.x, and on classes of single models that had other names up to 4.57.
BASE_FIELDS = tuple(map(MovedField, views.BESIDE))
MODEL_FIELDS = tuple(MovedField(name) for name in MEANINGS if name not in views.BESIDE)
#: On the base class of 4.x.
FIELDS_OF_4: tuple[_Field, ...] = (
    _StoredParameters(_NAME),
    _StoredScaling("rope_scaling"),
    *map(_StoredField, MEANINGS),
)


def is_free(config: type[Any], name: str) -> bool:
    """Whether a class has nothing of its own under a name, or what the bridge has put there."""
    return isinstance(vars(config).get(name, BASE_FIELDS[0]), MovedField)


def scaling_property(native: property | None) -> property:
    """`rope_scaling` of 5.x as 4.x had it; `native` is what the release has (5.24 announces its end)."""

    def fget(config: Any) -> Any:
        parameters = config.rope_parameters
        if not isinstance(parameters, dict) or not is_constructed(config):
            return parameters
        labels = views.labels_of(config, parameters)
        if labels is None:
            if _asked_by_library():
                return parameters
            raise RopeConfigError(views.disagreement(config, parameters))
        return views.view_of(config, parameters, labels)

    def fset(config: Any, value: Any) -> None:
        value = views.plain(value)
        taken = value is None or isinstance(value, Mapping)
        if is_constructed(config) and taken:
            views.assign(config, value)
        elif is_constructed(config) and not is_custom(type(config)):
            raise RopeConfigError(
                f"{type(config).__name__}.rope_scaling = {value!r}: expected a dictionary or None"
            )
        elif native is not None and native.fset is not None:
            native.fset(config, value)
        else:
            config.rope_parameters = value

    return property(fget, fset, doc="The scaling of `rope_parameters`, or None, as in 4.x.")


def _parameters(config: Any) -> dict[str, Any]:
    found = getattr(config, _NAME, None)
    return found if isinstance(found, dict) else {}


def _layers(config: Any, parameters: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The parameters of each layer type that has some, on 4.x; empty where there is one set for all."""
    if not any(isinstance(value, Mapping) for value in parameters.values()):
        return {}
    keys = nested_keys(parameters, plain_fields(config))
    return {key: parameters[key] for key in keys if parameters[key] is not None}


def _has_own_thetas(config: Any) -> bool:
    """Whether a class has fields for each kind of layer, and never had one for all."""
    return any(name in vars(config) for name in (*THETAS, *LOCAL_THETAS))


@cache
def _owned(cls: Hashable) -> frozenset[str]:
    """RoPE fields that the constructors of a class set by themselves."""
    found: set[str] = set()
    for each in cast("type", cls).__mro__:
        if each.__name__ not in ("PretrainedConfig", "object"):
            constructor = native_of(vars(each).get("__init__"))
            found |= parameters_of(constructor) | assigns(constructor)
    return ALL_FIELDS & found


def _spec_of(config: Any) -> RopeSpec:
    """The specification in an instance's own ``rope_parameters``, whatever its older fields say."""
    fields = {name: value for name, value in plain_fields(config).items() if name not in ALL_FIELDS}
    return RopeSpec.of({**fields, _NAME: vars(config)[_NAME]})


def _names_of(config: Any, rope_type: str = "default") -> LegacyNames:
    return legacy_names(type(config), native_of(vars(type(config)).get("__init__")), rope_type)


def _write_fields(config: Any) -> None:
    """Bring the stored fields of 4.x in step with ``rope_parameters``, which has been written."""
    stored = vars(config)
    if not (ALL_FIELDS & stored.keys()) - {_NAME}:
        return
    spec = _spec_of(config)
    names = _names_of(config, spec.rope_type)
    missing = spec.lost(names)
    if missing and not is_custom(type(config)):
        raise RopeConfigError(f"{type(config).__name__} has no field for {', '.join(missing)}")
    for name, value in ({} if missing else spec.legacy(names)).items():
        if name in stored and not _same(name, stored[name], value):
            stored[name] = value
            # gpt_neox keeps two fields each for theta and for the factor, and models read either.
            key, layer = MEANINGS.get(name, (name, None))
            if layer is None and key in stored:
                stored[key] = value


def _same(name: str, old: Any, new: Any) -> bool:
    if name == "rope_scaling" and isinstance(old, Mapping) and isinstance(new, Mapping):
        return merged({name: old}) == merged({name: new})
    return bool(old == new)


def _asked_by_library() -> bool:
    """Whether a library or the standard library asks, and not the user's or a model's code.

    Only where the answer would be an error, and never while a compiler traces.
    """
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.compiler.is_compiling():
        return False
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_name == "__getattribute__"
        or str(frame.f_globals.get("__name__", "")).startswith(_OWN)
    ):
        frame = frame.f_back
    name = str(frame.f_globals.get("__name__", ""))
    is_probing = f"{name}.".startswith(tuple(f"{package}." for package in _PROBING))
    return is_probing or name.partition(".")[0] in sys.stdlib_module_names
