from .layers import SizesConfig


class TablesConfig(SizesConfig):
    model_type = "tiny_tables"

    def __init__(self, rope_theta=10000.0, **kwargs):
        self.rope_theta = rope_theta
        super().__init__(**kwargs)
