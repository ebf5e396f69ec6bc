"""What a constructor call says: the embedding itself, or a config that describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...configs.spec import RopeSpec
from ...errors import RopeConfigError
from ..init_functions.rope_parameters import RopeParameters

__all__ = ["LegacyArguments", "config_of", "from_config", "legacy_config", "read_legacy"]


_LEGACY = frozenset(
    {"dim", "max_position_embeddings", "base", "theta", "device", "scaling_factor", "rope_type"}
)


@dataclass(frozen=True, slots=True)
class LegacyArguments:
    """The arguments of ``(dim, max_position_embeddings, base, device, scaling_factor, rope_type)``.

    `dim` counts the channels that turn; `scaled` says whether a type other than the default is meant.
    """

    dim: int
    max_position_embeddings: int
    base: float
    device: Any
    scaling_factor: float
    rope_type: str

    @property
    def rope_parameters(self) -> dict[str, Any]:
        """The same as ``rope_parameters`` of 5.x."""
        found: dict[str, Any] = {"rope_type": self.rope_type, "rope_theta": self.base}
        if self.rope_type != "default":
            found["factor"] = self.scaling_factor
        return found

    def parameters(self) -> RopeParameters:
        """The same for the init functions."""
        inner = {key: value for key, value in self.rope_parameters.items() if key == "factor"}
        return RopeParameters(self.base, self.rope_type, inner, self.dim, 1.0, legacy_config(self))


def read_legacy(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], names: tuple[str, ...], *, factor_scales: bool | None
) -> LegacyArguments:
    """Read a call by the parameter names that the class had.

    Args:
        args: positional arguments after ``self``.
        kwargs: keyword arguments.
        names: parameters in their order.
        factor_scales: a `scaling_factor` without a `rope_type` means linear scaling, as in 4.38.2 to 4.42.4,
            or nothing, as in 4.43.0 to 4.47.1; None where that is not known.

    Raises:
        TypeError: too many arguments, an unknown one, one given twice, or a scaling factor of which it is not
            known what it means.
        RopeConfigError: there is no dim.
    """
    if len(args) > len(names):
        raise TypeError(f"{len(args)} positional arguments were given; {', '.join(names)} are known")
    found = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        name = "dim" if name == "head_dim" else name
        if name in found:
            raise TypeError(f"got multiple values for argument {name!r}")
        if name not in _LEGACY:
            raise TypeError(f"got an unexpected keyword argument {name!r}; {', '.join(names)} are known")
        found[name] = value
    dim = found.get("dim")
    if dim is None:
        raise RopeConfigError("neither dim nor config is given; rope_compat does not guess one")
    factor, rope_type = found.get("scaling_factor", 1.0), found.get("rope_type")
    if rope_type is None and factor != 1.0 and factor_scales is None:
        raise TypeError(
            f"scaling_factor={factor} without rope_type means linear scaling in 4.38.2 to 4.42.4 and nothing "
            'in later releases: pass rope_type="linear" or "default", or say patch(written_for=...)'
        )
    if rope_type is None:
        rope_type = "linear" if factor_scales and factor != 1.0 else "default"
    return LegacyArguments(
        dim=int(dim),
        max_position_embeddings=found.get("max_position_embeddings", 2048),
        base=found.get("base", found.get("theta", 10000)),
        device=found.get("device"),
        scaling_factor=factor,
        rope_type=rope_type,
    )


def legacy_config(given: LegacyArguments) -> Any:
    """A configuration for `given`, as the constructors of 4.43.0 and later read one."""
    return config_of(given.dim, given.max_position_embeddings, given.rope_parameters)


def config_of(dim: int, max_position_embeddings: int | None, rope_parameters: dict[str, Any]) -> Any:
    """A configuration with one head of `dim` channels that all turn.

    A real configuration object, so that whatever holds it can be copied, pickled and saved.
    """
    from transformers import PretrainedConfig

    config = PretrainedConfig()
    fields: dict[str, Any] = {
        "hidden_size": dim,
        "num_attention_heads": 1,
        "head_dim": dim,
        "max_position_embeddings": max_position_embeddings,
    }
    original = rope_parameters.get("original_max_position_embeddings")
    if original is not None:
        fields["original_max_position_embeddings"] = original
    if hasattr(PretrainedConfig, "standardize_rope_params"):
        # 5.0.0 folded the two fields of 4.x into one.
        fields["rope_parameters"] = rope_parameters
    else:
        scaled = {key: value for key, value in rope_parameters.items() if key != "rope_theta"}
        fields["rope_theta"] = rope_parameters["rope_theta"]
        fields["rope_scaling"] = None if scaled == {"rope_type": "default"} else scaled
    for name, value in fields.items():
        setattr(config, name, value)
    return config


def from_config(config: Any, layer_type: str | None = None) -> RopeParameters:
    """The embedding that a config describes, by whatever names it has.

    Raises:
        RopeConfigError: theta or the head's size is missing, fields contradict each other, or layers differ.
    """
    spec = RopeSpec.of(config)
    if layer_type is not None and spec.layers:
        spec = spec.for_layer(layer_type)
    if spec.theta is None or spec.head_dim is None:
        missing = "rope_theta" if spec.theta is None else "head_dim"
        raise RopeConfigError(f"{type(config).__name__} gives no {missing}; rope_compat does not guess one")
    part = 1.0 if spec.partial_rotary_factor is None else spec.partial_rotary_factor
    return RopeParameters(spec.theta, spec.rope_type, spec.parameters, spec.head_dim, part, config)
