"""Rotary classes that later releases lack, built on the class that is left or anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...configs.spec import RopeSpec
from ...errors import RopeConfigError
from ...rotary.pairing import rotate_half
from ..init_functions.rope_parameters import RopeParameters
from .constructor import scale
from .constructor_arguments import config_of
from .state import Scaled, cos_sin

__all__ = ["alias", "longrope", "phi3_yarn", "pixtral", "scaled", "self_applying"]

Builder = Callable[[str, str, type | None], type]


def _make(name: str, module: str, base: type, init: Callable[..., None], doc: str, **members: Any) -> type:
    namespace = {"__module__": module, "__qualname__": name, "__doc__": doc, "__init__": init, **members}
    return type(name, (base,), namespace)


def alias(module: str, name: str, base: type) -> type:
    """The class has another name now, and takes every form that it has had."""
    return base


def scaled(rope_type: str) -> Callable[[str, str, type], type]:
    """``(dim, max_position_embeddings, base, device, scaling_factor)`` of one type: 4.31.0 to 4.47.1."""

    def build(module: str, name: str, base: type) -> type:
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            base.__init__(self, *args, **{**kwargs, "rope_type": rope_type})  # type: ignore[misc]

        doc = f"{base.__name__} with {rope_type} scaling; removed in 4.48.0."
        return _make(name, module, base, __init__, doc)

    return build


def longrope(module: str, name: str, base: type) -> type:
    """Phi-3's ``(dim, config, device)``: 4.41.0 to 4.47.1, modeling_phi3.py."""
    return _phi3(module, name, base, lambda scale: None)


def phi3_yarn(module: str, name: str, base: type) -> type:
    """The same with another attention scaling, which is all that its yarn is."""
    return _phi3(module, name, base, lambda scale: 1.0 if scale <= 1.0 else 0.1 * math.log(scale) + 1.0)


def _phi3(module: str, name: str, base: type, attention: Callable[[float], float | None]) -> type:
    def __init__(self: Any, dim: int, config: Any, device: Any = None) -> None:  # noqa: N807
        spec, length = RopeSpec.of(config), config.max_position_embeddings
        original = spec.parameters.get("original_max_position_embeddings")
        if spec.theta is None or original is None or "short_factor" not in spec.parameters:
            raise RopeConfigError(
                f"{name} needs rope_theta, original_max_position_embeddings, short_factor and long_factor; "
                f"the config says {spec.rope_parameters()}"
            )
        base.__init__(self, dim, length, spec.theta, device)  # type: ignore[misc]
        inner = {key: spec.parameters[key] for key in ("short_factor", "long_factor")}
        inner["original_max_position_embeddings"] = original
        factor = attention(length / original)
        if factor is not None:
            inner["attention_factor"] = factor
        self.config = config_of(dim, length, {**inner, "rope_type": "longrope", "rope_theta": spec.theta})
        self.short_factor, self.long_factor = inner["short_factor"], inner["long_factor"]
        self.original_max_position_embeddings = original
        scale(self, Scaled(RopeParameters(spec.theta, "longrope", inner, dim, 1.0, self.config)), device)

    return _make(name, module, base, __init__, "Short and long factors by length; removed in 4.48.0.")


def self_applying(module: str, name: str, base: type | None) -> type:
    """ESM's ``RotaryEmbedding(dim)``, whose ``forward(q, k)`` rotates both by their place: to 5.5.4.

    q and k are ``[B, H, S, D]``; tables are computed in fp32 and the results have the dtypes of q and k.
    """

    def __init__(self: Any, dim: int) -> None:  # noqa: N807
        nn.Module.__init__(self)
        self.dim = dim
        # A persistent buffer, as it was: checkpoints have it.
        self.register_buffer("inv_freq", 1.0 / (10000 ** (torch.arange(0, dim, 2).float() / dim)))

    def forward(self: Any, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        positions = torch.arange(k.shape[-2], device=k.device)
        cos, sin = cos_sin(self.inv_freq.to(k.device), positions, 1.0, self.inv_freq.dtype)
        return tuple((t * cos + rotate_half(t) * sin).to(t.dtype) for t in (q, k))  # type: ignore[return-value]

    doc = "Rotates q and k by their place in the sequence; removed in 5.6.0."
    return _make(name, module, nn.Module, __init__, doc, forward=forward)


def pixtral(module: str, name: str, base: type) -> type:
    """``PixtralRotaryEmbedding(config, device)`` with ``forward(x, position_ids)``: 4.45.0 to 5.16.1.

    position_ids are flat: row times the patches of a side of the largest image, plus column. The successor
    takes ``[N, 2]``.
    """

    def __init__(self: Any, config: Any, device: Any = None) -> None:  # noqa: N807
        base.__init__(self, config)  # type: ignore[misc]
        self.side = config.image_size // config.patch_size

    def forward(self: Any, x: Tensor, position_ids: Tensor) -> Any:
        flat = position_ids.reshape(-1)
        pairs = torch.stack((flat // self.side, flat % self.side), dim=-1)
        cos, sin = base.forward(self, x, pairs)  # type: ignore[attr-defined]
        return tuple(each.view(*position_ids.shape, -1) for each in (cos, sin))

    return _make(
        name, module, base, __init__, "Positions as flat indices; removed in 5.17.0.", forward=forward
    )
