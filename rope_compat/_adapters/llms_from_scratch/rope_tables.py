"""Adapters for `compute_rope_params` of LLMs-from-scratch: the tables of cosines and sines.

Llama 3's takes `freq_config` before `dtype`, Qwen 3's has no `freq_config`, so that the fourth argument means
one or the other; a dtype and a dictionary tell themselves apart.

Source: llms_from_scratch 1.0.3 to 1.0.19, llama3.py and qwen3.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..._facts.call_forms import LLMS_TABLES
from ...errors import CallFormError, HeadDimensionError
from ...rotary.frequencies import llama3
from ..functions.base import AdapterInfo, Context, as_restored, dress, refuse
from ..functions.signature import live_signature, signature_text

__all__ = ["adapt_rope_params", "read_rope_params", "restore_rope_params"]

Function = Callable[..., Any]

_SCALED, _UNSCALED = LLMS_TABLES
_KEYS = ("factor", "low_freq_factor", "high_freq_factor", "original_context_length")


def read_rope_params(function: Function) -> tuple[str, ...] | None:
    """The names of a live function's parameters, None where they are none of the known ones."""
    signature = live_signature(function)
    names = tuple(signature.parameters) if signature is not None else ()
    return names if names in LLMS_TABLES else None


def adapt_rope_params(native: Function, names: tuple[str, ...], context: Context) -> Function:
    """The adapter in the place of `native`: its own calls go through, others are translated or refused."""
    signature = live_signature(native)
    assert signature is not None
    others = tuple(form for known, form in LLMS_TABLES.items() if known != names)
    info = AdapterInfo(context, native, signature_text(signature), others)

    def with_or_without_scaling(*args: Any, **kwargs: Any) -> Any:
        head_dim = args[0] if args else kwargs.get("head_dim", 0)
        if isinstance(head_dim, int) and head_dim % 2:
            raise HeadDimensionError(
                f"{context.family} of {context.module}: head_dim={head_dim} is odd, and an odd number of "
                "channels makes no pairs; expected an even one, emb_dim // n_heads"
            )
        if context.strict:
            _check_positions(info, args, kwargs)
        if _is_native(names, args, kwargs):
            return native(*args, **kwargs)
        return _foreign(native, names, info, args, kwargs)

    return dress(with_or_without_scaling, info, signature)


def restore_rope_params(native: Function, names: tuple[str, ...], context: Context) -> Function:
    """`precompute_rope_params`, the book's name for it; computed by `native`.

    Source: LLMs-from-scratch, ch05/07_gpt_to_llama/converting-gpt-to-llama2.ipynb.
    """
    documentation = f"{context.family} of {context.module}, restored by rope_compat: compute_rope_params."
    return as_restored(adapt_rope_params(native, names, context), documentation)


def _is_native(names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if len(args) > len(names) or not all(name in names for name in kwargs):
        return False
    fourth = args[3] if len(args) > 3 else None
    return fourth is None or isinstance(fourth, torch.dtype) == (names[3] == "dtype")


def _foreign(
    native: Function, names: tuple[str, ...], info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """A call in the other form: what it says beside freq_config and dtype goes on as it is."""
    said = dict(kwargs)
    for value in args[3:]:
        name = "dtype" if isinstance(value, torch.dtype) else "freq_config"
        if name in said or len(args) > 5:
            raise refuse(info, args, kwargs, "an argument is given twice")
        said[name] = value
    scaling = said.pop("freq_config", None)
    unknown = sorted(set(said) - set(_UNSCALED))
    if unknown:
        raise refuse(info, args, kwargs, f"no form has an argument {unknown[0]!r}")
    if names == _SCALED:
        info.count("unscaled")
        return native(*args[:3], **said, freq_config=scaling)
    info.count("scaled")
    if scaling is None:
        return native(*args[:3], **said)
    missing = [key for key in _KEYS if not isinstance(scaling, Mapping) or key not in scaling]
    if missing:
        raise refuse(info, args, kwargs, f"freq_config lacks {', '.join(missing)}")
    bound = dict(zip(_UNSCALED, args[:3], strict=False)) | said
    return _scaled_tables(scaling=scaling, **bound)


def _scaled_tables(
    *,
    head_dim: int,
    theta_base: float = 10_000,
    context_length: int = 4096,
    dtype: torch.dtype = torch.float32,
    scaling: Mapping[str, Any],
) -> tuple[Tensor, Tensor]:
    """cos and sin ``[context_length, head_dim]``, equal to the bit to Llama 3's of the package."""
    inv_freq, _ = llama3(head_dim, theta_base, *(scaling[key] for key in _KEYS))
    angles = torch.arange(context_length, dtype=dtype)[:, None] * inv_freq[None, :]
    angles = torch.cat([angles, angles], dim=1)
    return torch.cos(angles), torch.sin(angles)


def _check_positions(info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse positions that their dtype rounds: bfloat16 counts to 256, float16 to 2048."""
    dtype = kwargs.get("dtype") or next((value for value in args if isinstance(value, torch.dtype)), None)
    if dtype is None or not dtype.is_floating_point:
        return
    length = args[2] if len(args) > 2 else kwargs.get("context_length", 4096)
    largest = int(2 / torch.finfo(dtype).eps)
    if length - 1 > largest:
        raise CallFormError(
            f"{info.context.family} of {info.context.module}: positions to {length - 1} in {dtype}, which "
            f"counts to {largest} and rounds what is beyond, and strict=True refuses that. Leave dtype at "
            "torch.float32, and convert cos and sin"
        )
