from .layers import SizesConfig


class Intern2Config(SizesConfig):
    model_type = "tiny_intern2"

    def __init__(self, bias=True, num_key_value_heads=None, rope_theta=10000, rope_scaling=None, **kwargs):
        self.bias = bias
        heads = kwargs.get("num_attention_heads", 4)
        self.num_key_value_heads = heads if num_key_value_heads is None else num_key_value_heads
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        self._rope_scaling_validation()
        super().__init__(**kwargs)

    def _rope_scaling_validation(self):
        if self.rope_scaling is None:
            return
        if not isinstance(self.rope_scaling, dict) or len(self.rope_scaling) != 2:
            raise ValueError(
                f"`rope_scaling` must have two fields, `type` and `factor`, got {self.rope_scaling}"
            )
        kind = self.rope_scaling.get("type", None)
        factor = self.rope_scaling.get("factor", None)
        if kind is None or kind not in ["linear", "dynamic"]:
            raise ValueError(f"`rope_scaling`'s type must be one of ['linear', 'dynamic'], got {kind}")
        if factor is None or not isinstance(factor, float) or factor < 1.0:
            raise ValueError(f"`rope_scaling`'s factor must be a float >= 1, got {factor}")


class Intern25Config(Intern2Config):
    model_type = "tiny_intern25"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
