"""Methods that 5.x gives to every configuration, for configuration classes that were written for 5.x.

Their names, parameters and defaults are those of `RotaryEmbeddingConfigMixin` (modeling_rope_utils from 5.0.0
on); the constructor of 5.x's `PreTrainedConfig` calls them, and classes override them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..._facts.rope_types import ORIGINAL, ROPE_TYPES, WITH_ORIGINAL
from ...configs.reading import plain_fields
from ...errors import RopeConfigError
from .wrapping import MARK, dressed

__all__ = ["ATTRIBUTES", "METHODS", "converting"]

#: Class attributes of 5.x. The theta is what 5.x documents for a class that gives no other; it is used for
#: classes that were written for 5.x alone, see `converting`.
ATTRIBUTES: dict[str, Callable[[], Any]] = {
    "default_theta": lambda: 10_000.0,
    "default_rope_type": lambda: "default",
    "ignore_keys_at_rope_validation": set,
}


def converting(constructor: Any) -> Callable[..., None]:
    """The base constructor; classes that have set ``rope_parameters`` by then were written for 5.x.

    No configuration class of 4.x does that. 5.x completes the dictionary at this point: from the fields of an
    older config.json, and from the class's ``default_theta``.
    """

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        if "rope_parameters" in self.__dict__:
            kwargs = _without_older_values(self, self.convert_rope_params_to_dict(**kwargs))
        constructor(self, *args, **kwargs)

    return dressed(__init__, constructor)


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


def nested_rope_parameter_keys(self: Any, rope_parameters: Mapping[str, Any]) -> list[str]:
    """Keys of `rope_parameters` that are layer types of this configuration."""
    labels = getattr(self, "_rope_type_labels", None) or getattr(self, "layer_types", None) or ()
    return [key for key in rope_parameters if key in labels]


def convert_rope_params_to_dict(
    self: Any, ignore_keys_at_rope_validation: Any = None, **kwargs: Any
) -> dict[str, Any]:
    """Take the fields of 4.x out of `kwargs` and into ``self.rope_parameters``; return what is left."""
    stored = plain_fields(self)
    given = kwargs.pop("rope_scaling", None) or stored.get("rope_parameters") or {}
    theta = kwargs.pop("rope_theta", None)
    theta = theta if theta is not None else stored.get("rope_theta", self.default_theta)
    factor = kwargs.pop("partial_rotary_factor", stored.get("partial_rotary_factor"))
    self.rope_parameters = _completed(self, given, {"rope_theta": theta, "partial_rotary_factor": factor})
    self.standardize_rope_params()
    if ignore_keys_at_rope_validation is None:
        self.validate_rope()
    else:
        self.validate_rope(ignore_keys=ignore_keys_at_rope_validation)
    return kwargs


def standardize_rope_params(self: Any) -> None:
    """Complete ``self.rope_parameters``: a type for each layer type, and what the type needs."""
    stored = plain_fields(self)
    # Classes of 4.x keep what they were given as rope_scaling.
    given = stored.get("rope_parameters") or stored.get("rope_scaling") or {}
    known = {key: stored.get(key) for key in ("rope_theta", "partial_rotary_factor")}
    if not given and known["rope_theta"] is None:
        return
    completed = _completed(self, given, known)
    nested = [key for key in self.nested_rope_parameter_keys(completed) if completed[key] is not None]
    for parameters in [completed[key] for key in nested] or [completed]:
        parameters.setdefault("rope_type", parameters.get("type", "default"))
        if parameters["rope_type"] == "default":
            parameters["rope_type"] = self.default_rope_type
        if parameters["rope_type"] in WITH_ORIGINAL:
            _complete_original(self, parameters, is_nested=bool(nested))
    self.rope_parameters = completed


def validate_rope(self: Any, ignore_keys: Any = None) -> None:
    """Raise `RopeConfigError` where ``self.rope_parameters`` lacks what its type needs."""
    parameters = vars(self).get("rope_parameters") or {}
    nested = self.nested_rope_parameter_keys(parameters)
    for each in [parameters[key] for key in nested] or [parameters]:
        if not each:
            continue
        rope_type = each.get("rope_type", each.get("type", "default"))
        known = ROPE_TYPES.get(rope_type)
        missing = [key for key in known.needed if key not in each] if known is not None else []
        if missing:
            raise RopeConfigError(
                f"rope_parameters of {type(self).__name__} with rope_type={rope_type!r} lack "
                f"{', '.join(missing)}"
            )


def _completed(config: Any, given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `given` with the values that it does not have, in each of its layer types."""
    found: dict[str, Any] = {
        key: dict(value) if isinstance(value, Mapping) else value for key, value in given.items()
    }
    nested = config.nested_rope_parameter_keys(found)
    for parameters in [found[key] for key in nested if found[key] is not None] if nested else [found]:
        for key, value in values.items():
            if value is not None:
                parameters.setdefault(key, value)
    return found


def _complete_original(config: Any, parameters: dict[str, Any], *, is_nested: bool) -> None:
    """The length of the original training, where it stands beside the dictionary (phi3) or is the maximum."""
    beside = None if is_nested else getattr(config, ORIGINAL, None)
    if beside is not None:
        parameters[ORIGINAL] = beside
    elif getattr(config, "max_position_embeddings", None) is not None:
        parameters.setdefault(ORIGINAL, config.max_position_embeddings)


METHODS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        nested_rope_parameter_keys,
        convert_rope_params_to_dict,
        standardize_rope_params,
        validate_rope,
    )
}
for _function in METHODS.values():
    setattr(_function, MARK, _function)
