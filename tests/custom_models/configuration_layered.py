from .layers import SizesConfig


class LayeredConfig(SizesConfig):
    model_type = "tiny_layered"

    def __init__(self, layer_types=("sliding_attention", "full_attention"), rope_parameters=None, **kwargs):
        self.layer_types = list(layer_types)
        self.rope_parameters = rope_parameters
        super().__init__(**kwargs)
