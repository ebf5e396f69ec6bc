"""Adapters for `apply_rotary_pos_emb`, in every generation that the name has had.

The adapter does not compute: it reads a foreign call into what it means (`parse`), and
makes the native call that means the same (`native_call`). So whatever the native function
does beyond the textbook formula (partial rotary dimensions, interleaved pairing, fp32
computation, a kernel) holds for foreign calls as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.fx import Proxy

from ..._facts.call_forms import GATHERED, INDEXED, OFFSET, PLAIN, SINGLE, CallForm
from ...errors import LayoutError
from ...rotary.layouts import explain_ambiguous, is_table, is_transposed
from ...rotary.mismatch import explain_mismatch
from .base import AdapterInfo, Context, dress, misfit, refuse
from .generation import Generation
from .native_call import NativeCaller
from .parse import MislaidCall, UnreadableCall, is_axis, is_positions, length_of, parse_call
from .signature import mentions

__all__ = ["adapt_rotary_pos_emb"]

Function = Callable[..., Any]
Test = Callable[[tuple[Any, ...], dict[str, Any]], bool]


def adapt_rotary_pos_emb(native: Function, generation: Generation, context: Context) -> Function | None:
    """Build the adapter that stands in the place of `native`, None where it is something else.

    Native calls go straight through; a `RuntimeError` that comes from axes that do not
    meet becomes a `LayoutError`. Foreign calls are translated, or refused with a
    `CallFormError` that shows the call, the native form and the known foreign ones.
    """
    if generation.order == "freqs":
        # Custom code's `(t, freqs)` (Qwen-1, Megatron) has the name only; freqs may be a list.
        return None
    if generation.style == "fixed" or generation.order != "cos_sin":
        return _own_form_only(native, generation, context)
    info = AdapterInfo(context, native, generation.signature, ())
    caller = NativeCaller(native, generation, info)
    if generation.tensors < 3:
        beside: tuple[CallForm, ...] = (PLAIN, GATHERED, INDEXED)
        beside += (SINGLE,) if caller.takes_single else ()
        beside += (OFFSET,) if caller.had_offset else ()
        info.forms = tuple(form for form in beside if form.signature != generation.signature)
    is_native = _native_test(generation, caller)
    had_offset = caller.had_offset
    # A function of one tensor is called once for each of two.
    most = max(2, generation.tensors)

    def in_any_form(*args: Any, **kwargs: Any) -> Any:
        try:
            if is_native(args, kwargs):
                return native(*args, **kwargs)
            return caller.compute(parse_call(args, kwargs, most=most, fifth_is_offset=had_offset))
        except MislaidCall as reason:
            raise misfit(info, str(reason)) from None
        except UnreadableCall as reason:
            raise refuse(info, args, kwargs, str(reason)) from None
        except RuntimeError as error:
            explained = _explain(info, args, kwargs)
            if explained is None:
                raise
            raise explained from error

    if context.strict:
        return dress(_where_proven(in_any_form, info), info)
    takes_four = generation.tensors == 2 and generation.style == "unsqueeze" and not generation.k_optional
    if not takes_four or had_offset or generation.positions == "indexes" or generation.positions_required:
        return dress(in_any_form, info)

    # A short cut for the most frequent call: q, k, cos, sin and nothing else. Named parameters and not *args,
    # everything spelled out: 0.2 microseconds and not 0.4, before a function that may take as little as 30.
    def q_k_cos_sin(
        q: Any = None, k: Any = None, cos: Any = None, sin: Any = None, *rest: Any, **kwargs: Any
    ) -> Any:
        if sin is None or rest or kwargs or (isinstance(cos, Tensor) and cos.dim() == 4):
            if sin is not None and q is not None and k is not None and cos is not None:
                return in_any_form(q, k, cos, sin, *rest, **kwargs)
            args, named = _as_given(q, k, cos, sin)
            return in_any_form(*args, *rest, **named, **kwargs)
        try:
            return native(q, k, cos, sin)
        except RuntimeError as error:
            explained = _explain(info, (q, k, cos, sin), {})
            if explained is None:
                raise
            raise explained from error

    return dress(q_k_cos_sin, info)


def _as_given(q: Any, k: Any, cos: Any, sin: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments before the first that is missing, and those after it, which came by keyword."""
    args: list[Any] = []
    named: dict[str, Any] = {}
    is_missed = False
    for name, value in (("q", q), ("k", k), ("cos", cos), ("sin", sin)):
        if value is None:
            is_missed = True
        elif is_missed:
            named[name] = value
        else:
            args.append(value)
    return tuple(args), named


def _native_test(generation: Generation, caller: NativeCaller) -> Test:
    """A function that tells native calls, by what distinguishes the forms and by nothing else.

    What the generation decides is decided here; a call is then a look at cos, position_ids and the axis.
    """
    names, required = generation.names, generation.tensors + 2
    # Where k may be left out, as in Qwen4-exp from 5.16.0, cos and sin may come by keyword.
    needed = ("cos", "sin") if generation.k_optional else names[:required]
    rank4, k_optional = generation.style == "rank4", generation.k_optional
    indexes, ignores = generation.positions == "indexes", generation.positions == "ignored"

    def is_native(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in names or name in given:
                return False
            given[name] = value
        for name in needed:
            if name not in given:
                return False
        if len(args) > len(names) or ("unsqueeze_dim" in given and not is_axis(given["unsqueeze_dim"])):
            return False
        if k_optional and is_positions(given["sin"]):
            # (x, cos, sin, position_ids), not (q, k, cos, sin).
            return False
        first, cos = given.get(names[0]), given["cos"]
        if isinstance(cos, Proxy):
            # torch.fx's symbolic tracing: there is no rank to look at.
            return True
        rank = cos.dim() if isinstance(cos, Tensor) else 0
        if rank4:
            return rank == 4 and is_axis(given.get("offset", 0))
        if rank == 4 and generation.table_rank != 4 and not (isinstance(first, Tensor) and first.dim() > 4):
            # An axis more would make the result rank 5: no release means that.
            return False
        if rank == 4 and caller.had_offset:
            return False
        positions = given.get("position_ids")
        if positions is None:
            is_said = "position_ids" in given
            return not generation.positions_required or (
                is_said and (ignores or (rank > 0 and is_table(cos)))
            )
        if not is_positions(positions):
            return False
        if indexes:
            return rank == generation.table_rank
        return ignores and not (rank > 0 and caller.picks_rows(first, cos, positions))

    return is_native


def _where_proven(in_any_form: Function, info: AdapterInfo) -> Function:
    """`in_any_form`, after a look at whether the layout is declared, or else proven."""

    def with_proven_layout(*args: Any, **kwargs: Any) -> Any:
        problem = _undeclared(info, args, kwargs)
        if problem is not None:
            raise misfit(info, problem)
        return in_any_form(*args, **kwargs)

    return with_proven_layout


def _undeclared(info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """What stands against taking the tensors of a call for (b, h, s, d), where it does not say so."""
    try:
        call = parse_call(args, kwargs, most=3, fifth_is_offset=info.context.had_offset)
    except UnreadableCall:
        return None
    length = length_of(call)
    if call.unsqueeze_dim is not None or length is None or length == 1:
        return None
    tensors = [tensor for tensor in call.rotated if tensor.dim() in (3, 4)]
    first = tensors[0] if tensors else call.rotated[0]
    name = "q" if len(call.rotated) > 1 else "x"
    if first.shape[-2] == 1:
        return (
            f"{name} has shape {tuple(first.shape)}: axis {first.dim() - 2}, the positions in layout "
            f"(b, h, s, d), has length 1, but cos and sin hold {length} positions"
        )
    fits_both = [tensor.shape[-3] == tensor.shape[-2] == length for tensor in tensors]
    if fits_both and all(fits_both) and not any(map(is_transposed, tensors)):
        return explain_ambiguous(first.shape, name)
    return None


def _explain(info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LayoutError | None:
    """The layout error that stands behind a `RuntimeError` of torch, if there is one."""
    try:
        call = parse_call(args, kwargs, most=3, fifth_is_offset=info.context.had_offset)
    except UnreadableCall:
        return None
    axis = 1 if call.unsqueeze_dim is None else call.unsqueeze_dim
    cos_shape = tuple(call.cos.shape)
    if call.position_ids is not None and is_table(call.cos):
        cos_shape = (*call.position_ids.shape, cos_shape[-1])
    if call.offset is not None or len(cos_shape) == 4:
        return None
    # Functions that rotate part of the channels put the rest back with torch.cat, in their own code.
    partial = info.native is not None and mentions(info.native, "cat")
    for name, tensor in zip("qkv" if len(call.rotated) > 1 else "x", call.rotated, strict=False):
        message = explain_mismatch(tuple(tensor.shape), cos_shape, axis, name=name, partial_rotary=partial)
        if message is not None:
            return misfit(info, message)
    return None


def _own_form_only(native: Function, generation: Generation, context: Context) -> Function:
    """An adapter for a target that has had one form in all releases: it only explains wrong calls.

    DINOv3's takes cos and sin that already broadcast, GPT-J's and CodeGen's take sin first
    and both half-width: a call in the common form would be computed wrongly, not differently.
    """
    info = AdapterInfo(context, native, generation.signature, ())
    options = generation.trailing + generation.extra
    required = generation.tensors + 2
    accepts_keywords = "**" in generation.signature
    why = "this function has had one form in all releases"
    if generation.order == "sin_cos":
        why += "; it takes sin before cos, both half-width, and one tensor at a time"

    def in_its_own_form(*args: Any, **kwargs: Any) -> Any:
        tensors = min(len(args), required)
        for name in kwargs:
            if name in generation.names:
                tensors += name not in options
            elif not accepts_keywords:
                raise refuse(info, args, kwargs, why)
        if tensors != required or len(args) > required + len(options):
            raise refuse(info, args, kwargs, why)
        return native(*args, **kwargs)

    return dress(in_its_own_form, info)
