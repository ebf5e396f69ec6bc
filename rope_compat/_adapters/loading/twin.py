"""A model constructed once more from its config, for the values that its constructor computes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .construction import real_values

__all__ = ["build_twin", "constructible"]


def constructible(model: nn.Module) -> list[tuple[str, Any]]:
    """(path, model) of the outermost transformers models in `model`, which wrappers (PEFT, DDP) may hold.

    These are what a config alone constructs: ``type(model)(model.config)``.
    """
    found: list[tuple[str, Any]] = []
    for path, module in model.named_modules():
        inside = any(path == outer or path.startswith(f"{outer}.") or not outer for outer, _ in found)
        if not inside and _is_pretrained_model(module):
            found.append((path, module))
    return found


def build_twin(model: Any) -> Any:
    """``type(model)(model.config)``: buffers with values, on the CPU, and parameters on meta.

    Under the default dtype of the model's parameters, as when it was loaded.

    Raises:
        Exception: whatever the constructor raises.
    """
    config = copy.deepcopy(model.config)
    with torch.no_grad(), _default_dtype(_dtype_of(model)), torch.device("meta"), real_values():
        return type(model)(config)


def _is_pretrained_model(module: nn.Module) -> bool:
    names = {cls.__name__ for cls in type(module).__mro__}
    return "PreTrainedModel" in names and hasattr(module, "config")


def _dtype_of(model: nn.Module) -> torch.dtype:
    for parameter in model.parameters():
        # Quantised weights are integers or 8-bit floats, under which nothing can be constructed.
        if parameter.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            return parameter.dtype
    return torch.get_default_dtype()


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
