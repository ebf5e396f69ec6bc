"""One rotary embedding as a configuration describes it, whatever the release and the spelling."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._facts.config_fields import FULL, SCALED_IN_FULL, SLIDING, LegacyNames
from ..errors import RopeConfigError
from . import reading, writing
from .reading import Fields

__all__ = ["RopeSpec", "Source"]


@dataclass(frozen=True)
class Source:
    """The fields of a configuration as they were spelled, and what was read from them."""

    fields: Mapping[str, Any]
    read: RopeSpec


@dataclass(frozen=True)
class RopeSpec:
    """What a configuration says about a rotary embedding. Nothing is filled in: None is "it does not say".

    Attributes:
        theta: the base of the frequencies.
        rope_type: ``default``, ``linear``, ``dynamic``, ``yarn``, ``longrope``, ``llama3``,
            ``proportional`` or another name as it was given; ``su`` is read as ``longrope``, ``mrope`` as
            ``default``.
        parameters: what else the dictionary holds: ``factor``, ``mrope_section``, unknown keys.
        partial_rotary_factor: the part of a head that is rotated.
        head_dim: size of a head, or of the part that is rotated apart (``qk_rope_head_dim``).
        layers: a specification for each layer type where they differ, None for a type without rotary
            embedding; empty where there is one for all. What a layer does not say, the fields above do.
        source: what this was read from; not compared.
    """

    theta: float | None = None
    rope_type: str = "default"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    partial_rotary_factor: float | None = None
    head_dim: int | None = None
    layers: Mapping[str, RopeSpec | None] = field(default_factory=dict)
    source: Source | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, config: Any) -> RopeSpec:
        """Read a configuration object of any release, native or custom, or the dictionary of a config.json.

        Sub-configurations are not followed, see `rope_specs`. A configuration that says nothing gives a
        specification without theta.

        Raises:
            RopeConfigError: two fields contradict each other, or one is not what it should be; the message
                names them.
        """
        if isinstance(config, cls):
            return config
        fields = reading.plain_fields(config)
        spec = _of_fields(fields)
        return replace(spec, source=Source(reading.source_of(fields), spec))

    @property
    def is_nested(self) -> bool:
        """Whether layer types have specifications of their own."""
        return bool(self.layers)

    @property
    def is_empty(self) -> bool:
        """Whether the configuration says nothing at all."""
        return self == RopeSpec(head_dim=self.head_dim)

    def for_layer(self, layer_type: str | None) -> RopeSpec:
        """The specification for the layers of one type; this one where there is one for all.

        Raises:
            RopeConfigError: layer types differ and `layer_type` is None or none of them, or such layers
                have no rotary embedding.
        """
        if not self.layers:
            return self
        known = ", ".join(self.layers)
        if layer_type is None:
            raise RopeConfigError(
                f"the rotary embedding differs by layer type ({known}): say which one is meant"
            )
        if layer_type not in self.layers:
            raise RopeConfigError(f"layer_type={layer_type!r}: the configuration has {known}")
        layer = self.layers[layer_type]
        if layer is None:
            raise RopeConfigError(f"layers of type {layer_type} have no rotary embedding")
        return replace(
            layer,
            theta=self.theta if layer.theta is None else layer.theta,
            partial_rotary_factor=self.partial_rotary_factor
            if layer.partial_rotary_factor is None
            else layer.partial_rotary_factor,
        )

    def rope_parameters(self) -> dict[str, Any]:
        """The dictionary that 5.0 and later keep; ``rope_theta`` is left out where it is not known."""
        return writing.rope_parameters(self)

    def legacy(self, names: LegacyNames | None = None) -> dict[str, Any]:
        """The fields of 4.x, such as ``{"rope_theta": ..., "rope_scaling": ...}``.

        Args:
            names: the fields to write, see `LegacyNames.of`; by default those that most classes of 4.43 to
                4.57 take, and those of gemma3 for two kinds of layers.

        Raises:
            RopeConfigError: they cannot express it; `lost` gives the names.
        """
        return writing.legacy(self, names or writing.usual_names(self))

    def lost(self, names: LegacyNames | None = None) -> list[str]:
        """What the fields of `names` cannot express, empty if nothing: ``["partial_rotary_factor=0.5"]``."""
        return writing.lost(self, names or writing.usual_names(self))

    def fields(self) -> dict[str, Any]:
        """The fields in the spelling that they were read in: equal to what was read, if nothing was changed.

        Raises:
            RopeConfigError: `dataclasses.replace` has put something in that the spelling cannot express.
        """
        if self.source is None:
            return {"rope_parameters": self.rope_parameters()}
        spelled = self.source.fields
        if self == self.source.read:
            return copy.deepcopy(dict(spelled))
        found: dict[str, Any] = {}
        if spelled.get("rope_parameters") is not None or not spelled:
            found["rope_parameters"] = self.rope_parameters()
        if set(spelled) - {"rope_parameters"}:
            names = LegacyNames.of(spelled)
            if self.layers and names.local_theta is None:
                names = replace(names, scaled_layers=frozenset({FULL}))
            found.update(self.legacy(names))
        return found


def _of_fields(fields: Fields) -> RopeSpec:
    head_dim = reading.head_dim_of(fields)
    inner = reading.merged(fields, ("rope_parameters",))
    nested = reading.nested_keys(inner, fields)
    if not nested:
        inner = reading.merged(fields)
        nested = reading.nested_keys(inner, fields)
    layers = {key: None if inner[key] is None else _of_layer(inner[key], head_dim) for key in nested}
    shared = reading.with_original_length({k: v for k, v in inner.items() if k not in nested}, fields)
    spec = _of_dictionary(shared, fields, head_dim, has_layers=bool(nested))
    if nested:
        return _without_leftovers(replace(spec, layers=_with_top_level(layers, fields)))
    # With rope_parameters that are not nested, 5.0 to 5.12 scale all layers of olmo3.
    is_split = fields.get("model_type") in SCALED_IN_FULL and not fields.get("rope_parameters")
    if is_split and spec.theta is not None:
        return _split(spec, spec.theta, _scaled_layers(fields))
    local = reading.local_theta(fields, spec.theta)
    return spec if local is None else _split(spec, local[1], _scaled_layers(fields))


def _of_dictionary(inner: Fields, fields: Fields, head_dim: int | None, *, has_layers: bool) -> RopeSpec:
    """One specification from a flat dictionary and from what stands beside it."""
    parameters = dict(inner)
    own_theta = parameters.pop("rope_theta", None)
    own_factor = parameters.pop("partial_rotary_factor", None)
    rope_type = parameters.pop("rope_type", None) or "default"
    # With layers, a theta beside the dictionary is the full layers', and is compared with theirs.
    outer = [] if has_layers else reading.thetas(fields)
    factors = reading.partial_factors(fields, head_dim)
    if "partial_rotary_factor" in (fields.get("rope_parameters") or {}):
        # 5.0 to 5.18 save the default of the class beside the value that counts (phi, glm, stablelm).
        factors = [(name, value) for name, value in factors if name != "partial_rotary_factor"]
    if head_dim is None and fields.get("rotary_dim") is not None:
        parameters["rotary_dim"] = fields["rotary_dim"]
    return RopeSpec(
        theta=reading.number([("rope_parameters['rope_theta']", own_theta), *outer], "theta"),
        rope_type=rope_type,
        parameters=copy.deepcopy(parameters),
        partial_rotary_factor=reading.number(
            [("rope_parameters['partial_rotary_factor']", own_factor), *factors],
            "the partial rotary factor",
        ),
        head_dim=head_dim,
    )


def _of_layer(inner: Fields, head_dim: int | None) -> RopeSpec:
    return _of_dictionary(reading.merged({"rope_parameters": inner}), {}, head_dim, has_layers=False)


def _with_top_level(layers: dict[str, RopeSpec | None], fields: Fields) -> dict[str, RopeSpec | None]:
    """Layers with what 4.x fields say beside their dictionaries; both have to agree."""
    local = reading.local_theta(fields, None)
    beside = {FULL: reading.thetas(fields), SLIDING: [local] if local else []}
    scaling = fields.get("rope_scaling")
    scaled = _scaled_layers(fields)
    found = dict(layers)
    for layer_type, thetas in beside.items():
        layer = found.get(layer_type)
        if layer is None:
            continue
        own = (f"rope_parameters[{layer_type!r}]['rope_theta']", layer.theta)
        layer = replace(layer, theta=reading.number([own, *thetas], f"theta of the {layer_type} layers"))
        if layer_type in scaled and scaling and not reading.nested_keys(scaling, fields):
            both = {"rope_parameters": layer.rope_parameters(), "rope_scaling": scaling}
            layer = _of_dictionary(reading.merged(both), {}, layer.head_dim, has_layers=False)
        found[layer_type] = layer
    return found


def _without_leftovers(spec: RopeSpec) -> RopeSpec:
    """Values beside layers that all have their own say nothing: 5.0 to 5.3 save defaults there."""
    present = [layer for layer in spec.layers.values() if layer is not None]
    if all(layer.theta is not None for layer in present):
        spec = replace(spec, theta=None)
    if all(layer.partial_rotary_factor is not None for layer in present):
        spec = replace(spec, partial_rotary_factor=None)
    return spec


def _scaled_layers(fields: Fields) -> frozenset[str]:
    """The layer types that the `rope_scaling` of 4.x is for."""
    if fields.get("model_type") in SCALED_IN_FULL:
        return frozenset({FULL})
    return LegacyNames.of(fields).scaled_layers


def _split(spec: RopeSpec, local_theta: Any, scaled: frozenset[str]) -> RopeSpec:
    """The two kinds of layers of a 4.x configuration that has a second theta."""
    plain = RopeSpec(theta=spec.theta, head_dim=spec.head_dim)
    scaling = replace(spec, partial_rotary_factor=None)
    full = scaling if FULL in scaled else plain
    sliding = replace(scaling if SLIDING in scaled else plain, theta=local_theta)
    return RopeSpec(
        partial_rotary_factor=spec.partial_rotary_factor,
        head_dim=spec.head_dim,
        layers={FULL: full, SLIDING: sliding},
    )
