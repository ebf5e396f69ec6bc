"""Frequencies by `ROPE_INIT_FUNCTIONS`, from the config or from arguments (`rope_kwargs`): 4.43 to 4.47.

`KwargsForCausalLM` hands the config on, `ArgumentsForCausalLM` dim, base and so on. The first frequencies are
kept as a second name of the buffer, not as a buffer of their own.
"""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from .configuration_kwargs import KwargsConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


class KwargsRotaryEmbedding(nn.Module):
    def __init__(
        self,
        dim=None,
        max_position_embeddings=2048,
        base=10000,
        device=None,
        scaling_factor=1.0,
        rope_type="default",
        config=None,
    ):
        super().__init__()
        self.rope_kwargs = {}
        if config is None:
            self.rope_kwargs = {
                "rope_type": rope_type,
                "factor": scaling_factor,
                "dim": dim,
                "base": base,
                "max_position_embeddings": max_position_embeddings,
            }
            self.rope_type = rope_type
            self.original_max_seq_len = max_position_embeddings
        else:
            scaling = config.rope_scaling
            self.rope_type = "default" if scaling is None else scaling.get("rope_type", scaling.get("type"))
            self.original_max_seq_len = config.max_position_embeddings
        self.max_seq_len_cached = self.original_max_seq_len
        self.config = config
        self.rope_init_fn = ROPE_INIT_FUNCTIONS[self.rope_type]
        inv_freq, self.attention_scaling = self.rope_init_fn(self.config, device, **self.rope_kwargs)
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.original_inv_freq = self.inv_freq

    def _dynamic_frequency_update(self, position_ids, device):
        seq_len = torch.max(position_ids) + 1
        if seq_len > self.max_seq_len_cached:
            inv_freq, self.attention_scaling = self.rope_init_fn(
                self.config, device, seq_len=seq_len, **self.rope_kwargs
            )
            self.register_buffer("inv_freq", inv_freq, persistent=False)
            self.max_seq_len_cached = seq_len
        if seq_len < self.original_max_seq_len and self.max_seq_len_cached > self.original_max_seq_len:
            self.register_buffer("inv_freq", self.original_inv_freq, persistent=False)
            self.max_seq_len_cached = self.original_max_seq_len

    @torch.no_grad()
    def forward(self, x, position_ids):
        if "dynamic" in self.rope_type:
            self._dynamic_frequency_update(position_ids, device=x.device)
        angles = position_ids[:, :, None].float() * self.inv_freq.float()
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos() * self.attention_scaling, angles.sin() * self.attention_scaling
        return cos.to(dtype=x.dtype), sin.to(dtype=x.dtype)


def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def apply_rotary_pos_emb(q, k, cos, sin, position_ids=None, unsqueeze_dim=1):
    """The first dimensions are turned, as many as the tables are wide."""
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    width = cos.shape[-1]

    def turned(x):
        head = x[..., :width]
        return torch.cat((head * cos + rotate_half(head) * sin, x[..., width:]), dim=-1)

    return turned(q), turned(k)


class KwargsAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = Heads(config.hidden_size, config.num_attention_heads)

    def forward(self, hidden, position_embeddings):
        q, k, v = self.heads.split(hidden)
        q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
        return self.heads.join(causal_attention(q, k, v))


class KwargsDecoder(Decoder):
    def __init__(self, config, rotary_emb):
        super().__init__(config, [KwargsAttention(config) for _ in range(config.num_hidden_layers)])
        self.rotary_emb = rotary_emb

    def context(self, hidden, position_ids):
        return (self.rotary_emb(hidden, position_ids),)


class KwargsPreTrainedModel(PreTrainedModel):
    config_class = KwargsConfig
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class KwargsForCausalLM(LanguageModel, KwargsPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = KwargsDecoder(config, self.make_rotary(config))
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def make_rotary(self, config):
        return KwargsRotaryEmbedding(config=config)


class ArgumentsForCausalLM(KwargsForCausalLM):
    def make_rotary(self, config):
        scaling = config.rope_scaling or {"rope_type": "default", "factor": 1.0}
        return KwargsRotaryEmbedding(
            config.hidden_size // config.num_attention_heads,
            max_position_embeddings=config.max_position_embeddings,
            base=config.rope_theta,
            scaling_factor=scaling["factor"],
            rope_type=scaling["rope_type"],
        )
