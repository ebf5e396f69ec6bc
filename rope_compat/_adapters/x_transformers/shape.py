"""What the installed x-transformers has: read from the byte code of the live class and functions.

Nothing is called. The names that a release is told by are those of ``x_transformers/x_transformers.py``.
"""

from __future__ import annotations

import dis
import inspect
from dataclasses import dataclass
from itertools import pairwise
from types import CodeType
from typing import Any, Literal

from ...rotary.pairing import Pairing
from ..classes.shape import parameters, signature_text
from ..functions.signature import live_signature
from ..functions.signature import signature_text as functions_signature

__all__ = ["FAULTS", "ApplyShape", "Fault", "ForwardShape", "UnknownShapeError", "read_apply", "read_forward"]

#: What the first parameter of ``forward`` is, and what follows it.
Takes = Literal["device", "offset", "length", "either", "positions"]

#: What is wrong with a release's own calls; `FAULTS` says what users see.
Fault = Literal["unbound-length", "misspelt-method", "index-scale", "scale-axis", "offset-axis"]

FAULTS: dict[Fault, str] = {
    "unbound-length": "with rotary_xpos=True every call raised NameError: seq_len",
    "misspelt-method": "every call raised AttributeError: typ_as",
    "index-scale": "with rotary_xpos=True the scale followed the index of a position, not the position",
    "scale-axis": "with rotary_xpos=True every call raised EinopsError",
    "offset-axis": "every call with an offset (seq_start_pos) raised RuntimeError: einsum",
}

_TAKES: dict[tuple[str, ...], Takes] = {
    ("seq_len", "device"): "device",
    ("seq_len", "offset"): "offset",
    ("seq_len",): "length",
    ("seq_arange_or_len",): "either",
    ("t",): "positions",
    ("t", "offset"): "positions",
}


class UnknownShapeError(Exception):
    """The class or function is in none of the forms that are known."""


@dataclass(frozen=True, slots=True)
class ForwardShape:
    """``RotaryEmbedding.forward`` of one release.

    Attributes:
        signature: its parameters, for people.
        takes: a length and a device (to 1.22.7), a length and an offset (1.22.8 to 1.22.12), a length (to
            1.25.3), a length or positions (to 1.25.15), positions (from 1.26.0).
        is_batched: positions may be ``[b, n]``, and ``[n]`` gives ``[1, n, d]``: from 1.42.21.
        has_offset: ``(t, offset=0)``, from 2.3.20.
        pairing: which channels make a pair: "half" to 1.30.0, "interleaved" from 1.30.1.
        fault: what is wrong with its own calls, None if nothing is.
    """

    signature: str
    takes: Takes
    is_batched: bool
    has_offset: bool
    pairing: Pairing
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class ApplyShape:
    """``apply_rotary_pos_emb`` of one release.

    Attributes:
        signature: its parameters, for people.
        rank: of the freqs that it takes: 2 to 1.42.20, 3 from 1.42.21.
        any_rank: rows are picked whatever the rank: 1.22.10 to 1.22.12.
        takes_batch: freqs ``[b, n, d]`` get an axis for the heads: 1.22.11 on.
        is_partial: channels beyond the width of freqs pass through: from 1.20.0.
        slices_scale: rows of scale are picked as those of freqs: from 1.27.12.
        spreads_scale: scale ``[b, n, d]`` gets an axis for the heads: from 2.11.12.
        looks_at_t_first: t is touched before freqs, which decides the order of a graph's inputs: to 1.19.1,
            and from 2.28.11 on, whose decorator looks for a device.
    """

    signature: str
    rank: Literal[2, 3]
    any_rank: bool
    takes_batch: bool
    is_partial: bool
    slices_scale: bool
    spreads_scale: bool
    looks_at_t_first: bool


def read_forward(forward: Any, rotate_half: Any) -> ForwardShape:
    """Read ``RotaryEmbedding.forward`` and the module's ``rotate_half``.

    Raises:
        UnknownShapeError: one of them is in no form that is known.
    """
    code = _code(forward)
    names = parameters(forward)
    takes = _TAKES.get(names)
    if takes is None:
        raise UnknownShapeError(f"forward takes ({', '.join(names)}), which no known release does")
    is_batched = "n -> 1 n" in code.co_consts
    return ForwardShape(
        signature=signature_text(forward),
        takes=takes,
        is_batched=is_batched,
        has_offset=takes == "positions" and "offset" in names,
        pairing=_pairing(rotate_half),
        fault=_fault(code, takes, is_batched),
    )


def read_apply(function: Any, forward: ForwardShape) -> ApplyShape:
    """Read ``apply_rotary_pos_emb``; freqs gained their batch axis in both at once.

    Raises:
        UnknownShapeError: it is in no form that is known.
    """
    code = _code(function)
    signature = live_signature(function)
    if signature is None or tuple(signature.parameters) != ("t", "freqs", "scale"):
        raise UnknownShapeError(f"it takes {signature}; expected (t, freqs, scale)")
    is_partial = "rot_dim" in code.co_varnames
    home = getattr(function, "__globals__", {}).get("__name__", "")
    has_own_decorator = hasattr(function, "__wrapped__") and not home.startswith("torch.")
    rearranged = sum(step.argval == "rearrange" for step in dis.get_instructions(code))
    return ApplyShape(
        signature=functions_signature(signature),
        rank=3 if forward.is_batched else 2,
        any_rank=_picks_any_rank(code),
        takes_batch=rearranged > 0,
        is_partial=is_partial,
        slices_scale=bool({"isinstance", "is_tensor"} & set(code.co_names)),
        spreads_scale=rearranged > 1,
        looks_at_t_first=not is_partial or has_own_decorator,
    )


def _picks_any_rank(code: CodeType) -> bool:
    """Whether freqs are indexed with an ellipsis, not only t: ``freqs[..., -seq_len:, :]``."""
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("CACHE", "EXTENDED_ARG")]
    return any(
        step.argval == "freqs" and following.argval is Ellipsis
        for step, following in pairwise(steps)
        if step.opname.startswith("LOAD_FAST")
    )


def _fault(code: CodeType, takes: Takes, is_batched: bool) -> Fault | None:
    if "typ_as" in code.co_names:  # 1.27.12
        return "misspelt-method"
    if takes in ("either", "positions"):
        if "seq_len" in code.co_names:  # 1.25.4 to 1.27.5
            return "unbound-length"
        if "seq_len" in code.co_varnames:  # 1.27.6 to 1.27.11
            return "index-scale"
    if is_batched and "n -> n 1" in code.co_consts:  # 1.42.21 to 1.43.1
        return "scale-axis"
    if takes == "offset" and "i , j -> i j" in code.co_consts:  # 1.22.8 and 1.22.9
        return "offset-axis"
    return None


def _pairing(rotate_half: Any) -> Pairing:
    joins = {"cat", "stack"} & set(_code(rotate_half).co_names)
    if joins == {"cat"}:
        return "half"
    if joins == {"stack"}:
        return "interleaved"
    raise UnknownShapeError("which channels rotate_half pairs cannot be told from its code")


def _code(function: Any) -> CodeType:
    code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
    if not isinstance(code, CodeType):
        raise UnknownShapeError(f"{function!r} is no function of Python code")
    return code
