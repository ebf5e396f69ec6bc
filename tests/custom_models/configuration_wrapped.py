from transformers import LlamaConfig, PretrainedConfig


class WrappedConfig(PretrainedConfig):
    """A config with another one in it, as multimodal models have."""

    model_type = "tiny_wrapped"

    def __init__(self, text_config=None, initializer_range=0.02, tie_word_embeddings=False, **kwargs):
        if not isinstance(text_config, PretrainedConfig):
            text_config = LlamaConfig(**(text_config or {}))
        self.text_config = text_config
        self.initializer_range = initializer_range
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)
