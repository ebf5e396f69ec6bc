"""When a config is under construction, and what constructors are given.

A config is native until its base class has constructed it: what a constructor assigns and reads before that,
transformers' own or custom code's, is stored and returned as without rope_compat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..._utils.ownership import is_custom
from ...configs.reading import canonical_type
from ...errors import RopeConfigError
from . import scaling_view as views
from .wrapping import dressed, is_under_construction, under_construction

__all__ = ["constructor", "is_constructed", "reading"]


def constructor(native: Callable[..., None]) -> Callable[..., None]:
    """The base class's constructor, with a note of what it is working on."""

    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        if is_under_construction(self):
            native(self, *args, **kwargs)
            return
        with under_construction(self):
            _set_length(self, kwargs)
            native(self, *args, **_arguments(self, kwargs))

    return dressed(construct, native)


def reading(native: Any) -> Any:
    """`from_dict`, which gives classes of custom code the fields that their constructors take.

    5.x saves rope_parameters. A constructor of 4.x that is not given `rope_scaling` assigns None to it.
    """
    function = native.__func__

    def from_dict(cls: type[Any], config_dict: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        return function(cls, _with_fields(cls, config_dict), *args, **kwargs)

    return classmethod(dressed(from_dict, function))


def _with_fields(cls: type[Any], config: dict[str, Any]) -> dict[str, Any]:
    """A config.json for a class, and for the classes that it names for the configs inside."""
    inner = getattr(cls, "sub_configs", None)
    for name, each in inner.items() if isinstance(inner, dict) else ():
        if isinstance(config.get(name), dict) and isinstance(each, type):
            config = {**config, name: _with_fields(each, config[name])}
    if not config.get("rope_parameters") or not is_custom(cls):
        return config
    from .v4_classes import parameters_of
    from .v4_constructors import translated

    initializer = getattr(cls, "__init__", None)
    missing = parameters_of(initializer) - config.keys()
    try:
        fields = translated(cls, initializer, config, refuse=False) if missing else {}
    except RopeConfigError:
        # The file contradicts itself. Which of the two counts is the class's own affair, as without us.
        return config
    given = {name: value for name, value in fields.items() if name in missing}
    scaling = given.get("rope_scaling")
    if scaling and "type" in config["rope_parameters"] and "type" in scaling:
        # It was written with `type`, and checks of 4.x count the fields.
        given["rope_scaling"] = {key: value for key, value in scaling.items() if key != "rope_type"}
    return {**config, **given}


def _set_length(config: Any, arguments: dict[str, Any]) -> None:
    """Set the length that the arguments have now: 5.4 and later look for it before they set it.

    They do even where the original length, which it would stand for, is given.
    """
    key = "max_position_embeddings"
    if key in arguments and is_custom(type(config)) and not hasattr(config, key):
        vars(config)[key] = arguments[key]


def _arguments(config: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the base class's constructor, as it would have got them in 4.x."""
    stored = vars(config)
    has_theta = "rope_theta" in arguments
    if type(stored.get("rope_parameters")) is views.ScalingView:
        config.rope_parameters = views.plain(stored["rope_parameters"], with_theta=True)
    for name in ("rope_scaling", "rope_parameters"):
        if type(arguments.get(name)) is views.ScalingView:
            given = views.plain(arguments[name], with_theta=name == "rope_parameters" or not has_theta)
            arguments = {**arguments, name: given}
    if is_custom(type(config)):
        stored_parameters = stored.get("rope_parameters")
        if _is_phi3_yarn(stored_parameters):
            config.rope_parameters = {**stored_parameters, "rope_type": "longrope"}
        if _is_phi3_yarn(arguments.get("rope_scaling")):
            arguments = {**arguments, "rope_scaling": {**arguments["rope_scaling"], "rope_type": "longrope"}}
    # 5.0 to 5.2, and some models up to now, take the class's default where the constructor of custom code
    # has set the attribute before it calls this one.
    theta = stored.get("rope_theta")
    if (
        not has_theta
        and views.is_number(theta)
        and is_custom(type(config))
        and hasattr(config, "rope_parameters")
    ):
        arguments = {**arguments, "rope_theta": theta}
    return arguments


def _is_phi3_yarn(scaling: Any) -> bool:
    """Whether a dictionary is of Phi-3's remote code of 4.40: longrope went by the name of yarn there.

    5.x wants a `factor` of yarn, and reads these as what they are if `rope_type` says so.
    """
    if not isinstance(scaling, Mapping) or scaling.get("rope_type", "yarn") != "yarn":
        return False
    return scaling.get("type") == "yarn" and canonical_type("yarn", scaling) != "yarn"


def is_constructed(config: Any) -> bool:
    """Whether the base class is done: in every 5.x it sets this attribute after it has read RoPE fields."""
    return "_name_or_path" in vars(config) and not is_under_construction(config)
