from .layers import SizesConfig


class ScaledConfig(SizesConfig):
    model_type = "tiny_scaled"

    def __init__(self, rope_theta=10000.0, rope_scaling=None, **kwargs):
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        self._rope_scaling_validation()
        super().__init__(**kwargs)

    def _rope_scaling_validation(self):
        if self.rope_scaling is None:
            return
        if not isinstance(self.rope_scaling, dict) or len(self.rope_scaling) != 2:
            raise ValueError(
                "`rope_scaling` must be a dictionary with two fields, `type` and `factor`, "
                f"got {self.rope_scaling}"
            )
        kind, factor = self.rope_scaling.get("type"), self.rope_scaling.get("factor")
        if kind not in ("linear", "dynamic"):
            raise ValueError(f"`rope_scaling`'s type field must be 'linear' or 'dynamic', got {kind}")
        if not isinstance(factor, float) or factor <= 1.0:
            raise ValueError(f"`rope_scaling`'s factor field must be a float > 1, got {factor}")


class CheckedConfig(ScaledConfig):
    """Checks the field again when its base class is done with it."""

    model_type = "tiny_checked"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._rope_scaling_validation()
