"""Rotary classes that build what they need at the first forward.

Without scaling the tables are built again, but from the `inv_freq` that the constructor made. "yarn" computes
everything again, frequencies too. "su" (LongRoPE's first name) has no frequencies until it knows how long the
input is. `ListsForCausalLM` calls its own kind of lists "yarn", which means something else everywhere else.
"""

import math
from typing import ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_lazy import LazyConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


class LazyRotaryEmbedding(nn.Module):
    def __init__(self, dim, config):
        super().__init__()
        self.dim = dim
        self.base = config.rope_theta
        self.config = config
        self.register_buffer("inv_freq", self.frequencies(torch.device("cpu")), persistent=False)
        self._set_cos_sin_cache(config.max_position_embeddings, self.inv_freq.device)
        # What was built here may have been built on another device: it is built again when it is needed.
        self.max_seq_len_cached = None

    def frequencies(self, device):
        return 1.0 / (self.base ** (torch.arange(0, self.dim, 2).float().to(device) / self.dim))

    def _set_cos_sin_cache(self, seq_len, device, gain=1.0):
        self.max_seq_len_cached = seq_len
        angles = torch.outer(torch.arange(seq_len, device=device).float(), self.inv_freq.to(device))
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos_cached", angles.cos() * gain, persistent=False)
        self.register_buffer("sin_cached", angles.sin() * gain, persistent=False)

    def forward(self, x, position_ids):
        length = int(position_ids.max()) + 1
        if self.max_seq_len_cached is None or length > self.max_seq_len_cached:
            self._set_cos_sin_cache(length, x.device)
        return self.cos_cached[position_ids].to(x.dtype), self.sin_cached[position_ids].to(x.dtype)


class LazyYarnRotaryEmbedding(LazyRotaryEmbedding):
    def _set_cos_sin_cache(self, seq_len, device):
        scaling = self.config.rope_scaling
        factor, original = scaling["factor"], scaling["original_max_position_embeddings"]

        def place(rotations):
            return self.dim * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(self.base))

        low = max(math.floor(place(scaling["beta_fast"])), 0)
        high = min(math.ceil(place(scaling["beta_slow"])), self.dim - 1)
        ramp = (torch.arange(self.dim // 2, device=device).float() - low) / max(high - low, 0.001)
        kept = 1 - ramp.clamp(0, 1)
        plain = self.frequencies(device)
        self.register_buffer("inv_freq", plain / factor * (1 - kept) + plain * kept, persistent=False)
        super()._set_cos_sin_cache(seq_len, device, gain=0.1 * math.log(factor) + 1)


class LazySuRotaryEmbedding(nn.Module):
    def __init__(self, dim, config):
        super().__init__()
        self.dim = dim
        self.base = config.rope_theta
        self.short_factor = config.rope_scaling["short_factor"]
        self.long_factor = config.rope_scaling["long_factor"]
        self.original = config.original_max_position_embeddings
        self.gain = math.sqrt(
            1 + math.log(config.max_position_embeddings / self.original) / math.log(self.original)
        )
        self.register_buffer("inv_freq", None, persistent=False)

    @torch.no_grad()
    def forward(self, x, position_ids):
        factors = self.long_factor if position_ids.max() >= self.original else self.short_factor
        factors = torch.tensor(factors, dtype=torch.float32, device=x.device)
        powers = torch.arange(0, self.dim, 2, dtype=torch.int64, device=x.device).float() / self.dim
        self.inv_freq = 1.0 / (factors * self.base**powers)
        angles = position_ids[:, :, None].float() * self.inv_freq
        angles = torch.cat((angles, angles), dim=-1)
        return (angles.cos() * self.gain).to(x.dtype), (angles.sin() * self.gain).to(x.dtype)


def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


class LazyAttention(nn.Module):
    kinds: ClassVar[dict[str, type]] = {"yarn": LazyYarnRotaryEmbedding, "su": LazySuRotaryEmbedding}

    def __init__(self, config):
        super().__init__()
        self.heads = Heads(config.hidden_size, config.num_attention_heads)
        self._init_rope(config)

    def _init_rope(self, config):
        if config.rope_scaling is None:
            self.rotary_emb = LazyRotaryEmbedding(self.heads.head_dim, config)
            return
        kind = config.rope_scaling["type"]
        if kind not in self.kinds:
            raise ValueError(f"Unknown RoPE scaling type {kind}")
        self.rotary_emb = self.kinds[kind](self.heads.head_dim, config)

    def forward(self, hidden, position_ids):
        q, k, v = self.heads.split(hidden)
        cos, sin = (table[:, None] for table in self.rotary_emb(v, position_ids))
        q, k = (x * cos + rotate_half(x) * sin for x in (q, k))
        return self.heads.join(causal_attention(q, k, v))


class ListsAttention(LazyAttention):
    kinds: ClassVar[dict[str, type]] = {"yarn": LazySuRotaryEmbedding}


class LazyPreTrainedModel(PreTrainedModel):
    config_class = LazyConfig
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class LazyForCausalLM(LanguageModel, LazyPreTrainedModel):
    attention_class = LazyAttention

    def __init__(self, config):
        super().__init__(config)
        attentions = [self.attention_class(config) for _ in range(config.num_hidden_layers)]
        self.model = Decoder(config, attentions)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class ListsForCausalLM(LazyForCausalLM):
    attention_class = ListsAttention
