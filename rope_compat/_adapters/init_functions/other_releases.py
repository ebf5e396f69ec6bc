"""Frequencies as another release than the installed one computes them, and chooses them as a text grows.

Upstream: ``transformers/modeling_rope_utils.py``: ``_compute_yarn_parameters``, ``dynamic_rope_update`` and
``_compute_longrope_parameters`` of the releases that `regimes` names. Functions give ``(inv_freq, factor)``,
float32 ``[dim / 2]`` on the device and the factor of cos and sin; equal to the bit to that release.

A rotary module of 4.43 and later keeps the length of the longest text so far, its first frequencies, and the
length from where on it grows. Releases differ in what they do with these, so descriptors of these names on
the class are enough to have a module behave as in another release; its forward stays the installed one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..._facts.regimes import LONGROPE, YARN, regime
from ..._facts.rope_types import ORIGINAL
from ...rotary import frequencies
from .rope_parameters import RopeParameters, read

__all__ = [
    "COMPUTED",
    "FIRST",
    "LONGEST",
    "MISNAMED",
    "OWN_LONGROPE",
    "Forgetting",
    "Moved",
    "Never",
    "called_by_length",
    "kept_in_fp32",
    "longrope_at",
    "original_of",
    "yarn_at",
]

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


LONGEST, FIRST = "max_seq_len_cached", "original_max_seq_len"
#: Where 5.0.0 to 5.12.1 write the longest length, in modules without layer types; nothing reads it.
MISNAMED = "None_max_seq_len_cached"


class Moved:
    """`MISNAMED`: what is written to it goes where it is read from, as from 5.13.0 on."""

    def __get__(self, module: Any, owner: type) -> Any:
        return self if module is None else getattr(module, LONGEST)

    def __set__(self, module: Any, value: Any) -> None:
        setattr(module, LONGEST, value)


class Forgetting:
    """`LONGEST`: the original length whatever is written, so that nothing grows and nothing is taken back."""

    def __get__(self, module: Any, owner: type) -> Any:
        if module is None:
            return self
        kept = vars(module)
        if FIRST not in kept and LONGEST not in kept:
            raise AttributeError(f"{type(module).__name__!r} object has no attribute {LONGEST!r}")
        return kept[FIRST] if FIRST in kept else kept[LONGEST]

    def __set__(self, module: Any, value: Any) -> None:
        # Kept all the same: it is what shows when the patch is undone.
        vars(module).setdefault(LONGEST, value)


class Never:
    """`FIRST`: no text is short enough for the frequencies to be taken back."""

    def __get__(self, module: Any, owner: type) -> Any:
        return self if module is None else 0

    def __set__(self, module: Any, value: Any) -> None:
        vars(module)[FIRST] = value


def called_by_length(cls: Any, release: str) -> Callable[..., Any]:
    """A ``__call__`` for a rotary class that chooses longrope's factors by the text, as `release` does.

    To 4.50.3 models like Llama choose once; to 4.57.6 they do not read the original length in the dictionary.
    """

    def __call__(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807
        positions: Any = args[0] if args else kwargs.get("position_ids")
        config = getattr(self, "config", None)
        is_longrope = getattr(self, "rope_type", None) == "longrope" and isinstance(positions, torch.Tensor)
        if is_longrope and getattr(config, "model_type", "") not in OWN_LONGROPE:
            _choose(self, config, int(positions.max()) + 1, x.device, release)
        return super(cls, self).__call__(x, *args, **kwargs)

    return __call__


def _choose(module: Any, config: Any, length: int, device: Any, release: str) -> None:
    given = read(config, rope_type="longrope")
    original = original_of(given, release)
    inv_freq, module.attention_scaling = longrope_at(
        given, release, original + 1 if length > original else None, device
    )
    # The installed forward, too, shows what is kept here: from 4.51.0 on for all but the longest texts.
    module.original_inv_freq = inv_freq
    module.register_buffer("inv_freq", inv_freq, persistent=False)


def kept_in_fp32(native: Callable[..., Any]) -> Callable[..., Any]:
    """`nn.Module._apply` for a rotary class: a model that is converted keeps its frequencies in fp32.

    As tables of cos and sin that were computed in fp32 did.
    """

    def _apply(self: Any, fn: Any, *args: Any, **kwargs: Any) -> Any:
        names = [
            name for name, value in self._buffers.items() if name.endswith("inv_freq") and value is not None
        ]
        before = {name: self._buffers[name] for name in names}
        converted: nn.Module = native(self, fn, *args, **kwargs)
        for name, value in before.items():
            after = self._buffers[name]
            if after is not None and after.dtype != value.dtype == torch.float32:
                self._buffers[name] = value.to(after.device)
        return converted

    return _apply
