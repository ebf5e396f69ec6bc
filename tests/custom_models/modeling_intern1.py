"""After InternLM's first code: a dictionary `rotary` in the config, tables in float32 whatever the dtype is.

Keys are kept as they are projected, and all of them are turned at each step, so that frequencies can grow
with the text. A step of one token therefore gives `apply_rotary_pos_emb` one query and many keys.
"""

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_intern1 import Intern1Config
from .layers import Decoder, LanguageModel, causal_attention


class Intern1RotaryEmbedding(nn.Module):
    def __init__(self, dim, max_position_embeddings=2048, base=10000, device=None):
        super().__init__()
        self.dim = dim
        self.base = base
        self.max_position_embeddings = max_position_embeddings
        inv_freq = 1.0 / (base ** (torch.arange(0, dim, 2).float().to(device) / dim))
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self._fill(max_position_embeddings, self.inv_freq)

    def _fill(self, length, inv_freq):
        self.max_seq_len_cached = length
        steps = torch.arange(length, device=inv_freq.device, dtype=inv_freq.dtype)
        angles = torch.einsum("i,j->ij", steps, inv_freq)
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos_cached", angles.cos(), persistent=False)
        self.register_buffer("sin_cached", angles.sin(), persistent=False)

    def forward(self, x, seq_len=None):
        if seq_len > self.max_seq_len_cached:
            self._fill(seq_len, self.inv_freq)
        return self.cos_cached[:seq_len, ...].to(dtype=x.dtype), self.sin_cached[:seq_len, ...].to(
            dtype=x.dtype
        )


class Intern1DynamicNTKScalingRotaryEmbedding(Intern1RotaryEmbedding):
    """Frequencies of a longer text are never kept: a short one after it has the first again."""

    def __init__(self, dim, max_position_embeddings=2048, base=10000, device=None, scaling_factor=1.0):
        super().__init__(dim, max_position_embeddings, base, device)
        self.scaling_factor = scaling_factor

    def forward(self, x, seq_len=None):
        limit = self.max_position_embeddings
        if seq_len > limit:
            stretch = self.scaling_factor * seq_len / limit - (self.scaling_factor - 1)
            base = self.base * stretch ** (self.dim / (self.dim - 2))
            self._fill(
                seq_len, 1.0 / (base ** (torch.arange(0, self.dim, 2).float().to(x.device) / self.dim))
            )
        elif self.max_seq_len_cached > limit:
            self._fill(limit, self.inv_freq)
        return super().forward(x, seq_len)


def rotate_half(x):
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


def apply_rotary_pos_emb(q, k, cos, sin, position_ids):
    own = position_ids
    if position_ids.size(1) == 1:
        # One query, and every key up to it.
        own = torch.stack([torch.arange(int(last) + 1) for last in position_ids.flatten()])
    q = q * cos[position_ids].unsqueeze(1) + rotate_half(q) * sin[position_ids].unsqueeze(1)
    k = k * cos[own].unsqueeze(1) + rotate_half(k) * sin[own].unsqueeze(1)
    return q, k


class Intern1Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.head_dim = width // self.num_heads
        self.q_proj = nn.Linear(width, width, bias=config.bias)
        self.k_proj = nn.Linear(width, width, bias=config.bias)
        self.v_proj = nn.Linear(width, width, bias=config.bias)
        self.o_proj = nn.Linear(width, width, bias=config.bias)
        self.rotary_emb = self._init_rope(config)

    def _init_rope(self, config):
        sizes = {"max_position_embeddings": config.max_position_embeddings, "base": config.rotary["base"]}
        if config.rotary["type"] == "origin":
            return Intern1RotaryEmbedding(self.head_dim, **sizes)
        if config.rotary["type"] == "dynamic":
            factor = config.rotary.get("scaling_factor", 1.0)
            return Intern1DynamicNTKScalingRotaryEmbedding(self.head_dim, scaling_factor=factor, **sizes)
        raise ValueError(
            "Currently we only support rotary embedding's type being one of ('origin', 'dynamic')."
        )

    def forward(self, hidden, position_ids, past=None):
        shape = (*hidden.shape[:2], self.num_heads, self.head_dim)
        q, k, v = (p(hidden).view(shape).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        if past is not None:
            k = torch.cat((past["k"], k), dim=2) if past else k
            v = torch.cat((past["v"], v), dim=2) if past else v
            past.update(k=k, v=v)
        cos, sin = self.rotary_emb(v, seq_len=k.shape[-2])
        q, k = apply_rotary_pos_emb(q, k, cos, sin, position_ids)
        mixed = (
            causal_attention(q, k, v)
            if q.shape[-2] > 1
            else nn.functional.scaled_dot_product_attention(q, k, v)
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class Intern1Decoder(Decoder):
    past = None

    def context(self, hidden, position_ids):
        return (position_ids,)

    def forward(self, input_ids, position_ids):
        if self.past is None:
            return super().forward(input_ids, position_ids)
        hidden = self.embed_tokens(input_ids)
        for block, past in zip(self.blocks, self.past, strict=True):
            hidden = block(hidden, position_ids, past)
        return self.norm(hidden)


class Intern1PreTrainedModel(PreTrainedModel):
    config_class = Intern1Config
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)


class Intern1ForCausalLM(LanguageModel, Intern1PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        attentions = [Intern1Attention(config) for _ in range(config.num_hidden_layers)]
        self.model = Intern1Decoder(config, attentions)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
