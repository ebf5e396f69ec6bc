"""Tables for the whole model, kept as buffers; the config makes the scaling, after its base class."""

import math

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_late import LateConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


def precompute(dim, end, theta, scaling=None):
    frequencies = 1.0 / theta ** (torch.arange(0, dim, 2)[: dim // 2].float() / dim)
    if scaling is not None:
        factor, original = scaling.get("factor", 16), scaling.get("original_max_position_embeddings", 2048)
        place = dim * math.log(original / (2 * math.pi)) / (2 * math.log(theta))
        ramp = (torch.arange(dim // 2, device=frequencies.device).float() / max(math.ceil(place), 1)).clamp(
            0, 1
        )
        frequencies = frequencies * (1 - ramp + ramp / factor)
    angles = torch.outer(torch.arange(end, device=frequencies.device), frequencies).float()
    return angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)


def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
    def rotate_half(x):
        return torch.cat((-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]), dim=-1)

    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return (q * cos + rotate_half(q) * sin).to(q.dtype), (k * cos + rotate_half(k) * sin).to(k.dtype)


class LateAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = Heads(config.hidden_size, config.num_attention_heads)

    def forward(self, hidden, cos, sin):
        q, k, v = self.heads.split(hidden)
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        return self.heads.join(causal_attention(q, k, v))


class LateDecoder(Decoder):
    def __init__(self, config):
        super().__init__(config, [LateAttention(config) for _ in range(config.num_hidden_layers)])
        cos, sin = precompute(
            config.hidden_size // config.num_attention_heads,
            config.max_position_embeddings * 2,
            config.rope_theta,
            config.rope_scaling,
        )
        self.register_buffer("freqs_cos", cos, persistent=False)
        self.register_buffer("freqs_sin", sin, persistent=False)

    def context(self, hidden, position_ids):
        return self.freqs_cos[position_ids], self.freqs_sin[position_ids]


class LateForCausalLM(LanguageModel, PreTrainedModel):
    config_class = LateConfig
    base_model_prefix = "backbone"

    def __init__(self, config=None):
        self.config = config or LateConfig()
        super().__init__(self.config)
        self.model = LateDecoder(self.config)
        self.lm_head = nn.Linear(self.config.hidden_size, self.config.vocab_size, bias=False)
        self.post_init()
