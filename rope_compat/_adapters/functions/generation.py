"""Read a live function's generation: its parameters and what they mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

from .signature import live_signature, mentions, picks_rows, reads_argument, signature_text

__all__ = ["Generation", "read_generation"]

Positions = Literal["none", "ignored", "indexes"]
Style = Literal["unsqueeze", "rank4", "fixed"]

_TRAILING = ("position_ids", "unsqueeze_dim", "offset")


@dataclass(frozen=True, slots=True)
class Generation:
    """One shape that a rotary function's API has.

    Attributes:
        signature: as text, without annotations.
        names: parameters that can be given by keyword.
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
    names: frozenset[str]
    order: Literal["cos_sin", "sin_cos", "freqs"]
    tensors: int
    trailing: tuple[str, ...]
    positions: Positions
    positions_required: bool
    style: Style
    table_rank: int
    k_optional: bool
    extra: tuple[str, ...] = ()


def read_generation(function: Callable[..., Any]) -> Generation | None:
    """The generation of `function`, or None when its signature is not one that RoPE functions have had."""
    signature = live_signature(function)
    if signature is None:
        return None
    text = signature_text(signature)
    parameters = [p for p in signature.parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    names = [p.name for p in parameters]
    has_kwargs = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    if len(names) == 2 and names[1] == "freqs":
        return _generation(function, text, names, "freqs", 1, ())
    if "cos" not in names or "sin" not in names or any(p.kind is p.KEYWORD_ONLY for p in parameters):
        return None
    cos, sin = names.index("cos"), names.index("sin")
    if abs(cos - sin) != 1 or min(cos, sin) not in (1, 2, 3):
        return None
    tensors = min(cos, sin)
    after = parameters[tensors + 2 :]
    trailing = tuple(takewhile(_TRAILING.__contains__, names[tensors + 2 :]))
    extra = after[len(trailing) :]
    if len(trailing) > 2 or any(p.default is p.empty or p.name in _TRAILING for p in extra):
        return None
    order: Literal["cos_sin", "sin_cos"] = "cos_sin" if cos < sin else "sin_cos"
    built = _generation(function, text, names, order, tensors, trailing, parameters)
    # DINOv3's `(q, k, cos, sin, **kwargs)` (from 4.56.0) swallows keywords and adds no axis.
    return built if not has_kwargs or not trailing else None


def _generation(
    function: Callable[..., Any],
    text: str,
    names: list[str],
    order: Literal["cos_sin", "sin_cos", "freqs"],
    tensors: int,
    trailing: tuple[str, ...],
    parameters: list[inspect.Parameter] | None = None,
) -> Generation:
    positions: Positions = "none"
    by_name = {p.name: p for p in parameters or ()}
    required = "position_ids" in by_name and by_name["position_ids"].default is inspect.Parameter.empty
    if "position_ids" in trailing:
        # Liger's function reads them as well, to hand them on to a kernel that ignores them.
        indexes = reads_argument(function, "position_ids") is not False and (required or picks_rows(function))
        positions = "indexes" if indexes else "ignored"
    return Generation(
        signature=text,
        names=frozenset(names),
        order=order,
        tensors=tensors,
        trailing=trailing,
        positions=positions,
        positions_required=required,
        style=_style(function, tensors, trailing, positions),
        # Up to 4.34.1 tables were [1, 1, S, D]: gathered from, or squeezed before they were indexed.
        table_rank=4 if mentions(function, "gather", "squeeze") else 2,
        k_optional="k" in by_name and by_name["k"].default is None,
        extra=tuple(names[tensors + 2 + len(trailing) :]),
    )


def _style(
    function: Callable[..., Any], tensors: int, trailing: tuple[str, ...], positions: Positions
) -> Style:
    if "unsqueeze_dim" in trailing or positions == "indexes":
        return "unsqueeze"
    # ESM `(x, cos, sin)` to 5.5.4 and GPT-NeoX-Japanese `offset=` to 4.44.2 slice [1, 1, S, D] tables.
    if "offset" in trailing or (tensors == 1 and not trailing):
        return "rank4"
    return "fixed"
