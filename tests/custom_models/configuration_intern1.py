from .layers import SizesConfig


class Intern1Config(SizesConfig):
    model_type = "tiny_intern1"

    def __init__(self, bias=True, rotary=None, **kwargs):
        self.bias = bias
        self.rotary = {"base": 10000, "type": "dynamic"} if rotary is None else rotary
        super().__init__(**kwargs)
