"""Adapters for `apply_multimodal_rotary_pos_emb`: cos and sin by axis, in tables, or merged already.

Up to 5.16.1 the function merges ``[3, B, S, D]``; from 5.17.0 on the rotary module does, and there is no such
function. What is merged must not be merged again: its axis of length 3 would be looked for in the batch. The
rank tells them apart, and where it does not fit either, the call is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from torch import Tensor
from torch.fx import Proxy

from ..._facts.call_forms import INDEXED_SECTIONS, MERGED
from ...errors import CallFormError
from ...rotary.layouts import is_table
from ...rotary.mismatch import explain_mismatch
from .base import AdapterInfo, Context, count, dress, misfit, refuse
from .generation import Generation
from .native_call import rows_as_table
from .parse import UnreadableCall, is_axis, is_positions
from .signature import live_signature, reads_argument, signature_text

__all__ = ["adapt_multimodal", "read_multimodal"]

Function = Callable[..., Any]

_TENSORS = ("q", "k", "cos", "sin")
_OPTIONS = ("position_ids", "mrope_section", "unsqueeze_dim")
_NATIVE = (*_TENSORS, "mrope_section", "unsqueeze_dim")


class _Call(NamedTuple):
    q: Tensor
    k: Tensor
    cos: Tensor
    sin: Tensor
    position_ids: Tensor | None
    mrope_section: Sequence[int] | None
    unsqueeze_dim: int


def read_multimodal(function: Function) -> Generation | None:
    """The generation of `function`, or None where it is not one of the family.

    transformers' have no positions, copies of older code index with them, or ignore them.
    """
    signature = live_signature(function)
    names = tuple(signature.parameters) if signature is not None else ()
    if signature is None or names not in (_NATIVE, (*_TENSORS, *_OPTIONS)):
        return None
    positions: Literal["none", "ignored", "indexes"] = "none"
    if names != _NATIVE:
        positions = "ignored" if reads_argument(function, "position_ids") is False else "indexes"
    return Generation(signature_text(signature), names, "cos_sin", 2, names[4:], positions)


def adapt_multimodal(
    native: Function, generation: Generation, context: Context, merged: Function | None = None
) -> Function:
    """Build the adapter that stands in the place of `native`; `merged` computes what is merged already."""
    info = AdapterInfo(context, native, generation.signature, (INDEXED_SECTIONS, MERGED))
    takes_sections = generation.positions == "none"
    by_sections = native if takes_sections else _without_positions(native, generation)

    def by_three_equal_axes(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int) -> Any:
        # Whichever axis a section is taken from, it is the one that was given.
        cos, sin = (table.expand(3, *table.shape) for table in (cos, sin))
        return by_sections(q, k, cos, sin, [cos.shape[-1] // 2, 0, 0], unsqueeze_dim)

    by_merged = merged or by_three_equal_axes

    def by_rank(*args: Any, **kwargs: Any) -> Any:
        try:
            if takes_sections and _is_native(args, kwargs):
                return native(*args, **kwargs)
            form, call = _read(args, kwargs)
            count(info, form)
            if form == "merged":
                return by_merged(call.q, call.k, call.cos, call.sin, call.unsqueeze_dim)
            return by_sections(call.q, call.k, call.cos, call.sin, call.mrope_section, call.unsqueeze_dim)
        except UnreadableCall as reason:
            raise refuse(info, args, kwargs, str(reason)) from None
        except CallFormError as error:
            # rope_compat's own operations say what does not fit, but not who was called.
            raise misfit(info, str(error)) from None
        except RuntimeError as error:
            problem = _problem(args, kwargs)
            if problem is None:
                raise
            raise misfit(info, problem) from error

    return dress(by_rank, info)


def _without_positions(native: Function, generation: Generation) -> Function:
    """`native`, called with cos and sin of each axis."""

    def by_sections(
        q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, mrope_section: Any, unsqueeze_dim: int
    ) -> Any:
        rows = None
        if generation.positions == "indexes":
            cos, sin, rows = rows_as_table(cos, sin)
        return native(q, k, cos, sin, rows, mrope_section, unsqueeze_dim)

    return by_sections


def _is_native(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """``(q, k, cos, sin, mrope_section, unsqueeze_dim=1)`` with cos of rank 4."""
    given = len(args)
    if not 5 <= given + len(kwargs) <= 6:
        return False
    for name in kwargs:
        if name not in _NATIVE:
            return False
    if given > 4 and not isinstance(args[4], (list, tuple)):
        return False
    if not is_axis(args[5] if given > 5 else kwargs.get("unsqueeze_dim", 1)):
        return False
    cos = args[2] if given > 2 else kwargs.get("cos")
    # torch.fx's symbolic tracing has no rank to look at.
    return isinstance(cos, Proxy) or (isinstance(cos, Tensor) and cos.dim() == 4 and not is_table(cos))


def _read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, _Call]:
    """The form of a call and what it means, with rows already picked."""
    call = _bind(args, kwargs)
    cos, positions = call.cos, call.position_ids
    if cos.shape != call.sin.shape:
        raise UnreadableCall(f"cos has shape {tuple(cos.shape)}, sin {tuple(call.sin.shape)}")
    form = "sections"
    if is_table(cos) and positions is not None:
        if positions.dim() != 3:
            raise UnreadableCall(
                f"position_ids of shape {tuple(positions.shape)} beside a table; expected [3, B, S]"
            )
        width = cos.shape[-1]
        cos, sin = cos.reshape(-1, width)[positions], call.sin.reshape(-1, width)[positions]
        form, call = "indexed sections", call._replace(cos=cos, sin=sin)
    elif cos.dim() == 3 and (call.q.dim() != 4 or cos.shape[0] in (1, call.q.shape[0])):
        return "merged", call
    elif cos.dim() != 4 or is_table(cos):
        raise UnreadableCall(
            f"cos has shape {tuple(cos.shape)} and q {tuple(call.q.shape)}: neither [3, B, S, D], by axis, "
            "nor [B, S, D], merged"
        )
    if call.mrope_section is None:
        raise UnreadableCall("mrope_section is missing: cos and sin are not merged")
    return form, call


def _bind(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
    values: dict[str, Any] = dict(zip(_TENSORS, args, strict=False))
    rest = list(args[4:])
    if rest and (is_positions(rest[0]) or (rest[0] is None and len(rest) > 1 and not is_axis(rest[1]))):
        values["position_ids"] = rest.pop(0)
    if rest and (rest[0] is None or isinstance(rest[0], (list, tuple))):
        values["mrope_section"] = rest.pop(0)
    if rest and is_axis(rest[0]):
        values["unsqueeze_dim"] = rest.pop(0)
    if rest:
        raise UnreadableCall(
            f"a {type(rest[0]).__name__} follows sin where position_ids, a list of sections or an axis can"
        )
    for name, value in kwargs.items():
        if name not in _TENSORS and name not in _OPTIONS:
            raise UnreadableCall(f"no form has an argument {name!r}")
        if name in values:
            raise UnreadableCall(f"{name} is given twice, by position and by keyword")
        values[name] = value
    for name in _TENSORS:
        if not isinstance(values.get(name), Tensor):
            raise UnreadableCall(f"{name} must be a tensor")
    positions, sections, axis = (values.get(name) for name in _OPTIONS)
    if positions is not None and not is_positions(positions):
        raise UnreadableCall("position_ids must be an integer tensor")
    if sections is not None and not isinstance(sections, (list, tuple)):
        raise UnreadableCall(f"mrope_section must be a list of ints, not {type(sections).__name__}")
    if axis is not None and not is_axis(axis):
        raise UnreadableCall(f"unsqueeze_dim must be an int, not {type(axis).__name__}")
    q, k, cos, sin = (values[name] for name in _TENSORS)
    return _Call(q, k, cos, sin, positions, sections, 1 if axis is None else axis)


def _problem(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """What does not meet, where it is axes."""
    try:
        _, call = _read(args, kwargs)
    except UnreadableCall:
        return None
    cos = tuple(call.cos.shape[-3:])
    for name, tensor in (("q", call.q), ("k", call.k)):
        message = explain_mismatch(tuple(tensor.shape), cos, call.unsqueeze_dim, name=name)
        if message is not None:
            return message
    return None
