"""Which mistake gives the frequencies that were found? The one that fits is named, none is guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...errors import RopeConfigError
from ...rotary.frequencies import llama3
from .expected import Described

__all__ = ["Cause", "advice_for", "name_cause"]


@dataclass(frozen=True)
class Cause:
    """One mistake: its code, and what happened in words."""

    fault: str
    words: str


_ADVICE = {
    "theta": "the theta of the config does not arrive: set rope_theta where this release reads it "
    "(rope_parameters from 5.0 on), or call rope_compat.patch() before loading",
    "partial": "make the rotary module as wide as partial_rotary_factor (or rotary_dim) of the config says",
    "dim": "make the rotary module as wide as the rotated part of a head",
    "scaling-dropped": "the scaling of the config does not arrive: check its rope_type and its place in the "
    "config, or call rope_compat.patch() before loading",
    "scaling-twice": "scale the frequencies in one place only",
    "scaling": "compare the factor that the code uses with the config's",
    "half-precision": "keep frequencies and tables in float32: load with torch_dtype= (dtype= from 4.56 on) "
    "rather than model.half() or .to(), or call rope_compat.repair(model.float()) and cast weights alone",
    "non-finite": "call rope_compat.repair(model)",
    "meta": "call rope_compat.repair(model)",
    "garbage": "the loader has overwritten it: call rope_compat.repair(model), or rope_compat.patch() before "
    "loading",
    "longrope-factor": "short_factor and long_factor need one positive number for each rotated pair, and "
    "which one is used depends on the length of the text",
    "llama3-factors": "low_freq_factor has to be smaller than high_freq_factor",
    "original-length": "take original_max_position_embeddings, not max_position_embeddings",
    "layer-type": "the layer types' frequencies are mixed up: compare layer_types with rope_parameters",
    "attention-factor": "cos and sin have to be multiplied by the attention factor of the config, once",
    "mscale": "attention's scaling has to be multiplied by the square of yarn's mscale (mscale_all_dim)",
    "off-by-one": "positions start at 0",
    "positions-ignored": "hand position_ids on to the rotary module, or index the tables with them",
    "sign": "the rotation goes the wrong way: x * cos + rotate_half(x) * sin, with rotate_half = (-x2, x1)",
    "swapped": "cos and sin are interchanged: check the order of arguments and results",
    "pairing": "half pairing goes with cat(freqs, freqs) and rotate_half, interleaved pairing with "
    "repeat_interleave(freqs, 2) and (-x[1::2], x[::2]): use one of them throughout",
    "sections": "merge the axes of multimodal positions once, with the mrope_section of the config",
    "tables": "the tables have to hold the cosines and sines of every position that is asked for",
    "relative-distance": "q and k have to be rotated alike, by angles that grow with the position",
    "rotated-twice": "rotate q and k in one place only, the module or attention",
    "not-applied": "no layer rotates its q and k: check that attention is given cos and sin",
    "config": "correct the config; docs/config.md lists the spellings",
    "unknown": "compare the module's code with the config, or rope_compat.identify its function",
}


def advice_for(fault: str) -> str:
    """What to do about a fault."""
    return _ADVICE.get(fault, "")


def name_cause(given: Described, found: Tensor | None, fits: Callable[[Tensor], bool]) -> Cause:
    """The mistake whose frequencies fit.

    Args:
        given: what the config says.
        found: the frequencies that were found, float64, if there are any; else only `fits` is asked.
        fits: whether frequencies (float64 ``[dim / 2]``) are those that were found, within rounding.
    """
    for cause, inv_freq in _candidates(given, found):
        if inv_freq is not None and fits(inv_freq):
            return cause
    return Cause("unknown", "no known mistake gives such frequencies")


Candidates = Iterator[tuple[Cause, "Tensor | None"]]


def _candidates(given: Described, found: Tensor | None) -> Candidates:
    right = given.expected().inv_freq
    yield from _half_precision(right)
    yield Cause("sign", "the frequencies are negative"), -right
    yield from _other_scaling(given, right)
    yield from _other_sizes(given)
    for name, spec in given.others.items():
        words = f"these are the frequencies of the {name} layers"
        yield Cause("layer-type", words), _computed(given, spec)
    for theta in (10000.0, 500000.0, 1000000.0):
        if theta != given.spec.theta:
            yield from _other_theta(given, theta)
    if found is not None and found.shape == right.shape:
        yield from _fitted(given, found, right)


def _half_precision(right: Tensor) -> Candidates:
    for dtype in (torch.bfloat16, torch.float16):
        words = f"the frequencies are rounded to {str(dtype).removeprefix('torch.')}"
        yield Cause("half-precision", words), right.to(dtype).double()


def _other_scaling(given: Described, right: Tensor) -> Candidates:
    kind = given.spec.rope_type
    plain = _computed(given, replace(given.spec, rope_type="default"))
    if kind == "default" or plain is None:
        factor = given.spec.parameters.get("factor")
        if factor:
            yield (
                Cause("scaling", f"the frequencies are divided by {factor}, with rope_type default"),
                (right / float(factor)),
            )
        return
    if kind == "longrope":
        yield (
            Cause("longrope-factor", "the long factors are used for a short text"),
            _computed(given, given.spec, seq_len=given.original + 1),
        )
    if plain.shape == right.shape:
        yield Cause("scaling-dropped", f"the {kind} scaling of the config has no effect"), plain
        yield Cause("scaling-twice", f"the {kind} scaling is applied twice"), right * right / plain
        factor = float(given.spec.parameters.get("factor") or 1.0)
        words = f"frequencies are divided by factor={factor:g} instead of scaled by {kind}"
        yield Cause("scaling", words), plain / factor
    yield from _llama3_or_yarn(given)


def _llama3_or_yarn(given: Described) -> Candidates:
    parameters = given.spec.parameters
    if given.spec.rope_type == "llama3":
        low, high = float(parameters["low_freq_factor"]), float(parameters["high_freq_factor"])
        words = "low_freq_factor and high_freq_factor are interchanged"
        # By the code that all use: by the definition such factors mean nothing.
        swapped, _ = llama3(given.dim, given.theta, float(parameters["factor"]), high, low, given.original)
        yield Cause("llama3-factors", words), swapped.double()
    if given.spec.rope_type in ("llama3", "yarn"):
        words = f"scaled for an original length of {given.length}, not {given.original}"
        yield Cause("original-length", words), _computed(given, given.spec, original=given.length)


def _other_sizes(given: Described) -> Candidates:
    """The right number of frequencies, computed for another width."""
    for width in sorted({given.head_dim, 2 * given.dim, given.dim // 2} - {given.dim}):
        inv_freq = _computed(given, given.spec, dim=width)
        if inv_freq is not None and len(inv_freq) >= given.dim // 2:
            fault = "partial" if width == given.head_dim else "dim"
            words = f"the exponents are those of a width of {width} instead of {given.dim}"
            yield Cause(fault, words), inv_freq[: given.dim // 2]


def _other_theta(given: Described, theta: float) -> Candidates:
    words = f"computed with theta {theta:g} instead of {given.spec.theta:g}"
    yield Cause("theta", words), _computed(given, replace(given.spec, theta=theta))
    if given.spec.rope_type != "default":
        spec = replace(given.spec, theta=theta, rope_type="default")
        yield (
            Cause("theta", f"{words}, and without the {given.spec.rope_type} scaling"),
            _computed(given, spec),
        )


def _fitted(given: Described, found: Tensor, right: Tensor) -> Candidates:
    """One number explains all: a ratio, or another theta."""
    if not bool((found > 0).all()) or len(found) < 2 or not bool((right > 0).all()):
        return
    ratio = float(found[0] / right[0])
    if abs(ratio - 1) > 1e-6:
        yield Cause("scaling", f"every frequency is multiplied by {ratio:.6g}"), right * ratio
    if len(found) > 1 and abs(float(found[0]) - 1) < 1e-5 and 0 < float(found[-1]) < 1:
        theta = float(found[-1]) ** (-given.dim / (given.dim - 2))
        # Two pairs fit some theta whatever they are: only a whole number is believed.
        if abs(theta - round(theta)) <= 1e-4 * theta:
            yield from _other_theta(given, float(round(theta)))
        if len(found) > 2:
            yield from _other_theta(given, theta)


def _computed(given: Described, spec: object, **sizes: int) -> Tensor | None:
    try:
        return given.computed(spec, **sizes).inv_freq  # type: ignore[arg-type]
    except RopeConfigError:
        return None
