"""Functions that stand where the installed release has none: rope_compat's operations, in every form."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ...rotary import frequencies, operations
from ...rotary.pairing import rotate_half
from ...rotary.rotation import rotate_pair
from .base import MARK, AdapterInfo, Context, as_restored, dress
from .build import FAMILIES
from .generation import Generation
from .multimodal import adapt_multimodal
from .signature import live_signature, signature_text
from .vision import restore_flashatt

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
    adapter: Function | None = None
    if isinstance(generation, Generation) and context.family == "apply_multimodal_rotary_pos_emb":
        # What is merged already is computed by what the release has for it: from 5.17.0 on, its own function.
        plain = vars(sys.modules.get(context.module, sys)).get("apply_rotary_pos_emb", rotate_pair)
        adapter = adapt_multimodal(compute, generation, context, merged=plain)
    elif family is not None and generation is not None:
        adapter = family.adapt(compute, generation, context)
    if adapter is None or adapter is compute:
        # One form, or one that takes all others: what it lacks is an object of its own.
        adapter = _alone(compute, context)
    signature = vars(adapter)[MARK].native_signature
    until = f", removed in {context.removed_in}" if context.removed_in else ""
    return as_restored(
        adapter,
        f"{context.family}{signature} of {context.module}{until}, restored by rope_compat.\n\n"
        f"Computed by {compute.__module__}.{compute.__qualname__}.",
    )


def _alone(compute: Function, context: Context) -> Function:
    """A function object of its own, for a name that has had one form."""
    signature = live_signature(compute)
    assert signature is not None

    def restored(*args: Any, **kwargs: Any) -> Any:
        return compute(*args, **kwargs)

    return dress(restored, AdapterInfo(context, compute, signature_text(signature), ()))
