"""Rotary position embedding in float64, by its definition.

Written apart from the production code, on purpose: pairs are picked by explicit channel numbers and turned
by 2x2 matrices or by complex multiplication, nothing is imported from the rest of the package, and every
result is float64 whatever goes in. Use it to judge other implementations; it is slow.

Definition: RoFormer (Su et al., 2021, arXiv 2104.09864), section 3.2.2: the pair of channels i at position
m turns by the angle ``m * theta ** (-2 i / d)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "apply",
    "channel_axes",
    "cis",
    "cos_sin",
    "deinterleave",
    "flashatt",
    "freqs",
    "multimodal",
    "rotate",
    "rotate_by_angle",
    "rotate_by_cis",
    "unpadded",
    "vision",
]


def freqs(seq_len: int, dim: int, theta: float = 10000.0) -> Tensor:
    """Angles ``m * theta ** (-2 i / dim)`` of position m, pair i: radians, float64 ``[seq_len, dim / 2]``."""
    _even(dim)
    rates = [theta ** (-2.0 * i / dim) for i in range(dim // 2)]
    return torch.tensor([[m * rate for rate in rates] for m in range(seq_len)], dtype=torch.float64)


def cos_sin(
    seq_len: int, dim: int, theta: float = 10000.0, *, pairing: str = "half", scaling: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Full-width tables of cos and sin, float64 ``[seq_len, dim]`` each, times ``scaling``.

    ``scaling`` is the attention factor of YaRN and LongRoPE. Raises ValueError for an odd dim or unknown
    pairing.
    """
    angles = freqs(seq_len, dim, theta)
    pair_of = [0] * dim
    for pair, (first, second) in enumerate(_pairs(dim, pairing)):
        pair_of[first] = pair_of[second] = pair
    angles = angles[:, pair_of]
    return angles.cos() * scaling, angles.sin() * scaling


def rotate(x: Tensor, cos: Tensor, sin: Tensor, pairing: str = "half") -> Tensor:
    """Multiply each pair of channels by its 2x2 matrix, in float64.

    ``x``: ``[..., D]``; ``cos``, ``sin``: ``[..., R]`` with R even and at most D, broadcastable with x on
    the other axes; channels from R on pass through. Pair (a, b): ``a' = a cos_a - b sin_a``, ``b' = a sin_b
    + b cos_b``. Returns float64 of the broadcast shape. Raises ValueError for an odd R or an unknown
    pairing.
    """
    x, cos, sin = x.double(), cos.double(), sin.double()
    width = cos.shape[-1]
    shape = (x[..., 0] * cos[..., 0]).shape
    channels: list[Tensor | None] = [None] * width
    for a, b in _pairs(width, pairing):
        matrix = torch.stack(
            [
                torch.stack([cos[..., a], -sin[..., a]], dim=-1),
                torch.stack([sin[..., b], cos[..., b]], dim=-1),
            ],
            dim=-2,
        )
        point = torch.stack([x[..., a], x[..., b]], dim=-1)
        turned = torch.einsum("...ij,...j->...i", matrix, point).expand(*shape, 2)
        channels[a], channels[b] = turned[..., 0], turned[..., 1]
    rest = [x[..., channel].expand(shape) for channel in range(width, x.shape[-1])]
    return torch.stack([channel for channel in channels if channel is not None] + rest, dim=-1)


def rotate_by_angle(x: Tensor, angles: Tensor, pairing: str = "half") -> Tensor:
    """Multiply each pair of channels, as a complex number, by ``exp(i angle)``, in float64.

    ``x``: ``[..., D]``; ``angles``: ``[..., R/2]`` in radians, broadcastable with x on the other axes;
    channels from R on pass through. Returns float64 of x's shape. Raises ValueError for an unknown pairing.
    """
    return rotate_by_cis(x, cis(angles), pairing)


def cis(angles: Tensor, scaling: float = 1.0) -> Tensor:
    """``scaling * exp(i angle)``, complex128 of the angles' shape: ``freqs_cis`` of Llama 4, DeepSeek-V2."""
    return torch.polar(torch.full_like(angles, scaling, dtype=torch.float64), angles.double())


def rotate_by_cis(x: Tensor, freqs_cis: Tensor, pairing: str = "interleaved") -> Tensor:
    """Multiply each pair of channels, as a complex number, by ``freqs_cis``, in float64.

    ``x``: ``[..., D]``; ``freqs_cis``: complex ``[..., R/2]``, broadcastable with x on the other axes, so for
    x ``[B, S, H, D]`` of ``apply_rotary_emb(xq, xk, freqs_cis)`` it is ``freqs_cis[:, :, None]``; channels
    from R on pass through. Returns float64 of x's shape. Raises ValueError for an unknown pairing.
    """
    return _multiply(x.double(), freqs_cis.to(torch.complex128), pairing)


def apply(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    position_ids: Tensor | None = None,
    unsqueeze_dim: int = 1,
    pairing: str = "half",
) -> tuple[Tensor, Tensor]:
    """What ``apply_rotary_pos_emb`` means, whatever the release, in float64.

    - ``q``, ``k``: ``[B, H, S, D]`` for ``unsqueeze_dim=1``, ``[B, S, H, D]`` for 2.
    - ``cos``, ``sin``: gathered, ``[B or 1, S, R]``; or tables, ``[N, R]`` or ``[1, 1, N, R]``, looked up at
      ``position_ids`` (``[B or 1, S]``, or ``[S]``). Position_ids beside gathered values have nothing to do.

    Returns float64 q and k. Raises ValueError for a ``[1, 1, N, R]`` table without position_ids, an odd R
    or an unknown pairing.
    """
    if cos.ndim == 4:
        if position_ids is None:
            raise ValueError(f"cos has shape {tuple(cos.shape)}, a table; expected position_ids with it")
        cos, sin = cos.reshape(cos.shape[2:]), sin.reshape(sin.shape[2:])
    if cos.ndim == 2 and position_ids is not None:
        rows = [position_ids] if position_ids.ndim == 1 else list(position_ids)
        cos = torch.stack([torch.stack([cos[int(p)] for p in row]) for row in rows])
        sin = torch.stack([torch.stack([sin[int(p)] for p in row]) for row in rows])
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return rotate(q, cos, sin, pairing), rotate(k, cos, sin, pairing)


def vision(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """What ``apply_rotary_pos_emb_vision(q, k, cos, sin)`` means, in float64.

    ``q``, ``k``: ``[S, H, D]`` or ``[B, S, H, D]``; ``cos``, ``sin``: ``[S, D]`` or ``[B, S, D]``. The form
    ``(tensor, freqs)`` is ``rotate_by_angle(tensor, freqs[:, None])``.
    """
    cos, sin = cos[..., None, :], sin[..., None, :]
    return rotate(q, cos, sin), rotate(k, cos, sin)


def flashatt(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """What ``apply_rotary_pos_emb_flashatt(q, k, cos, sin)`` means, in float64, by complex multiplication.

    ``q``, ``k``: ``[B, S, H, D]``; ``cos``, ``sin``: ``[S, D]``, of which the first half is used, or ``[S,
    D/2]``. The form ``(tensor, freqs)`` is ``rotate_by_angle(tensor, freqs[:, None])``.
    """
    half = q.shape[-1] // 2
    turn = torch.complex(cos[:, None, :half].double(), sin[:, None, :half].double())
    return _multiply(q.double(), turn, "half"), _multiply(k.double(), turn, "half")


def channel_axes(sections: list[int], *, doubled: bool = False) -> list[int]:
    """Which axis each channel of a multimodal rotary embedding takes its angle from.

    ``sections``: pairs of channels for each axis. The two halves of the width hold the same angles, so the
    axes come twice; with ``doubled`` (HunYuan-VL) each section is twice as wide instead.
    """
    if doubled:
        return [axis for axis, width in enumerate(sections) for _ in range(2 * width)]
    once = [axis for axis, width in enumerate(sections) for _ in range(width)]
    return once + once


def multimodal(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    sections: list[int],
    unsqueeze_dim: int = 1,
    pairing: str = "half",
    *,
    doubled: bool = False,
) -> tuple[Tensor, Tensor]:
    """What ``apply_multimodal_rotary_pos_emb`` means, in float64; cos and sin are ``[axes, B, S, D]``.

    ``pairing="interleaved"`` (GLM-4V): cos and sin are laid out by halves nevertheless, as the module gives
    them.
    """
    axes = channel_axes(sections, doubled=doubled)
    columns = list(range(cos.shape[-1]))
    if pairing == "interleaved":
        columns = [channel // 2 for channel in columns]
    cos, sin = (
        torch.stack([table[axes[column], ..., column] for column in columns], dim=-1).unsqueeze(unsqueeze_dim)
        for table in (cos, sin)
    )
    return rotate(q, cos, sin, pairing), rotate(k, cos, sin, pairing)


def deinterleave(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """What ``apply_rotary_pos_emb_interleave`` means, in float64, by complex multiplication.

    cos and sin are laid out by halves; the first channels of all pairs come first in the result.
    """
    half = cos.shape[-1] // 2
    turn = torch.complex(cos[..., :half].double(), sin[..., :half].double()).unsqueeze(unsqueeze_dim)
    order = [*range(0, 2 * half, 2), *range(1, 2 * half, 2)]
    turned_q, turned_k = (_multiply(x.double(), turn, "interleaved")[..., order] for x in (q, k))
    return turned_q, turned_k


def unpadded(qkv: Tensor, cos: Tensor, sin: Tensor, cu_seqlens: list[int]) -> Tensor:
    """What ``apply_rotary_unpadded`` means, in float64: token by token, v as it is."""
    tokens = []
    for sequence, start in enumerate(cu_seqlens[:-1]):
        for position in range(cu_seqlens[sequence + 1] - start):
            turn = torch.complex(cos[position].double(), sin[position].double())
            q, k, v = qkv[start + position].double()
            tokens.append(torch.stack([_multiply(q, turn, "half"), _multiply(k, turn, "half"), v]))
    return torch.stack(tokens)


def _multiply(x: Tensor, turn: Tensor, pairing: str) -> Tensor:
    width = 2 * turn.shape[-1]
    pairs = _pairs(width, pairing)
    firsts, seconds = [a for a, _ in pairs], [b for _, b in pairs]
    turned = torch.complex(x[..., firsts], x[..., seconds]) * turn
    together = torch.cat([turned.real, turned.imag, x[..., width:]], dim=-1)
    home = torch.tensor(firsts + seconds + list(range(width, x.shape[-1])))
    return together[..., torch.argsort(home).tolist()]


def _pairs(width: int, pairing: str) -> list[tuple[int, int]]:
    _even(width)
    if pairing == "half":
        return [(i, i + width // 2) for i in range(width // 2)]
    if pairing == "interleaved":
        return [(2 * i, 2 * i + 1) for i in range(width // 2)]
    raise ValueError(f'pairing={pairing!r} was given; expected "half" or "interleaved"')


def _even(width: int) -> None:
    if width % 2 != 0:
        raise ValueError(
            f"a rotary width of {width} was given; expected an even number, two channels per pair"
        )
