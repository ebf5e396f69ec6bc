"""`rope_parameters`, a static method for unscaled frequencies, a second buffer for them: 5.0 and later."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS, dynamic_rope_update

from .configuration_modern import ConvertedConfig, ModernConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


class ModernRotaryEmbedding(nn.Module):
    def __init__(self, config, device=None):
        super().__init__()
        self.max_seq_len_cached = config.max_position_embeddings
        self.original_max_seq_len = config.max_position_embeddings
        self.config = config
        self.rope_type = config.rope_parameters["rope_type"]
        rope_init_fn = self.compute_default_rope_parameters
        if self.rope_type != "default":
            rope_init_fn = ROPE_INIT_FUNCTIONS[self.rope_type]
        inv_freq, self.attention_scaling = rope_init_fn(config, device)
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.register_buffer("original_inv_freq", inv_freq.clone(), persistent=False)

    @staticmethod
    def compute_default_rope_parameters(config, device=None, seq_len=None):
        factor = config.rope_parameters.get("partial_rotary_factor", 1.0)
        dim = int(config.hidden_size // config.num_attention_heads * factor)
        powers = torch.arange(0, dim, 2, dtype=torch.int64).to(device=device, dtype=torch.float) / dim
        return 1.0 / (config.rope_parameters["rope_theta"] ** powers), 1.0

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


def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
    """The first dimensions are turned, as many as the tables are wide."""
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    width = cos.shape[-1]

    def turned(x):
        head = x[..., :width]
        return torch.cat((head * cos + rotate_half(head) * sin, x[..., width:]), dim=-1)

    return turned(q), turned(k)


class ModernAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = Heads(config.hidden_size, config.num_attention_heads)

    def forward(self, hidden, position_embeddings):
        q, k, v = self.heads.split(hidden)
        q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
        return self.heads.join(causal_attention(q, k, v))


class ModernDecoder(Decoder):
    def __init__(self, config):
        super().__init__(config, [ModernAttention(config) for _ in range(config.num_hidden_layers)])
        self.rotary_emb = ModernRotaryEmbedding(config)

    def context(self, hidden, position_ids):
        return (self.rotary_emb(hidden, position_ids),)


class ModernPreTrainedModel(PreTrainedModel):
    config_class = ModernConfig
    base_model_prefix = "backbone"


class ModernForCausalLM(LanguageModel, ModernPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = ModernDecoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class ConvertedForCausalLM(ModernForCausalLM):
    config_class = ConvertedConfig
