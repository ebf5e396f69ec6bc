"""Attributes that attention had up to 4.47.1, readable on classes that do not set them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...configs.spec import RopeSpec
from .owner import layer_type_of, rotary_of

__all__ = ["ATTRIBUTES", "Restored"]


class Restored:
    """Read on instances that have nothing under the name; not there when the class is asked.

    It has no `__set__`: what an instance stores comes first, so that subclasses may assign the name.
    """

    def __init__(self, name: str, get: Callable[[Any], Any]) -> None:
        self.name, self._get = name, get

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        if instance is None:
            raise AttributeError(f"type object {owner.__name__!r} has no attribute {self.name!r}")  # type: ignore[union-attr]
        for store in ("_modules", "_parameters", "_buffers"):
            held = vars(instance).get(store)
            if held is not None and self.name in held:
                return held[self.name]
        value = self._get(instance)
        if value is None:
            raise AttributeError(f"{type(instance).__name__!r} object has no attribute {self.name!r}")
        return value


def _of_config(name: str) -> Callable[[Any], Any]:
    return lambda attention: getattr(vars(attention).get("config"), name, None)


def _key_value_heads(attention: Any) -> Any:
    found = _of_config("num_key_value_heads")(attention)
    return _of_config("num_attention_heads")(attention) if found is None else found


def _theta(attention: Any) -> Any:
    config = vars(attention).get("config")
    if config is None:
        return None
    spec = RopeSpec.of(config)
    return spec.for_layer(layer_type_of(attention)).theta if spec.layers else spec.theta


ATTRIBUTES: dict[str, Callable[[Any], Any]] = {
    "rotary_emb": rotary_of,
    "num_heads": _of_config("num_attention_heads"),
    "num_key_value_heads": _key_value_heads,
    "hidden_size": _of_config("hidden_size"),
    "max_position_embeddings": _of_config("max_position_embeddings"),
    "rope_theta": _theta,
}
