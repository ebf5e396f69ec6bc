"""Methods that 5.x gives to every configuration, for configuration classes that were written for 5.x.

Their names, parameters and defaults are those of `RotaryEmbeddingConfigMixin` (modeling_rope_utils from 5.0.0
on); the constructor of 5.x's `PreTrainedConfig` calls them, and classes override them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..._facts.rope_types import ORIGINAL, ROPE_TYPES, WITH_ORIGINAL
from ..._utils.disguise import dressed
from ...configs.reading import plain_fields
from ...errors import RopeConfigError
from .construction import MARK

__all__ = ["ATTRIBUTES", "METHODS", "with_factor"]

#: Class attributes of 5.x. The theta is what 5.x documents for a class that gives no other; it is used for
#: classes that were written for 5.x alone, see `construction.base_of_4`.
ATTRIBUTES: dict[str, Callable[[], Any]] = {
    "default_theta": lambda: 10_000.0,
    "default_rope_type": lambda: "default",
    "ignore_keys_at_rope_validation": set,
}


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


def with_factor(native: Callable[..., Any], *, overwritten: bool) -> Callable[..., Any]:
    """``GPTNeoXConfig.convert_rope_params_to_dict`` of 5.x with the rotated part of a head of other releases.

    Upstream: `configuration_gpt_neox.py`. From 5.0.0 to 5.4.0 `rotary_pct`, 0.25 where it is not given,
    overwrites `partial_rotary_factor` in the dictionary; from 5.5.0 on it only stands in for it.
    """
    factor = "partial_rotary_factor"

    def convert_rope_params_to_dict(self: Any, *args: Any, **kwargs: Any) -> Any:
        said = kwargs.get("rope_scaling") or vars(self).get("rope_parameters") or {}
        if overwritten:
            found = {key: value for key, value in said.items() if key != factor}
            if kwargs.get("rope_scaling"):
                kwargs["rope_scaling"] = found
            else:
                self.rope_parameters = found
        elif said.get(factor) is not None:
            kwargs["rotary_pct"] = said[factor]
        return native(self, *args, **kwargs)

    return dressed(convert_rope_params_to_dict, native, mark=(MARK, native))
