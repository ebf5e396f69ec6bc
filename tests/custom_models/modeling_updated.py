"""`ROPE_INIT_FUNCTIONS` with a config, and `dynamic_rope_update`: the style of 4.51 to 4.57.

`UpdatedForCausalLM` inherits `_init_weights`; `UpdatedOwnForCausalLM` has its own, which knows no superclass.
"""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS, dynamic_rope_update

from .configuration_updated import UpdatedConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


class UpdatedRotaryEmbedding(nn.Module):
    def __init__(self, config, device=None):
        super().__init__()
        if getattr(config, "rope_scaling", None) is not None:
            self.rope_type = config.rope_scaling.get("rope_type", config.rope_scaling.get("type"))
        else:
            self.rope_type = "default"
        self.max_seq_len_cached = config.max_position_embeddings
        self.original_max_seq_len = config.max_position_embeddings
        self.config = config
        self.rope_init_fn = ROPE_INIT_FUNCTIONS[self.rope_type]
        inv_freq, self.attention_scaling = self.rope_init_fn(self.config, device)
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.original_inv_freq = self.inv_freq

    @torch.no_grad()
    @dynamic_rope_update
    def forward(self, x, position_ids):
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


class UpdatedAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        head_dim = getattr(config, "head_dim", None)
        self.heads = Heads(config.hidden_size, config.num_attention_heads, head_dim)

    def forward(self, hidden, position_embeddings):
        q, k, v = self.heads.split(hidden)
        q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
        return self.heads.join(causal_attention(q, k, v))


class UpdatedDecoder(Decoder):
    def __init__(self, config):
        super().__init__(config, [UpdatedAttention(config) for _ in range(config.num_hidden_layers)])
        self.rotary_emb = UpdatedRotaryEmbedding(config=config)

    def context(self, hidden, position_ids):
        return (self.rotary_emb(hidden, position_ids),)


class UpdatedPreTrainedModel(PreTrainedModel):
    config_class = UpdatedConfig
    base_model_prefix = "backbone"


class UpdatedForCausalLM(LanguageModel, UpdatedPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = UpdatedDecoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class UpdatedOwnForCausalLM(UpdatedForCausalLM):
    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
