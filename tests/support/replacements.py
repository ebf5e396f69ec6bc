"""Replacements of attention's ``forward``, in the styles of releases from 4.28 to 4.56."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, repeat_kv

__all__ = ["NEW", "OLD", "in_pairs", "of_4_36", "of_4_43", "of_4_47", "of_4_56", "with_flash", "with_sdpa"]


def _heads(self: Any, states: Tensor, number: int) -> Tensor:
    batch, length, _ = states.shape
    return states.view(batch, length, number, self.head_dim).transpose(1, 2)


def _projected(self: Any, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return (
        _heads(self, self.q_proj(hidden_states), self.num_heads),
        _heads(self, self.k_proj(hidden_states), self.num_key_value_heads),
        _heads(self, self.v_proj(hidden_states), self.num_key_value_heads),
    )


def _merged(self: Any, output: Tensor) -> Tensor:
    batch, _, length, _ = output.shape
    merged: Tensor = self.o_proj(output.transpose(1, 2).reshape(batch, length, self.hidden_size))
    return merged


def _scores(self: Any, query: Tensor, key: Tensor) -> Tensor:
    return query @ repeat_kv(key, self.num_key_value_groups).transpose(2, 3) / math.sqrt(self.head_dim)


def in_pairs(
    self: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    past_key_value: tuple[Tensor, Tensor] | None = None,
    output_attentions: bool = False,
    use_cache: bool = False,
    padding_mask: Tensor | None = None,
) -> Any:
    """To 4.35: a pair of keys and values in, and one out; tables by length; the mask's shape is checked."""
    query, key, value = _projected(self, hidden_states)
    length = key.shape[-2]
    if past_key_value is not None:
        length += past_key_value[0].shape[-2]
    cos, sin = self.rotary_emb(value, seq_len=length)
    query, key = apply_rotary_pos_emb(query, key, cos, sin, position_ids)
    if past_key_value is not None:
        key = torch.cat([past_key_value[0], key], dim=2)
        value = torch.cat([past_key_value[1], value], dim=2)
    past_key_value = (key, value) if use_cache else None
    weights = _scores(self, query, key)
    if attention_mask is not None:
        if attention_mask.size() != (query.shape[0], 1, query.shape[2], length):
            raise ValueError(f"the mask has the size {attention_mask.size()}")
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    output = _merged(self, weights @ repeat_kv(value, self.num_key_value_groups))
    return output, weights if output_attentions else None, past_key_value


def of_4_36(
    self: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    past_key_value: Any = None,
    output_attentions: bool = False,
    use_cache: bool = False,
    **kwargs: Any,
) -> Any:
    """A cache object, asked for its usable length; tables by length; the mask's shape is checked."""
    query, key, value = _projected(self, hidden_states)
    length = key.shape[-2]
    if past_key_value is not None:
        length += past_key_value.get_usable_length(length, self.layer_idx)
    cos, sin = self.rotary_emb(value, seq_len=length)
    query, key = apply_rotary_pos_emb(query, key, cos, sin, position_ids)
    if past_key_value is not None:
        options = {"sin": sin, "cos": cos}
        key, value = past_key_value.update(key, value, self.layer_idx, options)
    weights = _scores(self, query, key)
    if attention_mask is not None:
        if attention_mask.size() != (query.shape[0], 1, query.shape[2], length):
            raise ValueError(f"the mask has the size {attention_mask.size()}")
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    output = _merged(self, weights @ repeat_kv(value, self.num_key_value_groups))
    return output, weights if output_attentions else None, past_key_value


def of_4_43(
    self: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    past_key_value: Any = None,
    output_attentions: bool = False,
    use_cache: bool = False,
    cache_position: Tensor | None = None,
    **kwargs: Any,
) -> Any:
    """Rows by position_ids, and cache_position; the mask is cut to the keys."""
    query, key, value = _projected(self, hidden_states)
    cos, sin = self.rotary_emb(value, position_ids)
    query, key = apply_rotary_pos_emb(query, key, cos, sin)
    if past_key_value is not None:
        assert cache_position is not None
        options = {"sin": sin, "cos": cos, "cache_position": cache_position}
        key, value = past_key_value.update(key, value, self.layer_idx, options)
    weights = _scores(self, query, key)
    if attention_mask is not None:
        weights = weights + attention_mask[:, :, :, : key.shape[-2]]
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    output = _merged(self, weights @ repeat_kv(value, self.num_key_value_groups))
    return output, weights if output_attentions else None, past_key_value


def of_4_47(
    self: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    past_key_value: Any = None,
    output_attentions: bool = False,
    use_cache: bool = False,
    cache_position: Tensor | None = None,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    **kwargs: Any,
) -> Any:
    """position_embeddings if there are any, among the last."""
    query, key, value = _projected(self, hidden_states)
    if position_embeddings is None:
        cos, sin = self.rotary_emb(value, position_ids)
    else:
        cos, sin = position_embeddings
    query, key = apply_rotary_pos_emb(query, key, cos, sin)
    if past_key_value is not None:
        options = {"sin": sin, "cos": cos, "cache_position": cache_position}
        key, value = past_key_value.update(key, value, self.layer_idx, options)
    weights = _scores(self, query, key)
    if attention_mask is not None:
        weights = weights + attention_mask[:, :, :, : key.shape[-2]]
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    output = _merged(self, weights @ repeat_kv(value, self.num_key_value_groups))
    return output, weights if output_attentions else None, past_key_value


def with_sdpa(
    self: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    past_key_value: Any = None,
    output_attentions: bool = False,
    use_cache: bool = False,
) -> Any:
    """torch's kernel with the mask of eager attention, which is never None."""
    assert attention_mask is not None
    query, key, value = _projected(self, hidden_states)
    cos, sin = self.rotary_emb(value, position_ids)
    query, key = apply_rotary_pos_emb(query, key, cos, sin)
    if past_key_value is not None:
        key, value = past_key_value.update(key, value, self.layer_idx)
    key, value = repeat_kv(key, self.num_key_value_groups), repeat_kv(value, self.num_key_value_groups)
    mask = attention_mask[:, :, :, : key.shape[-2]].to(query.dtype)
    output = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return _merged(self, output), None, past_key_value


def flash_attn_func(query: Tensor, key: Tensor, value: Tensor, padding: Tensor | None) -> Tensor:
    """What the kernel computes with ``causal=True``, queries being the last of the keys; slowly."""
    queries, keys = query.shape[2], key.shape[2]
    visible = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)[None, None]
    if padding is not None:
        assert padding.shape == (key.shape[0], keys)
        visible = visible & padding[:, None, None, :].bool()
    return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=visible).nan_to_num()


def with_flash(
    self: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    past_key_value: tuple[Tensor, Tensor] | None = None,
    output_attentions: bool = False,
    use_cache: bool = False,
) -> Any:
    """To 4.35, with flash-attention: the mask is a padding mask, or None."""
    query, key, value = _projected(self, hidden_states)
    length = key.shape[-2]
    if past_key_value is not None:
        length += past_key_value[0].shape[-2]
    cos, sin = self.rotary_emb(value, seq_len=length)
    query, key = apply_rotary_pos_emb(query, key, cos, sin, position_ids)
    if past_key_value is not None:
        key = torch.cat([past_key_value[0], key], dim=2)
        value = torch.cat([past_key_value[1], value], dim=2)
    past_key_value = (key, value) if use_cache else None
    key, value = repeat_kv(key, self.num_key_value_groups), repeat_kv(value, self.num_key_value_groups)
    if attention_mask is None:
        output = flash_attn_func(query, key, value, None)
    else:
        output = flash_attn_func(query, key, value, attention_mask)
    return _merged(self, output), None, past_key_value


def of_4_56(
    self: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None,
    past_key_values: Any = None,
    cache_position: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """The contract of 4.48.0 and later, with the cache's name of 4.56.0."""
    shape = (*hidden_states.shape[:-1], -1, self.head_dim)
    query = self.q_proj(hidden_states).view(shape).transpose(1, 2)
    key = self.k_proj(hidden_states).view(shape).transpose(1, 2)
    value = self.v_proj(hidden_states).view(shape).transpose(1, 2)
    cos, sin = position_embeddings
    query, key = apply_rotary_pos_emb(query, key, cos, sin)
    if past_key_values is not None:
        options = {"sin": sin, "cos": cos, "cache_position": cache_position}
        key, value = past_key_values.update(key, value, self.layer_idx, options)
    weights = _scores(self, query, key)
    if attention_mask is not None:
        weights = weights + attention_mask[:, :, :, : key.shape[-2]]
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    output = weights @ repeat_kv(value, self.num_key_value_groups)
    return self.o_proj(output.transpose(1, 2).reshape(*hidden_states.shape[:-1], -1)), weights


def of_4_48(
    self: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None,
    past_key_value: Any = None,
    cache_position: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """The contract of 4.48.0 and later, with the cache's name to 4.55."""
    output, weights = of_4_56(
        self, hidden_states, position_embeddings, attention_mask, past_key_value, cache_position
    )
    return output, weights


#: Written for 4.48 or later.
NEW = {function.__name__: function for function in (of_4_48, of_4_56)}
#: Written for 4.47 or before.
OLD = {
    function.__name__: function for function in (in_pairs, of_4_36, of_4_43, of_4_47, with_sdpa, with_flash)
}
