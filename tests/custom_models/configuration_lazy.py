from .layers import SizesConfig


class LazyConfig(SizesConfig):
    model_type = "tiny_lazy"

    def __init__(
        self, rope_theta=10000.0, rope_scaling=None, original_max_position_embeddings=None, **kwargs
    ):
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        if original_max_position_embeddings is not None:
            self.original_max_position_embeddings = original_max_position_embeddings
        super().__init__(**kwargs)
