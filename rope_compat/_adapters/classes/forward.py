"""``forward`` of rotary classes, in every form that it has had.

Rows ``[B, S, D]`` for position_ids (from 4.38.0), or tables ``[S, D]`` of all positions below a length (to
4.37.2, some models to 4.44.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...rotary.layouts import as_table
from ..functions.base import AdapterInfo, count, refuse
from .shape import Shape
from .state import STATE, State

__all__ = ["adapt_forward"]

Forward = Callable[..., Any]
Pair = tuple[Tensor, Tensor]


def adapt_forward(native: Forward, shape: Shape, info: AdapterInfo, *, rank4: bool) -> Forward:
    """The forward that stands in the place of `native`.

    `rank4`: callers expect tables ``[1, 1, S, D]``, as up to 4.34.1.
    """
    if shape.forward == "tables":
        return _on_tables(native, info, rank4=rank4)
    if shape.forward == "layers":
        return _on_layers(native, info, rank4=rank4, is_optional=shape.layer_type_is_optional)
    return _on_rows(native, info, rank4=rank4, takes_length=shape.takes_length)


def _on_rows(native: Forward, info: AdapterInfo, *, rank4: bool, takes_length: bool) -> Forward:
    """Native: ``(x, position_ids)``, in 4.38 to 4.42 for many models ``(x, position_ids, seq_len=None)``."""

    def translated(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x, position_ids, length, layer_type = _read(info, args, kwargs)
        if layer_type is not None:
            _refuse_layer(self, info, args, kwargs)
        state: State | None = getattr(self, STATE, None)
        if position_ids is not None:
            count(info, "rows")
            return native(self, x, position_ids) if state is None else state.rows(self, x, position_ids)
        count(info, "tables")
        tables = _all_rows(native, self, x, length, info) if state is None else state.tables(self, x, length)
        return _ranked(tables, rank4)

    def with_length(
        self: Any, x: Any = None, position_ids: Any = None, seq_len: Any = None, layer_type: Any = None
    ) -> Any:
        if (
            position_ids is not None
            and layer_type is None
            and type(position_ids) is not int
            and self._rope_compat_state is None
        ):
            # Phi-3's of 4.41.0 to 4.47.1 chooses its factors by the length.
            return native(self, x, position_ids, seq_len)
        return translated(self, *_as_given(x, position_ids, seq_len, layer_type))

    # Named parameters and no dict of others: a native call of one token takes as little as 20 microseconds.
    def by_rows(
        self: Any, x: Any = None, position_ids: Any = None, seq_len: Any = None, layer_type: Any = None
    ) -> Any:
        if (
            seq_len is None
            and position_ids is not None
            and layer_type is None
            and type(position_ids) is not int
            and self._rope_compat_state is None
        ):
            return native(self, x, position_ids)
        return translated(self, *_as_given(x, position_ids, seq_len, layer_type))

    return with_length if takes_length else by_rows


def _on_layers(native: Forward, info: AdapterInfo, *, rank4: bool, is_optional: bool) -> Forward:
    """Native: ``(x, position_ids, layer_type)``, from 5.0.0 for models whose layers differ.

    To 5.18.0 it had a default, which serves models whose layers do not differ.
    """

    def translated(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x, position_ids, length, layer_type = _read(info, args, kwargs)
        if layer_type is None:
            layer_type = _only_layer_type(self, info, args, kwargs)
        if position_ids is not None:
            count(info, "rows")
            return native(self, x, position_ids, layer_type)
        count(info, "tables")

        def of_layer(self: Any, x: Tensor, positions: Tensor) -> Any:
            return native(self, x, positions, layer_type)

        return _ranked(_all_rows(of_layer, self, x, length, info), rank4)

    def by_layer(
        self: Any, x: Any = None, position_ids: Any = None, layer_type: Any = None, seq_len: Any = None
    ) -> Any:
        if (
            position_ids is None
            or seq_len is not None
            or type(position_ids) is int
            or type(layer_type) is int
        ):
            return translated(self, *_as_given(x, position_ids, layer_type, seq_len))
        if layer_type is None and not (is_optional and getattr(self, "layer_types", None) is None):
            return translated(self, *_as_given(x, position_ids))
        return native(self, x, position_ids, layer_type)

    return by_layer


def _on_tables(native: Forward, info: AdapterInfo, *, rank4: bool) -> Forward:
    """Native: ``(x, seq_len)``, up to 4.37.2 for Llama, up to 4.44.2 for others."""

    def translated(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x, position_ids, length, layer_type = _read(info, args, kwargs)
        if layer_type is not None:
            _refuse_layer(self, info, args, kwargs)
        state: State | None = getattr(self, STATE, None)
        if position_ids is None:
            count(info, "tables")
            cos_sin = native(self, x, length) if state is None else state.tables(self, x, length)
            return _ranked(cos_sin, rank4)
        count(info, "rows")
        if state is not None:
            return state.rows(self, x, position_ids)
        rows = position_ids.long()
        if position_ids.is_floating_point() and not torch.equal(rows.to(position_ids.dtype), position_ids):
            raise refuse(info, args, kwargs, "a table has no rows between two positions")
        # Replacements may still give tables [1, 1, S, D], as transformers' own did to 4.34.1.
        cos, sin = map(as_table, native(self, x, int(rows.max()) + 1))
        return cos[rows], sin[rows]

    # What comes second by position is seq_len to 4.37 and position_ids in 4.38, which has seq_len= beside it.
    def by_table(
        self: Any,
        x: Any = None,
        *others: Any,
        seq_len: Any = None,
        position_ids: Any = None,
        layer_type: Any = None,
    ) -> Any:
        if len(others) == 1 and seq_len is None and type(others[0]) is int:
            seq_len, others = others[0], ()
        if (
            type(seq_len) is int
            and position_ids is None
            and layer_type is None
            and not others
            and not rank4
            and x is not None
            and self._rope_compat_state is None
        ):
            return native(self, x, seq_len)
        return translated(self, *_as_given(x, *others, seq_len, position_ids, layer_type))

    return by_table


def _as_given(x: Any, *others: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What was given, by the names that the types of the values tell: the forms differ in their order."""
    found: dict[str, Any] = {} if x is None else {"x": x}
    args: list[Any] = []
    for value in others:
        if value is None:
            continue
        name = _name_of(value)
        if name in found:
            args.append(value)
        else:
            found[name] = value
    return tuple(args), found


def _read(
    info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor | None, int, Any]:
    """x, position_ids, length and layer_type of a call; the length counts only without position_ids."""
    if args:
        raise refuse(info, args, kwargs, f"there is one {_name_of(args[0])} too many")
    x, position_ids, length = (kwargs.get(name) for name in ("x", "position_ids", "seq_len"))
    if not isinstance(x, Tensor):
        raise refuse(info, args, kwargs, "the first argument must be a tensor, for its dtype and device")
    if position_ids is not None:
        return x, position_ids, 0, kwargs.get("layer_type")
    if length is None:
        if x.dim() < 2:
            why = "x has no axis of positions, and neither position_ids nor seq_len is given"
            raise refuse(info, args, kwargs, why)
        length = x.shape[-2]
    return x, None, int(length), kwargs.get("layer_type")


def _name_of(value: Any) -> str:
    if isinstance(value, str):
        return "layer_type"
    return "position_ids" if isinstance(value, Tensor) and value.dim() > 0 else "seq_len"


def _all_rows(native: Forward, module: Any, x: Tensor, length: int, info: AdapterInfo) -> Pair:
    """Tables ``[length, D]`` by the native function."""
    positions = torch.arange(length, device=x.device)[None]
    why = "this embedding has no table of one axis of positions; pass position_ids as the release takes them"
    try:
        found = native(module, x, positions)
    except (IndexError, RuntimeError) as error:
        raise refuse(info, (x,), {"seq_len": length}, why) from error
    if not isinstance(found, tuple) or found[0].dim() != 3 or found[0].shape[0] != 1:
        raise refuse(info, (x,), {"seq_len": length}, why)
    cos, sin = found
    return cos[0], sin[0]


def _ranked(tables: Pair, rank4: bool) -> Pair:
    cos, sin = tables
    if not rank4 or cos.dim() == 4:
        return cos, sin
    return cos[None, None], sin[None, None]


def _only_layer_type(self: Any, info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The type of layers that a module is for, where there is only one."""
    kinds = list(getattr(self, "layer_types", None) or ())
    if len(set(kinds)) == 1:
        return kinds[0]
    nested = getattr(getattr(self, "config", None), "rope_parameters", None)
    if not kinds and not any(isinstance(each, dict) for each in (nested or {}).values()):
        return None
    known = ", ".join(map(repr, sorted(set(kinds)))) or "its own"
    raise refuse(info, args, kwargs, f"its layers differ ({known}): say which are meant by layer_type=")


def _refuse_layer(self: Any, info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """A layer type is nothing to a module that computes one embedding, unless its config has two."""
    config = getattr(self, "config", None)
    if config is None:
        return
    from ...configs.spec import RopeSpec

    if RopeSpec.of(config).layers:
        raise refuse(
            info,
            args,
            kwargs,
            "this module computes the embedding of one kind of layers, and does not say of which",
        )
