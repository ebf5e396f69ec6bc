"""Rotary modules that make tables: which positions, which columns, theta and scaling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

from .._adapters.functions.signature import live_signature
from .call_forms import tensors_of
from .frequencies import explain, rates
from .result import Call, Identity

__all__ = ["judge_tables"]

_LENGTH = 13  # tokens; a number that no other axis has
_CLOSE = 1e-5

_X = frozenset(["x", "value_states", "hidden_states", "input", "inputs", "q", "tensor", "value"])
_POSITIONS = frozenset(
    ("position_ids", "positions", "position", "pos", "t", "input_pos", "indexes", "seq", "seq_arange_or_len")
)
_LENGTHS = frozenset(["seq_len", "seqlen", "max_seq_len", "max_seqlen", "length", "num_pos", "max_len"])
_OPTIONAL = _POSITIONS | _LENGTHS | {"layer_type"}


def judge_tables(subject: str, function: Callable[..., Any]) -> Identity | None:
    """The cos and sin, angles or complex numbers that it gives; None if it gives no such thing."""
    for arguments in _calls(function):
        try:
            answer = tensors_of(function(**arguments))
        except Exception:  # a form that it does not take
            continue
        found = _tables(answer)
        if found is None or bool((found[1].angle().abs() < _CLOSE).all()):
            continue
        # The values of x change nothing, or what came is no table.
        ones = {name: torch.ones_like(value) for name, value in arguments.items() if name in _X}
        again = _tables(tensors_of(function(**(arguments | ones))))
        if again is not None and torch.equal(again[1], found[1]):
            shape = next(tuple(each.shape) for each in answer if isinstance(each, Tensor))
            return _identity(subject, function, arguments, *found, shape)
    return None


def _calls(function: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """Arguments by the names of its parameters, with and without those that may be left out."""
    signature = live_signature(function)
    every = [] if signature is None else list(signature.parameters.values())
    named = [each for each in every if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    if signature is None or any(each.kind is each.POSITIONAL_ONLY for each in named):
        return
    types = getattr(function, "layer_types", None) or [None]
    known: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32, "dim": 16}
    known |= dict.fromkeys(_LENGTHS, _LENGTH) | {"layer_type": next(iter(types))}
    positions = torch.arange(_LENGTH)
    for x, places, with_optional in product(
        ((1, 1, _LENGTH, 8), (1, _LENGTH, 1, 8), (1, _LENGTH, 8)),
        (positions[None], positions, positions.float(), positions.expand(3, 1, -1)),
        (True, False),
    ):
        known |= dict.fromkeys(_X, torch.zeros(x)) | dict.fromkeys(_POSITIONS, places)
        if all(each.name in known for each in named if each.default is each.empty):
            yield {
                each.name: known[each.name]
                for each in named
                if each.default is each.empty
                or (with_optional and each.default is None and each.name in _OPTIONAL)
            }


def _tables(answer: list[Any]) -> tuple[str, Tensor] | None:
    """The kind, and complex ``[S, R]`` numbers ``cos + i sin``."""
    tensors = [each for each in answer if isinstance(each, Tensor)]
    if len(tensors) == 2 and tensors[1].shape == tensors[0].shape and not tensors[0].is_complex():
        one, other = (_rows(each) for each in tensors)
        return None if one is None or other is None else _pair(one, other, "cos, sin", "sin, cos")
    if len(tensors) != 1:
        return None
    table = tensors[0]
    if table.ndim > 2 and table.shape[-1] == 2 and not table.is_complex() and _LENGTH in table.shape[:-2]:
        rows = _rows(table.flatten(-2))
        stacked = None if rows is None else _pair(rows[:, 0::2], rows[:, 1::2], "stacked", "")
        if stacked is not None and stacked[0]:
            return stacked
    rows = _rows(table)
    if rows is None:
        return None
    if rows.is_complex():
        return "complex", rows.to(torch.complex128)
    if bool((rows[0].abs() < _CLOSE).all()):
        return "angles", torch.polar(torch.ones_like(rows), rows)
    half = rows.shape[1] // 2
    return _pair(rows[:, :half], rows[:, half:], "cos|sin", "sin|cos")


def _pair(one: Tensor, other: Tensor, cos_first: str, sin_first: str) -> tuple[str, Tensor] | None:
    """Which of two is cos: at position 0 it is above 0 where sin is 0. None if neither is."""
    for kind, cos, sin in ((cos_first, one, other), (sin_first, other, one)):
        if bool((sin[0].abs() < _CLOSE).all()) and bool((cos[0] > _CLOSE).all()):
            return kind, torch.complex(cos, sin)
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
) -> Identity:
    length = table.abs()
    factor = float(length.mean())
    if bool(((length - factor).abs() > 1e-4).any()):
        reason = "cos ** 2 + sin ** 2 is not one number at all positions and channels"
        return Identity(subject, "not a rotation", reason, kind=kind)
    speed = rates(table.angle(), torch.arange(_LENGTH))
    columns, one_a_pair = _columns(table)
    notes = [f"it was called with {', '.join(arguments) or 'nothing'}"]
    types = getattr(function, "layer_types", None)
    if types and "layer_type" in arguments:
        own = arguments["layer_type"]
        notes.append(f"these are the tables of layer type {own!r}; it has {sorted(set(types))}")
    if speed is None:
        notes.append("its angles do not grow linearly with the position")
    unclear = " or " in columns
    return Identity(
        subject,
        "ambiguous" if unclear else "tables",
        "one pair only: concatenated and repeated tables are the same" if unclear else "",
        arguments=f"({', '.join(arguments)})",
        kind=kind,
        calls=(Call("", "[" + ", ".join("S" if size == _LENGTH else str(size) for size in shape) + "]"),),
        tables=columns,
        frequencies=None if speed is None else explain(speed[one_a_pair].abs().tolist()),
        direction=-1 if speed is not None and bool((speed < 0).any()) else 1,
        factor=round(factor, 5),
        notes=tuple(notes),
    )


def _columns(table: Tensor) -> tuple[str, slice]:
    """Which tables these are, and where each pair has its first column."""
    width = table.shape[1]
    half = width // 2
    is_even = width % 2 == 0
    concatenated = is_even and bool(((table[:, :half] - table[:, half:]).abs() < _CLOSE).all())
    repeated = is_even and bool(((table[:, 0::2] - table[:, 1::2]).abs() < _CLOSE).all())
    if concatenated:
        return "concatenated or repeated" if repeated else "concatenated", slice(half)
    return ("repeated", slice(0, None, 2)) if repeated else ("one column a pair", slice(None))
