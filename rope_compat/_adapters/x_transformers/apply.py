"""``apply_rotary_pos_emb(t, freqs, scale=1)`` of x-transformers, for freqs and scale of every rank.

Releases to 1.42.20 take freqs ``[n, d]``, those after ``[b or 1, n, d]``, 1.22.10 to 1.22.12 any. What the
installed function takes and computes rightly goes to it; the rest is computed here by its formula, with the
installed ``rotate_half``, so with the installed pairing of channels. The result then has the dtype of t, as
from 1.30.2 on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..functions.base import AdapterInfo, misfit, refuse
from .shape import ApplyShape

__all__ = ["adapt_apply"]

Apply = Callable[..., Any]


def adapt_apply(
    native: Apply, rotate_half: Callable[[Tensor], Tensor], shape: ApplyShape, info: AdapterInfo
) -> Apply:
    """The function that stands in the place of `native`."""
    is_native = _on_batches(shape) if shape.rank == 3 else _on_tables(shape)

    def apply_rotary_pos_emb(t: Any, freqs: Any, scale: Any = 1) -> Any:
        # freqs before t, as the function itself looks at them: so a compiler finds the inputs of its graph.
        if isinstance(freqs, Tensor) and isinstance(t, Tensor) and is_native(t, freqs, scale):
            return native(t, freqs, scale)
        return _rotated(info, rotate_half, t, freqs, scale)

    def from_t(t: Any, freqs: Any, scale: Any = 1) -> Any:
        if isinstance(t, Tensor) and isinstance(freqs, Tensor) and is_native(t, freqs, scale):
            return native(t, freqs, scale)
        return _rotated(info, rotate_half, t, freqs, scale)

    return from_t if shape.looks_at_t_first else apply_rotary_pos_emb


def _on_batches(shape: ApplyShape) -> Callable[[Tensor, Tensor, Any], bool]:
    """Native: freqs ``[b or 1, n, d]``, from 1.42.21 on."""
    spreads_scale = shape.spreads_scale

    def is_native(t: Tensor, freqs: Tensor, scale: Any) -> bool:
        if freqs.dim() != 3:
            return False
        if not isinstance(scale, Tensor):
            return True
        # To 2.11.11 the scale lacked the axis of the heads: an error, or the scale of another sample.
        return scale.dim() == 3 and (spreads_scale or t.dim() != 4 or scale.shape[0] == 1)

    return is_native


def _on_tables(shape: ApplyShape) -> Callable[[Tensor, Tensor, Any], bool]:
    """Native: freqs ``[n, d]``, to 1.42.20."""
    any_rank, takes_batch, is_partial, slices_scale = (
        shape.any_rank, shape.takes_batch, shape.is_partial, shape.slices_scale,
    )  # fmt: skip

    def is_native(t: Tensor, freqs: Tensor, scale: Any) -> bool:
        rank = freqs.dim()
        length = t.shape[-2] if t.dim() > 1 else 0
        if not is_partial and freqs.shape[-1] != t.shape[-1]:
            return False
        # To 1.27.11 rows of the scale were not picked: with a cache, its length is not that of t.
        if isinstance(scale, Tensor) and not (
            scale.dim() == 2 and (slices_scale or scale.shape[0] == length)
        ):
            return False
        if rank == 2:
            return True
        if any_rank:
            return rank == 4 or (rank == 3 and (takes_batch or t.dim() == 3 or freqs.shape[0] == 1))
        if rank != 3 or not takes_batch or (slices_scale and isinstance(scale, Tensor)):
            return False
        # The others pick rows along the first axis, which is the batch here.
        return freqs.shape[-2] == length and freqs.shape[0] <= length

    return is_native


def _rotated(
    info: AdapterInfo, rotate_half: Callable[[Tensor], Tensor], t: Any, freqs: Any, scale: Any
) -> Tensor:
    given = {"freqs": freqs, "scale": scale}
    form = ""
    if isinstance(freqs, tuple) and len(freqs) == 2 and isinstance(freqs[0], Tensor):
        form = "pair"
        freqs, own_scale = freqs
        if isinstance(own_scale, Tensor):
            raise refuse(
                info, (t,), given, "with xPos say which scale is meant: scale for q, scale ** -1 for k"
            )
    if not isinstance(t, Tensor) or not isinstance(freqs, Tensor) or t.dim() < 2:
        raise refuse(info, (t,), given, "t has to be a tensor [..., n, d], freqs one of angles")
    if isinstance(scale, bool) or not isinstance(scale, (int, float, Tensor)):
        raise refuse(info, (t,), given, "scale has to be a number, or a tensor of the shape of freqs")
    width = freqs.shape[-1]
    if not 2 <= freqs.dim() <= 4 or (isinstance(scale, Tensor) and not 2 <= scale.dim() <= 4 and scale.dim()):
        raise refuse(info, (t,), given, "freqs and scale have rank 2, 3 or 4")
    if width % 2 or width > t.shape[-1]:
        raise misfit(info, f"freqs are {width} wide, t {t.shape[-1]}: an even width is expected, at most t's")
    info.count(form or {2: "table", 3: "batched", 4: "with heads"}[freqs.dim()])
    angle = _fitted(info, "freqs", freqs, t)
    factor = _fitted(info, "scale", scale, t) if isinstance(scale, Tensor) and scale.dim() else scale
    turned, rest = t[..., :width], t[..., width:]
    turned = turned * angle.cos() * factor + rotate_half(turned) * angle.sin() * factor
    return torch.cat((turned, rest.to(turned.dtype)), dim=-1).to(t.dtype)


def _fitted(info: AdapterInfo, name: str, values: Tensor, t: Tensor) -> Tensor:
    """The last rows of `values`, as many as t has, with as many axes as t, or fewer."""
    length, rows = t.shape[-2], values.shape[-2]
    if rows < length:
        raise misfit(info, f"{name} has {rows} rows, t {length} positions: expected at least as many")
    values = values[..., rows - length :, :]
    if values.dim() == 3 and t.dim() == 4:
        values = values[:, None]
    elif values.dim() == 4 and t.dim() == 3 and values.shape[1] == 1:
        values = values[:, 0]
    leading = t.shape[-values.dim() : -2] if values.dim() <= t.dim() else ()
    if values.dim() > t.dim() or any(
        size not in (1, whole) for size, whole in zip(values.shape[:-2], leading, strict=True)
    ):
        raise misfit(
            info,
            f"{name} is {list(values.shape)}, t {list(t.shape)}: expected {name} [n, d], [b or 1, n, d] or "
            "[b or 1, h or 1, n, d], with the batch and the heads of t",
        )
    return values
