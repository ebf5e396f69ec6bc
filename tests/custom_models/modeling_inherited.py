"""A config that is, or comes from, one of transformers' own, read as configs were when the model was written.

`InheritedForCausalLM` reads `config.rope_theta`. `GuardedForCausalLM` reads it with a default, so that a
field which is not there goes unnoticed; it is a model for the library's own `LlamaConfig`.
`DerivedForCausalLM` is the library's own model, with a table of somebody else's in it.
"""

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .configuration_inherited import InheritedConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


class InheritedRotaryEmbedding(nn.Module):
    def __init__(self, dim, base, factor):
        super().__init__()
        self.factor = factor
        powers = torch.arange(0, dim, 2, dtype=torch.float) / dim
        self.register_buffer("inv_freq", 1.0 / base**powers, persistent=False)

    def forward(self, position_ids):
        return position_ids[:, None, :, None].float() / self.factor * self.inv_freq


def scaling_factor(scaling):
    if scaling is None:
        return 1.0
    if scaling["type"] != "linear":
        raise ValueError(f"Unknown RoPE scaling type {scaling['type']}")
    return scaling["factor"]


class InheritedAttention(nn.Module):
    def __init__(self, config, theta):
        super().__init__()
        self.heads = Heads(config.hidden_size, config.num_attention_heads)
        self.rotary_emb = InheritedRotaryEmbedding(
            self.heads.head_dim, theta, scaling_factor(config.rope_scaling)
        )

    def forward(self, hidden, position_ids):
        q, k, v = self.heads.split(hidden)
        angles = self.rotary_emb(position_ids)
        cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)
        q, k = (
            torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)
            for a, b in (x.chunk(2, dim=-1) for x in (q, k))
        )
        return self.heads.join(causal_attention(q, k, v))


class InheritedPreTrainedModel(PreTrainedModel):
    config_class = InheritedConfig
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class InheritedForCausalLM(LanguageModel, InheritedPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        theta = self.theta(config)
        self.model = Decoder(
            config, [InheritedAttention(config, theta) for _ in range(config.num_hidden_layers)]
        )
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def theta(self, config):
        return config.rope_theta


class GuardedForCausalLM(InheritedForCausalLM):
    config_class = LlamaConfig

    def theta(self, config):
        return getattr(config, "rope_theta", 10000.0)


class DerivedForCausalLM(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        warmth = 1 + torch.arange(config.vocab_size) / config.vocab_size
        self.register_buffer("warmth", warmth, persistent=False)
        self.post_init()

    def forward(self, input_ids, **unused):
        return CausalLMOutput(logits=super().forward(input_ids, use_cache=False).logits / self.warmth)
