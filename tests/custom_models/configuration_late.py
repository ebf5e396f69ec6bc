from transformers import PretrainedConfig


class LateConfig(PretrainedConfig):
    """Calls its base class first, and then reads its fields out of what it handed on."""

    model_type = "tiny_late"

    def __init__(self, hidden_size=64, num_hidden_layers=2, **kwargs):
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.vocab_size = kwargs.get("vocab_size", 64)
        self.num_attention_heads = kwargs.get("num_attention_heads", 4)
        self.max_position_embeddings = kwargs.get("max_position_embeddings", 64)
        self.rope_theta = kwargs.get("rope_theta", 1e6)
        self.tie_word_embeddings = kwargs.get("tie_word_embeddings", False)
        stretch = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
        self.rope_scaling = stretch if kwargs.get("stretched", False) else None
