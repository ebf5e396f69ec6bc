"""Rotary modules that make tables: which positions, which columns, theta and scaling."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from .._adapters.functions.signature import live_signature
from .frequencies import explain, rates
from .result import Call, Identity

__all__ = ["judge_tables"]

_LENGTH = 13  # tokens; a number that no other axis has

_X = frozenset(("x", "value_states", "hidden_states", "input", "inputs", "q", "tensor", "value"))
_POSITIONS = frozenset(
    ("position_ids", "positions", "position", "pos", "t", "input_pos", "indexes", "seq", "seq_arange_or_len")
)
_LENGTHS = frozenset(("seq_len", "seqlen", "max_seq_len", "max_seqlen", "length", "num_pos", "max_len"))
_CLOSE = 1e-5


def judge_tables(subject: str, function: Callable[..., Any]) -> Identity | None:
    """The cos and sin, angles or complex numbers that it gives; None if it gives no such thing."""
    for arguments, positions in _calls(function):
        try:
            answer = function(**arguments)
        except Exception:  # a form that it does not take
            continue
        found = _tables(answer)
        if found is None or not _is_of_positions(function, arguments, found[1]):
            continue
        kind, table, shape = found
        return _identity(subject, function, arguments, kind, table, shape, positions)
    return None


def _calls(function: Callable[..., Any]) -> Iterator[tuple[dict[str, Any], Tensor]]:
    signature = live_signature(function)
    if signature is None:
        return
    positions = torch.arange(_LENGTH)
    for x in ((1, 1, _LENGTH, 8), (1, _LENGTH, 1, 8), (1, _LENGTH, 8)):
        for places in (positions[None], positions, positions.float(), positions.expand(3, 1, -1)):
            for with_optional in (True, False):
                arguments = _arguments(function, signature, torch.zeros(x), places, with_optional)
                if arguments is not None:
                    yield arguments, positions


def _is_of_positions(function: Callable[..., Any], arguments: dict[str, Any], table: Tensor) -> bool:
    """Whether something turns, and the values of x change nothing."""
    if bool((table.angle().abs() < _CLOSE).all()):
        return False
    other = {
        name: torch.ones_like(value) if isinstance(value, Tensor) and name in _X else value
        for name, value in arguments.items()
    }
    again = _tables(function(**other))
    return again is not None and torch.equal(again[1], table)


def _arguments(
    function: Any, signature: inspect.Signature, x: Tensor, positions: Tensor, with_optional: bool
) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    types = getattr(function, "layer_types", None) or [None]
    known: dict[str, Any] = {
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "layer_type": next(iter(types)),
    }
    known["dim"] = 16
    known |= dict.fromkeys(_X, x) | dict.fromkeys(_POSITIONS, positions) | dict.fromkeys(_LENGTHS, _LENGTH)
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            if parameter.kind is parameter.POSITIONAL_ONLY:
                return None
            continue
        needed = parameter.default is parameter.empty
        if needed and name not in known:
            return None
        wanted = with_optional and (name in _POSITIONS or name in _LENGTHS or name == "layer_type")
        if needed or (wanted and parameter.default is None):
            found[name] = known[name]
    return found


def _tables(answer: Any) -> tuple[str, Tensor, tuple[int, ...]] | None:
    """The kind, complex ``[S, R]`` numbers ``cos + i sin``, and the shape that came."""
    tensors = (
        [answer] if isinstance(answer, Tensor) else list(answer) if isinstance(answer, (tuple, list)) else []
    )
    tensors = [each for each in tensors if isinstance(each, Tensor)]
    if not tensors:
        return None
    shape = tuple(tensors[0].shape)
    if len(tensors) == 2 and tensors[1].shape == tensors[0].shape and not tensors[0].is_complex():
        one, other = (_rows(each) for each in tensors)
        if one is None or other is None:
            return None
        if bool((other[0].abs() < _CLOSE).all()):
            return "cos, sin", torch.complex(one, other), shape
        return ("sin, cos", torch.complex(other, one), shape) if bool((one[0].abs() < _CLOSE).all()) else None
    if len(tensors) != 1:
        return None
    return _one_table(tensors[0], shape)


def _one_table(table: Tensor, shape: tuple[int, ...]) -> tuple[str, Tensor, tuple[int, ...]] | None:
    if table.ndim > 2 and table.shape[-1] == 2 and not table.is_complex() and _LENGTH in table.shape[:-2]:
        rows = _rows(table.flatten(-2))
        if (
            rows is not None
            and bool((rows[0, 0::2] > _CLOSE).all())
            and bool((rows[0, 1::2].abs() < _CLOSE).all())
        ):
            return "stacked", torch.complex(rows[:, 0::2], rows[:, 1::2]), shape
    rows = _rows(table)
    if rows is None:
        return None
    if rows.is_complex():
        return "complex", rows.to(torch.complex128), shape
    if bool((rows[0].abs() < _CLOSE).all()):
        return "angles", torch.polar(torch.ones_like(rows), rows), shape
    half = rows.shape[1] // 2
    one, other = rows[:, :half], rows[:, half:]
    if bool((other[0].abs() < _CLOSE).all()) and bool((one[0] > _CLOSE).all()):
        return "cos|sin", torch.complex(one, other), shape
    if bool((one[0].abs() < _CLOSE).all()) and bool((other[0] > _CLOSE).all()):
        return "sin|cos", torch.complex(other, one), shape
    return None


def _rows(table: Tensor) -> Tensor | None:
    """``[S, R]``, float64 or complex; None unless one axis has the tokens, and what is before repeats."""
    places = [axis for axis, size in enumerate(table.shape[:-1]) if size == _LENGTH]
    if len(places) != 1:
        return None
    flat = table.movedim(places[0], -2).reshape(-1, _LENGTH, table.shape[-1])
    if not torch.equal(flat, flat[:1].expand_as(flat)) or not bool(torch.isfinite(flat.abs()).all()):
        return None
    return flat[0] if flat.is_complex() else flat[0].double()


def _identity(
    subject: str,
    function: Any,
    arguments: dict[str, Any],
    kind: str,
    table: Tensor,
    shape: tuple[int, ...],
    positions: Tensor,
) -> Identity:
    length = table.abs()
    factor = float(length.mean())
    if bool(((length - factor).abs() > 1e-4).any()):
        reason = "cos ** 2 + sin ** 2 is not one number at all positions and channels"
        return Identity(subject, "not a rotation", reason, kind=kind)
    speed = rates(table.angle(), positions)
    columns = _columns(table)
    notes = [f"it was called with {', '.join(arguments) or 'nothing'}"]
    types = getattr(function, "layer_types", None)
    if types and "layer_type" in arguments:
        notes.append(
            f"these are the tables of layer type {arguments['layer_type']!r}; it has {sorted(set(types))}"
        )
    if speed is None:
        notes.append("its angles do not grow linearly with the position")
        frequencies = None
    else:
        frequencies = explain(_one_a_pair(speed, columns).abs().tolist())
    said = "[" + ", ".join("S" if size == _LENGTH else str(size) for size in shape) + "]"
    return Identity(
        subject,
        "ambiguous" if " or " in columns else "tables",
        "one pair only: concatenated and repeated tables are the same" if " or " in columns else "",
        arguments=f"({', '.join(arguments)})",
        kind=kind,
        calls=(Call("", said),),
        tables=columns,
        frequencies=frequencies,
        direction=-1 if speed is not None and bool((speed < 0).any()) else 1,
        factor=round(factor, 5),
        notes=tuple(notes),
    )


def _columns(table: Tensor) -> str:
    width = table.shape[1]
    half = width // 2
    if width % 2:
        return "one column a pair"
    concatenated = bool(((table[:, :half] - table[:, half:]).abs() < _CLOSE).all())
    repeated = bool(((table[:, 0::2] - table[:, 1::2]).abs() < _CLOSE).all())
    if concatenated and repeated:
        return "concatenated or repeated"
    return "concatenated" if concatenated else "repeated" if repeated else "one column a pair"


def _one_a_pair(speed: Tensor, columns: str) -> Tensor:
    if columns.startswith("concatenated"):
        return speed[: len(speed) // 2]
    return speed[0::2] if columns == "repeated" else speed
