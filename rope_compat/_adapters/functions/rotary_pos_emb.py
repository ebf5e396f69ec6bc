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
from ...rotary import layouts as memory
from ...rotary.layouts import explain_ambiguous
from ...rotary.mismatch import explain_mismatch
from .base import AdapterInfo, Context, dress, is_compiling, misfit, refuse
from .generation import Generation
from .native_call import NativeCaller
from .parse import MislaidCall, UnreadableCall, is_axis, is_positions, is_table, length_of, parse_call
from .positions import TableRule, table_rule
from .signature import mentions

__all__ = ["adapt_rotary_pos_emb"]

Adapter = Callable[..., Any]
Test = Callable[[tuple[Any, ...], dict[str, Any]], bool]


def adapt_rotary_pos_emb(native: Adapter, generation: Generation, context: Context) -> Adapter | None:
    """Build the adapter that stands in the place of `native`, None where it is something else.

    Native calls go straight through; a `RuntimeError` that comes from axes that do not
    meet becomes a `LayoutError`. Foreign calls are translated, or refused with a
    `CallFormError` that shows the call, the native form and the known foreign ones.
    """
    if generation.order == "freqs":
        # Custom code's `(t, freqs)` (Qwen-1, Megatron) has the name only; freqs may be a list.
        return None
    if generation.style == "fixed" or generation.order != "cos_sin":
        return _native_only(native, generation, context)
    forms = _forms_beside(generation, context)
    info = AdapterInfo(context, native, generation.signature, forms)
    rule = table_rule(generation, context)
    is_native = _native_test(generation, context, rule)
    foreign = _foreign(NativeCaller(native, generation, context, rule), info)

    def general(*args: Any, **kwargs: Any) -> Any:
        try:
            return native(*args, **kwargs) if is_native(args, kwargs) else foreign(args, kwargs)
        except RuntimeError as error:
            explained = _explain(info, args, kwargs)
            if explained is None:
                raise
            raise explained from error

    plain = (
        generation.tensors == 2 and generation.positions != "indexes" and not generation.positions_required
    )
    plain = plain and generation.style == "unsqueeze" and not context.had_offset and not generation.k_optional
    if context.strict:
        return dress(_strictly(general, info), info)
    return dress(_with_short_cut(native, general, info) if plain else general, info)


def _with_short_cut(native: Adapter, general: Adapter, info: AdapterInfo) -> Adapter:
    """`general`, with a short cut for the most frequent call: q, k, cos, sin and nothing else.

    Named parameters and not ``*args``, and everything spelled out: 0.2 microseconds and not 0.4, before
    a function that may take as little as 30.
    """

    def adapter(
        q: Any = None, k: Any = None, cos: Any = None, sin: Any = None, *rest: Any, **kwargs: Any
    ) -> Any:
        if sin is None or rest or kwargs or (isinstance(cos, Tensor) and cos.dim() == 4):
            args, named = _as_given(q, k, cos, sin)
            return general(*args, *rest, **named, **kwargs)
        try:
            return native(q, k, cos, sin)
        except RuntimeError as error:
            explained = _explain(info, (q, k, cos, sin), {})
            if explained is None:
                raise
            raise explained from error

    return adapter


def _strictly(general: Adapter, info: AdapterInfo) -> Adapter:
    """`general`, after a look at whether the layout is declared, or else proven."""

    def adapter(*args: Any, **kwargs: Any) -> Any:
        problem = _undeclared(info, args, kwargs)
        if problem is not None:
            raise misfit(info, problem)
        return general(*args, **kwargs)

    return adapter


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
    if fits_both and all(fits_both) and not any(map(memory.is_transposed, tensors)):
        return explain_ambiguous(first.shape, name)
    return None


def _as_given(q: Any, k: Any, cos: Any, sin: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments before the first that is missing, and those after it, which came by keyword."""
    values = {"q": q, "k": k, "cos": cos, "sin": sin}
    given = [name for name, value in values.items() if value is not None]
    first_missing = next((place for place, value in enumerate(values.values()) if value is None), 4)
    args = tuple(list(values.values())[:first_missing])
    return args, {name: values[name] for name in given[first_missing:]}


def _forms_beside(generation: Generation, context: Context) -> tuple[CallForm, ...]:
    """The foreign forms that this target takes."""
    if generation.tensors == 3:
        return ()
    single = context.had_single or generation.tensors == 1 or generation.k_optional
    taken = (
        PLAIN,
        GATHERED,
        INDEXED,
        *((SINGLE,) if single else ()),
        *((OFFSET,) if context.had_offset else ()),
    )
    return tuple(form for form in taken if form.signature != generation.signature)


def _foreign(caller: NativeCaller, info: AdapterInfo) -> Callable[[tuple[Any, ...], dict[str, Any]], Any]:
    context = info.context
    # A function of one tensor is called once for each of two.
    most = max(2, caller.generation.tensors)

    def foreign(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            call = parse_call(args, kwargs, most=most, fifth_is_offset=context.had_offset)
            form, run = caller.prepare(call)
            if not is_compiling():
                info.count(form)
            return run()
        except MislaidCall as reason:
            raise misfit(info, str(reason)) from None
        except UnreadableCall as reason:
            raise refuse(info, args, kwargs, str(reason)) from None

    return foreign


def _native_test(generation: Generation, context: Context, rule: TableRule) -> Test:
    """A function that tells native calls, by what distinguishes the forms and by nothing else."""
    names = generation.names
    trailing, extra = generation.trailing, generation.extra
    required = generation.tensors + 2
    position_place = required if trailing[:1] == ("position_ids",) else -1
    axis_place = required + trailing.index("unsqueeze_dim") if "unsqueeze_dim" in trailing else -1
    rank4 = generation.style == "rank4"
    indexes, ignores = generation.positions == "indexes", generation.positions == "ignored"

    def is_native(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        given = len(args)
        tensors = min(given, required)
        for name, value in kwargs.items():
            if name not in names:
                return False
            if name not in trailing:
                tensors += name not in extra
            elif name == "unsqueeze_dim" and not is_axis(value):
                return False
        if tensors != required and not (generation.k_optional and _binds_cos_sin(given, kwargs, required)):
            return False
        if given > required + len(trailing) + len(extra):
            return False
        if generation.k_optional and given >= required and is_positions(args[required - 1]):
            # (x, cos, sin, position_ids), not (q, k, cos, sin).
            return False
        if axis_place >= 0 and given > axis_place and not is_axis(args[axis_place]):
            return False
        cos = args[required - 2] if given > required - 2 else kwargs.get("cos")
        if isinstance(cos, Proxy):
            # torch.fx's symbolic tracing: there is no rank to look at.
            return True
        if rank4 or context.had_offset:
            is_rank4 = isinstance(cos, Tensor) and cos.dim() == 4
            if is_rank4 != rank4:
                return False
            if rank4:
                return given <= required or is_axis(args[required])
        if _has_rank4(cos) and generation.table_rank != 4 and _rank(args, kwargs) < 5:
            # An axis more would make the result rank 5: no release means that.
            return False
        positions = args[position_place] if 0 <= position_place < given else kwargs.get("position_ids")
        if positions is None:
            said = given > required or "position_ids" in kwargs
            return not generation.positions_required or (said and (ignores or is_table(cos)))
        if not is_positions(positions):
            return False
        if indexes:
            return isinstance(cos, Tensor) and cos.dim() == generation.table_rank
        return ignores and not rule.indexes(
            args[0] if args else kwargs.get("q", kwargs.get("x")), cos, positions
        )

    return is_native


def _has_rank4(cos: Any) -> bool:
    return isinstance(cos, Tensor) and cos.dim() == 4


def _rank(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    first = args[0] if args else kwargs.get("q", kwargs.get("x"))
    return first.dim() if isinstance(first, Tensor) else 0


def _binds_cos_sin(given: int, kwargs: dict[str, Any], required: int) -> bool:
    """Whether cos and sin are given where k may be left out, as in Qwen4-exp from 5.16.0."""
    return "sin" in kwargs and ("cos" in kwargs or given == required - 1)


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


def _native_only(native: Adapter, generation: Generation, context: Context) -> Adapter:
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

    def adapter(*args: Any, **kwargs: Any) -> Any:
        tensors = min(len(args), required)
        for name in kwargs:
            if name in generation.names:
                tensors += name not in options
            elif not accepts_keywords:
                raise refuse(info, args, kwargs, why)
        if tensors != required or len(args) > required + len(options):
            raise refuse(info, args, kwargs, why)
        return native(*args, **kwargs)

    return dress(adapter, info)
