"""Pruning of attention heads, which 5.0.0 dropped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

__all__ = ["find_pruneable_heads_and_indices", "prune_conv1d_layer", "prune_layer"]


def find_pruneable_heads_and_indices(
    heads: Iterable[int], n_heads: int, head_size: int, already_pruned_heads: set[int]
) -> tuple[set[int], torch.Tensor]:
    """The heads that are not pruned yet, and the indices of the weights that stay when they are."""
    to_prune = set(heads) - already_pruned_heads
    kept = torch.ones(n_heads, head_size, dtype=torch.bool)
    for head in to_prune:
        # The weights have lost the heads that were pruned before, so later ones have moved up.
        kept[head - sum(pruned < head for pruned in already_pruned_heads)] = False
    return to_prune, kept.flatten().nonzero().flatten()


def prune_conv1d_layer(layer: Any, index: torch.Tensor, dim: int = 1) -> Any:
    """A new `Conv1D` with the entries of `index` only."""
    from transformers.pytorch_utils import Conv1D

    index = index.to(layer.weight.device)
    weight = layer.weight.detach().index_select(dim, index)
    bias = layer.bias.detach() if dim == 0 else layer.bias.detach()[index]
    pruned = Conv1D(weight.shape[1], weight.shape[0]).to(layer.weight.device)
    pruned.weight = torch.nn.Parameter(weight.clone().contiguous())
    pruned.bias = torch.nn.Parameter(bias.clone().contiguous())
    return pruned


def prune_layer(layer: Any, index: torch.Tensor, dim: int | None = None) -> Any:
    """A new linear or `Conv1D` layer with the entries of `index` only."""
    from transformers.pytorch_utils import Conv1D, prune_linear_layer

    if isinstance(layer, torch.nn.Linear):
        return prune_linear_layer(layer, index, dim=0 if dim is None else dim)
    if isinstance(layer, Conv1D):
        return prune_conv1d_layer(layer, index, dim=1 if dim is None else dim)
    raise ValueError(f"a layer of class {type(layer)} cannot be pruned")
