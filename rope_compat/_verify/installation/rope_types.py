"""Configs of a model with each rope type, with values whose meaning every release agrees on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from packaging.version import Version

from ...configs.spec import RopeSpec
from ...errors import RopeCompatError

__all__ = ["EVEN", "rope_types"]

#: The size of a head for configs whose defaults rotate an odd number of channels.
EVEN = 64

#: Rope type, first release, parameters. YaRN's original length is left to the config: 4.43 to 4.50 ignored
#: the key, and 4.51 to 4.55 overwrote the factor where it was given. LongRoPE chose otherwise before 5.0.
_TYPES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("linear", "4.43.0", {"factor": 4.0}),
    ("dynamic", "4.43.0", {"factor": 2.0}),
    ("yarn", "4.43.0", {"factor": 8.0}),
    (
        "llama3",
        "4.43.0",
        {
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 1024,
        },
    ),
    ("longrope", "5.0.0", {}),
)


def rope_types(plain: Any, release: str | None) -> Iterator[tuple[str, Any]]:
    """Name and config for each rope type that a config like `plain` can say on this release."""
    here = None if release is None else Version(release)
    config_class = type(plain)
    try:
        spec = RopeSpec.of(plain)
    except RopeCompatError:
        return
    if spec.layers or spec.theta is None or spec.rope_type != "default":
        return
    is_new = here is None or here >= Version("5.0.0")
    for name, since, parameters in _TYPES:
        if here is not None and here < Version(since):
            continue
        values = _longrope(spec, plain) if name == "longrope" else dict(parameters)
        if values is None:
            continue
        kept = {key: value for key, value in spec.parameters.items() if key == "mrope_section"}
        if is_new:
            more = {"rope_theta": spec.theta}
            if spec.partial_rotary_factor is not None:
                more["partial_rotary_factor"] = spec.partial_rotary_factor
            said: dict[str, Any] = {"rope_parameters": {"rope_type": name, **kept, **more, **values}}
        else:
            said = {"rope_scaling": {"rope_type": name, **kept, **values}}
        if kept and name in ("dynamic", "longrope"):
            continue  # what the length of a text is with positions of several axes is not defined
        if spec.head_dim == EVEN:
            said["head_dim"] = EVEN
        try:
            config = config_class(**said)
            found = RopeSpec.of(config)
        except Exception:
            continue  # a config that refuses the rope type, or cannot say it
        if found.rope_type == name and found.theta == spec.theta:
            yield name, config


def _longrope(spec: RopeSpec, config: Any) -> dict[str, Any] | None:
    """Divisors for each pair; None where it cannot be told how many there are."""
    if spec.head_dim is None or spec.parameters.get("rotary_dim"):
        return None
    pairs = int(spec.head_dim * (spec.partial_rotary_factor or 1.0)) // 2
    length = getattr(config, "max_position_embeddings", None)
    if not isinstance(length, int):
        return None
    return {
        "short_factor": [1.0 + n / pairs for n in range(pairs)],
        "long_factor": [2.0 + 4.0 * n / pairs for n in range(pairs)],
        "original_max_position_embeddings": length // 4,
        "factor": 4.0,
    }
