"""The forms in which cos and sin are handed over, and conversions between them.

| form | shape | who |
| --- | --- | --- |
| table | ``[S, D]``, one row per position | rotary modules of 4.35 to 4.37, some to 4.44; vision |
| old table | ``[1, 1, S, D]`` | rotary modules to 4.34 |
| gathered | ``[B or 1, s, D]``, one row per token | rotary modules since 4.38 |
| half width | ``[..., D/2]``, one column per pair | flash-attn's kernel, GPT-J, inside DeepSeek-V3 |
| freqs | ``[..., D/2]``, bare angles in radians | vision functions ``(tensor, freqs)`` |

Beside them: layouts of q and k that a caller declares, and what the order of a tensor in memory says about
its axes. Heads come out of a projection ``[B, S, H * D]`` by ``view(B, S, H, D)``, so that the heads of one
token lie together; (b, h, s, d) is made from that by ``transpose(1, 2)``, which moves nothing. A tensor made
as (b, h, s, d) to begin with, or copied, lies in the order of its axes, whatever these mean.

Every check here looks at shapes and dtypes only, never at values: it costs no device synchronisation and is
resolved while torch.compile traces. A position outside its table is torch's own index error.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import CallFormError, LayoutError
from .mismatch import explain_mismatch
from .pairing import Pairing, unknown_pairing

__all__ = [
    "LAYOUTS",
    "as_old_table",
    "as_table",
    "axis_of",
    "check_pair",
    "cos_sin_to_freqs",
    "explain_ambiguous",
    "explain_declared",
    "explain_mismatch",
    "flatten_to_old_table",
    "flatten_to_table",
    "freqs_to_cos_sin",
    "full_to_half",
    "half_to_full",
    "index_tables",
    "is_position_ids",
    "is_table",
    "is_transposed",
    "lies_in_order",
    "unknown_layout",
]

#: Which axis has the positions, and the name of the layout for people.
LAYOUTS = {"bhsd": (-2, "(b, h, s, d)"), "bshd": (-3, "(b, s, h, d)")}


def check_pair(cos: Tensor, sin: Tensor) -> None:
    """Raise `CallFormError` unless cos and sin have one shape."""
    if cos.shape != sin.shape:
        raise CallFormError(
            f"cos has shape {tuple(cos.shape)}, sin {tuple(sin.shape)}; expected one shape for both. "
            "Pass the two tensors that one call of the rotary module returned"
        )


def is_table(cos: Tensor) -> bool:
    """Could this be a table, ``[S, D]`` or ``[1, 1, S, D]``, to be indexed by position?

    The shape ``[S, D]`` is also that of values already gathered for one sequence: whether there are
    position_ids to index with is what tells the two apart, and only the caller knows that.
    """
    return cos.ndim == 2 or (cos.ndim == 4 and cos.shape[0] == 1 and cos.shape[1] == 1)


def is_position_ids(value: object) -> bool:
    """Is this a tensor that can index tables: integers (not bool) of shape ``[s]`` or ``[B, s]``?"""
    if not isinstance(value, Tensor):
        return False
    return value.ndim in (1, 2) and _is_integer(value.dtype)


def as_table(cos: Tensor) -> Tensor:
    """A table ``[S, D]`` or ``[1, 1, S, D]`` as ``[S, D]``; a view, same dtype.

    Raises `CallFormError` for any other shape.
    """
    if not is_table(cos):
        raise CallFormError(
            f"cos or sin has shape {tuple(cos.shape)}; expected a table, [S, D] or [1, 1, S, D]. "
            "Values already gathered, [B, S, D], need no position_ids: leave these out"
        )
    return cos if cos.ndim == 2 else cos[0, 0]


def as_old_table(cos: Tensor) -> Tensor:
    """A table ``[S, D]`` or ``[1, 1, S, D]`` as ``[1, 1, S, D]``, the form up to 4.34; a view.

    Raises `CallFormError` for any other shape.
    """
    return as_table(cos)[None, None]


def index_tables(cos: Tensor, sin: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Look positions up: what ``apply_rotary_pos_emb(q, k, cos, sin, position_ids)`` meant up to 4.37.

    - ``cos``, ``sin``: tables ``[S, D]`` or ``[1, 1, S, D]``, one shape, any floating dtype.
    - ``position_ids``: ``[B, s]`` or ``[s]`` (taken as ``[1, s]``), any integer dtype.

    Returns two ``[B, s, D]`` tensors of the dtypes given, equal to the bit to ``cos[position_ids]`` of
    ``modeling_llama.py`` in 4.36 and to the ``torch.gather`` of 4.28. Negative positions count from the
    end, as torch indexes. Raises `CallFormError` for other ranks, non-integer position_ids, or shapes that
    differ; a position beyond the table is torch's index error.
    """
    check_pair(cos, sin)
    rows = _rows(position_ids)
    return as_table(cos)[rows], as_table(sin)[rows]


def flatten_to_table(cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Make tables and position_ids out of values already gathered, for a function that insists on indexing.

    ``cos``, ``sin``: ``[B, s, D]``, or ``[s, D]`` for a batch of 1. Returns ``(cos2d, sin2d,
    position_ids)``: two tables ``[B * s, D]`` and int64 ``[B, s]``, such that ``cos2d[position_ids]`` is
    cos again, to the bit. The functions of 4.36 and 4.37 need it (``position_ids`` required there, dropped
    upstream in 4.38.0). Raises `CallFormError` for other ranks or shapes that differ.
    """
    check_pair(cos, sin)
    if cos.ndim not in (2, 3):
        raise CallFormError(
            f"cos has shape {tuple(cos.shape)}; expected gathered values, [B, s, D] or [s, D]. "
            "A [1, 1, S, D] table is brought to [S, D] with as_table first"
        )
    batch = cos.shape[0] if cos.ndim == 3 else 1
    length = cos.shape[-2]
    position_ids = torch.arange(batch * length, device=cos.device).view(batch, length)
    return (
        cos.reshape(batch * length, cos.shape[-1]),
        sin.reshape(batch * length, sin.shape[-1]),
        position_ids,
    )


def flatten_to_old_table(cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`flatten_to_table` with ``[1, 1, B * s, D]`` tables, as the functions up to 4.34 expected."""
    cos2d, sin2d, position_ids = flatten_to_table(cos, sin)
    return as_old_table(cos2d), as_old_table(sin2d), position_ids


def half_to_full(cos: Tensor, pairing: Pairing = "half") -> Tensor:
    """One column per pair to one per channel: ``[..., D/2]`` to ``[..., D]``, same dtype.

    "half" gives ``cat((cos, cos))`` (as ``emb`` in Llama's rotary module), "interleaved" repeats each column
    twice (as ``repeat_interleave(2)`` in ``modeling_gptj.py``). Works for sin and for freqs too. Raises
    `CallFormError` for an unknown pairing.
    """
    if pairing == "half":
        return torch.cat((cos, cos), dim=-1)
    if pairing == "interleaved":
        return cos.repeat_interleave(2, dim=-1)
    raise CallFormError(unknown_pairing(pairing))


def full_to_half(cos: Tensor, pairing: Pairing = "half") -> Tensor:
    """One column per channel to one per pair: ``[..., D]`` to ``[..., D/2]``, a view, same dtype.

    Undoes `half_to_full`. A table whose two columns of a pair differ (none of transformers' does) would
    lose the second. Raises `LayoutError` for an odd width, `CallFormError` for an unknown pairing.
    """
    width = cos.shape[-1]
    if width % 2 != 0:
        raise LayoutError(
            f"cos or sin has shape {tuple(cos.shape)}, an odd width; expected two columns per pair"
        )
    if pairing == "half":
        return cos[..., : width // 2]
    if pairing == "interleaved":
        return cos[..., ::2]
    raise CallFormError(unknown_pairing(pairing))


def freqs_to_cos_sin(freqs: Tensor, pairing: Pairing = "half") -> tuple[Tensor, Tensor]:
    """Angles in radians ``[..., D/2]`` to full-width cos and sin ``[..., D]``, in the dtype of freqs.

    In the order of operations of Llama's rotary module: widened first, cos and sin taken then. Raises
    `CallFormError` for an unknown pairing.
    """
    emb = half_to_full(freqs, pairing)
    return emb.cos(), emb.sin()


def cos_sin_to_freqs(cos: Tensor, sin: Tensor, pairing: Pairing = "half") -> Tensor:
    """Full-width cos and sin ``[..., D]`` back to angles ``[..., D/2]``, in radians within -pi..pi.

    The result is fp64 for fp64 input, else fp32. What comes back is the angle of the point (cos, sin), not
    its length: tables scaled by an attention factor (YaRN, LongRoPE) lose that factor, so only unscaled
    tables are returned faithfully. For these, cos and sin of the result equal the input within 3e-7 in fp32,
    4e-4 in fp16 and 3e-3 in bf16. Raises `CallFormError` for shapes that differ or an unknown pairing,
    `LayoutError` for an odd width.
    """
    check_pair(cos, sin)
    # Angles near pi need more digits than half precision has.
    dtype = torch.promote_types(cos.dtype, torch.float32)
    return torch.atan2(full_to_half(sin, pairing).to(dtype), full_to_half(cos, pairing).to(dtype))


def _is_integer(dtype: torch.dtype) -> bool:
    return not (dtype.is_floating_point or dtype.is_complex or dtype == torch.bool)


def _rows(position_ids: Tensor) -> Tensor:
    if not _is_integer(position_ids.dtype):
        raise CallFormError(
            f"position_ids has dtype {position_ids.dtype}; expected integers. "
            "An attention mask or a cos/sin tensor may stand in its place"
        )
    if position_ids.ndim not in (1, 2):
        raise CallFormError(
            f"position_ids has shape {tuple(position_ids.shape)}; expected [B, s] or [s]. "
            "Multimodal [3, B, s] positions are merged by the rotary module, not by indexing"
        )
    # torch takes uint8 indices for a mask, and refuses int8 and int16.
    rows = position_ids.to(torch.int64)
    return rows if rows.ndim == 2 else rows[None]


def axis_of(layout: str, rank: int) -> int:
    """The ``unsqueeze_dim`` that a layout means for q of `rank` axes, where cos has one less."""
    return rank - 3 if layout == "bhsd" else rank - 2


def unknown_layout(layout: object) -> str:
    """The message for a layout that does not exist."""
    return f'layout={layout!r} is not known; expected "bhsd" (b, h, s, d) or "bshd" (b, s, h, d)'


def explain_declared(shape: Sequence[int], length: int, layout: str, name: str = "q") -> str | None:
    """Why a tensor ``[..., H, S, D]`` or ``[..., S, H, D]`` is not as declared; None where it is.

    ``length``: how many positions cos and sin hold. The other layout is named where it does fit.
    """
    axis, text = LAYOUTS[layout]
    place, other = len(shape) + axis, len(shape) - 5 - axis
    if shape[axis] == length:
        return None
    said = (
        f'{name} has shape {tuple(shape)}; layout="{layout}", {text}, was given: axis {place}, the '
        f"positions, has length {shape[axis]}, but cos and sin hold {length} positions"
    )
    if shape[other] != length:
        return said
    right = "bshd" if layout == "bhsd" else "bhsd"
    low, high = sorted((place, other))
    return (
        f'{said}. Axis {other} has length {length}: pass layout="{right}", or transpose q and k with '
        f".transpose({low}, {high})"
    )


def explain_ambiguous(shape: Sequence[int], name: str = "q") -> str:
    """That heads and positions of a tensor cannot be told apart."""
    return (
        f"{name} has shape {tuple(shape)}: as many heads as positions, so that (b, h, s, d) and (b, s, h, d) "
        "both fit, and strict=True refuses that. Say which: unsqueeze_dim=1 for (b, h, s, d), 2 for "
        '(b, s, h, d), or layout="bhsd" or "bshd"'
    )


def is_transposed(x: Tensor) -> bool:
    """Whether the second last axis of ``[..., H, S, D]`` is the outer one in memory, as after ``transpose``.

    False where either axis has length 1: its stride says nothing.
    """
    heads, length = x.shape[-3], x.shape[-2]
    return heads > 1 and length > 1 and x.stride(-3) < x.stride(-2)


def lies_in_order(x: Tensor) -> bool:
    """Whether the third last axis of a tensor is the outer one in memory; not where the strides are equal."""
    return x.stride(-3) > x.stride(-2)
