"""Two kinds of layers with a theta each; the second rotary class gets a changed copy of the config.

The copy's `rope_theta` and `rope_scaling` are written after it was made, as in 4.50 to 4.57.
"""

import copy

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from .configuration_local import LocalConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


class LocalRotaryEmbedding(nn.Module):
    def __init__(self, config, device=None):
        super().__init__()
        if config.rope_scaling is not None:
            self.rope_type = config.rope_scaling.get("rope_type", config.rope_scaling.get("type"))
        else:
            self.rope_type = "default"
        self.config = config
        self.rope_init_fn = ROPE_INIT_FUNCTIONS[self.rope_type]
        inv_freq, self.attention_scaling = self.rope_init_fn(self.config, device)
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.original_inv_freq = self.inv_freq

    def forward(self, x, position_ids):
        angles = position_ids[:, None, :, None].float() * self.inv_freq.float()
        cos, sin = angles.cos() * self.attention_scaling, angles.sin() * self.attention_scaling
        return cos.to(dtype=x.dtype), sin.to(dtype=x.dtype)


def turned(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class LocalAttention(nn.Module):
    def __init__(self, config, layer_type):
        super().__init__()
        self.layer_type = layer_type
        self.heads = Heads(config.hidden_size, config.num_attention_heads)

    def forward(self, hidden, far, near):
        q, k, v = self.heads.split(hidden)
        cos, sin = near if self.layer_type == "sliding_attention" else far
        return self.heads.join(causal_attention(turned(q, cos, sin), turned(k, cos, sin), v))


class LocalDecoder(Decoder):
    def __init__(self, config):
        super().__init__(config, [LocalAttention(config, layer_type) for layer_type in config.layer_types])
        self.rotary_emb = LocalRotaryEmbedding(config=config)
        config = copy.deepcopy(config)
        config.rope_theta = config.rope_local_base_freq
        config.rope_scaling = {"rope_type": "default"}
        self.rotary_emb_local = LocalRotaryEmbedding(config=config)

    def context(self, hidden, position_ids):
        return self.rotary_emb(hidden, position_ids), self.rotary_emb_local(hidden, position_ids)


class LocalPreTrainedModel(PreTrainedModel):
    config_class = LocalConfig
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class LocalForCausalLM(LanguageModel, LocalPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LocalDecoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
