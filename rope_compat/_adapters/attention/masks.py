"""The attention mask that a function expects, from the one that the installed release's model has made.

Up to 4.47.1 attention was given a floating mask ``[b, 1, q, kv]`` to add to the scores, and flash-attention a
padding mask ``[b, kv]``. From 4.48.0 on the config decides: None where causality is all that there is to say,
and booleans from 4.53.0 on (True: may look), a padding mask for flash-attention only.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from ...errors import CallFormError
from ..functions.base import is_compiling

__all__ = ["MaskMaker", "Span", "get_usable_length", "rows_of", "span_of"]


@dataclass(frozen=True, slots=True)
class Span:
    """Which keys the queries of a call meet: `length` of them, the first at position `offset`.

    ``past``: the position of the first query.
    """

    batch: int
    queries: int
    past: int
    length: int
    offset: int


def span_of(hidden: Tensor, cache: Any, layer: int) -> Span:
    """The span of a call whose new keys will join those of a cache, or of a pair of keys and values."""
    batch, queries = hidden.shape[0], hidden.shape[1]
    if not hasattr(cache, "get_seq_length"):
        past = int(cache[0].shape[-2]) if isinstance(cache, tuple) else 0
        return Span(batch, queries, past, past + queries, 0)
    past = int(cache.get_seq_length(layer))
    # 4.53 counts the keys of the first layer, which has those of this pass already.
    if hasattr(cache, "get_mask_sizes") and hasattr(cache, "layers"):
        # A dynamic cache of 4.54 makes a layer when its first keys come, and to 4.55 cannot be asked before.
        if layer >= len(cache.layers):
            return Span(batch, queries, past, past + queries, 0)
        asked: Any = queries
        if _asks_for_positions(type(cache).get_mask_sizes):
            asked = torch.arange(past, past + queries, device=hidden.device)
        length, offset = cache.get_mask_sizes(asked, layer)
        return Span(batch, queries, past, int(length), int(offset))
    # Up to 4.53: the keys of a static cache are always all of them.
    most = cache.get_max_cache_shape() if hasattr(cache, "get_max_cache_shape") else None
    return Span(batch, queries, past, past + queries if most is None else int(most), 0)


@functools.cache
def _asks_for_positions(get_mask_sizes: Callable[..., Any]) -> bool:
    """To 5.x: by cache positions; later by the number of queries."""
    return "cache_position" in inspect.signature(get_mask_sizes).parameters


def get_usable_length(self: Any, new_seq_length: int, layer_idx: int | None = 0) -> int:
    """How many of the keys in the cache stay when `new_seq_length` are added: a method of caches to 4.53."""
    layer = layer_idx or 0
    previous = int(self.get_seq_length(layer))
    # A dynamic cache makes a layer when its first keys come, and cannot be asked before (to 4.55).
    layers = getattr(self, "layers", None)
    if layers is not None and layer >= len(layers):
        return previous
    # get_max_cache_shape to 5.19, get_max_length from 5.18.0; -1 where there is no limit.
    ask = getattr(self, "get_max_length", None) or self.get_max_cache_shape
    most = ask(layer)
    is_full = most is not None and 0 < most < previous + new_seq_length
    return int(most) - new_seq_length if is_full else previous


class MaskMaker:
    """Makes masks, and keeps the last one while the tensors that it was made for are alive.

    All layers of a model are handed the same mask, or None, in one pass.
    """

    def __init__(self) -> None:
        self._last: tuple[Any, Any, Any, Any] | None = None

    def added(self, mask: Any, hidden: Tensor, span: Span, *, causal: bool, anchor: Any = None) -> Tensor:
        """The floating mask ``[b, 1, q, kv]``."""
        key = ("added", span, hidden.dtype, hidden.device, causal)
        return self._kept(key, mask, anchor, lambda: _added(mask, hidden, span, causal))  # type: ignore[no-any-return]

    def padding(self, mask: Any, hidden: Tensor, span: Span, *, optional: bool, anchor: Any = None) -> Any:
        """The padding mask ``[b, kv]`` of booleans, None where nothing is padded and `optional`."""
        if mask is None or mask.ndim == 2:
            if mask is None and not optional:
                return torch.ones(span.batch, span.length, dtype=torch.bool, device=hidden.device)
            return mask
        made = self._kept(("padding", span), mask, anchor, lambda: _padding(mask, span))
        return None if optional and bool(made.all()) else made

    def _kept(self, key: Any, mask: Any, anchor: Any, make: Callable[[], Any]) -> Any:
        if anchor is None or is_compiling():
            return make()
        last = self._last
        if last is not None and last[0] == key and last[1]() is anchor and last[2] is mask:
            return last[3]
        made = make()
        # The mask lives as long as the anchor, cos or the like: a pass, and not a session.
        self._last = (key, ref(anchor, self._forget), mask, made)
        return made

    def _forget(self, gone: Any) -> None:
        if self._last is not None and self._last[1] is gone:
            self._last = None


def _added(mask: Any, hidden: Tensor, span: Span, causal: bool) -> Tensor:
    lowest = torch.finfo(hidden.dtype).min
    if mask is not None and not isinstance(mask, Tensor):
        raise CallFormError(
            f"attention is handed a {type(mask).__name__}, and the function in its place adds a floating "
            'mask to the scores: load the model with attn_implementation="eager"'
        )
    if mask is None or mask.ndim == 2:
        visible = _visible(hidden, span, causal)
        if mask is not None:
            visible = visible & _fitted(mask, span)[:, None, None, :]
        mask = visible
    if mask.ndim != 4:
        raise CallFormError(f"attention_mask has {mask.ndim} axes where 2 or 4 are known")
    # 4.48 to 4.52 hand one key more than there is where no padding mask is given.
    fitted: Tensor = rows_of(mask, span)[..., : span.length].expand(span.batch, -1, -1, -1)
    if fitted.dtype is not torch.bool:
        return fitted
    zeros = torch.zeros((), dtype=hidden.dtype, device=hidden.device)
    return torch.where(fitted, zeros, lowest)


def _visible(hidden: Tensor, span: Span, causal: bool) -> Tensor:
    """``[1, 1, q, kv]``: True where a query may look."""
    keys = torch.arange(span.offset, span.offset + span.length, device=hidden.device)
    queries = torch.arange(span.past, span.past + span.queries, device=hidden.device)
    if not causal:
        return torch.ones(1, 1, span.queries, span.length, dtype=torch.bool, device=hidden.device)
    return (keys[None, :] <= queries[:, None])[None, None]


def rows_of(mask: Tensor, span: Span) -> Tensor:
    """The rows of the queries: 4.38 hands those of all positions, and its attention picks its own."""
    return mask[:, :, span.past : span.past + span.queries] if mask.shape[2] > span.queries else mask


def _fitted(mask: Tensor, span: Span) -> Tensor:
    """A padding mask of the keys of a span: what it does not say is not padded."""
    mask = mask[:, span.offset : span.offset + span.length].bool()
    missing = span.length - mask.shape[1]
    return torch.nn.functional.pad(mask, (0, missing), value=True) if missing > 0 else mask


def _padding(mask: Any, span: Span) -> Tensor:
    """What the last query sees, where that and causality are all that the mask says."""
    if not isinstance(mask, Tensor) or mask.ndim != 4:
        raise CallFormError(f"no padding mask can be read off {type(mask).__name__}")
    mask = rows_of(mask, span)[..., : span.length]
    visible = mask if mask.dtype is torch.bool else mask > torch.finfo(mask.dtype).min / 2
    padding: Tensor = visible[:, 0, -1].expand(span.batch, -1)
    expected = _visible(mask, span, True) & padding[:, None, None, :]
    # Queries of padding see nothing, or everything, depending on the release: nobody reads what they give.
    counts = expected.any(-1, keepdim=True)
    if not torch.equal(visible.expand_as(expected) & counts, expected):
        raise CallFormError(
            "the model hides more than padding and the future (packed sequences, a sliding window, or a mask "
            "of the caller's own), which the padding mask that flash-attention takes cannot say"
        )
    return padding
