"""Whether a function computes what `identify` says: its words against the fp64 reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rope_compat import Identity
from rope_compat.rotary import reference

SIZES = {"B": 2, "H": 3, "S": 5, "N": 9, "D": 16, "3": 3}


def error_of(function: Callable[..., Any], identity: Identity) -> float:
    """The largest difference between what it gives and what the identity says, in the first form of call."""
    call = identity.calls[0]
    angles = _angles(call.tables)
    tokens = _of_tokens(angles, call.tables)
    xs: list[Tensor] = []
    arguments: list[Any] = []
    for word in identity.arguments.strip("()").split(", "):
        name, _, meaning = word.partition(": ")
        if name in identity.turned:
            xs.append(torch.randn(2, 3, 5, 16, generator=torch.Generator().manual_seed(len(xs))))
            arguments.append(_in_layout(xs[-1], call.layout))
        else:
            arguments.append(_table(identity, meaning or name, angles, call.positions))
    answer = function(*arguments)
    answers = [answer] if isinstance(answer, Tensor) else list(answer)
    worst = 0.0
    for x, found in zip(xs, answers, strict=False):
        if call.layout in ("bsd", "shd"):
            x = x[:, :1] if call.layout == "bsd" else x[:1]
        wanted = _in_layout(_turned(x, tokens, identity), call.layout)
        worst = max(worst, (found.double() - wanted).abs().max().item())
    return worst


def _angles(shape: str) -> Tensor:
    lead = [SIZES.get(axis, 1) for axis in shape.strip("[]").split(", ")[:-1]]
    return (
        torch.rand(*lead, SIZES["D"] // 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        * 6
    )


def _of_tokens(angles: Tensor, shape: str) -> Tensor:
    """``[B or 1, 1, S, pairs]``: each token's angles; positions choose the rows of longer tables."""
    if "3" in shape:
        parts = angles.split([2, 3, 3], -1)
        return torch.cat([part[axis] for axis, part in enumerate(parts)], -1)[:, None]
    if "N" in shape:
        return angles.reshape(SIZES["N"], -1)[_positions()][:, None]
    flat = angles.reshape(-1, SIZES["S"], angles.shape[-1])
    return flat[:, None]


def _positions() -> Tensor:
    return torch.tensor([[3, 1, 8, 0, 2], [4, 4, 7, 5, 6]])


def _table(identity: Identity, meaning: str, angles: Tensor, positions: str) -> Any:
    if meaning.startswith("pos") or meaning.endswith("position_ids"):
        found = _positions()
        if positions == "[S]":
            return found[0]
        return torch.stack((found, found), -1) if positions == "[B, S, 2]" else found
    wide = _wide(angles, identity)
    cos, sin = wide.cos().float(), wide.sin().float()
    if meaning.startswith("cos") and "sin" not in meaning:
        return cos
    if meaning.startswith("sin") and "cos" not in meaning:
        return sin
    return {
        "cos + i sin": torch.complex(cos, sin),
        "angles": wide.float(),
        "cos|sin": torch.cat((cos, sin), -1),
        "sin|cos": torch.cat((sin, cos), -1),
        "(cos, sin)": (cos, sin),
        "mrope_section": [2, 3, 3],
    }[meaning]


def _wide(angles: Tensor, identity: Identity) -> Tensor:
    if identity.tables == "one column a pair":
        return angles
    if identity.tables.startswith("repeated"):
        return angles.repeat_interleave(2, -1)
    blocks = angles.chunk(identity.blocks, -1)
    return torch.cat([block for each in blocks for block in (each, each)], -1)


def _turned(x: Tensor, angles: Tensor, identity: Identity) -> Tensor:
    angles = angles * identity.direction
    parts = zip(x.chunk(identity.blocks, -1), angles.chunk(identity.blocks, -1), strict=True)
    found = torch.cat([reference.rotate_by_angle(part, turn, identity.pairing) for part, turn in parts], -1)
    if identity.outputs == "halves":
        found = torch.cat((found[..., ::2], found[..., 1::2]), -1)
    return found


def _in_layout(x: Tensor, layout: str) -> Tensor:
    if layout == "bsd":
        return x[:, 0]
    if layout == "shd":
        return x[0].transpose(0, 1)
    return x.permute(["bhsd".index(axis) for axis in layout])
