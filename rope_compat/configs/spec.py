"""One rotary embedding as a configuration describes it, whatever the release and the spelling."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._facts.config_fields import FULL, SCALED_IN_FULL, SLIDING, LegacyNames
from .._facts.rope_types import ORIGINAL
from ..errors import RopeConfigError
from . import reading
from .reading import Fields

__all__ = ["RopeSpec", "Source"]

#: What the checks of 4.31 to 4.57 want as floats.
_FLOATS = ("factor", "attention_factor", "beta_fast", "beta_slow", "low_freq_factor", "high_freq_factor")


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
        found: dict[str, Any] = {}
        if self.theta is not None:
            found["rope_theta"] = self.theta
        if self.partial_rotary_factor is not None:
            found["partial_rotary_factor"] = self.partial_rotary_factor
        parameters = copy.deepcopy(dict(self.parameters))
        if not self.layers:
            return {"rope_type": self.rope_type, **found, **parameters}
        if self.rope_type != "default":
            found["rope_type"] = self.rope_type
        layers = {name: layer and layer.rope_parameters() for name, layer in self.layers.items()}
        return {**layers, **found, **parameters}

    def legacy(self, names: LegacyNames | None = None) -> dict[str, Any]:
        """The fields of 4.x, such as ``{"rope_theta": ..., "rope_scaling": ...}``.

        Args:
            names: the fields to write, see `LegacyNames.of`; by default those that most classes of 4.43 to
                4.57 take, and those of gemma3 for two kinds of layers.

        Raises:
            RopeConfigError: they cannot express it; `lost` gives the names.
        """
        names = names or _usual_names(self)
        missing = self.lost(names)
        if missing:
            raise RopeConfigError(
                f"the configuration has no field for {', '.join(missing)}: a rotary embedding with it needs "
                "a release whose configuration has rope_parameters (5.0.0 and later)"
            )
        flat, local_theta = _flattened(_by_layer(self, names), names)
        found: dict[str, Any] = {}
        if names.theta is not None and flat.theta is not None:
            found[names.theta] = flat.theta
        if names.local_theta is not None and local_theta is not None:
            found[names.local_theta] = local_theta
        if names.partial_rotary_factor is not None and flat.partial_rotary_factor is not None:
            found[names.partial_rotary_factor] = _partial_value(flat, names.partial_rotary_factor)
        if names.scaling:
            found["rope_scaling"] = _scaling(flat, names)
        if names.original_max and ORIGINAL in flat.parameters:
            found[ORIGINAL] = flat.parameters[ORIGINAL]
        return found

    def lost(self, names: LegacyNames | None = None) -> list[str]:
        """What the fields of `names` cannot express, as ``name=value`` or ``layer type: name=value``."""
        names = names or _usual_names(self)
        spec = _by_layer(self, names)
        flat, _ = _flattened(spec, names)
        found = _lost_layers(spec, names) if spec.layers else []
        if flat.theta is not None and names.theta is None:
            found.append(f"rope_theta={flat.theta!r}")
        # 1.0 says the same as no field for it: the whole head is rotated.
        if flat.partial_rotary_factor not in (None, 1.0) and names.partial_rotary_factor is None:
            found.append(f"partial_rotary_factor={flat.partial_rotary_factor!r}")
        if flat.rope_type != "default" and not names.computes(flat.rope_type):
            found.append(f"rope_type={flat.rope_type!r}")
        elif flat.rope_type != "default" or flat.parameters:
            found += _lost_parameters(flat, names)
        return found

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


def _usual_names(spec: RopeSpec) -> LegacyNames:
    """The names to write where nobody says which: gemma3's where layers differ."""
    layers = [spec.for_layer(name) for name, layer in spec.layers.items() if layer is not None]
    return LegacyNames(
        local_theta="rope_local_base_freq" if len({layer.theta for layer in layers}) > 1 else None,
        scaled_layers=frozenset({FULL, SLIDING} if all(each == layers[0] for each in layers) else {FULL}),
    )


def _partial_value(flat: RopeSpec, name: str) -> float:
    factor = flat.partial_rotary_factor or 0.0
    if name != "rotary_dim":
        return factor
    if flat.head_dim is None:
        raise RopeConfigError(f"rotary_dim is {factor} of a head, and the configuration has no head_dim")
    return round(flat.head_dim * factor)


def _lost_parameters(flat: RopeSpec, names: LegacyNames) -> list[str]:
    keys = [key for key, value in flat.parameters.items() if value is not None]
    if names.original_max:
        keys = [key for key in keys if key != ORIGINAL]
    if names.scaling and names.scaling_keys is None:
        return []
    taken = (names.scaling_keys or frozenset()) if names.scaling else frozenset()
    return [f"{key}={flat.parameters[key]!r}" for key in keys if key not in taken]


def _lost_layers(spec: RopeSpec, names: LegacyNames) -> list[str]:
    """What a class with one or two thetas cannot say about layers."""
    found = [f"{name}: no rotary embedding" for name, layer in spec.layers.items() if layer is None]
    present = {name: spec.for_layer(name) for name, layer in spec.layers.items() if layer is not None}
    flat, local_theta = _flattened(spec, names)
    for name, layer in present.items():
        if name not in (FULL, SLIDING) and names.local_theta is not None:
            found.append(f"{name}: {layer.rope_parameters()}")
        else:
            said = _said_of(name, flat, local_theta, names)
            found += [f"{name}: {each}" for each in _differences(layer, said)]
    return found


def _by_layer(spec: RopeSpec, names: LegacyNames) -> RopeSpec:
    """One specification for all layers, twice, for a class that tells two kinds of layers apart."""
    if spec.layers or (names.local_theta is None and names.scaled_layers >= {FULL, SLIDING}):
        return spec
    return replace(spec, layers={FULL: spec, SLIDING: spec})


def _flattened(spec: RopeSpec, names: LegacyNames) -> tuple[RopeSpec, float | None]:
    """One specification for the fields of 4.x, and the theta of the other layers."""
    present = [name for name, layer in spec.layers.items() if layer is not None]
    if not present:
        return spec, None
    scaled = next(
        (name for name in (FULL, *present) if name in present and name in names.scaled_layers), None
    )
    flat = spec.for_layer(scaled or present[0])
    return flat, spec.for_layer(SLIDING).theta if SLIDING in present else None


def _said_of(name: str, flat: RopeSpec, local_theta: float | None, names: LegacyNames) -> RopeSpec:
    """What the fields of 4.x mean for the layers of one type."""
    theta = local_theta if name == SLIDING and names.local_theta is not None else flat.theta
    if name in names.scaled_layers or name not in (FULL, SLIDING):
        return replace(flat, theta=theta)
    return replace(flat, theta=theta, rope_type="default", parameters={})


def _differences(layer: RopeSpec, said: RopeSpec) -> list[str]:
    wanted, given = layer.rope_parameters(), said.rope_parameters()
    keys = dict.fromkeys((*wanted, *given))
    return [f"{key}={wanted.get(key)!r}" for key in keys if wanted.get(key) != given.get(key)]


def _scaling(flat: RopeSpec, names: LegacyNames) -> dict[str, Any] | None:
    if flat.rope_type == "default" and not flat.parameters:
        return None
    written = dict(names.type_names).get(flat.rope_type, flat.rope_type)
    keys = ("rope_type", "type") if names.type_key == "both" else (names.type_key,)
    parameters = copy.deepcopy(dict(flat.parameters))
    if names.original_max:
        parameters.pop(ORIGINAL, None)
    if names.scaling_keys is not None:
        parameters = {key: parameters[key] for key in parameters if key in names.scaling_keys}
    if names.floats:
        parameters.update({key: float(parameters[key]) for key in _FLOATS if key in parameters})
    return {**dict.fromkeys(keys, written), **parameters}
