"""A class for each kind of scaling; the attention looks at `config.rope_scaling["type"]`: 4.31 to 4.42."""

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_scaled import CheckedConfig, ScaledConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


class ScaledRotaryEmbedding(nn.Module):
    def __init__(self, dim, max_position_embeddings=2048, base=10000, device=None):
        super().__init__()
        self.dim = dim
        self.max_position_embeddings = max_position_embeddings
        self.base = base
        self._keep_frequencies(base, device)
        self._set_cos_sin_cache(max_position_embeddings, self.inv_freq.device, torch.get_default_dtype())

    def _keep_frequencies(self, base, device):
        inv_freq = 1.0 / (base ** (torch.arange(0, self.dim, 2).float().to(device) / self.dim))
        self.register_buffer("inv_freq", inv_freq, persistent=False)

    def _positions(self, seq_len, device):
        self.max_seq_len_cached = seq_len
        return torch.arange(seq_len, device=device, dtype=self.inv_freq.dtype)

    def _set_cos_sin_cache(self, seq_len, device, dtype):
        angles = torch.outer(self._positions(seq_len, device), self.inv_freq)
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos_cached", angles.cos().to(dtype), persistent=False)
        self.register_buffer("sin_cached", angles.sin().to(dtype), persistent=False)

    def forward(self, x, seq_len=None):
        if seq_len > self.max_seq_len_cached:
            self._set_cos_sin_cache(seq_len=seq_len, device=x.device, dtype=x.dtype)
        return self.cos_cached[:seq_len].to(dtype=x.dtype), self.sin_cached[:seq_len].to(dtype=x.dtype)


class ScaledLinearRotaryEmbedding(ScaledRotaryEmbedding):
    def __init__(self, dim, scaling_factor=1.0, **kwargs):
        self.scaling_factor = scaling_factor
        super().__init__(dim, **kwargs)

    def _positions(self, seq_len, device):
        return super()._positions(seq_len, device) / self.scaling_factor


class ScaledDynamicNTKRotaryEmbedding(ScaledRotaryEmbedding):
    def __init__(self, dim, scaling_factor=1.0, **kwargs):
        self.scaling_factor = scaling_factor
        super().__init__(dim, **kwargs)

    def _set_cos_sin_cache(self, seq_len, device, dtype):
        if seq_len > self.max_position_embeddings:
            stretch = self.scaling_factor * seq_len / self.max_position_embeddings - (self.scaling_factor - 1)
            self._keep_frequencies(self.base * stretch ** (self.dim / (self.dim - 2)), device)
        super()._set_cos_sin_cache(seq_len, device, dtype)


def rotate_half(x):
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


def apply_rotary_pos_emb(q, k, cos, sin, position_ids, unsqueeze_dim=1):
    cos, sin = (table[position_ids].unsqueeze(unsqueeze_dim) for table in (cos, sin))
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


class ScaledAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.heads = Heads(config.hidden_size, config.num_attention_heads)
        self.max_position_embeddings = config.max_position_embeddings
        self.rope_theta = config.rope_theta
        self._init_rope()

    def _init_rope(self):
        sizes = {"max_position_embeddings": self.max_position_embeddings, "base": self.rope_theta}
        if self.config.rope_scaling is None:
            self.rotary_emb = ScaledRotaryEmbedding(self.heads.head_dim, **sizes)
            return
        scaling_type = self.config.rope_scaling["type"]
        factor = self.config.rope_scaling["factor"]
        if scaling_type == "linear":
            made = ScaledLinearRotaryEmbedding(self.heads.head_dim, scaling_factor=factor, **sizes)
        elif scaling_type == "dynamic":
            made = ScaledDynamicNTKRotaryEmbedding(self.heads.head_dim, scaling_factor=factor, **sizes)
        else:
            raise ValueError(f"Unknown RoPE scaling type {scaling_type}")
        self.rotary_emb = made

    def forward(self, hidden, position_ids):
        q, k, v = self.heads.split(hidden)
        cos, sin = self.rotary_emb(v, seq_len=k.shape[-2])
        q, k = apply_rotary_pos_emb(q, k, cos, sin, position_ids)
        return self.heads.join(causal_attention(q, k, v))


class ScaledPreTrainedModel(PreTrainedModel):
    config_class = ScaledConfig
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class ScaledForCausalLM(LanguageModel, ScaledPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = Decoder(config, [ScaledAttention(config) for _ in range(config.num_hidden_layers)])
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class CheckedForCausalLM(ScaledForCausalLM):
    config_class = CheckedConfig
