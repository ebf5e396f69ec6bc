"""What the config bridge puts on config classes: fields that lead into `rope_parameters`; `rope_scaling`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from ..._utils.ownership import is_custom
from ...errors import RopeConfigError
from . import scaling_view as views
from .construction import is_constructed
from .v4_classes import parameters_of

__all__ = ["BASE_FIELDS", "MODEL_FIELDS", "MovedField", "is_free", "scaling_property"]

_MISSING: Any = object()

#: Packages that try attributes out. The answer to them is the one that they get without rope_compat.
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


class MovedField:
    """A field of 4.x that is part of `rope_parameters` from 5.0 on.

    A data descriptor, so that writing through any ``__setattr__`` ends here. Classes that define the name
    themselves, as an attribute or a dataclass field, are not concerned: theirs comes first.

    Attributes:
        name: the name of the field.
        key: the key in `rope_parameters`.
        layer: the layer type whose parameters are meant, where they are nested; None for no particular one.
    """

    def __init__(self, name: str, key: str, layer: str | None = None) -> None:
        self.name, self.key, self.layer = name, key, layer

    @property
    def place(self) -> str:
        """Where the value is, as code."""
        return (
            f"rope_parameters[{self.layer!r}][{self.key!r}]"
            if self.layer
            else f"rope_parameters[{self.key!r}]"
        )

    def __get__(self, config: Any, owner: type[Any] | None = None) -> Any:
        if config is None:
            # As without the bridge. `dataclass` asks the class for the default of a field without one.
            raise AttributeError(
                f"type object {getattr(owner, '__name__', '?')!r} has no attribute {self.name!r}"
            )
        stored = vars(config)
        if self.name in stored:
            return stored[self.name]
        value = self._read(config) if is_constructed(config) else _MISSING
        if value is _MISSING or value is None:
            raise AttributeError(f"{type(config).__name__!r} object has no attribute {self.name!r}")
        return value

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

    def __delete__(self, config: Any) -> None:
        if vars(config).pop(self.name, _MISSING) is _MISSING:
            raise AttributeError(f"{type(config).__name__!r} object has no attribute {self.name!r}")

    def _is_first(self, config: Any) -> bool:
        """Whether custom code's constructor has assigned `rope_scaling`, None, and theta is next."""
        is_open = "rope_parameters" in vars(config) and not config.rope_parameters
        return is_open and self.name == "rope_theta" and is_constructed(config) and is_custom(type(config))

    def _belongs_to(self, cls: type[Any]) -> bool:
        """Whether transformers' own class has kept the field: dinov3_vit and sam3, 5.0 to 5.3."""
        taken = parameters_of(cls.__init__)
        return self.name in taken and "rope_parameters" not in taken and not is_custom(cls)

    def _read(self, config: Any) -> Any:
        parameters = _parameters(config)
        layers = views.layers_of(parameters)
        if self.layer is not None:
            return layers.get(self.layer, {}).get(self.key, _MISSING)
        if not layers:
            return parameters.get(self.key, _MISSING)
        values = [layer.get(self.key) for layer in layers.values()]
        if all(value == values[0] for value in values):
            return values[0]
        if _asked_by_library():
            return _MISSING
        raise RopeConfigError(self._differs(config, layers))

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
            raise RopeConfigError(self._differs(config, layers))
        return {**parameters, **{label: {**layers[label], self.key: value} for label in chosen}}

    def _differs(self, config: Any, layers: Mapping[str, Mapping[str, Any]]) -> str:
        values = ", ".join(f"{label}: {layer.get(self.key)!r}" for label, layer in layers.items())
        others = [
            name
            for cls in type(config).__mro__
            for name, field in vars(cls).items()
            if isinstance(field, MovedField) and field.layer in layers and field.key == self.key
        ]
        return (
            f"{type(config).__name__}.{self.name} is not one value, it differs by layer type ({values}): use "
            f"config.rope_parameters[layer_type][{self.key!r}] of the layers that are meant"
            + "".join(f", or config.{name}" for name in others)
        )


BASE_FIELDS = (
    MovedField("rope_theta", "rope_theta"),
    MovedField("partial_rotary_factor", "partial_rotary_factor"),
)

#: Names that single models had up to 4.57.
MODEL_FIELDS = (
    MovedField("rotary_emb_base", "rope_theta"),
    MovedField("rotary_pct", "partial_rotary_factor"),
    MovedField("rope_local_base_freq", "rope_theta", "sliding_attention"),
    MovedField("local_rope_theta", "rope_theta", "sliding_attention"),
    MovedField("global_rope_theta", "rope_theta", "full_attention"),
)


def is_free(config: type[Any], name: str) -> bool:
    """Whether a class has nothing of its own under a name, or what the bridge has put there."""
    return isinstance(vars(config).get(name, BASE_FIELDS[0]), MovedField)


def scaling_property(native: property | None) -> property:
    """`rope_scaling` with the meaning of 4.x; `native` is what the release has (5.24 announces its end)."""

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
        if not is_constructed(config) or (is_custom(type(config)) and not taken):
            _assign_natively(config, value)
        elif not taken:
            raise RopeConfigError(
                f"{type(config).__name__}.rope_scaling = {value!r}: expected a dictionary or None"
            )
        else:
            views.assign(config, value)

    def _assign_natively(config: Any, value: Any) -> None:
        if native is not None and native.fset is not None:
            native.fset(config, value)
        else:
            config.rope_parameters = value

    return property(fget, fset, doc="The scaling of `rope_parameters`, or None, as in 4.x.")


def _parameters(config: Any) -> dict[str, Any]:
    found = getattr(config, "rope_parameters", None)
    return found if isinstance(found, dict) else {}


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
