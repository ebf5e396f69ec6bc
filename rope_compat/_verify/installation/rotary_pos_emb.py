"""Calls of ``apply_rotary_pos_emb`` and its ``_interleave``, in native and in foreign forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..._adapters.functions.generation import Generation, read_generation
from ..._facts.conventions import Convention
from .cases import BATCH, HEADS, LENGTH, WIDTH, Case, Tensors, angles, draw, laid_out, rows, turned

__all__ = ["foreign", "native"]

Function = Callable[..., Any]


def native(function: Function, convention: Convention, dtype: torch.dtype) -> Iterator[Case]:
    """The calls of a function in its own form; none where its signature is not known."""
    generation = read_generation(function)
    if generation is None:
        return
    for axis in (1, 2) if "unsqueeze_dim" in generation.trailing else (1,):
        for part in (WIDTH, WIDTH // 2):
            yield from _native(function, generation, convention, dtype, axis, part)


def _native(
    function: Function,
    generation: Generation,
    convention: Convention,
    dtype: torch.dtype,
    axis: int,
    part: int,
) -> Iterator[Case]:
    if generation.order == "freqs" or generation.order == "sin_cos":
        if generation.order == "sin_cos" and part == WIDTH:
            yield _sin_first(convention, dtype)
    elif "offset" in generation.trailing:
        for offset in (0, 3):
            yield _sliced(generation, convention, dtype, part, offset)
    elif generation.style == "rank4":
        yield _sliced(generation, convention, dtype, part, 0)
    elif generation.style == "fixed":
        for prefix in (0, 2):
            if part == WIDTH:
                yield _broadcast(convention, dtype, prefix)
    else:
        yield _common(function, generation, convention, dtype, axis, part)


def inputs(count: int, dtype: torch.dtype, axis: int, tokens: int = LENGTH) -> Tensors:
    """x, q and k, or q, k and v: ``[B, H, S, D]`` for axis 1, ``[B, S, H, D]`` for 2; k has one head less."""
    heads = (HEADS, HEADS - 1, HEADS - 1)[:count]
    xs = (draw(BATCH, each, tokens, WIDTH, seed=2 + n, dtype=dtype) for n, each in enumerate(heads))
    return tuple(x if axis == 1 else x.transpose(1, 2).contiguous() for x in xs)


def tables(dtype: torch.dtype, part: int) -> tuple[Tensor, Tensor]:
    """cos and sin of `part` channels, ``[rows, part / 2]``."""
    turns = angles(part // 2)
    return turns.cos().to(dtype), turns.sin().to(dtype)


def _by_axis(axis: int, *, interleaved_to_halves: bool = False) -> Callable[..., Tensors]:
    def exact(xs: Tensors, cos: Tensor, sin: Tensor, convention: Convention) -> Tensors:
        cos, sin = cos.unsqueeze(axis), sin.unsqueeze(axis)
        results = [turned(x, cos, sin, convention) for x in xs]
        if interleaved_to_halves:
            results = [torch.cat((x[..., ::2], x[..., 1::2]), dim=-1) for x in results]
        return tuple(results)

    return exact


def _is_interleave(function: Function) -> bool:
    return "interleave" in str(getattr(function, "__name__", ""))


def _common(
    function: Function,
    generation: Generation,
    convention: Convention,
    dtype: torch.dtype,
    axis: int,
    part: int,
) -> Case:
    reorders = _is_interleave(function)
    if reorders:
        convention = Convention("interleaved", "halves")
    indexes = generation.positions == "indexes" or generation.positions_required
    cos, sin = tables(dtype, part)
    picked = rows(BATCH, LENGTH)

    def call(function: Function, xs: Tensors, cos: Tensor, sin: Tensor, at: Tensor) -> Any:
        cos, sin = laid_out(cos, convention.tables), laid_out(sin, convention.tables)
        if not indexes:
            cos, sin = cos[at], sin[at]
        elif generation.table_rank == 4:
            cos, sin = cos[None, None], sin[None, None]
        named = {"unsqueeze_dim": axis, "position_ids": at if indexes else None}
        rest = [named[name] for name in generation.trailing]
        if generation.tensors == 1:
            return tuple(function(x, cos, sin, *rest) for x in xs)
        return function(*xs, cos, sin, *rest)

    return Case(
        key=("rotary", max(generation.tensors, 2), axis, part, dtype, convention, reorders),
        xs=inputs(max(generation.tensors, 2), dtype, axis),
        cos=cos,
        sin=sin,
        convention=convention,
        call=call,
        exact=_by_axis(axis, interleaved_to_halves=reorders),
        rows=picked,
        positions=picked[:, None, :, None] if axis == 1 else picked[:, :, None, None],
        optional=part != WIDTH,
        form="by tables and position_ids" if indexes else "by cos and sin of the tokens",
    )


def _sin_first(convention: Convention, dtype: torch.dtype) -> Case:
    cos, sin = tables(dtype, WIDTH)
    picked = rows(BATCH, LENGTH)
    return Case(
        key=("sin first", dtype, convention),
        xs=inputs(1, dtype, 2),
        cos=cos,
        sin=sin,
        convention=convention,
        call=lambda function, xs, cos, sin, at: function(xs[0], sin[at], cos[at]),
        exact=_by_axis(2),
        rows=picked,
        positions=picked[:, :, None, None],
        form="(tensor, sin, cos)",
    )


def _sliced(
    generation: Generation, convention: Convention, dtype: torch.dtype, part: int, offset: int
) -> Case:
    """Tables ``[1, 1, N, D]`` of which a function takes the first rows, or those from an offset."""
    cos, sin = tables(dtype, part)
    picked = torch.arange(offset, offset + LENGTH)
    rest = (offset,) if "offset" in generation.trailing else ()

    def call(function: Function, xs: Tensors, cos: Tensor, sin: Tensor, _: Tensor) -> Any:
        cos, sin = laid_out(cos, convention.tables)[None, None], laid_out(sin, convention.tables)[None, None]
        if generation.tensors == 1:
            return tuple(function(x, cos, sin, *rest) for x in xs)
        return function(*xs, cos, sin, *rest)

    return Case(
        key=("sliced", offset, part, dtype, convention, generation.tensors),
        xs=inputs(2, dtype, 1),
        cos=cos,
        sin=sin,
        convention=convention,
        call=call,
        exact=lambda xs, cos, sin, meaning: tuple(turned(x, cos, sin, meaning) for x in xs),
        rows=picked,
        positions=picked[:, None],
        optional=part != WIDTH,
        form=f"tables of rank 4, from row {offset}",
    )


def _broadcast(convention: Convention, dtype: torch.dtype, prefix: int) -> Case:
    """cos and sin ``[S, D]`` that broadcast; tokens before them are not rotated (DINOv3)."""
    cos, sin = tables(dtype, WIDTH)
    picked = rows(LENGTH)

    def call(function: Function, xs: Tensors, cos: Tensor, sin: Tensor, at: Tensor) -> Any:
        return function(*xs, laid_out(cos[at], convention.tables), laid_out(sin[at], convention.tables))

    def exact(xs: Tensors, cos: Tensor, sin: Tensor, meaning: Convention) -> Tensors:
        return tuple(
            torch.cat((x.double()[..., :prefix, :], turned(x[..., prefix:, :], cos, sin, meaning)), dim=-2)
            for x in xs
        )

    return Case(
        key=("broadcast", prefix, dtype, convention),
        xs=inputs(2, dtype, 1, LENGTH + prefix),
        cos=cos,
        sin=sin,
        convention=convention,
        call=call,
        exact=exact,
        rows=picked,
        form=f"patches after {prefix} other tokens",
    )


def foreign(function: Function, convention: Convention, dtype: torch.dtype) -> Iterator[Case]:
    """Calls of an adapter in the forms of other releases than the installed one."""
    generation = read_generation(function)
    if generation is None or generation.order != "cos_sin" or generation.style == "fixed":
        return
    reorders = _is_interleave(function)
    if reorders:
        convention = Convention("interleaved", "halves")
    cos, sin = tables(dtype, WIDTH)
    picked = rows(BATCH, LENGTH)
    for form, arguments in _FORMS.items():
        for axis in (1, 2):

            def call(
                adapter: Function,
                xs: Tensors,
                cos: Tensor,
                sin: Tensor,
                at: Tensor,
                arguments: Any = arguments,
                axis: int = axis,
            ) -> Any:
                wide = laid_out(cos, convention.tables), laid_out(sin, convention.tables)
                args, named = arguments(*wide, at, axis)
                return adapter(*xs, *args, **named)

            yield Case(
                key=("rotary", max(generation.tensors, 2), axis, WIDTH, dtype, convention, reorders),
                xs=inputs(max(generation.tensors, 2), dtype, axis),
                cos=cos,
                sin=sin,
                convention=convention,
                call=call,
                exact=_by_axis(axis, interleaved_to_halves=reorders),
                rows=picked,
                positions=picked[:, None, :, None] if axis == 1 else picked[:, :, None, None],
                form=f"adapted, called as {form}",
            )


Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def _plain(cos: Tensor, sin: Tensor, at: Tensor, axis: int) -> Arguments:
    return (cos[at], sin[at], axis), {}


def _gathered(cos: Tensor, sin: Tensor, at: Tensor, axis: int) -> Arguments:
    return (cos[at], sin[at]), {"position_ids": at, "unsqueeze_dim": axis}


def _indexed(cos: Tensor, sin: Tensor, at: Tensor, axis: int) -> Arguments:
    return (cos, sin, at, axis), {}


def _indexed_rank4(cos: Tensor, sin: Tensor, at: Tensor, axis: int) -> Arguments:
    return (cos[None, None], sin[None, None]), {"position_ids": at, "unsqueeze_dim": axis}


_FORMS: dict[str, Callable[..., Arguments]] = {
    "(q, k, cos, sin, 1)": _plain,
    "(q, k, cos, sin, position_ids=)": _gathered,
    "(q, k, tables, position_ids)": _indexed,
    "(q, k, tables of rank 4, position_ids=)": _indexed_rank4,
}
