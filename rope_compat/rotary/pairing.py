"""Which channels of a head make a pair.

"half" pairs channel i with channel i + D/2 (GPT-NeoX, Llama, Qwen and most others); "interleaved" pairs
channel 2i with channel 2i + 1 (RoFormer itself, GPT-J, Cohere, GLM, DeepSeek-V3). The two are one rotation
under a permutation of channels.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ..errors import CallFormError

__all__ = [
    "Pairing",
    "half_to_interleaved",
    "interleaved_to_half",
    "quarter_turn",
    "rotate_every_two",
    "rotate_half",
]

Pairing: TypeAlias = Literal["half", "interleaved"]


def rotate_half(x: Tensor) -> Tensor:
    """Turn every pair (i, i + D/2) by 90 degrees: ``cat((-x2, x1))`` of the two halves of the last axis.

    ``x``: ``[..., D]``, D even, any dtype; the result has the same shape and dtype. As in
    ``modeling_llama.py``, 4.28.0 to 5.23.0, to the bit.
    """
    x1 = x[..., : x.shape[-1] // 2]
    x2 = x[..., x.shape[-1] // 2 :]
    return torch.cat((-x2, x1), dim=-1)


def rotate_every_two(x: Tensor) -> Tensor:
    """Turn every pair (2i, 2i + 1) by 90 degrees: ``(-x1, x0, -x3, x2, ...)`` along the last axis.

    ``x``: ``[..., D]``, D even, any dtype; the result has the same shape and dtype. As ``rotate_every_two``
    in ``modeling_gptj.py`` and ``rotate_half`` in ``modeling_cohere.py`` and ``modeling_glm.py``, to the
    bit.
    """
    x1 = x[..., ::2]
    x2 = x[..., 1::2]
    return torch.stack((-x2, x1), dim=-1).flatten(-2)


def quarter_turn(x: Tensor, pairing: Pairing) -> Tensor:
    """`rotate_half` or `rotate_every_two`, as ``pairing`` says.

    Raises `CallFormError` for a pairing of another name.
    """
    if pairing == "half":
        return rotate_half(x)
    if pairing == "interleaved":
        return rotate_every_two(x)
    raise CallFormError(unknown_pairing(pairing))


def unknown_pairing(pairing: object) -> str:
    """The message for a pairing that does not exist."""
    return (
        f'pairing={pairing!r} was given; expected "half" (channels i, i + D/2) or "interleaved" (2i, 2i + 1)'
    )


def interleaved_to_half(x: Tensor) -> Tensor:
    """Reorder the channels ``(0, 1, 2, 3, ...)`` of the last axis as ``(0, 2, ..., 1, 3, ...)``.

    ``x``: ``[..., D]``, D even, any dtype; same shape and dtype out. Interleaved pairs become half pairs:
    ``rotate_half(interleaved_to_half(x))`` is ``interleaved_to_half(rotate_every_two(x))``. As the
    ``view(..., D/2, 2).transpose(-1, -2)`` in ``apply_rotary_pos_emb_interleave`` of
    ``modeling_deepseek_v3.py``.
    """
    return torch.cat((x[..., ::2], x[..., 1::2]), dim=-1)


def half_to_interleaved(x: Tensor) -> Tensor:
    """Undo `interleaved_to_half`: half pairs of the last axis become interleaved pairs.

    ``x``: ``[..., D]``, D even, any dtype; same shape and dtype out.
    """
    half = x.shape[-1] // 2
    return torch.stack((x[..., :half], x[..., half:]), dim=-1).flatten(-2)
