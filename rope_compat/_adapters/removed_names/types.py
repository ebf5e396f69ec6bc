"""Types for annotations that transformers dropped."""

from __future__ import annotations

from typing import Any, TypedDict

__all__ = ["KwargsForCausalLM", "LossKwargs"]


class LossKwargs(TypedDict, total=False):
    """Keywords of loss functions; merged into ``TransformersKwargs`` in 4.54.0."""

    num_items_in_batch: Any


class KwargsForCausalLM(LossKwargs, total=False):
    """Keywords of a language model's ``forward``: those of flash attention and of the loss."""

    cu_seq_lens_q: Any
    cu_seq_lens_k: Any
    max_length_q: Any
    max_length_k: Any
