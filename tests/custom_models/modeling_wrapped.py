"""transformers' own parts in somebody else's model: a rotary class, and a whole model by `AutoModel`."""

from typing import ClassVar

from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from .configuration_wrapped import WrappedConfig
from .layers import Decoder, Heads, LanguageModel, causal_attention


class WrappedAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = Heads(config.hidden_size, config.num_attention_heads)
        self.rotary_emb = LlamaRotaryEmbedding(config=config)

    def forward(self, hidden, position_ids):
        q, k, v = self.heads.split(hidden)
        cos, sin = self.rotary_emb(v, position_ids)
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        return self.heads.join(causal_attention(q, k, v))


class WrappedPreTrainedModel(PreTrainedModel):
    config_class = WrappedConfig
    base_model_prefix = "backbone"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class WrappedForCausalLM(LanguageModel, WrappedPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        text = config.text_config
        self.model = Decoder(text, [WrappedAttention(text) for _ in range(text.num_hidden_layers)])
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()


class ComposedForCausalLM(WrappedPreTrainedModel):
    _no_split_modules: ClassVar[list[str]] = ["LlamaDecoderLayer"]

    def __init__(self, config):
        super().__init__(config)
        self.language_model = AutoModel.from_config(config.text_config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self):
        return self.lm_head

    def forward(self, input_ids, **unused):
        hidden = self.language_model(input_ids, use_cache=False).last_hidden_state
        return CausalLMOutput(logits=self.lm_head(hidden))
