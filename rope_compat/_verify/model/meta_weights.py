"""Run a model whose parameters have no values: where attention needs some, any will do, if they are not zero.

What rotations do to q and k does not depend on the weights, so `verify` of a directory reads none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["StandInWeights"]

#: Elements up to which a parameter is replaced by ones; larger ones are matrices, of which no copy is made.
_LARGEST = 2**24


class StandInWeights(TorchFunctionMode):
    """Tensors on meta count as weights: matrices give random features of their input, vectors are ones."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "__get__" or not _has_meta(args, kwargs):
            return func(*args, **kwargs)
        if func is functional.linear:
            return _linear(*args[:2])
        if func is functional.embedding:
            ids, weight = args[0], args[1] if len(args) > 1 else kwargs["weight"]
            return _features(weight.shape[-1]).to(weight.dtype).expand(*ids.shape, -1)
        return func(*map(_filled, args), **{name: _filled(value) for name, value in kwargs.items()})


def _has_meta(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(isinstance(value, Tensor) and value.is_meta for value in (*args, *kwargs.values()))


def _features(count: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(count))


def _linear(value: Tensor, weight: Tensor) -> Tensor:
    """Rows that are equal stay equal, and no feature is zero."""
    size = value.mean(dim=-1, keepdim=True, dtype=torch.float32) + 1
    return (size * _features(weight.shape[0])).to(value.dtype)


def _filled(value: Any) -> Any:
    if not (isinstance(value, Tensor) and value.is_meta):
        return value
    if value.numel() > _LARGEST:
        raise ValueError(
            f"a parameter of shape {tuple(value.shape)} is used in a way that weights are needed for"
        )
    return torch.ones(value.shape, dtype=value.dtype)
