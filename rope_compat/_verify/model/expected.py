"""What a configuration says, as frequencies: the exact inverse frequencies of a `RopeSpec`, in float64."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ...configs.reading import plain_fields
from ...configs.spec import RopeSpec
from ...errors import RopeConfigError
from ...rotary import exact

__all__ = ["Described", "Expected", "describe"]

#: Rounding of one operation in float32, relative to its result.
EPS = 2.0**-24


@dataclass(frozen=True)
class Expected:
    """What a rotary embedding has to compute.

    Attributes:
        inv_freq: radians per position, float64 ``[dim / 2]``.
        factor: by which cos and sin are multiplied.
        relative: by how much a float32 implementation may differ, relative to each frequency.
    """

    inv_freq: Tensor
    factor: float
    relative: float

    def tolerance(self, positions: Tensor) -> Tensor:
        """Radians by which a float32 phase may be off, ``[positions, dim / 2]``.

        The frequency's own error grows with the position, as does the rounding of the product; cos and sin
        are right to two units in the last place.
        """
        return positions[:, None] * self.inv_freq * (self.relative + EPS) + 8 * EPS


@dataclass(frozen=True)
class Described:
    """One rotary embedding with what else its configuration says that it depends on.

    Attributes:
        spec: for one kind of layers: without layers of its own.
        head_dim: channels of a head.
        dim: channels of a head that are rotated.
        length: the longest text that the configuration is made for.
        original: the length of the original training.
        others: the embeddings of other layer types of the model, by type.
    """

    spec: RopeSpec
    head_dim: int
    dim: int
    length: int
    original: int
    others: Mapping[str, RopeSpec]

    @property
    def changes_with_length(self) -> bool:
        """Whether long texts have other frequencies than short ones."""
        return self.spec.rope_type in ("dynamic", "longrope")

    def expected(self, seq_len: int | None = None) -> Expected:
        """The exact frequencies for a text of `seq_len` positions, a short one if None.

        Raises:
            RopeConfigError: the configuration lacks a parameter, or has one that cannot be.
        """
        return self.computed(self.spec, seq_len)

    def computed(
        self, spec: RopeSpec, seq_len: int | None = None, dim: int | None = None, original: int | None = None
    ) -> Expected:
        """As `expected`, of another specification for the same head, or with other sizes."""
        compute = _COMPUTE.get(spec.rope_type)
        if compute is None:
            raise RopeConfigError(f"rope_type={spec.rope_type!r} is not one that rope_compat computes")
        given = replace(self, spec=spec, dim=dim or self.dim, original=original or self.original)
        try:
            inv_freq, factor = compute(given, seq_len)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise RopeConfigError(f"rope_type={spec.rope_type!r}: {error}") from error
        theta, stretch = spec.theta or math.e, float(spec.parameters.get("factor") or 1.0)
        # The power's exponent is rounded, which ln(theta) amplifies; mixed frequencies are divided by factor.
        relative = (abs(math.log(theta)) + 16 + 8 * max(stretch, 1.0)) * EPS
        return Expected(inv_freq, float(factor), relative)

    def needed(self, name: str) -> Any:
        """A parameter that the rope type cannot do without."""
        value = self.spec.parameters.get(name)
        if value is None:
            raise RopeConfigError(f"rope_type={self.spec.rope_type!r} needs {name!r}, which is not given")
        return value

    @property
    def theta(self) -> float:
        """The base; an error where the configuration does not say."""
        if self.spec.theta is None:
            raise RopeConfigError("the configuration gives no theta")
        return float(self.spec.theta)

    @property
    def ratio(self) -> float:
        """The declared factor, or the ratio of the lengths."""
        declared = self.spec.parameters.get("factor")
        return float(self.length / self.original if declared is None else declared)


def describe(config: Any, spec: RopeSpec, layer_type: str | None = None) -> Described:
    """Put what `config` says beside one of its specifications.

    Raises:
        RopeConfigError: neither theta nor the size of a head is said, or layer types differ and
            `layer_type` is none of them.
    """
    fields = plain_fields(config)
    one = spec.for_layer(layer_type)
    head_dim = one.head_dim or spec.head_dim
    if head_dim is None:
        raise RopeConfigError("the configuration does not say how large a head is")
    dim = one.parameters.get("rotary_dim") or int(head_dim * (one.partial_rotary_factor or 1.0))
    if one.rope_type == "proportional":
        dim = head_dim
    length = _length(fields)
    original = one.parameters.get("original_max_position_embeddings")
    original = original or fields.get("original_max_position_embeddings") or length
    if length is None or original is None:
        length = original = length or original or 2048
    others = {
        name: spec.for_layer(name) for name, layer in spec.layers.items() if layer and name != layer_type
    }
    return Described(one, int(head_dim), int(dim), int(length), int(original), others)


def _length(fields: Mapping[str, Any]) -> int | None:
    for name in ("max_position_embeddings", "n_positions", "seq_length", "max_sequence_length"):
        if isinstance(fields.get(name), int):
            return int(fields[name])
    return None


def _default(given: Described, seq_len: int | None) -> tuple[Tensor, float]:
    return exact.default(given.dim, given.theta)


def _linear(given: Described, seq_len: int | None) -> tuple[Tensor, float]:
    return exact.linear(given.dim, given.theta, given.needed("factor"))


def _dynamic(given: Described, seq_len: int | None) -> tuple[Tensor, float]:
    return exact.dynamic(given.dim, given.theta, given.needed("factor"), given.length, seq_len)


def _yarn(given: Described, seq_len: int | None) -> tuple[Tensor, float]:
    names = ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim")
    optional = {name: given.spec.parameters.get(name) for name in names}
    truncate = given.spec.parameters.get("truncate", True)
    return exact.yarn(given.dim, given.theta, given.ratio, given.original, truncate=truncate, **optional)


def _longrope(given: Described, seq_len: int | None) -> tuple[Tensor, float]:
    short, long = given.needed("short_factor"), given.needed("long_factor")
    declared = given.spec.parameters.get("attention_factor")
    return exact.longrope(
        given.dim,
        given.theta,
        short,
        long,
        given.original,
        given.ratio,
        attention_factor=declared,
        seq_len=seq_len,
    )


def _llama3(given: Described, seq_len: int | None) -> tuple[Tensor, float]:
    factor, low, high = map(given.needed, ("factor", "low_freq_factor", "high_freq_factor"))
    return exact.llama3(given.dim, given.theta, factor, low, high, given.original)


def _proportional(given: Described, seq_len: int | None) -> tuple[Tensor, float]:
    part, factor = given.spec.partial_rotary_factor or 1.0, given.spec.parameters.get("factor") or 1.0
    return exact.proportional(given.dim, given.theta, part, factor)


_COMPUTE = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "yarn": _yarn,
    "longrope": _longrope,
    "llama3": _llama3,
    "proportional": _proportional,
}
