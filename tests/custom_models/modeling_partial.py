"""The first dimensions of each head are turned: by halves here, by neighbours in `PercentForCausalLM`."""

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_partial import PartialConfig, PercentConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


class PartialRotaryEmbedding(nn.Module):
    def __init__(self, dim, base):
        super().__init__()
        self.dim = dim
        powers = torch.arange(0, dim, 2, dtype=torch.float32) / dim
        self.register_buffer("inv_freq", torch.pow(base, -powers), persistent=False)

    def angles(self, position_ids):
        return position_ids[:, None, :, None].float() * self.inv_freq


class PartialAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = Heads(config.hidden_size, config.num_attention_heads)
        self.rotary_emb = self.make_rotary(config, self.heads.head_dim)

    def make_rotary(self, config, head_dim):
        return PartialRotaryEmbedding(int(config.partial_rotary_factor * head_dim), config.rope_theta)

    def turn(self, x, angles):
        first, second = x.chunk(2, dim=-1)
        cos, sin = angles.cos(), angles.sin()
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)

    def forward(self, hidden, position_ids):
        q, k, v = self.heads.split(hidden)
        angles = self.rotary_emb.angles(position_ids)
        width = self.rotary_emb.dim
        q, k = (
            torch.cat((self.turn(x[..., :width].float(), angles).to(x.dtype), x[..., width:]), dim=-1)
            for x in (q, k)
        )
        return self.heads.join(causal_attention(q, k, v))


class PercentAttention(PartialAttention):
    def make_rotary(self, config, head_dim):
        return PartialRotaryEmbedding(int(config.rotary_pct * head_dim), config.rotary_emb_base)

    def turn(self, x, angles):
        even, odd = x[..., ::2], x[..., 1::2]
        cos, sin = angles.cos(), angles.sin()
        return torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)


class PartialPreTrainedModel(PreTrainedModel):
    config_class = PartialConfig
    base_model_prefix = "backbone"
    attention_class = PartialAttention

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class PartialForCausalLM(LanguageModel, PartialPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        attentions = [self.attention_class(config) for _ in range(config.num_hidden_layers)]
        self.model = Decoder(config, attentions)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class PercentForCausalLM(PartialForCausalLM):
    config_class = PercentConfig
    attention_class = PercentAttention
