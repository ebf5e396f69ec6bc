"""Constructors of config classes, and when a config is under construction.

A config is native until its base class has constructed it: what a constructor assigns and reads before that,
transformers' own or custom code's, is stored and returned as without rope_compat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..._utils.disguise import dressed
from ..._utils.ownership import is_custom
from ...configs.reading import canonical_type
from . import scaling_view as views

__all__ = [
    "MARK",
    "base_of_4",
    "base_of_5",
    "is_constructed",
    "is_ours",
    "is_under_construction",
    "native_of",
    "under_construction",
]

#: Attribute of every function that rope_compat puts on a config class: what it stands for.
MARK = "__rope_compat_config__"

#: Configs that a constructor is at work on, by id. A plain set: compilers follow a look at it.
_building: set[int] = set()


def native_of(function: Any) -> Any:
    """The function that was there before rope_compat; the function itself where none of ours is."""
    return getattr(function, MARK, function)


def is_ours(value: Any) -> bool:
    """Whether rope_compat put a function there."""
    return hasattr(getattr(value, "__func__", value), MARK)


@contextmanager
def under_construction(config: Any) -> Iterator[None]:
    """While it lasts, fields of `config` are stored as they are given: its constructor is at work."""
    if id(config) in _building:
        yield
        return
    _building.add(id(config))
    try:
        yield
    finally:
        _building.discard(id(config))


def is_under_construction(config: Any) -> bool:
    """Whether a constructor is at work on `config`."""
    return bool(_building) and id(config) in _building


def is_constructed(config: Any) -> bool:
    """Whether the base class is done: in every 5.x it sets this attribute after it has read RoPE fields."""
    return "_name_or_path" in vars(config) and not is_under_construction(config)


def base_of_5(native: Callable[..., None]) -> Callable[..., None]:
    """The base class's constructor, with a note of what it is working on."""

    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        if is_under_construction(self):
            native(self, *args, **kwargs)
            return
        with under_construction(self):
            _set_length(self, kwargs)
            native(self, *args, **_arguments(self, kwargs))

    return dressed(construct, native, mark=(MARK, native))


def base_of_4(native: Callable[..., None]) -> Callable[..., None]:
    """The base class's constructor; classes that have set ``rope_parameters`` by then were written for 5.x.

    No config class of 4.x does that. 5.x completes the dictionary at this point: from the fields of an older
    config.json, and from the class's ``default_theta``.
    """

    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        if "rope_parameters" in self.__dict__:
            kwargs = _without_older_values(self, self.convert_rope_params_to_dict(**kwargs))
        native(self, *args, **kwargs)

    return dressed(construct, native, mark=(MARK, native))


def _without_older_values(config: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """`kwargs` without fields of which ``rope_parameters`` has another value, which is the one that counts.

    On 5.x they would become attributes that nothing reads. On 4.x the fields are read.
    """
    parameters = vars(config).get("rope_parameters") or {}
    nested = config.nested_rope_parameter_keys(parameters)
    parts = [parameters[key] for key in nested if parameters[key] is not None] if nested else [parameters]
    decided = {
        name
        for name in ("rope_theta", "partial_rotary_factor")
        if name in kwargs and parts and all(part.get(name) is not None for part in parts)
    }
    return {name: value for name, value in kwargs.items() if name not in decided}


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
