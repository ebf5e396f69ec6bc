from .layers import SizesConfig


class LocalConfig(SizesConfig):
    model_type = "tiny_local"

    def __init__(
        self,
        rope_theta=10000.0,
        rope_scaling=None,
        rope_local_base_freq=10000.0,
        layer_types=("sliding_attention", "full_attention"),
        **kwargs,
    ):
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        self.rope_local_base_freq = rope_local_base_freq
        self.layer_types = list(layer_types)
        super().__init__(**kwargs)
