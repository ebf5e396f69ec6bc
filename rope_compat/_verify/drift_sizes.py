"""How large a drift is for one embedding: the phase error, from the frequencies of both releases.

A phase error is an angle in radians, not wrapped: ``position * |inv_freq - inv_freq'|``, the largest over all
channels. Positions are the last that the config is made for.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from .._adapters.init_functions.other_releases import longrope_at, yarn_at
from .._adapters.init_functions.rope_parameters import RopeParameters
from .._facts.drift import Embedding
from .._facts.regimes import is_before
from ..rotary import frequencies

__all__ = ["Size", "size_between"]


@dataclass(frozen=True, slots=True)
class Size:
    """The phase error in radians at a position, and the factors of cos and sin here and there."""

    radians: float
    position: int
    factors: tuple[float, float] = (1.0, 1.0)


def size_between(computed: str, embedding: Embedding, here: str, there: str) -> Size | None:
    """The size of a drift between two releases; None where the config does not say enough to compute it.

    Raises:
        RopeConfigError: one of the releases cannot do without something that the config lacks.
    """
    given, longest = _given(embedding), embedding.longest
    if given is None or longest is None or not computed:
        return None
    position = longest - 1
    if computed == "rounding":
        import torch

        # Those of the type "default": scaled ones are rounded by the same shares.
        exact = frequencies.default(given.dim, given.theta)[0]
        rounded = exact.to(torch.float16 if embedding.dtype == "float16" else torch.bfloat16)
        return Size(_radians(exact, rounded, position), position)
    if computed == "state":
        factor = given.needed("factor")
        own, long = (
            frequencies.dynamic(given.dim, given.theta, factor, longest, length)[0]
            for length in (longest, int(factor * longest))
        )
        return Size(_radians(own, long, position), position)
    (one, factor), (other, other_factor) = (_numbers(given, release, longest) for release in (here, there))
    return Size(_radians(one, other, position), position, (factor, other_factor))


def _numbers(given: RopeParameters, release: str, length: int) -> tuple[Any, float]:
    """What a model of `release` uses for a text of `length`."""
    if given.rope_type == "yarn":
        return yarn_at(given, release)
    return longrope_at(given, release, None if is_before(release, "4.51.0") else length)


def _radians(one: Any, other: Any, position: int) -> float:
    return float((one.double() - other.double()).abs().max()) * position


def _given(embedding: Embedding) -> RopeParameters | None:
    spec = embedding.spec
    if spec.theta is None or spec.head_dim is None:
        return None
    inner = dict(spec.parameters)
    if embedding.beside is not None:
        inner.pop("original_max_position_embeddings", None)
    return RopeParameters(
        theta=spec.theta,
        rope_type=spec.rope_type,
        inner=inner,
        head_dim=spec.head_dim,
        part=1.0 if spec.partial_rotary_factor is None else spec.partial_rotary_factor,
        config=SimpleNamespace(
            max_position_embeddings=embedding.longest, original_max_position_embeddings=embedding.beside
        ),
    )
