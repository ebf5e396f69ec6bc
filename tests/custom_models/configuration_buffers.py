from .layers import SizesConfig


class BuffersConfig(SizesConfig):
    model_type = "tiny_buffers"

    def __init__(self, rope_theta=10000.0, drop_path_rate=0.25, **kwargs):
        self.rope_theta = rope_theta
        self.drop_path_rate = drop_path_rate
        super().__init__(**kwargs)
