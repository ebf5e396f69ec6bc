"""Predicates that transformers dropped, by what they asked: of torch and of packages, not of transformers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Any

__all__ = [
    "is_flash_attn_greater_or_equal_2_10",
    "is_flax_available",
    "is_safetensors_available",
    "is_tf_available",
    "is_torch_bf16_cpu_available",
    "is_torch_compile_available",
    "is_torch_fx_available",
    "is_torch_sdpa_available",
    "is_torch_tpu_available",
    "is_torchdynamo_available",
]


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _torch_is_at_least(version: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        installed = Version(importlib.metadata.version("torch"))
    except (importlib.metadata.PackageNotFoundError, InvalidVersion):
        return False
    return Version(installed.base_version) >= Version(version)


def is_torch_fx_available() -> bool:
    """Whether torch has `torch.fx`: all that transformers 4.36 and later run with do."""
    return _torch_is_at_least("1.10")


def is_torch_sdpa_available() -> bool:
    """Whether torch has a scaled dot product attention that transformers uses: since 2.1.1."""
    return _torch_is_at_least("2.1.1")


def is_torchdynamo_available() -> bool:
    """Whether torch has Dynamo: since 2.0."""
    return _torch_is_at_least("2.0")


def is_torch_compile_available() -> bool:
    """Whether there is `torch.compile`: since 2.0."""
    return _torch_is_at_least("2.0")


def is_torch_bf16_cpu_available() -> bool:
    """Whether torch computes in bfloat16 on the CPU: since 1.10."""
    return _torch_is_at_least("1.10")


def is_torch_tpu_available(check_device: bool = True) -> bool:
    """Whether torch_xla is installed and, unless told otherwise, sees a device."""
    if not _has("torch") or not _has("torch_xla"):
        return False
    if not check_device:
        return True
    try:
        from torch_xla.core import xla_model  # type: ignore[import-not-found,unused-ignore]

        xla_model.xla_device()
    except RuntimeError:
        return False
    return True


def is_safetensors_available() -> bool:
    """Whether safetensors can be imported."""
    return _has("safetensors")


def is_tf_available() -> bool:
    """False: what this asked is whether transformers can use TensorFlow, which no release from 5.0 on can."""
    return False


def is_flax_available() -> bool:
    """False, as for TensorFlow."""
    return False


def is_flash_attn_greater_or_equal_2_10() -> bool:
    """Whether flash-attn 2.1 or later is usable."""
    from transformers.utils import is_flash_attn_greater_or_equal

    return bool(is_flash_attn_greater_or_equal("2.1.0"))


def __getattr__(name: str) -> Any:
    """``is_torch_greater_or_equal_than_1_13`` and its like are values, found when they are asked for."""
    for prefix, wanted in (("is_torch_greater_or_equal_than_", True), ("is_torch_less_than_", False)):
        if name.startswith(prefix):
            return _torch_is_at_least(name[len(prefix) :].replace("_", ".")) is wanted
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
