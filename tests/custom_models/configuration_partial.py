from .layers import SizesConfig


class PartialConfig(SizesConfig):
    """`partial_rotary_factor` and `rope_theta`, as Phi has them."""

    model_type = "tiny_partial"

    def __init__(self, rope_theta=10000.0, partial_rotary_factor=0.5, **kwargs):
        self.rope_theta = rope_theta
        self.partial_rotary_factor = partial_rotary_factor
        super().__init__(**kwargs)


class PercentConfig(SizesConfig):
    """`rotary_pct` and `rotary_emb_base`, as GPT-NeoX had them."""

    model_type = "tiny_percent"

    def __init__(self, rotary_emb_base=10000, rotary_pct=0.25, **kwargs):
        self.rotary_emb_base = rotary_emb_base
        self.rotary_pct = rotary_pct
        super().__init__(**kwargs)
