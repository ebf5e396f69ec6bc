"""The parts of the models that have nothing to do with rotary embeddings, nor with any release."""

import math
from typing import ClassVar

import torch
from torch import nn
from transformers import PretrainedConfig
from transformers.modeling_outputs import CausalLMOutput


class SizesConfig(PretrainedConfig):
    """The fields that every config has."""

    def __init__(
        self,
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=32,
        initializer_range=0.02,
        tie_word_embeddings=False,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, hidden):
        scale = torch.rsqrt(hidden.float().pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * (hidden.float() * scale).to(hidden.dtype)


class FeedForward(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.up = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, hidden):
        return self.down(nn.functional.silu(self.up(hidden)))


class Heads(nn.Module):
    """The projections of an attention: (b, s, width) to q, k, v as (b, h, s, d), and back."""

    def __init__(self, width, heads, head_dim=None):
        super().__init__()
        self.count = heads
        self.head_dim = head_dim or width // heads
        self.q = nn.Linear(width, heads * self.head_dim, bias=False)
        self.k = nn.Linear(width, heads * self.head_dim, bias=False)
        self.v = nn.Linear(width, heads * self.head_dim, bias=False)
        self.out = nn.Linear(heads * self.head_dim, width, bias=False)

    def split(self, hidden):
        shape = (*hidden.shape[:2], self.count, self.head_dim)
        return [project(hidden).view(shape).transpose(1, 2) for project in (self.q, self.k, self.v)]

    def join(self, mixed):
        return self.out(mixed.transpose(1, 2).flatten(2))


def causal_attention(q, k, v, bias=None):
    """Softmax attention over what came before; `bias` is added to the scores."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if bias is not None:
        scores = scores + bias
    later = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).triu(1)
    return scores.masked_fill(later, float("-inf")).softmax(-1, dtype=torch.float32).to(v.dtype) @ v


class Block(nn.Module):
    def __init__(self, attention, width, inner):
        super().__init__()
        self.attention = attention
        self.feed_forward = FeedForward(width, inner)
        self.before = Norm(width)
        self.after = Norm(width)

    def forward(self, hidden, *context):
        hidden = hidden + self.attention(self.before(hidden), *context)
        return hidden + self.feed_forward(self.after(hidden))


class Decoder(nn.Module):
    """Embeddings and blocks; what each block is told beside the hidden states is what `context` makes."""

    def __init__(self, config, attentions, inner=48):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(Block(attention, config.hidden_size, inner) for attention in attentions)
        self.norm = Norm(config.hidden_size)

    def context(self, hidden, position_ids):
        return (position_ids,)

    def forward(self, input_ids, position_ids):
        hidden = self.embed_tokens(input_ids)
        context = self.context(hidden, position_ids)
        for block in self.blocks:
            hidden = block(hidden, *context)
        return self.norm(hidden)


class LanguageModel:
    """For classes that have a decoder as `model`, and an `lm_head`."""

    _no_split_modules: ClassVar[list[str]] = ["Block"]

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def positions(self, input_ids):
        return torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)

    def forward(self, input_ids, position_ids=None, **unused):
        if position_ids is None:
            position_ids = self.positions(input_ids)
        return CausalLMOutput(logits=self.lm_head(self.model(input_ids, position_ids)))
