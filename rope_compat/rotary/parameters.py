"""Exact frequencies by the keys of ``rope_parameters``, for one rotary embedding or for each layer type.

Keys are those of transformers 5 (``modeling_rope_utils.RopeParameters``); what they mean is in `exact`.
Nothing is filled in that a definition needs: a missing key is a KeyError with its name. As `exact`, this
takes nothing from the production code, nor from the table of types that it computes by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from rope_compat.rotary import exact

__all__ = ["by_layer_type", "frequencies", "width"]

Parameters = Mapping[str, Any]


def width(head_dim: int, partial_rotary_factor: float = 1.0) -> int:
    """How many channels of a head are rotated, the first ones: ``int(head_dim * partial_rotary_factor)``."""
    return int(head_dim * partial_rotary_factor)


def frequencies(
    parameters: Parameters,
    head_dim: int,
    max_position_embeddings: int | None = None,
    seq_len: int | Tensor | None = None,
) -> tuple[Tensor, float]:
    """Exact ``(inv_freq, attention_factor)`` of one rotary embedding.

    ``parameters``: ``rope_theta``, ``rope_type`` ("default" if missing) and the keys of that type;
    ``partial_rotary_factor`` is 1 if missing. ``max_position_embeddings`` is needed by dynamic, and by yarn
    and longrope without a factor, which is then the ratio of the lengths. ``seq_len``: length of the text.
    Raises KeyError for a key that is missing, ValueError for an unknown type.
    """
    kind, theta = parameters.get("rope_type", "default"), parameters["rope_theta"]
    part = parameters.get("partial_rotary_factor", 1.0)
    if kind == "proportional":
        return exact.proportional(head_dim, theta, part, parameters.get("factor", 1.0))
    if kind not in _KINDS:
        known = ", ".join([*_KINDS, "proportional"])
        raise ValueError(f"rope_type={kind!r} was given; expected one of {known}")
    return _KINDS[kind](width(head_dim, part), parameters, max_position_embeddings, seq_len)


def by_layer_type(
    rope_parameters: Mapping[str, Parameters],
    head_dim: int | Mapping[str, int],
    max_position_embeddings: int | None = None,
    seq_len: int | Tensor | None = None,
) -> dict[str, tuple[Tensor, float]]:
    """`frequencies` for each layer type, for example ``full_attention`` and ``sliding_attention`` (Gemma 3).

    ``head_dim`` may differ by layer type as well (Gemma 4).
    """
    return {
        layer_type: frequencies(
            parameters,
            head_dim if isinstance(head_dim, int) else head_dim[layer_type],
            max_position_embeddings,
            seq_len,
        )
        for layer_type, parameters in rope_parameters.items()
    }


def _dynamic(dim: int, given: Parameters, longest: int | None, seq_len: Any) -> tuple[Tensor, float]:
    return exact.dynamic(dim, given["rope_theta"], given["factor"], _needed(longest), seq_len)


def _yarn(dim: int, given: Parameters, longest: int | None, seq_len: Any) -> tuple[Tensor, float]:
    names = ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim")
    options = {name: given.get(name) for name in names}
    original = given["original_max_position_embeddings"]
    factor, truncate = _factor(given, longest), given.get("truncate", True)
    return exact.yarn(dim, given["rope_theta"], factor, original, **options, truncate=truncate)


def _longrope(dim: int, given: Parameters, longest: int | None, seq_len: Any) -> tuple[Tensor, float]:
    return exact.longrope(
        dim,
        given["rope_theta"],
        given["short_factor"],
        given["long_factor"],
        given["original_max_position_embeddings"],
        _factor(given, longest),
        attention_factor=given.get("attention_factor"),
        seq_len=seq_len,
    )


def _llama3(dim: int, given: Parameters, longest: int | None, seq_len: Any) -> tuple[Tensor, float]:
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    return exact.llama3(dim, given["rope_theta"], *(given[name] for name in names))


_KINDS: dict[str, Callable[[int, Parameters, int | None, Any], tuple[Tensor, float]]] = {
    "default": lambda dim, given, longest, seq_len: exact.default(dim, given["rope_theta"]),
    "linear": lambda dim, given, longest, seq_len: exact.linear(dim, given["rope_theta"], given["factor"]),
    "dynamic": _dynamic,
    "yarn": _yarn,
    "longrope": _longrope,
    "llama3": _llama3,
}


def _factor(given: Parameters, longest: int | None) -> float:
    if given.get("factor") is not None:
        return float(given["factor"])
    return _needed(longest) / float(given["original_max_position_embeddings"])


def _needed(longest: int | None) -> int:
    if longest is None:
        raise KeyError("max_position_embeddings")
    return longest
