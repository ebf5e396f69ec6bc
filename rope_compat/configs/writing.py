"""From a specification to the fields of a configuration, in the style of 5.x or of 4.x."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._facts.config_fields import FULL, SLIDING, LegacyNames
from ..errors import RopeConfigError

if TYPE_CHECKING:
    from .spec import RopeSpec

__all__ = ["legacy", "lost", "rope_parameters", "usual_names"]

_ORIGINAL = "original_max_position_embeddings"
_FLOATS = ("factor", "attention_factor", "beta_fast", "beta_slow", "low_freq_factor", "high_freq_factor")


def rope_parameters(spec: RopeSpec) -> dict[str, Any]:
    """The dictionary of 5.x: flat, or nested by layer type."""
    found: dict[str, Any] = {}
    if spec.theta is not None:
        found["rope_theta"] = spec.theta
    if spec.partial_rotary_factor is not None:
        found["partial_rotary_factor"] = spec.partial_rotary_factor
    if not spec.layers:
        return {"rope_type": spec.rope_type, **found, **_copied(spec.parameters)}
    if spec.rope_type != "default":
        found["rope_type"] = spec.rope_type
    layers = {name: None if layer is None else rope_parameters(layer) for name, layer in spec.layers.items()}
    return {**layers, **found, **_copied(spec.parameters)}


def usual_names(spec: RopeSpec) -> LegacyNames:
    """The names to write where nobody says which: gemma3's where layers differ."""
    layers = [spec.for_layer(name) for name, layer in spec.layers.items() if layer is not None]
    return LegacyNames(
        local_theta="rope_local_base_freq" if len({layer.theta for layer in layers}) > 1 else None,
        scaled_layers=frozenset({FULL, SLIDING} if all(each == layers[0] for each in layers) else {FULL}),
    )


def legacy(spec: RopeSpec, names: LegacyNames) -> dict[str, Any]:
    """The fields of 4.x. Raises `RopeConfigError` where they cannot express the specification."""
    missing = lost(spec, names)
    if missing:
        raise RopeConfigError(
            f"the configuration has no field for {', '.join(missing)}: a rotary embedding with it needs a "
            "release whose configuration has rope_parameters (5.0.0 and later)"
        )
    flat, local_theta = _flattened(_by_layer(spec, names), names)
    found: dict[str, Any] = {}
    if names.theta is not None and flat.theta is not None:
        found[names.theta] = flat.theta
    if names.local_theta is not None and local_theta is not None:
        found[names.local_theta] = local_theta
    if names.partial_rotary_factor is not None and flat.partial_rotary_factor is not None:
        found[names.partial_rotary_factor] = _partial_value(flat, names.partial_rotary_factor)
    if names.scaling:
        found["rope_scaling"] = _scaling(flat, names)
    if names.original_max and _ORIGINAL in flat.parameters:
        found[_ORIGINAL] = flat.parameters[_ORIGINAL]
    return found


def _partial_value(flat: RopeSpec, name: str) -> float:
    factor = flat.partial_rotary_factor or 0.0
    if name != "rotary_dim":
        return factor
    if flat.head_dim is None:
        raise RopeConfigError(f"rotary_dim is {factor} of a head, and the configuration has no head_dim")
    return round(flat.head_dim * factor)


def lost(spec: RopeSpec, names: LegacyNames) -> list[str]:
    """What `names` has no field for, as ``name=value`` or ``layer type: name=value``."""
    spec = _by_layer(spec, names)
    flat, _ = _flattened(spec, names)
    found = []
    if spec.layers:
        found += _lost_layers(spec, names)
    if flat.theta is not None and names.theta is None:
        found.append(f"rope_theta={flat.theta!r}")
    # 1.0 says the same as no field for it: the whole head is rotated.
    if flat.partial_rotary_factor not in (None, 1.0) and names.partial_rotary_factor is None:
        found.append(f"partial_rotary_factor={flat.partial_rotary_factor!r}")
    if flat.rope_type != "default" and (
        not names.scaling or (names.types is not None and flat.rope_type not in names.types)
    ):
        found.append(f"rope_type={flat.rope_type!r}")
    elif flat.rope_type != "default" or flat.parameters:
        found += _lost_parameters(flat, names)
    return found


def _lost_parameters(flat: RopeSpec, names: LegacyNames) -> list[str]:
    keys = [key for key, value in flat.parameters.items() if value is not None]
    if names.original_max:
        keys = [key for key in keys if key != _ORIGINAL]
    if names.scaling and (names.scaling_keys is None):
        return []
    taken = names.scaling_keys if names.scaling and names.scaling_keys is not None else frozenset()
    return [f"{key}={flat.parameters[key]!r}" for key in keys if key not in taken]


def _lost_layers(spec: RopeSpec, names: LegacyNames) -> list[str]:
    """What a class with one or two thetas cannot say about layers."""
    found = [f"{name}: no rotary embedding" for name, layer in spec.layers.items() if layer is None]
    present = {name: spec.for_layer(name) for name, layer in spec.layers.items() if layer is not None}
    flat, local_theta = _flattened(spec, names)
    for name, layer in present.items():
        if name not in (FULL, SLIDING) and names.local_theta is not None:
            found.append(f"{name}: {rope_parameters(layer)}")
        else:
            said = _said_of(name, flat, local_theta, names)
            found += [f"{name}: {each}" for each in _differences(layer, said)]
    return found


def _by_layer(spec: RopeSpec, names: LegacyNames) -> RopeSpec:
    """One specification for all layers, twice, for a class that tells two kinds of layers apart."""
    if spec.layers or (names.local_theta is None and names.scaled_layers >= {FULL, SLIDING}):
        return spec
    from dataclasses import replace

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
    from dataclasses import replace

    theta = local_theta if name == SLIDING and names.local_theta is not None else flat.theta
    if name in names.scaled_layers or name not in (FULL, SLIDING):
        return replace(flat, theta=theta)
    return replace(flat, theta=theta, rope_type="default", parameters={})


def _differences(layer: RopeSpec, said: RopeSpec) -> list[str]:
    wanted, given = rope_parameters(layer), rope_parameters(said)
    keys = dict.fromkeys((*wanted, *given))
    return [f"{key}={wanted.get(key)!r}" for key in keys if wanted.get(key) != given.get(key)]


def _scaling(flat: RopeSpec, names: LegacyNames) -> dict[str, Any] | None:
    if flat.rope_type == "default" and not flat.parameters:
        return None
    written = dict(names.type_names).get(flat.rope_type, flat.rope_type)
    keys = ("rope_type", "type") if names.type_key == "both" else (names.type_key,)
    parameters = _copied(flat.parameters)
    if names.original_max:
        parameters.pop(_ORIGINAL, None)
    if names.scaling_keys is not None:
        parameters = {key: parameters[key] for key in parameters if key in names.scaling_keys}
    if names.floats:
        parameters.update({key: float(parameters[key]) for key in _FLOATS if key in parameters})
    return {**dict.fromkeys(keys, written), **parameters}


def _copied(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(dict(parameters))
