from .layers import SizesConfig


class ModernConfig(SizesConfig):
    model_type = "tiny_modern"

    def __init__(self, rope_parameters=None, **kwargs):
        self.rope_parameters = rope_parameters
        super().__init__(**kwargs)


class ConvertedConfig(ModernConfig):
    """Puts its own default into the parameters when transformers asks it to."""

    model_type = "tiny_converted"

    def __init__(self, **kwargs):
        kwargs.setdefault("partial_rotary_factor", 1.0)
        super().__init__(**kwargs)

    def convert_rope_params_to_dict(self, **kwargs):
        factor = kwargs["partial_rotary_factor"]
        if self.rope_parameters is not None:
            self.rope_parameters.setdefault("partial_rotary_factor", factor)
        return kwargs
