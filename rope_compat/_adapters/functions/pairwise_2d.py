"""The adapter for `apply_rotary_pos_emb_2d`: SAM 3's function, called as those of the video models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..._facts.call_forms import WITH_OPTIONS
from .base import AdapterInfo, Context, count, dress, refuse
from .parse import is_axis
from .signature import live_signature, signature_text

__all__ = ["adapt_2d", "read_2d"]

Function = Callable[..., Any]

_TENSORS = ("q", "k", "cos", "sin")
_OPTIONS = ("num_k_exclude_rope", "repeat_freqs_k")


def read_2d(function: Function) -> str | None:
    """The signature of `function`, the four tensors with or without options; None if it is another."""
    signature = live_signature(function)
    if signature is None or tuple(signature.parameters) not in (_TENSORS, (*_TENSORS, *_OPTIONS)):
        return None
    return signature_text(signature)


def adapt_2d(native: Function, signature: str, context: Context) -> Function:
    """Build the adapter; `native` itself where it has the options, and so takes every form."""
    if _OPTIONS[0] in signature:
        return native
    info = AdapterInfo(context, native, signature, (WITH_OPTIONS,))

    def with_or_without_options(*args: Any, **kwargs: Any) -> Any:
        if len(args) + len(kwargs) <= 4 and not any(name in kwargs for name in _OPTIONS):
            return native(*args, **kwargs)
        given = dict(zip((*_TENSORS, *_OPTIONS), args, strict=False))
        if len(args) > 6 or given.keys() & kwargs.keys():
            raise refuse(info, args, kwargs, "it has too many arguments, or one of them twice")
        given |= kwargs
        excluded, repeated = given.pop(_OPTIONS[0], 0), given.pop(_OPTIONS[1], False)
        if not is_axis(excluded) or not isinstance(repeated, bool) or given.keys() != set(_TENSORS):
            why = "expected q, k, cos, sin, an int num_k_exclude_rope and a bool repeat_freqs_k"
            raise refuse(info, args, kwargs, why)
        count(info, WITH_OPTIONS.name)
        return _with_options(native, **given, excluded=excluded, repeated=repeated)

    return dress(with_or_without_options, info)


def _with_options(
    native: Function, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *, excluded: int, repeated: bool
) -> tuple[Tensor, Tensor]:
    """As SAM 2's: the last `excluded` tokens of k pass through; the angles are repeated for a longer k."""
    turning = k.shape[-2] - excluded
    k_turning, k_passing = k[..., :turning, :], k[..., turning:, :]
    if turning == 0:
        return native(q, q, cos, sin)[0], k
    if repeated and turning != q.shape[-2]:
        times = turning // q.shape[-2]
        q_embed = native(q, q, cos, sin)[0]
        _, k_embed = native(k_turning, k_turning, cos.repeat(1, 1, times, 1), sin.repeat(1, 1, times, 1))
    else:
        q_embed, k_embed = native(q, k_turning, cos, sin)
    return q_embed, torch.cat([k_embed, k_passing], dim=-2)
