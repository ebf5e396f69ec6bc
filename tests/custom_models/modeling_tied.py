"""Parameters made by hand, weights tied by hand, and one rotary module that all layers share."""

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_tied import TiedConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


class TiedRotaryEmbedding(nn.Module):
    def __init__(self, dim, base):
        super().__init__()
        powers = torch.arange(0, dim, 2, dtype=torch.float) / dim
        self.register_buffer("inv_freq", 1.0 / base**powers, persistent=False)

    def forward(self, position_ids):
        return position_ids[:, None, :, None].float() * self.inv_freq


class TiedAttention(nn.Module):
    def __init__(self, config, rotary_emb):
        super().__init__()
        self.heads = Heads(config.hidden_size, config.num_attention_heads)
        self.rotary_emb = rotary_emb
        self.gain = nn.Parameter(torch.ones(config.num_attention_heads, 1, 1))
        self.shift = nn.Parameter(torch.zeros(self.heads.head_dim))
        self.noise = nn.Parameter(torch.randn(self.heads.head_dim) * 0.1)

    def forward(self, hidden, position_ids):
        q, k, v = self.heads.split(hidden)
        angles = self.rotary_emb(position_ids)
        cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)
        q, k = (
            torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)
            for a, b in (x.chunk(2, dim=-1) for x in (q * self.gain, k + self.shift))
        )
        return self.heads.join(causal_attention(q, k, v * (1 + self.noise)))


class TiedPreTrainedModel(PreTrainedModel):
    config_class = TiedConfig
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class TiedForCausalLM(LanguageModel, TiedPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        rotary_emb = TiedRotaryEmbedding(config.hidden_size // config.num_attention_heads, config.rope_theta)
        attentions = [TiedAttention(config, rotary_emb) for _ in range(config.num_hidden_layers)]
        self.model = Decoder(config, attentions)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.lm_head.weight = self.model.embed_tokens.weight
        self.post_init()
