"""Adapters for `apply_rope` of LLMs-from-scratch, in its three generations.

All rotate one tensor (b, heads, seq, head_dim) by tables ``[positions, head_dim]``. They differ in where a
sequence may begin: at row 0 (``plain``), at a row for all samples (``offset``), or at one for each sample
(``batched``). What is beside the native form is computed by the native function from rows of the tables that
make it the same; only samples that begin at different rows are computed here where it has no such form.

Tables hold more rows than a sequence has tokens, so (b, seq, heads, head_dim) by mistake fits as well, and
heads are taken for positions without a word. What shows it: a sequence as long as the tables, on the axis of
heads.

Source: llms_from_scratch 1.0.3 to 1.0.19, llama3.py, qwen3.py, kv_cache/ and kv_cache_batched/.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from ..._facts.call_forms import LLMS_APPLY_ROPE, LLMS_DECLARED
from ...errors import HeadDimensionError, LayoutError
from ...rotary.layouts import LAYOUTS, is_transposed, lies_in_order, unknown_layout
from ...rotary.pairing import rotate_half
from ..functions.base import AdapterInfo, Context, as_restored, dress, misfit, refuse
from ..functions.parse import UnreadableCall, is_axis, is_positions
from ..functions.signature import live_signature, signature_text

__all__ = ["adapt_apply_rope", "default_offset", "read_apply_rope", "restore_compute_rope"]

Function = Callable[..., Any]
Kind = Literal["plain", "offset", "batched"]

#: What the functions raise, themselves or by torch, where axes do not meet.
_FAILURES = (AssertionError, IndexError, RuntimeError, ValueError)


def read_apply_rope(function: Function) -> Kind | None:
    """The generation of a live function, None where its signature is none of theirs."""
    signature = live_signature(function)
    parameters = list(signature.parameters.values()) if signature is not None else []
    names = [parameter.name for parameter in parameters]
    if names == ["x", "cos", "sin"]:
        return "plain"
    if names != ["x", "cos", "sin", "offset"]:
        return None
    return "batched" if parameters[3].default is parameters[3].empty else "offset"


def adapt_apply_rope(native: Function, kind: Kind, context: Context) -> Function:
    """The adapter in the place of `native`: its own calls go through, others are translated or refused."""
    signature = live_signature(native)
    assert signature is not None
    beside = (*(form for name, form in LLMS_APPLY_ROPE.items() if name != kind), LLMS_DECLARED)
    info = AdapterInfo(context, native, signature_text(signature), beside)
    wants_offset, first = kind == "batched", default_offset(native)
    check = _strictly if context.strict else _plainly_wrong
    if context.strict and first:
        check = partial(_says_where, first)

    def in_any_form(x: Any = None, cos: Any = None, sin: Any = None, *rest: Any, **kwargs: Any) -> Any:
        is_alone = not rest and not kwargs and not wants_offset
        if sin is None or not (is_alone or _is_native_offset(kind, rest, kwargs)):
            return _translated(native, kind, info, {"x": x, "cos": cos, "sin": sin}, rest, kwargs)
        offset = rest[0] if rest else kwargs.get("offset")
        problem = check(x, cos, sin, offset)
        if problem is not None:
            raise _error(info, problem)
        try:
            return native(x, cos, sin, *rest, **kwargs)
        except _FAILURES as error:
            explained = _explained(info, x, cos, sin, first if offset is None else offset)
            if explained is None:
                raise
            raise explained from error

    return dress(in_any_form, info, signature)


def restore_compute_rope(native: Function, kind: Kind, context: Context) -> Function:
    """`compute_rope`, the book's name for it, in every form; computed by `native`.

    Source: LLMs-from-scratch, ch05/07_gpt_to_llama/converting-gpt-to-llama2.ipynb.
    """
    info = AdapterInfo(
        context,
        native,
        LLMS_APPLY_ROPE["plain"].signature,
        (LLMS_APPLY_ROPE["offset"], LLMS_APPLY_ROPE["batched"], LLMS_DECLARED),
    )

    def compute_rope(x: Any, cos: Any, sin: Any, *rest: Any, **kwargs: Any) -> Any:
        return _translated(native, kind, info, {"x": x, "cos": cos, "sin": sin}, rest, kwargs)

    documentation = f"{context.family} of {context.module}, restored by rope_compat: apply_rope."
    return as_restored(dress(compute_rope, info), documentation)


def default_offset(native: Function) -> int:
    """The row that a call without an offset begins at: 0 but for kv_cache.llama3 of 1.0.15, where it is 9."""
    signature = live_signature(native)
    parameter = signature.parameters.get("offset") if signature is not None else None
    return parameter.default if parameter is not None and is_axis(parameter.default) else 0


def _is_each(offset: Any) -> bool:
    """Whether an offset has one row for each sample."""
    return isinstance(offset, Tensor) and is_positions(offset) and offset.dim() == 1


def _is_native_offset(kind: Kind, rest: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether what follows sin is an offset as the function takes it, and nothing else."""
    if kind == "plain" or len(rest) + len(kwargs) != 1 or (kwargs and "offset" not in kwargs):
        return False
    offset = rest[0] if rest else kwargs["offset"]
    if kind == "batched":
        return _is_each(offset)
    return is_axis(offset) or (isinstance(offset, Tensor) and offset.dim() == 0)


def _translated(
    native: Function,
    kind: Kind,
    info: AdapterInfo,
    given: dict[str, Any],
    rest: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """What a call in any form means, by the native function."""
    try:
        layout = kwargs.get("layout")
        if len(rest) > 1 or (rest and "offset" in kwargs) or set(kwargs) - {"offset", "layout"}:
            raise UnreadableCall("no form has these arguments")
        if not all(isinstance(value, Tensor) for value in given.values()):
            raise UnreadableCall("x, cos and sin must be tensors")
        if layout is not None and layout not in LAYOUTS:
            raise UnreadableCall(unknown_layout(layout))
        x, cos, sin = given.values()
        offset = rest[0] if rest else kwargs.get("offset")
        turned = layout == "bshd" and x.dim() == 4
        x = x.transpose(1, 2) if turned else x
        result = _rotated(native, kind, info, x, cos, sin, offset, is_declared=layout is not None)
    except UnreadableCall as reason:
        shown = {**{name: value for name, value in given.items() if value is not None}, **kwargs}
        raise refuse(info, rest, shown, str(reason)) from None
    return result.transpose(1, 2) if turned else result


def _rotated(
    native: Function,
    kind: Kind,
    info: AdapterInfo,
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    offset: Any,
    *,
    is_declared: bool,
) -> Any:
    each = _is_each(offset)
    if isinstance(offset, Tensor) and offset.dim() == 0 and not offset.is_floating_point():
        offset = int(offset)
    if not (each or offset is None or (is_axis(offset) and offset >= 0)):
        raise UnreadableCall(
            "offset must be an int of at least 0, or an integer tensor with one for each sample"
        )
    first = 0 if each or offset is None else int(offset)
    problem = _shape_problem(x, cos, sin, None if each else first)
    if problem is None and not is_declared:
        problem = (_strictly if info.context.strict else _plainly_wrong)(x, cos, sin, offset)
    if problem is not None:
        raise _error(info, problem)
    info.count("batched" if each else "plain" if offset is None else "offset")
    if not each:
        if kind == "batched":
            rows = torch.full((x.shape[0],), first, dtype=torch.long, device=x.device)
            return native(x, cos, sin, rows).to(x.dtype)
        return native(x, cos[first:], sin[first:], *((0,) if kind == "offset" else ()))
    if offset.shape[0] != x.shape[0]:
        raise UnreadableCall(f"offset has {offset.shape[0]} rows for {x.shape[0]} samples")
    if kind == "batched":
        return native(x, cos, sin, offset)
    # As kv_cache_batched computes it: rows past the tables are the last one, dtypes are promoted.
    rows = torch.arange(x.shape[2], device=offset.device).unsqueeze(0) + offset.unsqueeze(1)
    rows = rows.clamp(max=cos.shape[0] - 1)
    return (x * cos[rows].unsqueeze(1)) + (rotate_half(x) * sin[rows].unsqueeze(1))


def _plainly_wrong(x: Any, cos: Any, sin: Any, offset: Any) -> str | None:
    """What the function would compute without a word, and wrongly. None where all is well, or it raises."""
    shape, rows = x.shape, cos.shape
    if len(shape) != 4 or len(rows) != 2 or shape[3] % 2:
        return _shape_problem(x, cos, sin, None)
    if shape[1] == rows[0] and shape[2] != rows[0] and lies_in_order(x):
        return (
            f"x has shape {tuple(shape)}: its axis of length {rows[0]}, as long as the tables, is axis 1, "
            "layout (b, s, h, d); expected (b, h, s, d), and each head would be taken for a position. "
            'Transpose with .transpose(1, 2), or pass layout="bshd". If axis 1 does hold the heads, pass '
            'layout="bhsd"'
        )
    return None


def _strictly(x: Any, cos: Any, sin: Any, offset: Any) -> str | None:
    """`_plainly_wrong`, and what cannot be told from it."""
    problem = _plainly_wrong(x, cos, sin, offset)
    if problem is not None:
        return problem
    heads, length, rows = x.shape[1], x.shape[2], cos.shape[0]
    last = int(offset.max()) if isinstance(offset, Tensor) else offset or 0
    if length + last > rows:
        return _too_short(x, cos, last)
    if (offset is None and length == rows != heads) or length == 1 or is_transposed(x):
        return None
    return (
        f"x has shape {tuple(x.shape)} and the tables {rows} rows: nothing tells axes 1 and 2 apart, heads "
        'and positions, and strict=True refuses that. Pass layout="bhsd" or layout="bshd"'
    )


def _says_where(default: int, x: Any, cos: Any, sin: Any, offset: Any) -> str | None:
    """`_strictly`, for a function that begins elsewhere than at row 0 where nobody says so."""
    if offset is None:
        return f"without offset this release begins at row {default} of the tables, others at 0: pass offset"
    return _strictly(x, cos, sin, offset)


def _shape_problem(x: Any, cos: Any, sin: Any, first: int | None) -> str | None:
    """What the shapes alone say against a call; `first` is the first row used, where that is one."""
    shape, table = tuple(x.shape), tuple(cos.shape)
    if len(shape) != 4:
        return (
            f"x has shape {shape}, {len(shape)} axes; expected 4, (b, h, s, d): batch, heads, positions, "
            "head_dim"
        )
    if shape[3] % 2:
        said = f"x has shape {shape}, head_dim {shape[3]}: an odd number of channels makes no pairs"
        return f"{said}; expected an even one"
    if len(table) != 2:
        said = f"cos has shape {table}; expected a table of 2 axes, (positions, head_dim)"
        return said + (". Pass cos[0] and sin[0]" if len(table) == 3 and table[0] == 1 else "")
    if tuple(sin.shape) != table:
        return f"cos has shape {table} and sin {tuple(sin.shape)}; they must be equal"
    if table[1] != shape[3]:
        said = f"x has shape {shape}, head_dim {shape[3]}; cos has shape {table}, width {table[1]}. "
        if table[1] * 2 == shape[3]:
            return (
                said + "Tables are of full width here: pass torch.cat((cos, cos), dim=-1) and the same of sin"
            )
        return said + f"Make the tables with head_dim={shape[3]}"
    return _too_short(x, cos, first) if first is not None and first + shape[2] > table[0] else None


def _too_short(x: Any, cos: Any, first: int) -> str:
    shape, rows = tuple(x.shape), cos.shape[0]
    said = (
        f"x has shape {shape}: axis 2, the positions in layout (b, h, s, d), has length {shape[2]}"
        + (f" and begins at row {first}" if first else "")
        + f", but the tables hold {rows} rows. "
    )
    if first + shape[1] <= rows:
        return said + (
            "If x is (b, s, h, d), its positions on axis 1, transpose with .transpose(1, 2), or pass "
            'layout="bshd"; otherwise make the tables with a larger context_length'
        )
    return said + "Make the tables with a larger context_length"


def _error(info: AdapterInfo, problem: str) -> LayoutError:
    error = misfit(info, problem)
    return HeadDimensionError(str(error)) if "odd number" in problem else error


def _explained(info: AdapterInfo, x: Any, cos: Any, sin: Any, offset: Any) -> LayoutError | None:
    """The layout error that stands behind one of the native function, if there is one."""
    if not all(isinstance(value, Tensor) for value in (x, cos, sin)):
        return None
    first = None if _is_each(offset) else int(offset)
    problem = _shape_problem(x, cos, sin, first)
    if problem is None and first is None and offset.shape[0] != x.shape[0]:
        problem = f"offset has {offset.shape[0]} rows for {x.shape[0]} samples"
    return None if problem is None else _error(info, problem)
