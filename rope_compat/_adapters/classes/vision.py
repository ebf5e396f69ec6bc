"""Rotary classes of vision towers, in the three forms that they have had.

``(dim, theta)`` with ``forward(seqlen)``, a table of angles ``[seqlen, dim/2]``, to 5.8.1; the same with
``forward(position_ids)``, angles ``[patches, dim]`` of two axes, from 5.9.0; ``(config)`` with
``forward(x, position_ids)``, cos and sin ``[patches, 2 dim]``, from 5.17.0. `dim` is half the size of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from ...errors import RopeConfigError
from ..functions.base import AdapterInfo, count, refuse
from .constructor_arguments import config_of
from .shape import Shape

__all__ = ["adapt_constructor", "adapt_forward"]


def adapt_constructor(native: Callable[..., None], shape: Shape, info: AdapterInfo) -> Callable[..., None]:
    """The constructor that stands in the place of `native`."""
    takes_config = shape.constructor == "config"

    def of_dim_or_config(self: Any, *args: Any, **kwargs: Any) -> None:
        says_dim = "dim" in kwargs or (bool(args) and isinstance(args[0], int))
        if says_dim != takes_config:
            native(self, *args, **kwargs)
            return
        if says_dim:
            given = _given(info, args, kwargs, "dim", "theta")
            dim, theta = int(given["dim"]), float(given.get("theta", 10000.0))
            info.count("dim")
            native(self, _config(type(self), dim, theta))
            self.dim, self.theta = dim, theta
            _check(self, dim, theta)
            return
        given = _given(info, args, kwargs, "config", "device")
        config, device = given["config"], given.get("device")
        info.count("config")
        with torch.device(device) if device is not None else nullcontext():
            native(self, **_arguments(config))
        self.config = config

    return of_dim_or_config


def _given(info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any], *names: str) -> dict[str, Any]:
    """Two arguments by name, of which the first has to be there."""
    found = dict(zip(names, args, strict=False)) | kwargs
    if len(args) > 2 or not found.keys() <= set(names) or found.get(names[0]) is None:
        raise refuse(info, args, kwargs, "a dim goes with theta, a config with a device, and nothing else")
    return found


def _config(cls: Any, dim: int, theta: float) -> Any:
    """A configuration for one head of ``2 dim`` channels."""
    rope_type = "axial" if hasattr(cls, "compute_axial_rope_parameters") else "default"
    config = config_of(2 * dim, None, {"rope_type": rope_type, "rope_theta": theta})
    config.embed_dim, config.num_heads = 2 * dim, 1
    return config


def _arguments(config: Any) -> dict[str, Any]:
    """dim, and theta where the config says one: the classes to 5.16.1 had 10000 in their signature."""
    head_dim = getattr(config, "head_dim", None)
    if head_dim is None:
        width = getattr(config, "embed_dim", None) or getattr(config, "hidden_size", None)
        heads = getattr(config, "num_heads", None) or getattr(config, "num_attention_heads", None)
        if width is None or heads is None:
            raise RopeConfigError(
                f"{type(config).__name__} gives neither head_dim nor a width and a number of heads"
            )
        head_dim = width // heads
    found: dict[str, Any] = {"dim": head_dim // 2}
    theta = (getattr(config, "rope_parameters", None) or {}).get("rope_theta")
    return found if theta is None else {**found, "theta": theta}


def _check(module: Any, dim: int, theta: float) -> None:
    """Hold what the class made of our config against what was asked for."""
    wanted = 1.0 / (theta ** (torch.arange(0, dim, 2, dtype=torch.float, device="cpu") / dim))
    inv_freq = module.inv_freq
    if inv_freq.shape == wanted.shape and (
        inv_freq.is_meta or torch.allclose(inv_freq.float().cpu(), wanted)
    ):
        return
    raise RopeConfigError(
        f"{type(module).__name__} of this release computes other frequencies than dim={dim}, theta={theta} "
        "say; pass the vision tower's config"
    )


def adapt_forward(native: Callable[..., Any], shape: Shape, info: AdapterInfo) -> Callable[..., Any]:
    """The forward that stands in the place of `native`."""
    form = shape.forward

    def translated(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x, position_ids, length = _read(info, args, kwargs)
        name = "table" if length is not None else "angles" if x is None else "rows"
        count(info, name)
        device = self.inv_freq.device
        if length is not None:
            positions = torch.arange(length, device=device)[:, None]
        else:
            positions = position_ids.to(device)
        angles = (positions[..., None] * self.inv_freq).flatten(1)
        if name != "rows":
            return angles
        both = torch.cat((angles, angles), dim=-1).float()
        return both.cos(), both.sin()

    def in_three_forms(self: Any, x: Any = None, position_ids: Any = None, *rest: Any, **kwargs: Any) -> Any:
        if form == "vision_rows":
            if x is not None and isinstance(position_ids, Tensor) and not rest and not kwargs:
                return native(self, x, position_ids)
        elif form == "vision_angles":
            alone = x if position_ids is None else position_ids if x is None else None
            if isinstance(alone, Tensor) and alone.dim() > 0 and not rest and not kwargs:
                return native(self, alone)
        elif x is not None and position_ids is None and not rest and not kwargs and not _are_positions(x):
            return native(self, x)
        elif kwargs.keys() == {"seqlen"} and x is None and position_ids is None and not rest:
            return native(self, **kwargs)
        given = {} if position_ids is None else {"position_ids": position_ids}
        return translated(self, rest if x is None else (x, *rest), {**given, **kwargs})

    return in_three_forms


def _are_positions(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _read(info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, int | None]:
    """x, position_ids and seqlen of a call: two of them None."""
    found = dict(kwargs)
    if len(args) == 2 and "position_ids" not in found:
        found["position_ids"] = args[1]
        args = args[:1]
    x = found.get("x", args[0] if args else None)
    if len(args) > 1 or found.keys() - {"x", "position_ids", "seqlen"}:
        raise refuse(info, args, kwargs, "it is in none of the forms")
    positions = found.get("position_ids")
    if positions is None and _are_positions(x):
        x, positions = None, x
    if positions is not None:
        if not _are_positions(positions) or positions.dim() != 2 or "seqlen" in found:
            raise refuse(info, args, kwargs, "position_ids must be [patches, axes], and stand without seqlen")
        return x, positions, None
    length = found.get("seqlen", x)
    if length is None:
        raise refuse(info, args, kwargs, "neither seqlen nor position_ids is given")
    return None, None, int(length)
