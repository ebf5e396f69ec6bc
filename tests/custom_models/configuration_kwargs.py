from .layers import SizesConfig


class KwargsConfig(SizesConfig):
    model_type = "tiny_kwargs"

    def __init__(self, rope_theta=10000.0, rope_scaling=None, **kwargs):
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        super().__init__(**kwargs)
