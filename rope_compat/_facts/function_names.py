"""Names of the functions that are adapted or restored, for those who must not import torch to know them."""

from __future__ import annotations

from .functions import FAMILIES, RESTORED, places

__all__ = ["ELSEWHERE", "NAMES", "RESTORED_TARGETS"]

#: Those that an adapter stands for, wherever a module defines them.
NAMES = tuple(family.name for family in FAMILIES if family.adapted)

#: ``(module, name)`` of those that are put back where they are missing.
RESTORED_TARGETS = tuple(
    dict.fromkeys((module, record.name) for record in RESTORED for module in places(record))
)

#: ``(module, name)`` of targets in other packages, which the catalog does not know.
ELSEWHERE = tuple(
    (f"llms_from_scratch.{module}", name)
    for module in ("llama3", "qwen3", "kv_cache.llama3", "kv_cache.qwen3", "kv_cache_batched.qwen3")
    for name in ("apply_rope", "compute_rope", "compute_rope_params", "precompute_rope_params")
)
