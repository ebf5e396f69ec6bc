"""What constructors compute beside rotary tables, and in how many ways.

`BuffersForCausalLM` only makes tensors. `ReadingForCausalLM` also reads numbers out of tensors while it is
being constructed, which no tensor on the meta device has.
"""

import math

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_buffers import BuffersConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


def slopes(heads):
    return [2.0 ** (-8.0 * (head + 1) / heads) for head in range(heads)]


class BuffersAttention(nn.Module):
    """Rotary frequencies, a mask, and a slope for each head."""

    def __init__(self, config):
        super().__init__()
        self.heads = Heads(config.hidden_size, config.num_attention_heads)
        length = config.max_position_embeddings * 2
        causal = torch.tril(torch.ones(length, length, dtype=torch.bool))
        self.register_buffer("causal", causal, persistent=False)
        self.register_buffer("slopes", torch.tensor(slopes(self.heads.count)), persistent=False)
        self.register_buffer("floor", torch.tensor(-1e4), persistent=False)
        powers = torch.arange(0, self.heads.head_dim, 2).float() / self.heads.head_dim
        self.register_buffer("inv_freq", config.rope_theta**-powers, persistent=False)

    def forward(self, hidden, position_ids):
        q, k, v = self.heads.split(hidden)
        angles = position_ids[:, None, :, None] * self.inv_freq
        cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)
        q, k = (
            torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)
            for a, b in (x.chunk(2, dim=-1) for x in (q, k))
        )
        length = hidden.shape[1]
        distance = (position_ids[:, None, :, None] - position_ids[:, None, None, :]).to(q.dtype)
        bias = -distance * self.slopes[:, None, None]
        bias = torch.where(self.causal[:length, :length], bias, self.floor.to(bias.dtype))
        return self.heads.join(causal_attention(q, k, v, bias))


class BuffersDecoder(Decoder):
    """A sinusoidal table that is filled column by column, one that numpy computes, and the positions."""

    def __init__(self, config):
        super().__init__(config, [BuffersAttention(config) for _ in range(config.num_hidden_layers)])
        length, width = config.max_position_embeddings * 2, config.hidden_size
        places = torch.arange(length).unsqueeze(1)
        divisor = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        table = torch.zeros(length, width)
        table[:, 0::2] = torch.sin(places * divisor)
        table[:, 1::2] = torch.cos(places * divisor)
        self.register_buffer("pe", table, persistent=False)
        decay = np.power(0.9, np.arange(width)).astype(np.float32)
        self.register_buffer("decay", torch.from_numpy(decay), persistent=False)
        self.register_buffer("position_ids", torch.arange(length).expand((1, -1)), persistent=False)

    def forward(self, input_ids, position_ids):
        hidden = self.embed_tokens(input_ids)
        hidden = hidden + (self.pe[position_ids] * self.decay).to(hidden.dtype)
        for block in self.blocks:
            hidden = block(hidden, position_ids)
        return self.norm(hidden)


class ReadingDecoder(BuffersDecoder):
    def __init__(self, config):
        super().__init__(config)
        rates = torch.linspace(0, config.drop_path_rate, config.num_hidden_layers)
        self.keep = [1.0 - rate for rate in rates.tolist()]
        steps = torch.arange(1, config.hidden_size + 1, dtype=torch.float32)
        self.scale = (steps.sum() / steps.numel()).item()
        table = np.cumsum(steps.numpy()) / self.scale
        self.register_buffer("ramp", torch.tensor(table / table.max(), dtype=torch.float32), persistent=False)
        if steps.max() > config.hidden_size or not torch.isfinite(steps).all():
            raise ValueError("the steps are wrong")

    def forward(self, input_ids, position_ids):
        hidden = super().forward(input_ids, position_ids)
        return hidden * self.ramp.to(hidden.dtype) * self.keep[-1] * (self.scale / self.scale)


class BuffersPreTrainedModel(PreTrainedModel):
    config_class = BuffersConfig
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class BuffersForCausalLM(LanguageModel, BuffersPreTrainedModel):
    decoder_class = BuffersDecoder

    def __init__(self, config):
        super().__init__(config)
        self.model = self.decoder_class(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def positions(self, input_ids):
        return self.model.position_ids[:, : input_ids.shape[1]]


class ReadingForCausalLM(BuffersForCausalLM):
    decoder_class = ReadingDecoder
