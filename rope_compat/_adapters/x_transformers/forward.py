"""``RotaryEmbedding.forward`` of x-transformers, in every form that it has had.

A native call goes to the installed method, unless that is one of the broken ones. A foreign call is read
into what it means, a length or positions, and made as the native call that means it, so that the installed
release computes the angles; where its method cannot, `_angles` and `_scales` do, in the order of operations
of ``x_transformers/x_transformers.py``, 1.16.0 to 1.27.11. The form decides what is given: ``[n, d]`` for a
length, ``[b, n, d]`` for positions ``[b, n]``; for positions ``[n]`` what the installed release gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...rotary.layouts import half_to_full
from ...rotary.pairing import Pairing
from ..functions.base import AdapterInfo, refuse
from .shape import ForwardShape

__all__ = ["adapt_forward", "forward_from_seq_len"]

Forward = Callable[..., Any]
Scale = Tensor | float


#: The names that the first parameter has had.
_FIRST = ("x", "max_seq_len", "seq_len", "seq_arange_or_len", "t")
_SECOND = ("seq_dim", "device", "offset")


def adapt_forward(native: Forward, shape: ForwardShape, info: AdapterInfo) -> Forward:
    """The forward that stands in the place of `native`."""

    def translated(self: Any, first: Any, second: Any, named: dict[str, Any]) -> Any:
        call = _read(info, first, second, named)
        info.count(call.form)
        freqs, scale = _answer(native, shape, self, call)
        return (freqs, scale) if call.leading is None else freqs[(None,) * call.leading]

    return _NATIVE[shape.takes](native, shape, translated)


def forward_from_seq_len(self: Any, seq_len: int) -> Any:
    """What ``RotaryEmbedding.forward_from_seq_len`` gives from 1.26.0 on, for releases before."""
    return self.forward(seq_len)


def _of_length_and_device(native: Forward, shape: ForwardShape, translated: Forward) -> Forward:
    def by_length(self: Any, seq_len: Any = None, device: Any = None, **named: Any) -> Any:
        if isinstance(seq_len, int) and _is_device(device) and not named:
            return native(self, seq_len, device)
        return translated(self, seq_len, device, named)

    return by_length


def _of_length_and_offset(native: Forward, shape: ForwardShape, translated: Forward) -> Forward:
    takes_offset = shape.takes == "offset" and shape.fault is None

    def by_length(self: Any, seq_len: Any = None, offset: Any = None, **named: Any) -> Any:
        if isinstance(seq_len, int) and not named:
            if offset is None:
                return native(self, seq_len)
            if takes_offset and isinstance(offset, Tensor):
                return native(self, seq_len, offset)
        return translated(self, seq_len, offset, named)

    return by_length


def _of_length_or_positions(native: Forward, shape: ForwardShape, translated: Forward) -> Forward:
    def by_row(self: Any, seq_arange_or_len: Any = None, offset: Any = None, **named: Any) -> Any:
        if offset is None and not named and (shape.fault is None or self.scale is None):
            is_row = isinstance(seq_arange_or_len, Tensor) and seq_arange_or_len.dim() == 1
            if is_row or isinstance(seq_arange_or_len, int):
                return native(self, seq_arange_or_len)
        return translated(self, seq_arange_or_len, offset, named)

    return by_row


def _of_positions(native: Forward, shape: ForwardShape, translated: Forward) -> Forward:
    highest = 2 if shape.is_batched else 1
    never_works, works_without_scale = shape.fault == "misspelt-method", shape.fault is not None

    def by_positions(self: Any, t: Any = None, offset: Any = None, **named: Any) -> Any:
        if (
            offset is None
            and not named
            and isinstance(t, Tensor)
            and 0 < t.dim() <= highest
            and not never_works
            and not (works_without_scale and self.scale is not None)
        ):
            return native(self, t)
        return translated(self, t, offset, named)

    def by_positions_and_offset(self: Any, t: Any = None, offset: Any = 0, **named: Any) -> Any:
        if not named and isinstance(t, Tensor) and 0 < t.dim() <= highest:
            return native(self, t, offset)
        return translated(self, t, None if type(offset) is int and offset == 0 else offset, named)

    return by_positions_and_offset if shape.has_offset else by_positions


#: What makes the adapter that lets native calls through, by what the release's forward takes.
_NATIVE: dict[str, Callable[[Forward, ForwardShape, Forward], Forward]] = {
    "device": _of_length_and_device,
    "offset": _of_length_and_offset,
    "length": _of_length_and_offset,
    "either": _of_length_or_positions,
    "positions": _of_positions,
}


@dataclass(frozen=True, slots=True)
class _Call:
    """What a call means: one of `length` and `positions` is given.

    `leading`: how many axes of size 1 callers expect before ``[n, d]``; None where a pair is expected, else
    freqs alone.
    """

    form: str
    length: Any = None
    positions: Tensor | None = None
    offset: Tensor | None = None
    leading: int | None = None


def _answer(native: Forward, shape: ForwardShape, module: Any, call: _Call) -> tuple[Tensor, Scale]:
    rates = module.inv_freq
    if call.positions is not None:
        return _at_positions(native, shape, module, call.positions.to(rates.device))
    if call.offset is not None:
        return _from_offset(native, shape, module, call)
    if shape.takes == "device":
        found = native(module, call.length, rates.device)
    elif shape.takes in ("offset", "length"):
        found = native(module, call.length)
    else:
        row = torch.arange(call.length, device=rates.device)
        found = _at_positions(native, shape, module, row)
    freqs, scale = found
    # 1.22.10 and the releases from 1.42.21 on have one axis more; lengths gave [n, d] in all but 1.22.10.
    return _table(freqs), _table(scale) if isinstance(scale, Tensor) else scale


def _table(values: Tensor) -> Tensor:
    return values if values.dim() == 2 else values[0]


def _from_offset(native: Forward, shape: ForwardShape, module: Any, call: _Call) -> tuple[Tensor, Scale]:
    row = torch.arange(call.length, device=module.inv_freq.device)
    if shape.takes == "offset" and shape.fault is None:
        freqs, scale = native(module, call.length, call.offset)
        return freqs, scale
    offset = call.offset
    assert offset is not None
    shifted = row + offset.to(row.device)[..., None]
    # As 1.22.8 to 1.22.12 have it: the scale of a row is that without an offset, which scores cannot tell.
    return _angles(module, shifted, shape.pairing), _scales(module, row, shape.pairing)


def _at_positions(
    native: Forward, shape: ForwardShape, module: Any, positions: Tensor
) -> tuple[Tensor, Scale]:
    is_broken = shape.fault == "misspelt-method" or (shape.fault is not None and module.scale is not None)
    if shape.takes not in ("either", "positions") or is_broken:
        freqs, scale = _angles(module, positions, shape.pairing), _scales(module, positions, shape.pairing)
        if shape.is_batched and positions.dim() == 1:
            return freqs[None], scale[None] if isinstance(scale, Tensor) else scale
        return freqs, scale
    if shape.is_batched or positions.dim() == 1:
        freqs, scale = native(module, positions)
        return freqs, scale
    # To 1.42.20 the method takes one row; what it computes for a position depends on the largest one alone.
    freqs, scale = native(module, positions.flatten())
    size = (*positions.shape, freqs.shape[-1])
    return freqs.view(size), scale.view(size) if isinstance(scale, Tensor) else scale


def _angles(module: Any, positions: Tensor, pairing: Pairing) -> Tensor:
    """The angles of `positions`, in radians.

    `module`: a ``RotaryEmbedding``, of which ``inv_freq`` ``[d / 2]`` and ``interpolation_factor`` are read
    (from 1.16.16 on; 1 before). `positions`: ``[...]``, any real dtype. Returns ``[..., d]`` in the dtype
    of ``inv_freq``, one column for each channel.
    """
    # A product, not einsum: autocast would round that.
    rates = module.inv_freq
    steps = positions.type_as(rates) / getattr(module, "interpolation_factor", 1.0)
    return half_to_full(steps[..., None] * rates, pairing)


def _scales(module: Any, positions: Tensor, pairing: Pairing) -> Tensor | float:
    """The factors of xPos for queries at `positions`; keys take their inverse. 1.0 for a module without.

    "A Length-Extrapolatable Transformer" (Sun et al., 2022, arXiv 2212.10554), section 3.2.

    Channel pair i at position m has ``s_i ** ((m - c) / scale_base)`` with
    ``s_i = (2 i + 0.4 d) / (1.4 d)``, and c half of the largest position plus one: the score of a query and
    a key depends on their distance whatever c is, as long as both have the same. Returns ``[..., d]``.
    """
    if module.scale is None:
        return 1.0
    centre = torch.div(positions.max() + 1, 2, rounding_mode="floor")
    power = (positions - centre) / module.scale_base
    return half_to_full(module.scale ** power.to(module.scale.device)[..., None], pairing)


def _read(info: AdapterInfo, first: Any, second: Any, named: dict[str, Any]) -> _Call:
    """What a call means, by the types of its arguments.

    Raises:
        CallFormError: it is in none of the forms.
    """
    shown = tuple(value for value in (first, second) if value is not None)

    def no(why: str) -> Exception:
        return refuse(info, shown, named, why)

    name = ""
    for key, value in named.items():
        if key in _FIRST and first is None:
            first, name = value, key
        elif key in _SECOND and (second is None or value is None):
            second = value if value is not None else second
        else:
            raise no(f"{key}= is none of its parameters in any release, or was given twice")
    if isinstance(first, bool) or not isinstance(first, (int, Tensor)):
        raise no("the first argument has to be a length (int), positions [n] or [b, n], or x")
    if isinstance(first, Tensor) and first.dim() > 0:
        return _from_tensor(first, second, named, no)
    if isinstance(first, Tensor) and (first.is_floating_point() or first.dtype is torch.bool):
        raise no("a length has to be an integer")
    if "seq_dim" in named or name in ("x", "t"):
        raise no(f"{name or 'seq_dim'}= goes with a tensor, not with a length")
    if name == "max_seq_len":
        return _Call("max_seq_len", length=first, leading=0)
    if isinstance(second, Tensor):
        if second.is_floating_point() or second.dtype is torch.bool:
            raise no("an offset has to be a tensor of integers")
        return _Call("offset", length=first, offset=second)
    # An int may be the index of a device, or an offset; 0 is the same as nothing, whichever it is.
    is_device = isinstance(second, (torch.device, str)) or ("device" in named and _is_device(second))
    is_nothing = second is None or (type(second) is int and second == 0)
    if not (is_nothing or is_device) or ("offset" in named and not is_nothing):
        raise no("a length is followed by a device, or by an offset: an integer tensor [b]")
    return _Call("length", length=first)


def _from_tensor(first: Tensor, second: Any, named: dict[str, Any], no: Callable[[str], Exception]) -> _Call:
    if first.dim() > 2 and first.is_floating_point() and not {"t", "device", "offset"} & set(named):
        axis = 1 if second is None else second
        if isinstance(axis, bool) or not isinstance(axis, int) or not -first.dim() <= axis < first.dim():
            raise no(f"seq_dim has to be one of the {first.dim()} axes of x")
        return _Call("x", length=first.shape[axis], leading=2)
    if first.dim() > 2 or first.dtype is torch.bool or first.is_complex():
        raise no("positions are [n] or [b, n], real numbers; x has rank 3 or more, and floating point")
    if "seq_dim" in named or "x" in named or "max_seq_len" in named or "seq_len" in named:
        raise no("x has rank 3 or more, and a length is an int; positions are called t")
    if not (second is None or (isinstance(second, (int, Tensor)) and not isinstance(second, bool))):
        raise no("positions are followed by an offset, or by nothing")
    return _Call("positions", positions=first)


def _is_device(value: Any) -> bool:
    """Whether torch takes it for a device: also a string, or the index of an accelerator."""
    return isinstance(value, (torch.device, str, int)) and not isinstance(value, bool)
