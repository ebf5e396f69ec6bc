"""The functions that call flash-attn's rotary kernel, with torch where there is no kernel.

transformers had them as ``apply_rotary_pos_emb_flashatt`` in ``modeling_qwen2_5_vl.py``: one tensor and
freqs in some 4.49.0.dev0 builds, ``(q, k, cos, sin)`` from 4.49.0 to 4.52.4, gone from 4.53.0.

The kernel is ``flash_attn.layers.rotary.apply_rotary_emb(x, cos, sin)``: x ``[B, S, H, D]``; cos and sin of
half width ``[at least S, R/2]`` in x's dtype; half pairing; the first S rows and the first R channels are
used.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from typing import TypeAlias, cast

import torch
from torch import Tensor

from ..errors import LayoutError
from .layouts import check_pair, full_to_half, half_to_full
from .rotation import rotate

__all__ = [
    "FlashKernel",
    "flash_kernel",
    "flashatt",
    "flashatt_single",
    "make_flashatt",
    "make_flashatt_single",
]

FlashKernel: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


@functools.cache
def flash_kernel() -> FlashKernel | None:
    """flash-attn's rotary kernel, or None when flash-attn is absent or cannot be imported. Looked up once.

    Importing flash-attn takes long and touches the device: call this before tracing, and only when CUDA
    tensors are at hand. ``flash_kernel.cache_clear()`` makes it look again.
    """
    if importlib.util.find_spec("flash_attn") is None:
        return None
    try:
        module = importlib.import_module("flash_attn.layers.rotary")
    except ImportError:
        # Built for another torch or CUDA, or without triton: torch computes the same.
        return None
    return cast("FlashKernel | None", getattr(module, "apply_rotary_emb", None))


def flashatt(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """``apply_rotary_pos_emb_flashatt(q, k, cos, sin)`` of ``modeling_qwen2_5_vl.py``, 4.50.0 to 4.52.4.

    - ``q``, ``k``: ``[B, S, H, D]``, any floating dtype each.
    - ``cos``, ``sin``: ``[S, D]``, of which the first half is used, or ``[S, D/2]``; any floating dtype; more
      than S rows are allowed, as by the kernel, which uses the first S.

    Computes in float32 and returns q and k in their own dtypes and shapes. 4.49.0 differs only in not
    casting cos and sin to float32, so that others fail in its kernel. CUDA tensors go through flash-attn
    when it is installed; else, and under torch.compile (which fuses the torch operations itself), torch
    computes it: equal to the bit to flash-attn's own ``apply_rotary_emb_torch``, and to the kernel within
    float32 rounding. Raises `LayoutError` for shapes that do not meet, `CallFormError` for cos and sin of
    different shapes.
    """
    return _pair(_kernel_for(q), q, k, cos, sin)


def flashatt_single(tensor: Tensor, freqs: Tensor) -> Tensor:
    """``apply_rotary_pos_emb_flashatt(tensor, freqs)`` of ``modeling_qwen2_5_vl.py`` in 4.49.0.dev0 builds.

    - ``tensor``: ``[B, S, H, D]``, any floating dtype.
    - ``freqs``: ``[S, R/2]`` angles in radians, R at most D, any floating dtype; cos and sin are taken in
      that dtype. More than S rows are allowed.

    Computes in float32, on the same device paths as `flashatt`, and returns the tensor in its own dtype and
    shape; channels from R on pass through. Raises `LayoutError` for shapes that do not meet.
    """
    return _single(_kernel_for(tensor), tensor, freqs)


def make_flashatt(
    kernel: FlashKernel | None,
) -> Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """`flashatt` with its kernel decided beforehand, used for CUDA tensors; None: torch computes all."""

    def flashatt(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        return _pair(kernel if q.is_cuda else None, q, k, cos, sin)

    return flashatt


def make_flashatt_single(kernel: FlashKernel | None) -> Callable[[Tensor, Tensor], Tensor]:
    """`flashatt_single` with its kernel decided beforehand, used for CUDA tensors; None: torch does all."""

    def flashatt_single(tensor: Tensor, freqs: Tensor) -> Tensor:
        return _single(kernel if tensor.is_cuda else None, tensor, freqs)

    return flashatt_single


def _kernel_for(x: Tensor) -> FlashKernel | None:
    # No import may happen while torch.compile traces.
    if not x.is_cuda or torch.compiler.is_compiling():
        return None
    return flash_kernel()


def _pair(
    kernel: FlashKernel | None, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor
) -> tuple[Tensor, Tensor]:
    check_pair(cos, sin)
    cos, sin = _first_half(cos, q.shape[-1]), _first_half(sin, q.shape[-1])
    _check(q, cos, "q")
    _check(k, cos, "k")
    cos, sin = cos.contiguous().float(), sin.contiguous().float()
    compute = kernel or _torch_kernel
    return compute(q.float(), cos, sin).type_as(q), compute(k.float(), cos, sin).type_as(k)


def _single(kernel: FlashKernel | None, tensor: Tensor, freqs: Tensor) -> Tensor:
    _check(tensor, freqs, "tensor")
    cos, sin = freqs.cos().float(), freqs.sin().float()
    compute = kernel or _torch_kernel
    return compute(tensor.float(), cos, sin).type_as(tensor)


def _torch_kernel(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    # The kernel reads the first S rows of a longer table.
    cos, sin = cos[: x.shape[1]], sin[: x.shape[1]]
    return rotate(x, half_to_full(cos).unsqueeze(-2), half_to_full(sin).unsqueeze(-2))


def _first_half(cos: Tensor, head_dim: int) -> Tensor:
    width = cos.shape[-1]
    if width == head_dim:
        return full_to_half(cos)
    if 2 * width == head_dim:
        return cos
    raise LayoutError(
        f"cos or sin has shape {tuple(cos.shape)}, q a head_dim of {head_dim}; expected cos and sin of width "
        f"{head_dim}, whose first half is used, or {head_dim // 2}"
    )


def _check(x: Tensor, half: Tensor, name: str) -> None:
    """Refuse what the kernel refuses with an assertion, where torch might broadcast instead."""
    if x.ndim == 4 and half.ndim == 2 and 2 * half.shape[-1] <= x.shape[-1] and x.shape[1] <= half.shape[0]:
        return
    raise LayoutError(
        f"{name} has shape {tuple(x.shape)}; the angles are those of {tuple(half.shape)} (positions, pairs). "
        "Expected (b, s, h, d) with at least s positions and at most d / 2 pairs; "
        "add the batch axis with .unsqueeze(0), or bring (b, h, s, d) there with .transpose(1, 2)"
    )
