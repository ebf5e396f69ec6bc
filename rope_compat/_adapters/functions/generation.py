"""Read a live function's generation: its parameters and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

from .signature import live_signature, mentions, picks_rows, reads_argument, signature_text

__all__ = ["Generation", "read_generation"]

_TRAILING = ("position_ids", "unsqueeze_dim", "offset")


@dataclass(frozen=True, slots=True)
class Generation:
    """One shape that a rotary function's API has.

    Attributes:
        signature: as text, without annotations.
        names: parameters that have a name, in their order.
        order: ``cos_sin``, ``sin_cos`` (GPT-J, CodeGen) or ``freqs`` (angles).
        tensors: how many tensors to rotate come before cos: 1, 2 or 3.
        trailing: the parameters after sin, in order.
        positions: what becomes of ``position_ids``: no such parameter, ignored, or rows of tables.
        positions_required: whether ``position_ids`` has no default.
        style: how cos and sin meet q: ``unsqueeze`` (the function adds an axis), ``rank4``
            (the caller passes ``[B, 1, S, D]``), ``fixed`` (the caller passes what broadcasts).
        table_rank: rank of the tables that ``position_ids`` index, 2 or 4.
        k_optional: ``k`` may be None (Qwen4-exp).
        extra: further parameters, all with defaults, that no release has had (Liger 0.8.5 has a
            ``rotary_dim=None``).
    """

    signature: str
    names: tuple[str, ...]
    order: Literal["cos_sin", "sin_cos", "freqs"]
    tensors: int
    trailing: tuple[str, ...] = ()
    positions: Literal["none", "ignored", "indexes"] = "none"
    positions_required: bool = False
    style: Literal["unsqueeze", "rank4", "fixed"] = "rank4"
    table_rank: int = 2
    k_optional: bool = False
    extra: tuple[str, ...] = ()


def read_generation(function: Callable[..., Any]) -> Generation | None:
    """The generation of `function`, or None when its signature is not one that RoPE functions have had."""
    signature = live_signature(function)
    if signature is None:
        return None
    text = signature_text(signature)
    parameters = {
        name: p for name, p in signature.parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }
    names = tuple(parameters)
    if len(names) == 2 and names[1] == "freqs":
        return Generation(text, names, "freqs", 1)
    if "cos" not in names or "sin" not in names or any(p.kind is p.KEYWORD_ONLY for p in parameters.values()):
        return None
    cos, sin = names.index("cos"), names.index("sin")
    if abs(cos - sin) != 1 or min(cos, sin) not in (1, 2, 3):
        return None
    tensors = min(cos, sin)
    trailing = tuple(takewhile(_TRAILING.__contains__, names[tensors + 2 :]))
    extra = names[tensors + 2 + len(trailing) :]
    optional = {name for name, p in parameters.items() if p.default is not p.empty}
    if len(trailing) > 2 or not optional.issuperset(extra) or not set(_TRAILING).isdisjoint(extra):
        return None
    if trailing and any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        # DINOv3's `(q, k, cos, sin, **kwargs)` (from 4.56.0) swallows keywords and adds no axis.
        return None
    indexes = "position_ids" in trailing and _indexes(function, is_required="position_ids" not in optional)
    style: Literal["unsqueeze", "rank4", "fixed"] = "fixed"
    if "unsqueeze_dim" in trailing or indexes:
        style = "unsqueeze"
    elif "offset" in trailing or (tensors == 1 and not trailing):
        # ESM `(x, cos, sin)` to 5.5.4 and GPT-NeoX-Japanese `offset=` to 4.44.2 slice [1, 1, S, D] tables.
        style = "rank4"
    return Generation(
        signature=text,
        names=names,
        order="cos_sin" if cos < sin else "sin_cos",
        tensors=tensors,
        trailing=trailing,
        positions="indexes" if indexes else "ignored" if "position_ids" in trailing else "none",
        positions_required="position_ids" in names and "position_ids" not in optional,
        style=style,
        # Up to 4.34.1 tables were [1, 1, S, D]: gathered from, or squeezed before they were indexed.
        table_rank=4 if mentions(function, "gather", "squeeze") else 2,
        k_optional="k" in optional and parameters["k"].default is None,
        extra=extra,
    )


def _indexes(function: Callable[..., Any], *, is_required: bool) -> bool:
    """Whether ``position_ids`` pick rows. Liger's function reads them too, for a kernel that ignores them."""
    if reads_argument(function, "position_ids") is False:
        return False
    return is_required or picks_rows(function)
