"""Why q and cos do not meet, in words, from shapes alone.

Pure Python on tuples of ints: nothing here needs torch, reads a tensor or costs anything on a device.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["explain_mismatch"]

Shape = tuple[int, ...]

_LAYOUTS = {
    (3, 0): "(s, h, d)",
    (3, 1): "(h, s, d)",
    (4, 1): "(b, s, h, d)",
    (4, 2): "(b, h, s, d)",
}


def explain_mismatch(
    q_shape: Sequence[int],
    cos_shape: Sequence[int],
    unsqueeze_dim: int,
    *,
    name: str = "q",
    partial_rotary: bool = False,
    allow_growth: bool = True,
    adjustable: bool = True,
) -> str | None:
    """Say why ``cos.unsqueeze(unsqueeze_dim)`` does not broadcast with q, or None if it does.

    - ``q_shape``: 4 axes, (b, h, s, d) or (b, s, h, d), or 3 axes without the batch.
    - ``cos_shape``: ``[S, D]`` or ``[B or 1, S, D]``, not yet unsqueezed.
    - ``name``: what to call the tensor in the message ("q", "k").
    - ``partial_rotary``: the function turns only the first ``cos_shape[-1]`` channels, so a narrower cos is
      fine.
    - ``allow_growth``: False also reports shapes that do broadcast but give a result larger than q, such as
      (b, s, 1, d) with ``unsqueeze_dim=1``, where every position would be paired with every other one.
    - ``adjustable``: False for a function without an ``unsqueeze_dim`` of its own, so that none is advised.

    The meaning of ``unsqueeze_dim`` is that of ``apply_rotary_pos_emb`` in ``modeling_llama.py`` from
    4.35.0 on. The message names the axes and what to pass instead. Raises nothing.
    """
    q, cos = tuple(q_shape), tuple(cos_shape)
    if len(cos) < 2 or len(q) < 3:
        return f"{name} has shape {q}, cos {cos}; expected (b, h, s, d) or (h, s, d), and [S, D] or [B, S, D]"
    if not -len(cos) - 1 <= unsqueeze_dim <= len(cos):
        return f"unsqueeze_dim={unsqueeze_dim} is out of range for cos of shape {cos}; usual are 1 and 2"
    dim = unsqueeze_dim % (len(cos) + 1)
    spread = _unsqueezed(cos, dim)
    turning = (*q[:-1], spread[-1]) if partial_rotary and spread[-1] < q[-1] else q
    if _meets(turning, spread, allow_growth):
        return None
    return (
        _width_problem(q, cos, name, partial_rotary)
        or _old_table(cos)
        or _layout_problem(q, cos, dim, name, unsqueeze_dim if adjustable else None)
        or _batch_problem(q, cos, dim, name)
        or _length_problem(q, cos, dim, name)
        or f"{name} has shape {q}; cos of shape {cos}, unsqueezed to {spread}, does not fit. "
        "Pass cos and sin as [S, D] or [B, S, D], and q and k as (b, h, s, d) or (b, s, h, d)"
    )


def _unsqueezed(shape: Shape, dim: int) -> Shape:
    return (*shape[:dim], 1, *shape[dim:])


def _meets(q: Shape, cos: Shape, allow_growth: bool) -> bool:
    """Do the two broadcast, and (unless growth is allowed) to the shape of q itself?"""
    if not allow_growth and len(cos) > len(q):
        return False
    pairs = zip(reversed(q), reversed(cos), strict=False)
    return all(a == b or b == 1 or (a == 1 and allow_growth) for a, b in pairs)


def _sequence_axis(q: Shape, cos: Shape, dim: int) -> int:
    """The axis of q that the sequence axis of cos lands on."""
    return len(q) - (2 if dim <= len(cos) - 2 else 3)


def _layout(rank: int, axis: int) -> str:
    return _LAYOUTS.get((rank, axis), f"the sequence on axis {axis} of {rank}")


def _width_problem(q: Shape, cos: Shape, name: str, partial_rotary: bool) -> str | None:
    head, width = q[-1], cos[-1]
    if width in (head, 1) or (partial_rotary and width < head):
        return None
    said = f"{name} has shape {q}, head_dim {head}; cos has shape {cos}, width {width}. "
    if width * 2 == head:
        return said + (
            "cos and sin are half width: pass torch.cat((cos, cos), dim=-1) and the same of sin, "
            f"or, if only {width} channels rotate (partial rotary), rotate {name}[..., :{width}] alone"
        )
    if width > head:
        return (
            said + f"cos and sin are wider than head_dim: make them with dim={head}, or slice q and k later"
        )
    return said + f"If only {width} channels rotate (partial rotary), rotate {name}[..., :{width}] alone"


def _old_table(cos: Shape) -> str | None:
    # Rotary modules returned [1, 1, S, D] up to transformers 4.34.
    if len(cos) == 4 and cos[:2] == (1, 1):
        return f"cos has shape {cos}, a table: pass position_ids with it, or pass cos[0, 0][position_ids]"
    return None


def _layout_problem(q: Shape, cos: Shape, dim: int, name: str, given: int | None) -> str | None:
    length, expected, rank = cos[-2], _sequence_axis(q, cos, dim), len(q)
    found = [axis for axis in range(rank - 1) if axis != expected and q[axis] == length]
    # The batch may happen to be as long as the sequence: it is the last axis to suspect.
    for axis in sorted(found, key=lambda a: rank == 4 and a == 0):
        right = _dim_for(q, cos, axis)
        if right is None:
            continue
        said = (
            f"{name} has shape {q}: its axis of length {length}, the sequence, is axis {axis}, "
            f"layout {_layout(rank, axis)}; "
        )
        if given is None:
            said += f"expected {_layout(rank, expected)}. "
        else:
            said += f"unsqueeze_dim={given} expects {_layout(rank, expected)}. Pass unsqueeze_dim={right}"
        low, high = sorted((axis, expected))
        link = "Transpose" if given is None else ", or transpose"
        return f"{said}{link} q and k with .transpose({low}, {high})"
    return None


def _dim_for(q: Shape, cos: Shape, axis: int) -> int | None:
    """The ``unsqueeze_dim`` that puts the sequence of cos on this axis of q, if all other axes then meet."""
    turning = (*q[:-1], cos[-1])
    for dim in range(len(cos) - 1, -1, -1):
        spread = _unsqueezed(cos, dim)
        if _sequence_axis(q, cos, dim) == axis and _meets(turning, spread, allow_growth=False):
            return dim
    return None


def _batch_problem(q: Shape, cos: Shape, dim: int, name: str) -> str | None:
    if len(cos) != 3 or len(q) != 4 or dim == 0 or cos[0] in (1, q[0]):
        return None
    return (
        f"{name} has shape {q}, a batch of {q[0]}; cos has shape {cos}, a batch of {cos[0]}. "
        f"Pass cos and sin of a batch of {q[0]} or 1"
    )


def _length_problem(q: Shape, cos: Shape, dim: int, name: str) -> str | None:
    axis, length = _sequence_axis(q, cos, dim), cos[-2]
    if length in (1, q[axis]):
        return None
    return (
        f"{name} has shape {q}: axis {axis}, the sequence in layout {_layout(len(q), axis)}, has length "
        f"{q[axis]}, but cos of shape {cos} holds {length} positions. "
        "Pass cos and sin of the same positions as q and k; a table is indexed with position_ids first"
    )
