"""Functions that stand where the installed release has none: rope_compat's operations, in every form."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..._facts.call_forms import INDEXED_SECTIONS, MERGED
from ...rotary import frequencies, operations
from ...rotary.pairing import rotate_half
from ...rotary.rotation import rotate_pair
from .base import AdapterInfo, Context, dress
from .build import FAMILIES
from .flashatt import restore_flashatt
from .multimodal import multimodal_adapter, read_multimodal
from .signature import live_signature, signature_text

__all__ = ["OPERATIONS", "restore"]

Function = Callable[..., Any]

#: What records of `_facts.functions` name.
OPERATIONS: dict[str, Function] = {
    "deinterleave": operations.deinterleave,
    "mscale": frequencies.mscale,
    "multimodal": operations.multimodal,
    "multimodal float32": operations.multimodal_float32,
    "multimodal interleaved": operations.multimodal_interleaved,
    "npu": operations.npu,
    "pairs": operations.in_pairs,
    "pairs of halves": operations.from_halves,
    "pairwise 2d": operations.pairwise_2d,
    "plain": rotate_pair,
    "rank 4": operations.rotate_rank4,
    "rotate half": rotate_half,
    "scale attention": frequencies.scale_attention,
    "unpadded": operations.unpadded,
}


def restore(operation: str, context: Context) -> Function:
    """A new function for ``context.target`` that computes `operation` and takes every form of its family."""
    if operation == "flashatt":
        return restore_flashatt(context)
    compute = OPERATIONS[operation]
    family = FAMILIES.get(context.family)
    generation = family.read(compute) if family is not None else None
    if context.family == "apply_multimodal_rotary_pos_emb":
        adapter, info = _multimodal(compute, context)
    else:
        found = family.adapt(compute, generation, context) if family is not None and generation else None
        if found is None or found is compute:
            # One form, or one that takes all others: what it lacks is an object of its own.
            adapter, info = _alone(compute, context)
        else:
            adapter, info = found, vars(found)["__rope_compat__"]
    return _as_restored(adapter, info, compute)


def _multimodal(compute: Function, context: Context) -> tuple[Function, AdapterInfo]:
    """What is merged already is computed by what the release has for it: from 5.17.0 on, its own function."""
    generation = read_multimodal(compute)
    assert generation is not None
    info = AdapterInfo(context, compute, generation.signature, (INDEXED_SECTIONS, MERGED))
    plain = vars(sys.modules.get(context.module, sys)).get("apply_rotary_pos_emb", rotate_pair)
    adapter = multimodal_adapter(info, compute, plain, native=compute)
    return dress(adapter, info), info


def _alone(compute: Function, context: Context) -> tuple[Function, AdapterInfo]:
    """A function object of its own, for a name that has had one form."""
    signature = live_signature(compute)
    assert signature is not None
    info = AdapterInfo(context, compute, signature_text(signature), ())

    def restored(*args: Any, **kwargs: Any) -> Any:
        return compute(*args, **kwargs)

    return dress(restored, info), info


def _as_restored(adapter: Function, info: AdapterInfo, compute: Function) -> Function:
    """Say whose place it takes, instead of what computes it; see `base.is_restored`."""
    info.native = None
    context = info.context
    adapter.__name__ = adapter.__qualname__ = context.family
    adapter.__module__ = context.module
    until = f", removed in {context.removed_in}" if context.removed_in else ""
    adapter.__doc__ = (
        f"{context.family}{info.native_signature} of {context.module}{until}, restored by rope_compat.\n\n"
        f"Computed by {compute.__module__}.{compute.__qualname__}."
    )
    return adapter
