"""Frequencies as another release than the installed one computes them from the same config.

Upstream: ``transformers/modeling_rope_utils.py``, ``_compute_yarn_parameters`` and
``_compute_longrope_parameters`` of the releases that `regimes` names. All give ``(inv_freq, factor)``:
float32 ``[dim / 2]`` on the device, and the factor of cos and sin; equal to the bit to that release.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..._facts.regimes import LONGROPE, YARN, regime
from ...rotary import frequencies
from .rope_parameters import RopeParameters

__all__ = ["COMPUTED", "OWN_LONGROPE", "longrope_at", "original_of", "yarn_at"]

ORIGINAL = "original_max_position_embeddings"

#: Models that choose longrope's factors by the length of the text in every release, in classes of their own.
OWN_LONGROPE = frozenset({"phi3", "phimoe", "phi4_multimodal"})

Computed = tuple[Any, float]


def yarn_at(given: RopeParameters, release: str, seq_len: Any = None, device: Any = None) -> Computed:
    """YaRN as `release` (4.43.0 or later) computes it; `seq_len` changes nothing.

    Raises:
        RopeConfigError: the config lacks what that release cannot do without.
    """
    place, longest, stated = regime(YARN, release) or 0, given.max_position_embeddings, _stated(given)
    if place < 4 and _beside(given) is not None:
        # 5.x has copied it into the dictionary, where 4.x would not have seen it.
        stated = None
    names = ("attention_factor", "beta_fast", "beta_slow")
    optional = {name: given.inner.get(name) for name in names}
    if place >= 1:
        optional |= {name: given.inner.get(name) for name in ("mscale", "mscale_all_dim")}
    original, factor = _original_and_factor(given, place, stated, longest)
    truncate = place < 2 or given.inner.get("truncate", True)
    return frequencies.yarn(
        given.dim, given.theta, factor, original, **optional, truncate=truncate, device=device
    )


def _original_and_factor(
    given: RopeParameters, place: int, stated: int | None, longest: int
) -> tuple[int, float]:
    if place == 0:
        return longest, given.needed("factor")
    if place < 3:
        declared = given.needed("factor")
        return stated or longest, declared if stated is None else longest / stated
    declared = given.inner.get("factor")
    original = stated or (_beside(given) if place == 4 else None) or longest
    return original, longest / original if declared is None else declared


def longrope_at(given: RopeParameters, release: str, seq_len: Any = None, device: Any = None) -> Computed:
    """LongRoPE as `release` (4.43.0 or later) computes it in models like Llama.

    Raises:
        RopeConfigError: the config lacks what that release cannot do without.
    """
    place, longest, beside = regime(LONGROPE, release) or 0, given.max_position_embeddings, _beside(given)
    original = original_of(given, release)
    if place == 3:
        declared = given.inner.get("factor")
        factor = longest / original if declared is None else declared
    else:
        factor = longest / original if beside is not None else given.needed("factor")
    if place == 0:
        # Not by the text: wherever the model has been extended at all.
        seq_len = original + 1 if factor > 1 else None
    elif place == 1:
        seq_len = None
    return frequencies.longrope(
        given.dim,
        given.theta,
        given.needed("short_factor"),
        given.needed("long_factor"),
        original,
        factor,
        attention_factor=given.inner.get("attention_factor"),
        seq_len=seq_len,
        device=device,
    )


def original_of(given: RopeParameters, release: str) -> int:
    """The length past which `release` takes longrope's long factors."""
    stated = _stated(given) if regime(LONGROPE, release) == 3 else None
    return _beside(given) or stated or given.max_position_embeddings


def _stated(given: RopeParameters) -> int | None:
    """The original length in the dictionary. 5.x fills in the whole length where nothing is stated."""
    stated = given.inner.get(ORIGINAL)
    return None if stated is None or stated == given.max_position_embeddings else int(stated)


def _beside(given: RopeParameters) -> int | None:
    """The original length beside the dictionary, as Phi-3 has it."""
    beside = getattr(given.config, ORIGINAL, None)
    return None if beside is None else int(beside)


#: By rope type.
COMPUTED: dict[str, Callable[..., Computed]] = {"longrope": longrope_at, "yarn": yarn_at}
