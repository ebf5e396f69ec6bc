"""``transformers.modeling_attn_mask_utils``, gone in 5.24.0: masks that are added to attention scores.

Written anew, to the numbers of 4.57.6: 0 where a query may look, the dtype's lowest value where it may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "AttentionMaskConverter",
    "_create_4d_causal_attention_mask",
    "_prepare_4d_attention_mask",
    "_prepare_4d_attention_mask_for_sdpa",
    "_prepare_4d_causal_attention_mask",
    "_prepare_4d_causal_attention_mask_for_sdpa",
    "_prepare_4d_causal_attention_mask_with_cache_position",
]


def _is_tracing(tensor: Any) -> bool:
    """Whether the values of a tensor must not be asked."""
    jit: Any = torch.jit
    return bool(torch.compiler.is_compiling() or jit.is_tracing() or isinstance(tensor, torch.fx.Proxy))


def _hide(mask: Tensor, hidden: Tensor) -> Tensor:
    return mask.masked_fill(hidden.bool(), torch.finfo(mask.dtype).min)


def _causal(
    batch: int, queries: int, keys: int, dtype: torch.dtype, device: Any = None, window: int | None = None
) -> Tensor:
    """``[batch, 1, queries, keys]``: queries are the last of the keys, and see none after themselves."""
    query = torch.arange(keys - queries, keys, device=device)[:, None]
    key = torch.arange(keys, device=device)[None, :]
    hidden = key > query
    if window is not None:
        # A query sees the key `window` places before it as well: 4.57.6's diagonal.
        hidden = hidden | (key < query - window)
    mask = _hide(torch.zeros(queries, keys, dtype=dtype, device=device), hidden)
    return mask[None, None].expand(batch, 1, queries, keys)


@dataclass
class AttentionMaskConverter:
    """Makes 4-D masks of 2-D ones, causal or not, with a sliding window or without."""

    is_causal: bool
    sliding_window: int | None = None

    def __post_init__(self) -> None:
        if self.sliding_window is not None and self.sliding_window <= 0:
            raise ValueError(f"sliding_window has to be positive, not {self.sliding_window}")

    def to_causal_4d(
        self,
        batch_size: int,
        query_length: int,
        key_value_length: int,
        dtype: torch.dtype,
        device: Any = "cpu",
    ) -> Tensor | None:
        """A causal mask; None where one query sees everything."""
        if not self.is_causal:
            raise ValueError("to_causal_4d is for converters with is_causal=True")
        if query_length <= 1 and self.sliding_window is None:
            return None
        return _causal(batch_size, query_length, key_value_length, dtype, device, self.sliding_window)

    def to_4d(
        self,
        attention_mask_2d: Tensor,
        query_length: int,
        dtype: torch.dtype,
        key_value_length: int | None = None,
    ) -> Tensor:
        """The 2-D mask for each query, together with the causal one if there is one."""
        expanded = self._expand_mask(attention_mask_2d, dtype, tgt_len=query_length)
        if self.is_causal and (query_length > 1 or self.sliding_window is not None):
            if key_value_length is None:
                raise ValueError("a causal mask needs key_value_length")
            batch, device = attention_mask_2d.shape[0], attention_mask_2d.device
            causal = _causal(batch, query_length, key_value_length, dtype, device, self.sliding_window)
            return _hide(causal, expanded)
        if self.sliding_window is not None:
            raise NotImplementedError("a sliding window needs a causal mask")
        return expanded

    @staticmethod
    def _make_causal_mask(
        input_ids_shape: Sequence[int],
        dtype: torch.dtype,
        device: Any,
        past_key_values_length: int = 0,
        sliding_window: int | None = None,
    ) -> Tensor:
        batch, queries = input_ids_shape
        return _causal(batch, queries, queries + past_key_values_length, dtype, device, sliding_window)

    @staticmethod
    def _expand_mask(mask: Tensor, dtype: torch.dtype, tgt_len: int | None = None) -> Tensor:
        batch, keys = mask.shape
        queries = keys if tgt_len is None else tgt_len
        inverted = 1.0 - mask[:, None, None, :].expand(batch, 1, queries, keys).to(dtype)
        return _hide(inverted, inverted)

    @staticmethod
    def _unmask_unattended(expanded_mask: Tensor, min_dtype: float) -> Tensor:
        """Open the rows in which everything is hidden."""
        if expanded_mask.dtype == torch.bool:
            raise ValueError("_unmask_unattended needs a floating mask, not a boolean one")
        return expanded_mask.mul(~(expanded_mask == min_dtype).all(dim=-1, keepdim=True))

    @staticmethod
    def _ignore_causal_mask_sdpa(
        attention_mask: Tensor | None,
        inputs_embeds: Tensor,
        past_key_values_length: int,
        sliding_window: int | None = None,
        is_training: bool = False,
    ) -> bool:
        """Whether torch's own ``is_causal`` says all that the mask would."""
        queries = inputs_embeds.shape[1]
        keys = queries + past_key_values_length
        if sliding_window is not None and keys >= sliding_window:
            return False
        # torch aligns a mask of its own with the first key, so it fits where there is no past, or one query.
        fits = queries == 1 or keys == queries
        tracing = _is_tracing(inputs_embeds)
        if attention_mask is None:
            return (is_training or not tracing) and fits
        return not (attention_mask.dim() == 4 or tracing) and bool((attention_mask == 1).all()) and fits


def _prepare_4d_causal_attention_mask(
    attention_mask: Tensor | None,
    input_shape: Sequence[int],
    inputs_embeds: Tensor,
    past_key_values_length: int,
    sliding_window: int | None = None,
) -> Tensor | None:
    """A causal mask, with the padding that a 2-D mask says; a 4-D mask of ones and zeros is turned round."""
    converter = AttentionMaskConverter(is_causal=True, sliding_window=sliding_window)
    batch, queries, dtype = input_shape[0], input_shape[-1], inputs_embeds.dtype
    keys = queries + past_key_values_length
    if attention_mask is not None and attention_mask.dim() == 2:
        return converter.to_4d(attention_mask, queries, key_value_length=keys, dtype=dtype)
    if attention_mask is not None and attention_mask.dim() == 4:
        expected = (batch, 1, input_shape[1], keys)
        if tuple(attention_mask.shape) != expected:
            raise ValueError(f"a 4-D mask has to be {expected}, not {tuple(attention_mask.shape)}")
        inverted = 1.0 - attention_mask
        return inverted.masked_fill(inverted.bool(), torch.finfo(dtype).min)
    return converter.to_causal_4d(batch, queries, keys, dtype=dtype, device=inputs_embeds.device)


def _prepare_4d_causal_attention_mask_for_sdpa(
    attention_mask: Tensor | None,
    input_shape: Sequence[int],
    inputs_embeds: Tensor,
    past_key_values_length: int,
    sliding_window: int | None = None,
) -> Tensor | None:
    """The same for `torch.nn.functional.scaled_dot_product_attention`; None where ``is_causal`` is enough."""
    shape = (inputs_embeds, past_key_values_length, sliding_window)
    if AttentionMaskConverter._ignore_causal_mask_sdpa(attention_mask, *shape):
        return None
    if attention_mask is None:
        return _prepare_4d_causal_attention_mask(None, input_shape, *shape)
    # A 4-D mask is taken as it is, and has been turned round by who made it.
    mask = attention_mask
    if mask.dim() != 4:
        converter = AttentionMaskConverter(is_causal=True, sliding_window=sliding_window)
        keys = input_shape[-1] + past_key_values_length
        mask = converter.to_4d(mask, input_shape[-1], dtype=inputs_embeds.dtype, key_value_length=keys)
    # Rows that see nothing are opened: the memory-efficient kernel of these devices returns NaN for them.
    if not _is_tracing(inputs_embeds) and mask.device.type in ("cuda", "xpu"):
        mask = AttentionMaskConverter._unmask_unattended(mask, torch.finfo(inputs_embeds.dtype).min)
    return mask


def _prepare_4d_attention_mask(mask: Tensor, dtype: torch.dtype, tgt_len: int | None = None) -> Tensor:
    """A mask that is not causal."""
    return AttentionMaskConverter._expand_mask(mask=mask, dtype=dtype, tgt_len=tgt_len)


def _prepare_4d_attention_mask_for_sdpa(
    mask: Tensor, dtype: torch.dtype, tgt_len: int | None = None
) -> Tensor | None:
    """A mask that is not causal; None where it hides nothing."""
    if not _is_tracing(mask) and bool((mask == 1).all()):
        return None
    return _prepare_4d_attention_mask(mask, dtype, tgt_len)


def _create_4d_causal_attention_mask(
    input_shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
    past_key_values_length: int = 0,
    sliding_window: int | None = None,
) -> Tensor | None:
    """A causal mask without padding."""
    queries = input_shape[-1]
    converter = AttentionMaskConverter(is_causal=True, sliding_window=sliding_window)
    return converter.to_causal_4d(input_shape[0], queries, past_key_values_length + queries, dtype, device)


def _prepare_4d_causal_attention_mask_with_cache_position(
    attention_mask: Tensor | None,
    sequence_length: int,
    target_length: int,
    dtype: torch.dtype,
    device: torch.device,
    min_dtype: float,
    cache_position: Tensor,
    batch_size: int,
) -> Tensor:
    """A causal mask over a cache of fixed length; a 4-D mask stays as it is. Of model modules, to 4.45.2."""
    if attention_mask is not None and attention_mask.dim() == 4:
        return attention_mask
    key = torch.arange(target_length, device=device)
    hidden = (key[None, :] > cache_position.reshape(-1, 1))[None, None].expand(batch_size, 1, -1, -1)
    if attention_mask is not None:
        known = attention_mask.shape[-1]
        padding = torch.zeros(batch_size, target_length, dtype=torch.bool, device=device)
        padding[:, :known] = attention_mask == 0
        hidden = hidden | padding[:, None, None, :]
    mask = torch.zeros(batch_size, 1, sequence_length, target_length, dtype=dtype, device=device)
    return mask.masked_fill(hidden, min_dtype)
