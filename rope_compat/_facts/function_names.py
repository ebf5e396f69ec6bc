"""Names of the functions that are adapted or restored, for those who must not import torch to know them."""

from __future__ import annotations

from .functions import FAMILIES, RESTORED, places

__all__ = ["ELSEWHERE", "LLMS_FROM_SCRATCH", "LLMS_NAMES", "NAMES", "RESTORED_TARGETS"]

#: Those that an adapter stands for, wherever a module defines them.
NAMES = tuple(family.name for family in FAMILIES if family.adapted)

#: ``(module, name)`` of those that are put back where they are missing.
RESTORED_TARGETS = tuple(
    dict.fromkeys((module, record.name) for record in RESTORED for module in places(record))
)

#: Modules of LLMs-from-scratch with rotary functions, and the release that each came with.
LLMS_FROM_SCRATCH = {
    "llms_from_scratch.llama3": "1.0.3",
    "llms_from_scratch.qwen3": "1.0.8",
    "llms_from_scratch.kv_cache.llama3": "1.0.10",
    "llms_from_scratch.kv_cache.qwen3": "1.0.13",
    "llms_from_scratch.kv_cache_batched.qwen3": "1.0.17",
}
#: Their functions, and the book's names for them.
LLMS_NAMES = {"apply_rope": "compute_rope", "compute_rope_params": "precompute_rope_params"}

#: ``(module, name)`` of targets in other packages, which the catalog does not know.
ELSEWHERE = tuple(
    (module, name) for module in LLMS_FROM_SCRATCH for each in LLMS_NAMES.items() for name in each
)
