"""config.json files of 5.x for config classes of custom code that were written for 4.x.

5.x saves ``rope_parameters``, and a constructor of 4.x that is not given `rope_scaling` assigns None to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..._facts.config_fields import LegacyNames
from ..._utils.disguise import dressed
from ..._utils.ownership import is_custom
from ...configs.nested import sub_configs
from ...configs.spec import RopeSpec
from ...errors import RopeConfigError
from .class_fields import legacy_names, parameters_of
from .construction import MARK
from .translation import expressible_fields

__all__ = ["reading", "translated_file"]


def reading(native: Callable[..., Any], *, is_5: bool) -> Callable[..., Any]:
    """`from_dict`, past which every config.json goes, as a function of the class."""

    def from_dict(cls: type[Any], config_dict: Any, *args: Any, **kwargs: Any) -> Any:
        is_mapping = isinstance(config_dict, Mapping)
        if is_mapping and (is_5 or is_custom(cls)) and mentions_rope_parameters(config_dict):
            config_dict = translated_file(cls, config_dict, is_5=is_5)
        return native(cls, config_dict, *args, **kwargs)

    return dressed(from_dict, native, mark=(MARK, native))


def mentions_rope_parameters(config: Mapping[str, Any], depth: int = 6) -> bool:
    """Whether the dictionary of a config, or one inside it, has ``rope_parameters``."""
    if config.get("rope_parameters"):
        return True
    return depth > 0 and any(
        isinstance(value, Mapping) and mentions_rope_parameters(value, depth - 1) for value in config.values()
    )


def translated_file(cls: type, config: Mapping[str, Any], *, is_5: bool = False) -> Mapping[str, Any]:
    """The dictionary of a config.json for a class, and for the classes that it names for the configs inside.

    A copy where something changes: custom code gets the fields that its constructors take. Transformers' own
    take ``rope_parameters``, on 4.x by what stands in their place.
    """
    found = config
    for name, inner, value in _inside(cls, config):
        if isinstance(inner, type):
            found = {**found, name: translated_file(inner, value, is_5=is_5)}
        elif not is_5:
            found = {**found, name: _for_anybody(value)}
    initializer = getattr(cls, "__init__", None)
    missing = parameters_of(initializer) - config.keys()
    if config.get("rope_parameters") and is_custom(cls) and (missing or not is_5):
        try:
            found = {**found, **_fields(cls, initializer, config, missing, is_5=is_5)}
        except RopeConfigError:
            # The file contradicts itself. On 5.x, which of the two counts is the class's own affair.
            if not is_5:
                raise
    return found


def _inside(cls: type, config: Mapping[str, Any]) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Configs inside another that need something: name, class if it is known, and value."""
    known = getattr(cls, "sub_configs", None)
    for name, value in sub_configs(config):
        if isinstance(value, Mapping) and mentions_rope_parameters(value):
            yield name, known.get(name) if isinstance(known, Mapping) else None, value


def _fields(
    cls: type, initializer: Any, config: Mapping[str, Any], missing: frozenset[str], *, is_5: bool
) -> dict[str, Any]:
    """The fields of 4.x that a constructor takes and a file of 5.x has not got."""
    spec = RopeSpec.of(config)
    given = expressible_fields(spec, legacy_names(cls, initializer, spec.rope_type), initializer, config)
    given = {name: value for name, value in given.items() if name in missing}
    scaling = given.get("rope_scaling")
    if is_5 and scaling and "type" in config["rope_parameters"] and "type" in scaling:
        # It was written with `type`, and checks of 4.x count the fields.
        given["rope_scaling"] = {key: value for key, value in scaling.items() if key != "rope_type"}
    return given


def _for_anybody(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """For a class that nobody names: one that reads rope_parameters does not mind the older fields."""
    found, spec = translated_file(object, config), RopeSpec.of(config)
    if not config.get("rope_parameters") or spec.layers:
        return found
    names = LegacyNames(type_key="both", partial_rotary_factor=None)
    given = expressible_fields(spec, names, None, config)
    return {**found, **{name: value for name, value in given.items() if name not in config}}
