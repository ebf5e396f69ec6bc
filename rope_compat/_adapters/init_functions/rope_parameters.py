"""What a config says to an init function: theta, the head, and the parameters of a rope type.

Configs of 4.x keep ``rope_theta`` and ``rope_scaling``, configs of 5.x ``rope_parameters``, for some models
one for each layer type. Both are read, by the rules of the functions of 4.57.6 and of 5.x in
``transformers/modeling_rope_utils.py``: what those did not read is not read here (``rotary_pct``,
``qk_rope_head_dim``), and what those needed and is not there is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..._facts.rope_types import ORIGINAL, ROPE_TYPES, WITH_ORIGINAL
from ...errors import RopeConfigError
from ...rotary import frequencies

__all__ = ["RopeParameters", "StandIn", "compute", "read"]

#: What functions take and the attribute that has it; all else is in the dictionary.
_KNOWN = {name: name for name in ("theta", "dim", "head_dim", "part", "factor", "max_position_embeddings")}
_KNOWN[ORIGINAL] = "original"
_READ_APART = ("type", "rope_type", "rope_theta", "partial_rotary_factor")


@dataclass(frozen=True)
class RopeParameters:
    """One embedding, as an init function sees it.

    Attributes:
        theta: the base of the frequencies.
        rope_type: the type that the config names; ``default`` where it names none.
        inner: the dictionary of the type: ``factor`` and so on.
        head_dim: channels of a head.
        part: how much of a head turns, 1.0 where the config does not say.
        config: where the rest is read from.
    """

    theta: float
    rope_type: str
    inner: Mapping[str, Any]
    head_dim: int
    part: float
    config: Any

    @property
    def dim(self) -> int:
        """Channels of a head that turn."""
        return int(self.head_dim * self.part)

    @property
    def max_position_embeddings(self) -> int:
        """The length that the config is made for."""
        return int(_needed(self.config, "max_position_embeddings"))

    @property
    def original(self) -> int:
        """The length of the original training: as stated (phi3: beside the dictionary), or the config's."""
        beside = getattr(self.config, ORIGINAL, None)
        stated = _agreed(ORIGINAL, self.inner.get(ORIGINAL), beside, self.config, 0)
        return int(stated or self.max_position_embeddings)

    @property
    def factor(self) -> Any:
        """The factor as it has to be declared, or as it may be: else the ratio of the lengths."""
        if ROPE_TYPES[self.rope_type].is_declared:
            return self.needed("factor")
        declared = self.inner.get("factor")
        if "part" in ROPE_TYPES[self.rope_type].takes:
            return declared or 1.0
        return self.max_position_embeddings / self.original if declared is None else declared

    def needed(self, key: str) -> Any:
        """A parameter that the type cannot do without."""
        value = self.inner.get(key)
        if value is None:
            raise RopeConfigError(
                f"rope_type={self.rope_type!r} needs {key!r}, which the config does not give: it has "
                f"{dict(self.inner)}"
            )
        return value

    def flat(self) -> dict[str, Any]:
        """The ``rope_parameters`` of 5.x for this embedding, with all that the functions read."""
        found = {**self.inner, "rope_type": self.rope_type, "rope_theta": self.theta}
        found["partial_rotary_factor"] = self.part
        if self.rope_type in WITH_ORIGINAL:
            found[ORIGINAL] = self.original
        return found


class StandIn:
    """Passes for a config of 5.x before the installed init functions; all else is asked of `config`."""

    def __init__(self, config: Any, **fields: Any) -> None:
        self._config = config
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:
        # Only for what the instance lacks. Without a config there is nobody to ask, nor while unpickling.
        if name.startswith("__") or self.__dict__.get("_config") is None:
            raise AttributeError(f"{name} was not given in the call")
        return getattr(self._config, name)

    def standardize_rope_params(self) -> None:
        """5.x calls it first, to have all parameters in one place: they are."""


def read(config: Any, layer_type: str | None = None, rope_type: str = "") -> RopeParameters:
    """Read a config of any release.

    Args:
        config: the config of a model, or any object with its attributes.
        layer_type: which layers are meant, where they differ.
        rope_type: whose function asks, for messages; what the config says where empty.

    Raises:
        RopeConfigError: something is missing or said twice in two ways, or layers differ and it is not said
            which are meant.
    """
    config = _of_layer(config, layer_type)
    found, theta = _dictionary(config, layer_type)
    named = found.get("rope_type") or found.get("type") or "default"
    factor, beside = (
        found.get("partial_rotary_factor"),
        getattr(config, "partial_rotary_factor", None),
    )
    head_dim = getattr(config, "head_dim", None)
    return RopeParameters(
        theta=_agreed("rope_theta", found.get("rope_theta"), theta, config),
        rope_type=rope_type or str(named),
        inner={key: value for key, value in found.items() if key not in _READ_APART},
        head_dim=int(head_dim or _needed(config, "hidden_size") // _needed(config, "num_attention_heads")),
        part=_agreed("partial_rotary_factor", factor, beside, config, otherwise=1.0),
        config=config,
    )


def compute(given: RopeParameters, seq_len: Any = None, device: Any = None) -> tuple[Any, float] | None:
    """The frequencies of one of the types that `rope_compat.rotary` knows; None for another type.

    Raises:
        RopeConfigError: a parameter that the type needs is missing.
    """
    if given.rope_type not in ROPE_TYPES:
        return None

    def value(name: str) -> Any:
        if name == "seq_len":
            return seq_len
        return getattr(given, _KNOWN[name]) if name in _KNOWN else given.needed(name)

    function = getattr(frequencies, given.rope_type)
    arguments = frequencies.arguments(given.rope_type, value, given.inner)
    found: tuple[Any, float] = function(**arguments, device=device)
    return found


def _of_layer(config: Any, layer_type: str | None) -> Any:
    """The view of one kind of layers that configs have from 5.18.0 on; the config itself where there is none.

    Upstream: HeterogeneousConfigMixin.per_layer_config, which raises ValueError for names that it has not.
    """
    views = getattr(config, "per_layer_config", None) if layer_type is not None else None
    if views is None:
        return config
    try:
        return views[layer_type]
    except (KeyError, TypeError, ValueError):
        return config


def _dictionary(config: Any, layer_type: str | None) -> tuple[Mapping[str, Any], Any]:
    """The dictionary of the embedding that is meant, and theta beside it."""
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if not isinstance(found, Mapping):
        raise RopeConfigError(f"rope_parameters={found!r}: expected a dictionary")
    layers = [key for key, value in found.items() if isinstance(value, Mapping)]
    if layer_type is None:
        if layers:
            raise RopeConfigError(
                f"the rotary embedding differs by layer type ({', '.join(layers)}): pass layer_type="
            )
        return found, getattr(config, "rope_theta", None)
    if layer_type in layers:
        inner = found[layer_type]
        return inner, None if inner.get("rope_theta") is not None else getattr(config, "rope_theta", None)
    return _said_by_fields(config, layer_type), None


def _said_by_fields(config: Any, layer_type: str) -> Mapping[str, Any]:
    """The same from fields of 4.x that keep a second theta (Gemma 3's ``rope_local_base_freq``)."""
    from ...configs.spec import RopeSpec

    spec = RopeSpec.of(config)
    if not spec.layers:
        raise RopeConfigError(
            f"layer_type={layer_type!r}: the config has one rotary embedding for all layers"
        )
    return spec.for_layer(layer_type).rope_parameters()


def _agreed(name: str, inner: Any, beside: Any, config: Any, otherwise: Any = None) -> Any:
    if inner is not None and beside is not None and inner != beside:
        raise RopeConfigError(
            f"the config gives two values: {name}={beside!r}, and {inner!r} in its dictionary; remove the "
            "one that is wrong"
        )
    value = inner if inner is not None else beside if beside is not None else otherwise
    if value is None:
        raise RopeConfigError(
            f"{type(config).__name__} gives no {name}, neither as an attribute nor in rope_parameters; "
            "rope_compat does not guess one"
        )
    return value


def _needed(config: Any, name: str) -> Any:
    value = getattr(config, name, None)
    if value is None:
        raise RopeConfigError(
            f"{type(config).__name__} gives no {name}, which this rotary embedding cannot do without"
        )
    return value
