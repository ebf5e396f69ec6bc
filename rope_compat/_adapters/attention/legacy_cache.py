"""Keys and values of one layer as a pair, as attention took and returned them up to 4.35."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...errors import CallFormError

__all__ = ["pair_of", "put_pair"]


def pair_of(cache: Any, layer: int) -> tuple[Tensor, Tensor] | None:
    """Keys and values ``[b, heads, past, d]`` of a layer; None where it has seen nothing."""
    if cache is None or isinstance(cache, tuple):
        return cache
    past = int(cache.get_seq_length(layer))
    if past == 0:
        return None
    layers = getattr(cache, "layers", None)
    if layers is not None:
        # From 4.54.0.
        keys, values = layers[layer].keys, layers[layer].values
    else:
        keys, values = cache.key_cache[layer], cache.value_cache[layer]
    # A static cache holds room for more.
    return keys[:, :, :past], values[:, :, :past]


def put_pair(cache: Any, layer: int, pair: Any, new: int, options: dict[str, Any]) -> None:
    """Put what is new in the pair that attention returned into the cache."""
    if isinstance(cache, tuple):
        return
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], Tensor):
        raise CallFormError(
            "the function in the place of attention's forward returned no pair of keys and values, which "
            "would be lost for the next token"
        )
    keys, values = pair
    cache.update(keys[:, :, -new:], values[:, :, -new:], layer, options)
