"""`rope_parameters` for each layer type, and one rotary class that has buffers for each: 5.0 and later."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from .configuration_layered import LayeredConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


class LayeredRotaryEmbedding(nn.Module):
    def __init__(self, config, device=None):
        super().__init__()
        self.config = config
        self.rope_type = {}
        for layer_type in sorted(set(config.layer_types)):
            self.rope_type[layer_type] = config.rope_parameters[layer_type]["rope_type"]
            inv_freq, gain = self.initial(layer_type, device)
            self.register_buffer(f"{layer_type}_inv_freq", inv_freq, persistent=False)
            self.register_buffer(f"{layer_type}_original_inv_freq", inv_freq.clone(), persistent=False)
            setattr(self, f"{layer_type}_attention_scaling", gain)

    def initial(self, layer_type, device=None):
        function = self.compute_default_rope_parameters
        if self.rope_type[layer_type] != "default":
            function = ROPE_INIT_FUNCTIONS[self.rope_type[layer_type]]
        return function(self.config, device, layer_type=layer_type)

    @staticmethod
    def compute_default_rope_parameters(config, device=None, seq_len=None, layer_type=None):
        dim = config.hidden_size // config.num_attention_heads
        powers = torch.arange(0, dim, 2, dtype=torch.int64).to(device=device, dtype=torch.float) / dim
        return 1.0 / (config.rope_parameters[layer_type]["rope_theta"] ** powers), 1.0

    def forward(self, x, position_ids, layer_type):
        angles = position_ids[:, None, :, None].float() * getattr(self, f"{layer_type}_inv_freq").float()
        gain = getattr(self, f"{layer_type}_attention_scaling")
        return (angles.cos() * gain).to(x.dtype), (angles.sin() * gain).to(x.dtype)


def turned(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class LayeredAttention(nn.Module):
    def __init__(self, config, layer_type):
        super().__init__()
        self.layer_type = layer_type
        self.heads = Heads(config.hidden_size, config.num_attention_heads)

    def forward(self, hidden, tables):
        q, k, v = self.heads.split(hidden)
        cos, sin = tables[self.layer_type]
        return self.heads.join(causal_attention(turned(q, cos, sin), turned(k, cos, sin), v))


class LayeredDecoder(Decoder):
    def __init__(self, config):
        super().__init__(config, [LayeredAttention(config, layer_type) for layer_type in config.layer_types])
        self.rotary_emb = LayeredRotaryEmbedding(config)

    def context(self, hidden, position_ids):
        kinds = self.rotary_emb.rope_type
        return ({kind: self.rotary_emb(hidden, position_ids, kind) for kind in kinds},)


class LayeredPreTrainedModel(PreTrainedModel):
    config_class = LayeredConfig
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        elif isinstance(module, LayeredRotaryEmbedding):
            for kind in module.rope_type:
                inv_freq, _ = module.initial(kind)
                getattr(module, f"{kind}_inv_freq").copy_(inv_freq)
                getattr(module, f"{kind}_original_inv_freq").copy_(inv_freq)


class LayeredForCausalLM(LanguageModel, LayeredPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LayeredDecoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()
