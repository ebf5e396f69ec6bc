"""Judge rotary classes of vision and audio towers, whose positions are of several axes or of their own."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from ..._adapters.classes.shape import Shape
from ..._outcome import Item
from ..._utils.imports import reason_of
from ...rotary import exact
from ..tolerances import cosine_error

__all__ = ["judge_tower"]

_PATCHES = torch.tensor([[0, 0], [1, 0], [0, 1], [2, 3], [7, 5], [31, 30], [100, 64]])
_THETAS = ("rope_theta", "rotary_embedding_base", "rope_parameters")


def judge_tower(module: Any, config: Any, shape: Shape) -> Item:
    """The inverse frequencies, and where forward takes the positions of patches, cos and sin for these.

    A layout is not prescribed, since each tower has its own: each column of cos and sin has to be that of one
    axis and one frequency at all positions, and every frequency has to be in it.
    """
    buffer = getattr(module, "inv_freq", None)
    if not isinstance(buffer, Tensor) or buffer.dim() != 1 or buffer.is_meta:
        return Item(
            "", "class", "skipped", "it keeps no inverse frequencies, and its forward has a form of its own"
        )
    theta = _theta(type(module), config)
    right, _ = exact.default(2 * len(buffer), theta)
    error = (buffer.double() - right).abs()
    # theta ** -e: see `cosine_error`; without the position.
    limits = right * float(cosine_error(torch.ones(1), theta, torch.float32)[0])
    if not bool((error <= limits).all()):
        at = int((error / limits).argmax())
        words = f"inverse frequency {at} is {float(buffer[at]):.6g}, expected {float(right[at]):.6g}"
        return Item("", "class", "wrong", words, float(error[at]), float(limits[at]), "theta",
                    advice="compare the file with the one of its release")  # fmt: skip
    if shape.forward not in ("vision_rows", "vision_angles", "vision_table"):
        words = "inverse frequencies only: its forward has a form of its own"
        return Item("", "class", "ok", words, float(error.max()), float(limits.max()))
    try:
        return _patches(module, right, theta, shape)
    except Exception as failure:
        words = f"inverse frequencies only: forward cannot be called here ({reason_of(failure)})"
        return Item("", "class", "ok", words, float(error.max()), float(limits.max()))


def _theta(cls: Any, config: Any) -> float:
    for name in _THETAS:
        value = getattr(config, name, None)
        if isinstance(value, dict):
            value = value.get("rope_theta")
        if isinstance(value, (int, float)):
            return float(value)
    default = inspect.signature(cls.__init__).parameters.get("theta")
    value = None if default is None else default.default
    return float(value) if isinstance(value, (int, float)) else 10000.0


def _patches(module: Any, right: Tensor, theta: float, shape: Shape) -> Item:
    if shape.forward == "vision_table":
        found = module(128)
        turns = torch.outer(torch.arange(128).double(), right)
        # A frequency's error and the product's; cos is not computed.
        return _result(found, turns, cosine_error(turns, theta, torch.float32), torch.arange(128))
    if shape.forward == "vision_angles":
        found = module(_PATCHES)
        angles = (_PATCHES[..., None] * right).flatten(1)
        return _result(found, angles, cosine_error(angles, theta, torch.float32), _PATCHES.amax(dim=-1))
    with torch.no_grad():
        cos, sin = module(torch.zeros(1, len(_PATCHES), 4), _PATCHES)
        if cos.numel() < len(_PATCHES) * len(right) * 2:  # Gemma 4 takes a batch of patches
            cos, sin = module(torch.zeros(1, len(_PATCHES), 4), _PATCHES[None])
    cos, sin = (table.double().reshape(len(_PATCHES), -1) for table in (cos, sin))
    axes = [torch.outer(_PATCHES[:, axis].double(), right) for axis in (0, 1)]
    known = torch.cat(axes, dim=-1)
    limits = cosine_error(known, theta, torch.float32)
    used: set[int] = set()
    largest, tolerance = 0.0, 0.0
    for column in range(cos.shape[-1]):
        fits = _fitting(cos[:, column], sin[:, column], known, limits)
        if not fits:
            words = f"column {column} of cos and sin is that of no axis and frequency"
            return Item(
                "", "class", "wrong", words, fault="tables", advice="compare the file with its release's"
            )
        used.update(fits)
        best = fits[0]
        error = (cos[:, column] - known[:, best].cos()).abs().max()
        largest, tolerance = max(largest, float(error)), max(tolerance, float(limits[:, best].max()))
    missing = known.shape[-1] - len(used)
    if missing:
        words = f"{missing} of the {known.shape[-1]} frequencies of two axes are in no column of cos and sin"
        return Item("", "class", "wrong", words, fault="tables", advice="compare the file with its release's")
    return Item("", "class", "ok", max_error=largest, tolerance=tolerance)


def _fitting(cos: Tensor, sin: Tensor, known: Tensor, limits: Tensor) -> list[int]:
    error = torch.maximum((cos[:, None] - known.cos()).abs(), (sin[:, None] - known.sin()).abs())
    return [int(n) for n in (error <= limits).all(dim=0).nonzero().flatten()]


def _result(found: Tensor, right: Tensor, limits: Tensor, positions: Tensor) -> Item:
    error = (found.double().reshape(right.shape) - right).abs()
    excess = torch.where(error == 0, 0.0, error / limits)
    at = int(excess.argmax())
    values = float(error.flatten()[at]), float(limits.flatten()[at])
    if float(excess.max()) <= 1:
        return Item("", "class", "ok", "", *values)
    where = int(positions[at // right.shape[-1]])
    return Item("", "class", "wrong", "angles are not positions times frequencies", *values, "tables", where)
