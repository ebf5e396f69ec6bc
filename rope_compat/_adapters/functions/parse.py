"""Read a call of the `apply_rotary_pos_emb` family into what it means, whatever its form.

Nothing is guessed: tensors are told from each other by their place, their dtype
(position_ids are integers, the rest floating) and their rank, and by nothing else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...rotary import layouts

__all__ = [
    "MislaidCall",
    "RotaryCall",
    "UnreadableCall",
    "is_axis",
    "is_positions",
    "length_of",
    "parse_call",
]

_ROTATED = ("q", "k", "v", "x", "tensor")
_KNOWN = frozenset((*_ROTATED, "cos", "sin", "position_ids", "unsqueeze_dim", "offset", "layout"))


class UnreadableCall(Exception):  # noqa: N818 - never leaves the package: `refuse` turns it into an error
    """The call is in no known form; the message says what stands in the way."""


class MislaidCall(UnreadableCall):
    """The tensors of the call do not lie as it says."""


class RotaryCall(NamedTuple):
    """What a call means.

    Attributes:
        rotated: the tensors to rotate: (x,), (q, k) or (q, k, v).
        cos: cosines; see `position_ids`.
        sin: sines, of the shape of cos.
        position_ids: integer tensor, or None.
        unsqueeze_dim: the axis of q that cos and sin lack; None where the call did not say.
        offset: first row used of rank-4 tables; None where the call did not say.
    """

    rotated: tuple[Tensor, ...]
    cos: Tensor
    sin: Tensor
    position_ids: Tensor | None
    unsqueeze_dim: int | None
    offset: int | None


def is_positions(value: Any) -> bool:
    """Whether `value` can be position_ids, to index with or to ignore: an integer tensor of rank 1 or more.

    Not `layouts.is_position_ids`, which is about indexing: Qwen2-VL hands ``[3, B, S]`` on to be ignored.
    """
    if not isinstance(value, Tensor) or value.dtype == torch.bool:
        return False
    return not (value.is_floating_point() or value.is_complex() or value.dim() == 0)


def is_axis(value: Any) -> bool:
    """Whether `value` can be an axis or an offset: an int, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def parse_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], *, most: int = 2, fifth_is_offset: bool = False
) -> RotaryCall:
    """Read a call.

    Args:
        args: its positional arguments.
        kwargs: its keyword arguments.
        most: how many tensors the function can rotate.
        fifth_is_offset: an int after sin is an offset where cos is a rank-4 table, as in
            GPT-NeoX-Japanese to 4.44.2.

    Raises:
        UnreadableCall: the call is in no known form.
    """
    tensors: list[Any] = []
    for value in args:
        if not (isinstance(value, Tensor) and value.is_floating_point()):
            break
        tensors.append(value)
    rest = args[len(tensors) :]
    for name in kwargs:
        if name not in _KNOWN:
            raise UnreadableCall(f"no form has an argument {name!r}")
    if len(tensors) > 5:
        raise UnreadableCall(f"{len(tensors)} floating-point tensors are given; forms have 3, 4 or 5")
    sin = kwargs["sin"] if "sin" in kwargs else tensors.pop() if tensors else None
    cos = kwargs["cos"] if "cos" in kwargs else tensors.pop() if tensors else None
    if not isinstance(cos, Tensor) or not isinstance(sin, Tensor):
        raise UnreadableCall("cos and sin must be tensors")
    if cos.shape != sin.shape:
        raise UnreadableCall(
            f"the last two of the floating-point tensors, cos and sin, have shapes {tuple(cos.shape)} and "
            f"{tuple(sin.shape)}; they must be equal, and position_ids must be integers"
        )
    rotated = _rotated(tensors, kwargs)
    if len(rotated) > most:
        raise UnreadableCall(
            f"{len(rotated)} floating-point tensors stand before cos and sin; this function rotates at most "
            f"{most}, and position_ids must be integers"
        )
    positions, axis, offset = _options(rest, kwargs, fifth_is_offset=fifth_is_offset and cos.dim() == 4)
    call = RotaryCall(rotated, cos, sin, positions, axis, offset)
    layout = kwargs.get("layout")
    return call if layout is None else _laid_out(call, layout)


def _rotated(tensors: list[Any], kwargs: dict[str, Any]) -> tuple[Tensor, ...]:
    """The tensors to rotate, from what stands before cos and from keywords, in their order."""
    given = [name for name in _ROTATED if kwargs.get(name) is not None]
    places = ("q", "k", "v")[len(tensors) :]
    if given not in ([], list(places[: len(given)])) and (tensors or given not in (["x"], ["tensor"])):
        raise UnreadableCall(
            f"{', '.join(given)} by keyword do not fit the {len(tensors)} tensors before them"
        )
    named = [kwargs[name] for name in given]
    if not (tensors or named) or not all(isinstance(value, Tensor) for value in named):
        raise UnreadableCall("the tensors to rotate are missing")
    return (*tensors, *named)


def _options(
    rest: tuple[Any, ...], kwargs: dict[str, Any], *, fifth_is_offset: bool
) -> tuple[Tensor | None, int | None, int | None]:
    """position_ids, unsqueeze_dim and offset, from what follows sin and from keywords."""
    if len(rest) > 2:
        raise UnreadableCall(f"{len(rest)} arguments follow sin; forms have at most 2")
    places: tuple[str, ...] = ("position_ids", "unsqueeze_dim")
    if rest and is_axis(rest[0]):
        if len(rest) == 2:
            raise UnreadableCall("an argument follows the axis (int) that follows sin")
        places = ("offset",) if fifth_is_offset else ("unsqueeze_dim",)
    said = dict(kwargs)
    for name, value in zip(places, rest, strict=False):
        if name in said:
            raise UnreadableCall(f"{name} is given twice, by position and by keyword")
        said[name] = value
    positions = said.get("position_ids")
    if positions is not None and not is_positions(positions):
        kind = type(positions).__name__
        if isinstance(positions, Tensor):
            kind = f"{positions.dtype} of rank {positions.dim()}"
        raise UnreadableCall(f"position_ids must be an integer tensor of rank 1 or more, not {kind}")
    for name in ("unsqueeze_dim", "offset"):
        value = said.get(name)
        if value is not None and not is_axis(value):
            raise UnreadableCall(f"{name} must be an int, not {type(value).__name__}")
    return positions, said.get("unsqueeze_dim"), said.get("offset")


def length_of(call: RotaryCall) -> int | None:
    """How many positions cos and sin of a call hold; None where rows of a table are taken by an offset."""
    if call.position_ids is not None and layouts.is_table(call.cos):
        return call.position_ids.shape[-1]
    return None if call.offset is not None or call.cos.dim() == 4 else call.cos.shape[-2]


def _laid_out(call: RotaryCall, layout: Any) -> RotaryCall:
    """The call with the axis that `layout` means, after a look at whether the tensors lie so.

    Raises:
        UnreadableCall: the layout is not known, or ``unsqueeze_dim`` says another.
        MislaidCall: the sizes contradict it.
    """
    if layout not in layouts.LAYOUTS:
        raise UnreadableCall(layouts.unknown_layout(layout))
    rank = call.rotated[0].dim()
    if rank not in (3, 4):
        raise UnreadableCall(f"layout={layout!r} goes with tensors of 4 or 3 axes, not {rank}")
    axis = layouts.axis_of(layout, rank)
    if call.unsqueeze_dim is not None and call.unsqueeze_dim % rank != axis:
        raise UnreadableCall(
            f"layout={layout!r} means unsqueeze_dim={axis} here, but unsqueeze_dim={call.unsqueeze_dim} was "
            "given"
        )
    length = length_of(call)
    for name, tensor in zip("qkv" if len(call.rotated) > 1 else "x", call.rotated, strict=False):
        problem = None if length is None else layouts.explain_declared(tensor.shape, length, layout, name)
        if problem is not None:
            raise MislaidCall(problem)
    cos, sin, positions = call.cos, call.sin, call.position_ids
    if rank == 4 and positions is not None and positions.dim() == 1:
        positions = positions[None]
    elif rank == 4 and positions is None and cos.dim() == 2:
        cos, sin = cos[None], sin[None]
    return call._replace(cos=cos, sin=sin, position_ids=positions, unsqueeze_dim=axis)
