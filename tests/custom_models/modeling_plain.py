"""A rotary class with `inv_freq` and nothing else, asked for positions: the style of 4.39 to 4.47."""

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_plain import PlainConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


class PlainRotaryEmbedding(nn.Module):
    def __init__(self, dim, max_position_embeddings=2048, base=10000, device=None):
        super().__init__()
        self.dim = dim
        self.max_position_embeddings = max_position_embeddings
        self.base = base
        exponents = torch.arange(0, dim, 2, dtype=torch.int64).float().to(device) / dim
        self.register_buffer("inv_freq", 1.0 / (base**exponents), persistent=False)

    @torch.no_grad()
    def forward(self, x, position_ids):
        angles = position_ids[:, :, None].float() * self.inv_freq.float()
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def apply_rotary_pos_emb(q, k, cos, sin, position_ids=None, unsqueeze_dim=1):
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


class PlainAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = Heads(config.hidden_size, config.num_attention_heads)
        self.rotary_emb = PlainRotaryEmbedding(
            self.heads.head_dim, config.max_position_embeddings, base=config.rope_theta
        )

    def forward(self, hidden, position_ids):
        q, k, v = self.heads.split(hidden)
        cos, sin = self.rotary_emb(v, position_ids)
        q, k = apply_rotary_pos_emb(q, k, cos, sin, position_ids)
        return self.heads.join(causal_attention(q, k, v))


class PlainPreTrainedModel(PreTrainedModel):
    config_class = PlainConfig
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class PlainForCausalLM(LanguageModel, PlainPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = Decoder(config, [PlainAttention(config) for _ in range(config.num_hidden_layers)])
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
