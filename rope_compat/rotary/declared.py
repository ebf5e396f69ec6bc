"""Layouts that a caller declares: (b, h, s, d) or (b, s, h, d), and whether the sizes agree with it.

Pure Python on tuples of ints, as `mismatch` is.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["LAYOUTS", "axis_of", "explain_ambiguous", "explain_declared", "unknown_layout"]

#: Which axis has the positions, and the name of the layout for people.
LAYOUTS = {"bhsd": (-2, "(b, h, s, d)"), "bshd": (-3, "(b, s, h, d)")}


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
