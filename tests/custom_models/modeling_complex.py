"""Rotations as complex numbers, once for the whole model, in the style of the first Llama.

`ComplexForCausalLM` keeps them as a plain attribute, `ComplexBufferForCausalLM` as a buffer, and
`ComplexPairForCausalLM` as a tuple of their real and imaginary parts.
"""

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_complex import ComplexConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


def precompute_freqs_cis(dim, end, theta):
    frequencies = 1.0 / theta ** (torch.arange(0, dim, 2)[: dim // 2].float() / dim)
    angles = torch.outer(torch.arange(end, device=frequencies.device), frequencies).float()
    return torch.polar(torch.ones_like(angles), angles)


def apply_rotary_emb(xq, xk, freqs_cis):
    """q and k as (b, h, s, d), with the pairs of each head side by side."""

    def turned(x):
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2).contiguous())
        return torch.view_as_real(pairs * freqs_cis[:, None]).flatten(-2).type_as(x)

    return turned(xq), turned(xk)


class ComplexAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = Heads(config.hidden_size, config.num_attention_heads)

    def forward(self, hidden, freqs_cis):
        q, k, v = self.heads.split(hidden)
        q, k = apply_rotary_emb(q, k, freqs_cis)
        return self.heads.join(causal_attention(q, k, v))


class ComplexDecoder(Decoder):
    def __init__(self, config):
        super().__init__(config, [ComplexAttention(config) for _ in range(config.num_hidden_layers)])
        self.keep(
            precompute_freqs_cis(
                config.hidden_size // config.num_attention_heads,
                config.max_position_embeddings * 2,
                config.rope_theta,
            )
        )

    def keep(self, freqs_cis):
        self.freqs_cis = freqs_cis

    def context(self, hidden, position_ids):
        self.freqs_cis = self.freqs_cis.to(hidden.device)
        return (self.freqs_cis[position_ids],)


class ComplexBufferDecoder(ComplexDecoder):
    def keep(self, freqs_cis):
        self.register_buffer("freqs_cis", freqs_cis, persistent=False)

    def context(self, hidden, position_ids):
        return (self.freqs_cis[position_ids],)


class ComplexPairDecoder(ComplexDecoder):
    def keep(self, freqs_cis):
        self.tables = (freqs_cis.real.clone(), freqs_cis.imag.clone())

    def context(self, hidden, position_ids):
        real, imaginary = (table.to(hidden.device) for table in self.tables)
        return (torch.complex(real, imaginary)[position_ids],)


class ComplexPreTrainedModel(PreTrainedModel):
    config_class = ComplexConfig
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class ComplexForCausalLM(LanguageModel, ComplexPreTrainedModel):
    decoder_class = ComplexDecoder

    def __init__(self, config):
        super().__init__(config)
        self.model = self.decoder_class(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class ComplexBufferForCausalLM(ComplexForCausalLM):
    decoder_class = ComplexBufferDecoder


class ComplexPairForCausalLM(ComplexForCausalLM):
    decoder_class = ComplexPairDecoder
