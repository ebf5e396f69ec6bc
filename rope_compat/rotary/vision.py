"""The functions of vision attention: computed in float32, handed back in each input's own dtype."""

from __future__ import annotations

from torch import Tensor

from ..errors import LayoutError
from .layouts import check_pair
from .mismatch import explain_mismatch
from .pairing import rotate_half

__all__ = ["vision", "vision_single"]


def vision(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """``apply_rotary_pos_emb_vision(q, k, cos, sin)`` of ``modeling_qwen2_vl.py``, from 4.50.0 on.

    - ``q``, ``k``: ``[S, H, D]`` or ``[B, S, H, D]``, any floating dtype each.
    - ``cos``, ``sin``: ``[S, D]`` or ``[B, S, D]``, any floating dtype.

    Computes in float32 (also for float64 input, as upstream does), equal to the bit, and returns q and k in
    their own dtypes and shapes. 4.49.0 differs only where cos and sin are not float32: it did not cast
    these. Raises `LayoutError` for shapes that do not meet, `CallFormError` for cos and sin of different
    shapes.
    """
    check_pair(cos, sin)
    _check_layout(q, cos, "q")
    _check_layout(k, cos, "k")
    orig_q_dtype = q.dtype
    orig_k_dtype = k.dtype
    q, k = q.float(), k.float()
    cos, sin = cos.unsqueeze(-2).float(), sin.unsqueeze(-2).float()
    q_embed = (q * cos) + (rotate_half(q) * sin)
    k_embed = (k * cos) + (rotate_half(k) * sin)
    return q_embed.to(orig_q_dtype), k_embed.to(orig_k_dtype)


def vision_single(tensor: Tensor, freqs: Tensor) -> Tensor:
    """``apply_rotary_pos_emb_vision(tensor, freqs)`` of ``modeling_qwen2_vl.py``, 4.45.0 to 4.48.3.

    - ``tensor``: ``[1, S, H, D]`` (or ``[B, S, H, D]``; ``[S, H, D]`` comes back with a leading axis of 1),
      any floating dtype.
    - ``freqs``: ``[S, D/2]`` angles in radians, any floating dtype; cos and sin are taken in that dtype.

    Computes in float32 and returns the tensor in its own dtype; equal to the bit to upstream.
    ``modeling_qwen2_5_omni.py`` has this form up to 5.16.1. Raises `LayoutError` for shapes that do not
    meet.
    """
    _check_freqs(tensor, freqs)
    orig_dtype = tensor.dtype
    tensor = tensor.float()
    cos = freqs.cos().unsqueeze(1).repeat(1, 1, 2).unsqueeze(0).float()
    sin = freqs.sin().unsqueeze(1).repeat(1, 1, 2).unsqueeze(0).float()
    output = (tensor * cos) + (rotate_half(tensor) * sin)
    return output.to(orig_dtype)


def _check_layout(x: Tensor, cos: Tensor, name: str) -> None:
    message = explain_mismatch(
        tuple(x.shape), tuple(cos.shape), -2, name=name, allow_growth=False, adjustable=False
    )
    if message is not None:
        raise LayoutError(message)


def _check_freqs(tensor: Tensor, freqs: Tensor) -> None:
    ranks_fit = freqs.ndim == 2 and tensor.ndim in (3, 4)
    if ranks_fit and (freqs.shape[0], 2 * freqs.shape[1]) == (tensor.shape[-3], tensor.shape[-1]):
        return
    raise LayoutError(
        f"tensor has shape {tuple(tensor.shape)}, freqs {tuple(freqs.shape)}; expected a tensor "
        "(b, s, h, d) and freqs (s, d / 2), angles in radians. Pass one angle per pair of channels, "
        "not the concatenation of both halves, and not cos or sin"
    )
