"""Frequencies that are part of the checkpoint, as a buffer is unless `register_buffer` is told otherwise."""

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_persistent import PersistentConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


class PersistentRotaryEmbedding(nn.Module):
    def __init__(self, dim, base):
        super().__init__()
        self.register_buffer("inv_freq", 1.0 / (base ** (torch.arange(0, dim, 2).float() / dim)))

    def forward(self, x, position_ids):
        angles = position_ids.float()[:, :, None] * self.inv_freq
        return angles.cos()[:, None].to(x.dtype), angles.sin()[:, None].to(x.dtype)


def rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class PersistentAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = Heads(config.hidden_size, config.num_attention_heads)
        self.rotary_emb = PersistentRotaryEmbedding(self.heads.head_dim, config.rope_theta)

    def forward(self, hidden, position_ids):
        q, k, v = self.heads.split(hidden)
        cos, sin = self.rotary_emb(v, position_ids)
        return self.heads.join(causal_attention(rotate(q, cos, sin), rotate(k, cos, sin), v))


class PersistentPreTrainedModel(PreTrainedModel):
    config_class = PersistentConfig
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class PersistentForCausalLM(LanguageModel, PersistentPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        attentions = [PersistentAttention(config) for _ in range(config.num_hidden_layers)]
        self.model = Decoder(config, attentions)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
