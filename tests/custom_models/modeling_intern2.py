"""After InternLM2's code: q, k and v in one projection, each key head beside its queries, and tables.

`Intern25` is the later one: cosines by `position_ids`, and a position_ids that its function does not use.
"""

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_intern2 import Intern2Config, Intern25Config
from .layers import Decoder, LanguageModel, causal_attention


class Intern2RotaryEmbedding(nn.Module):
    def __init__(self, dim, max_position_embeddings=2048, base=10000, device=None):
        super().__init__()
        self.dim = dim
        self.max_position_embeddings = max_position_embeddings
        self.base = base
        inv_freq = 1.0 / (self.base ** (torch.arange(0, self.dim, 2).float().to(device) / self.dim))
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self._set_cos_sin_cache(
            seq_len=max_position_embeddings, device=self.inv_freq.device, dtype=torch.get_default_dtype()
        )

    def _steps(self, seq_len, device):
        self.max_seq_len_cached = seq_len
        return torch.arange(seq_len, device=device).to(dtype=self.inv_freq.dtype)

    def _set_cos_sin_cache(self, seq_len, device, dtype):
        angles = torch.einsum("i,j->ij", self._steps(seq_len, device), self.inv_freq)
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos_cached", angles.cos().to(dtype), persistent=False)
        self.register_buffer("sin_cached", angles.sin().to(dtype), persistent=False)

    def forward(self, x, seq_len=None):
        if seq_len > self.max_seq_len_cached:
            self._set_cos_sin_cache(seq_len=seq_len, device=x.device, dtype=torch.float32)
        return self.cos_cached[:seq_len].to(dtype=x.dtype), self.sin_cached[:seq_len].to(dtype=x.dtype)


class Intern2LinearScalingRotaryEmbedding(Intern2RotaryEmbedding):
    def __init__(self, dim, max_position_embeddings=2048, base=10000, device=None, scaling_factor=1.0):
        self.scaling_factor = scaling_factor
        super().__init__(dim, max_position_embeddings, base, device)

    def _steps(self, seq_len, device):
        return super()._steps(seq_len, device) / self.scaling_factor


class Intern2DynamicNTKScalingRotaryEmbedding(Intern2RotaryEmbedding):
    """Keeps the frequencies of a longer text for what comes after it."""

    def __init__(self, dim, max_position_embeddings=2048, base=10000, device=None, scaling_factor=1.0):
        self.scaling_factor = scaling_factor
        super().__init__(dim, max_position_embeddings, base, device)

    def _set_cos_sin_cache(self, seq_len, device, dtype):
        if seq_len > self.max_position_embeddings:
            limit = self.max_position_embeddings
            stretch = (self.scaling_factor * seq_len / limit) - (self.scaling_factor - 1)
            base = self.base * stretch ** (self.dim / (self.dim - 2))
            inv_freq = 1.0 / (base ** (torch.arange(0, self.dim, 2).float().to(device) / self.dim))
            self.register_buffer("inv_freq", inv_freq, persistent=False)
        super()._set_cos_sin_cache(seq_len, device, dtype)


class Intern25RotaryEmbedding(nn.Module):
    def __init__(self, dim, max_position_embeddings=2048, base=10000, device=None, scaling_factor=1.0):
        super().__init__()
        self.scaling_factor = scaling_factor
        self.dim = dim
        self.max_position_embeddings = max_position_embeddings
        self.base = base
        exponents = torch.arange(0, self.dim, 2, dtype=torch.int64).float().to(device) / self.dim
        self.register_buffer("inv_freq", 1.0 / (self.base**exponents), persistent=False)
        self.max_seq_len_cached = max_position_embeddings

    @torch.no_grad()
    def forward(self, x, position_ids):
        inv_freq = self.inv_freq[None, :, None].float().expand(position_ids.shape[0], -1, 1)
        angles = (inv_freq @ position_ids[:, None, :].float()).transpose(1, 2)
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(dtype=x.dtype), angles.sin().to(dtype=x.dtype)


class Intern25DynamicNTKScalingRotaryEmbedding(Intern25RotaryEmbedding):
    def forward(self, x, position_ids):
        seq_len = torch.max(position_ids) + 1
        if seq_len > self.max_position_embeddings:
            limit = self.max_position_embeddings
            stretch = (self.scaling_factor * seq_len / limit) - (self.scaling_factor - 1)
            base = self.base * stretch ** (self.dim / (self.dim - 2))
            exponents = torch.arange(0, self.dim, 2, dtype=torch.int64).float().to(x.device) / self.dim
            self.register_buffer("inv_freq", 1.0 / (base**exponents), persistent=False)
        return super().forward(x, position_ids)


def rotate_half(x):
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


def apply_rotary_pos_emb(q, k, cos, sin, position_ids=None, unsqueeze_dim=1):
    if cos.dim() == 2:
        cos, sin = cos[position_ids], sin[position_ids]
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


class Intern2Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // self.num_heads
        self.num_key_value_heads = config.num_key_value_heads
        self.num_key_value_groups = self.num_heads // self.num_key_value_heads
        self.max_position_embeddings = config.max_position_embeddings
        width = (self.num_heads + 2 * self.num_key_value_heads) * self.head_dim
        self.wqkv = nn.Linear(config.hidden_size, width, bias=config.bias)
        self.wo = nn.Linear(self.num_heads * self.head_dim, config.hidden_size, bias=config.bias)
        self._init_rope()

    def _init_rope(self):
        sizes = {"max_position_embeddings": self.max_position_embeddings, "base": self.config.rope_theta}
        if self.config.rope_scaling is None:
            self.rotary_emb = Intern2RotaryEmbedding(self.head_dim, **sizes)
            return
        scaling_type = self.config.rope_scaling["type"]
        factor = self.config.rope_scaling["factor"]
        if scaling_type == "dynamic":
            made = Intern2DynamicNTKScalingRotaryEmbedding(self.head_dim, scaling_factor=factor, **sizes)
        elif scaling_type == "linear":
            made = Intern2LinearScalingRotaryEmbedding(self.head_dim, scaling_factor=factor, **sizes)
        else:
            raise ValueError("Currently we only support rotary embedding's type being 'dynamic' or 'linear'.")
        self.rotary_emb = made

    def _split(self, hidden):
        """Of each group the queries, then its key, then its value."""
        groups = (*hidden.shape[:2], self.num_key_value_heads, self.num_key_value_groups + 2, self.head_dim)
        fused = self.wqkv(hidden).view(groups)
        q = fused[..., : self.num_key_value_groups, :].flatten(2, 3)
        return [part.transpose(1, 2) for part in (q, fused[..., -2, :], fused[..., -1, :])]

    def _cos_sin(self, v, position_ids):
        return self.rotary_emb(v, seq_len=v.shape[-2])

    def forward(self, hidden, position_ids):
        q, k, v = self._split(hidden)
        cos, sin = self._cos_sin(v, position_ids)
        q, k = apply_rotary_pos_emb(q, k, cos, sin, position_ids)
        k, v = (part.repeat_interleave(self.num_key_value_groups, dim=1) for part in (k, v))
        return self.wo(causal_attention(q, k, v).transpose(1, 2).flatten(2))


class Intern25Attention(Intern2Attention):
    def _init_rope(self):
        sizes = {"max_position_embeddings": self.max_position_embeddings, "base": self.config.rope_theta}
        if self.config.rope_scaling is None:
            self.rotary_emb = Intern25RotaryEmbedding(self.head_dim, **sizes)
        else:
            factor = self.config.rope_scaling["factor"]
            self.rotary_emb = Intern25DynamicNTKScalingRotaryEmbedding(
                self.head_dim, scaling_factor=factor, **sizes
            )

    def _cos_sin(self, v, position_ids):
        return self.rotary_emb(v, position_ids)


class Intern2PreTrainedModel(PreTrainedModel):
    config_class = Intern2Config
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)


class Intern2ForCausalLM(LanguageModel, Intern2PreTrainedModel):
    attention = Intern2Attention

    def __init__(self, config):
        super().__init__(config)
        attentions = [self.attention(config) for _ in range(config.num_hidden_layers)]
        self.model = Decoder(config, attentions)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class Intern25ForCausalLM(Intern2ForCausalLM):
    config_class = Intern25Config
    attention = Intern25Attention
