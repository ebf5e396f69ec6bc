"""config.json files of 5.x for configuration classes of custom code that were written for 4.x."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..._facts.config_fields import LegacyNames
from ..._utils.ownership import is_custom
from ...configs.nested import sub_configs
from ...configs.spec import RopeSpec
from .v4_classes import legacy_names, parameters_of
from .v4_constructors import expressible_fields
from .wrapping import dressed

__all__ = ["reading", "translated_file"]


def reading(from_dict: Any) -> Callable[..., Any]:
    """`PretrainedConfig.from_dict`, past which every config.json goes, as a function of the class."""

    def reading_from_dict(cls: type, config_dict: Any, *args: Any, **kwargs: Any) -> Any:
        if is_custom(cls) and isinstance(config_dict, Mapping) and mentions_rope_parameters(config_dict):
            config_dict = translated_file(cls, config_dict)
        return from_dict(cls, config_dict, *args, **kwargs)

    return dressed(reading_from_dict, from_dict)


def mentions_rope_parameters(config: Mapping[str, Any], depth: int = 6) -> bool:
    """Whether the dictionary of a configuration, or one inside it, has ``rope_parameters``."""
    if config.get("rope_parameters"):
        return True
    return depth > 0 and any(
        isinstance(value, Mapping) and mentions_rope_parameters(value, depth - 1) for value in config.values()
    )


def translated_file(cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """The dictionary of a config.json for a class of custom code; a copy where something has to change.

    Transformers' own classes, inside it as well, have constructors that take ``rope_parameters``.
    """
    found = dict(config)
    known = getattr(cls, "sub_configs", None)
    for name, value in sub_configs(config):
        if isinstance(value, Mapping) and mentions_rope_parameters(value):
            inner = known.get(name) if isinstance(known, Mapping) else None
            found[name] = _translated_inner(inner, value)
    constructor = getattr(cls, "__init__", None)
    if config.get("rope_parameters") and is_custom(cls):
        spec = RopeSpec.of(config)
        taken = parameters_of(constructor)
        given = expressible_fields(spec, legacy_names(cls, constructor, spec.rope_type), constructor, config)
        found.update({name: value for name, value in given.items() if name in taken and name not in config})
    return found


def _translated_inner(cls: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(cls, type):
        return translated_file(cls, config)
    # Nobody says which class it is for. One that reads rope_parameters does not mind the older fields.
    found = translated_file(object, config)
    spec = RopeSpec.of(config)
    if config.get("rope_parameters") and not spec.layers:
        names = LegacyNames(type_key="both", partial_rotary_factor=None)
        found.update(
            {k: v for k, v in expressible_fields(spec, names, None, config).items() if k not in config}
        )
    return found
