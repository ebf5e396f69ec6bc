"""Calls of the other families of rotary functions: vision, multimodal, 2-D, complex, narrow tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..._adapters.functions.signature import live_signature
from ..._facts.conventions import Convention
from ...rotary import reference
from ..tolerances import ROTATION, unit
from .cases import BATCH, HEADS, LENGTH, WIDTH, Case, Tensors, angles, draw, laid_out, rows, turned

__all__ = ["FAMILIES", "FOREIGN"]

Function = Callable[..., Any]
SECTIONS = (2, 3, 3)


def _tables(dtype: torch.dtype, part: int = WIDTH) -> tuple[Tensor, Tensor]:
    turns = angles(part // 2)
    return turns.cos().to(dtype), turns.sin().to(dtype)


def _before_last(xs: Tensors, cos: Tensor, sin: Tensor, meaning: Convention) -> Tensors:
    """cos and sin lack the axis of heads, which stands before the last."""
    return tuple(turned(x, cos[..., None, :], sin[..., None, :], meaning) for x in xs)


def vision(function: Function, convention: Convention, dtype: torch.dtype) -> Iterator[Case]:
    """``(q, k, cos, sin)`` or ``(tensor, freqs)``: tokens before heads."""
    signature = live_signature(function)
    if signature is not None and list(signature.parameters) == ["tensor", "freqs"]:
        yield angle(function, convention, dtype)
        return
    cos, sin = _tables(dtype)
    picked = rows(LENGTH)

    def call(function: Function, xs: Tensors, cos: Tensor, sin: Tensor, at: Tensor) -> Any:
        return function(*xs, laid_out(cos[at], convention.tables), laid_out(sin[at], convention.tables))

    yield Case(
        key=("vision", dtype, convention),
        xs=tuple(draw(1, LENGTH, HEADS, WIDTH, seed=n, dtype=dtype) for n in (2, 3)),
        cos=cos,
        sin=sin,
        convention=convention,
        call=call,
        exact=_before_last,
        rows=picked,
        positions=picked[:, None, None],
        form="(q, k, cos, sin)",
    )


def vision_foreign(function: Function, convention: Convention, dtype: torch.dtype) -> Iterator[Case]:
    """The other one of the two forms, through the adapter."""
    signature = live_signature(function)
    if signature is not None and list(signature.parameters) == ["tensor", "freqs"]:
        yield from vision(lambda q, k, cos, sin: None, convention, dtype)
    elif convention.pairing == "half":  # angles of neighbours are refused: no release has had that form
        yield angle(function, convention, dtype)


def angle(function: Function, convention: Convention, dtype: torch.dtype) -> Case:
    """``(tensor, freqs)``: the function computes cos and sin of angles in float32."""
    turns = angles(WIDTH // 2).float()
    picked = rows(LENGTH)

    def call(function: Function, xs: Tensors, cos: Tensor, sin: Tensor, at: Tensor) -> Any:
        return function(xs[0], turns[at])

    return Case(
        key=("vision angles", dtype, convention),
        xs=(draw(1, LENGTH, HEADS, WIDTH, seed=2, dtype=dtype),),
        cos=turns.double().cos(),
        sin=turns.double().sin(),
        convention=convention,
        call=call,
        exact=_before_last,
        rows=picked,
        positions=picked[:, None, None],
        # cos and sin are right to one unit in the last place; the adapter may round them once more.
        count=ROTATION + 1,
        more=2 * unit(torch.float32),
        form="(tensor, freqs)",
    )


def multimodal(function: Function, convention: Convention, dtype: torch.dtype) -> Iterator[Case]:
    """``(q, k, cos, sin, mrope_section)``: cos and sin of three axes; each pair takes one of them."""
    cos, sin = _tables(dtype)
    sections = [2, 2, 2, 2] if convention.doubled else list(SECTIONS)
    picked = rows(len(sections), BATCH, LENGTH)
    for axis in (1, 2):

        def call(
            function: Function, xs: Tensors, cos: Tensor, sin: Tensor, at: Tensor, axis: int = axis
        ) -> Any:
            wide = (laid_out(table[at], "halves") for table in (cos, sin))
            return function(*xs, *wide, list(sections), axis)

        def exact(xs: Tensors, cos: Tensor, sin: Tensor, meaning: Convention, axis: int = axis) -> Tensors:
            wide = (laid_out(table.double(), "halves") for table in (cos, sin))
            (q, k), (c, s) = xs, wide
            return reference.multimodal(q, k, c, s, sections, axis, meaning.pairing, doubled=meaning.doubled)

        q, k = (draw(BATCH, h, LENGTH, WIDTH, seed=h, dtype=dtype) for h in (HEADS, HEADS - 1))
        if axis == 2:
            q, k = q.transpose(1, 2).contiguous(), k.transpose(1, 2).contiguous()
        yield Case(
            key=("multimodal", axis, dtype, convention),
            xs=(q, k),
            cos=cos,
            sin=sin,
            convention=convention,
            call=call,
            exact=exact,
            rows=picked,
            form="cos and sin of each axis",
        )


def multimodal_foreign(function: Function, convention: Convention, dtype: torch.dtype) -> Iterator[Case]:
    """Tables of one axis that ``position_ids`` index, as before 4.45.0."""
    for case in multimodal(function, convention, dtype):
        if case.key[1] != 1:  # type: ignore[index]
            continue
        sections = [2, 2, 2, 2] if convention.doubled else list(SECTIONS)

        def call(
            adapter: Function,
            xs: Tensors,
            cos: Tensor,
            sin: Tensor,
            at: Tensor,
            sections: list[int] = sections,
        ) -> Any:
            return adapter(*xs, laid_out(cos, "halves"), laid_out(sin, "halves"), at, sections)

        yield Case(
            **{
                name: getattr(case, name)
                for name in ("key", "xs", "cos", "sin", "convention", "exact", "rows")
            },
            call=call,
            form="adapted, called as (q, k, tables, position_ids, mrope_section)",
        )


def _pairwise(
    convention: Convention,
    dtype: torch.dtype,
    tokens: int,
    call: Callable[..., Any],
    turning: Callable[[int], Tensor],
    form: str,
) -> Case:
    """q of 8 tokens and k of `tokens`; `turning` says at which row each token of k is, -1 for none."""
    cos, sin = _tables(dtype)
    cos, sin = cos[:8], sin[:8]

    def exact(xs: Tensors, cos: Tensor, sin: Tensor, meaning: Convention) -> Tensors:
        q, k = xs
        at = turning(tokens)
        moved = turned(k, cos[at.clamp(min=0)], sin[at.clamp(min=0)], meaning)
        return turned(q, cos, sin, meaning), torch.where(at[:, None] < 0, k.double(), moved)

    return Case(
        key=("pairwise", form, dtype, convention),
        xs=(
            draw(BATCH, HEADS, 8, WIDTH, seed=2, dtype=dtype),
            draw(BATCH, HEADS, tokens, WIDTH, seed=3, dtype=dtype),
        ),
        cos=cos,
        sin=sin,
        convention=convention,
        call=call,
        exact=exact,
        positions=None,
        form=form,
    )


def pairwise_2d(function: Function, convention: Convention, dtype: torch.dtype) -> Iterator[Case]:
    """``(q, k, cos, sin)``, with ``num_k_exclude_rope`` and ``repeat_freqs_k`` where it takes them."""

    def call(function: Function, xs: Tensors, cos: Tensor, sin: Tensor, _: Any, *rest: Any) -> Any:
        wide = (laid_out(table, convention.tables)[None, None] for table in (cos, sin))
        return function(*xs, *wide, *rest)

    def in_order(tokens: int, kept: int = 0) -> Tensor:
        at = torch.arange(tokens) % 8
        at[tokens - kept :] = -1
        return at

    yield _pairwise(convention, dtype, 8, call, in_order, "(q, k, cos, sin)")
    signature = live_signature(function)
    if signature is not None and "num_k_exclude_rope" in signature.parameters:
        yield _pairwise(convention, dtype, 10,
                        lambda *args: call(*args, 2), lambda n: in_order(n, 2), "two pass")  # fmt: skip
        yield _pairwise(convention, dtype, 19,
                        lambda *args: call(*args, 3, True), lambda n: in_order(n, 3), "repeated")  # fmt: skip


def cross_2d(function: Function, convention: Convention, dtype: torch.dtype) -> Iterator[Case]:
    """EdgeTAM: k has groups of tokens, of which the last ones are turned, and tokens that pass through."""
    groups, before, kept = 2, 3, 1

    def call(function: Function, xs: Tensors, cos: Tensor, sin: Tensor, _: Any) -> Any:
        wide = tuple(laid_out(table, convention.tables)[None, None] for table in (cos, sin))
        return function(*xs, *wide, *wide, kept, groups)

    def turning(tokens: int) -> Tensor:
        group = torch.cat((torch.full((before,), -1), torch.arange(8)))
        return torch.cat((group.repeat(groups), torch.full((kept,), -1)))

    tokens = groups * (before + 8) + kept
    yield _pairwise(convention, dtype, tokens, call, turning, "groups of tokens")


def complex_pair(function: Function, convention: Convention, dtype: torch.dtype) -> Iterator[Case]:
    """``(xq, xk, freqs_cis)``: neighbours are a complex number. Llama 4 has tokens before heads."""
    tokens_first = "llama4" in str(getattr(function, "__module__", ""))
    is_vision = "vision" in str(getattr(function, "__name__", ""))
    cos, sin = _tables(torch.float32)
    picked = rows(LENGTH) if is_vision else rows(BATCH, LENGTH)

    def call(function: Function, xs: Tensors, cos: Tensor, sin: Tensor, at: Tensor) -> Any:
        return function(*xs, torch.complex(cos[at], sin[at]))

    heads_axis = 2 if tokens_first else 1
    shape = (BATCH, LENGTH, HEADS, WIDTH) if tokens_first else (BATCH, HEADS, LENGTH, WIDTH)

    def exact(xs: Tensors, cos: Tensor, sin: Tensor, meaning: Convention) -> Tensors:
        if is_vision:
            cos, sin = cos[None], sin[None]
        return tuple(turned(x, cos.unsqueeze(heads_axis), sin.unsqueeze(heads_axis), meaning) for x in xs)

    yield Case(
        key=("complex", is_vision, tokens_first, dtype),
        xs=tuple(draw(*shape, seed=n, dtype=dtype) for n in (2, 3)),
        cos=cos,
        sin=sin,
        convention=convention,
        call=call,
        exact=exact,
        rows=picked,
        form="complex numbers",
    )


def narrow(function: Function, convention: Convention, dtype: torch.dtype) -> Iterator[Case]:
    """``_apply_rotary_emb(x, cos, sin)``, ``apply_rotary_time_emb``: cos and sin broadcast with x."""
    cos, sin = _tables(dtype)
    picked = rows(LENGTH)

    def call(function: Function, xs: Tensors, cos: Tensor, sin: Tensor, at: Tensor) -> Any:
        wide = (laid_out(table[at], convention.tables) for table in (cos, sin))
        return function(xs[0], *wide)

    yield Case(
        key=("narrow", dtype, convention),
        xs=(draw(BATCH, HEADS, LENGTH, WIDTH, seed=2, dtype=dtype),),
        cos=cos,
        sin=sin,
        convention=convention,
        call=call,
        exact=lambda xs, cos, sin, meaning: (turned(xs[0], cos, sin, meaning),),
        rows=picked,
        positions=picked[:, None],
        form="(x, cos, sin)",
    )


def dimensions(function: Function, convention: Convention, dtype: torch.dtype) -> Iterator[Case]:
    """``apply_multidimensional_rope``: the head is cut into parts, one for each axis of positions."""
    cos, sin = _tables(dtype)
    picked = rows(BATCH, LENGTH)
    half = WIDTH // 2

    def call(function: Function, xs: Tensors, cos: Tensor, sin: Tensor, at: Tensor) -> Any:
        quarter = half // 2
        wide = (
            torch.cat(
                [
                    laid_out(part, convention.tables)
                    for part in torch.functional.split(table[at], quarter, -1)
                ],
                dim=-1,
            )
            for table in (cos, sin)
        )
        return function(xs[0], *wide, torch.zeros(BATCH, LENGTH, 2, dtype=torch.int64), 2)

    def exact(xs: Tensors, cos: Tensor, sin: Tensor, meaning: Convention) -> Tensors:
        quarter = half // 2
        split = torch.functional.split
        parts = zip(split(xs[0], half, -1), split(cos, quarter, -1), split(sin, quarter, -1), strict=True)
        return (torch.cat([turned(x, c[:, :, None], s[:, :, None], meaning) for x, c, s in parts], dim=-1),)

    yield Case(
        key=("dimensions", dtype, convention),
        xs=(draw(BATCH, LENGTH, HEADS, WIDTH, seed=2, dtype=dtype),),
        cos=cos,
        sin=sin,
        convention=convention,
        call=call,
        exact=exact,
        rows=picked,
        positions=picked[:, :, None, None],
        form="two axes of positions",
    )


def quarter_turn(function: Function, convention: Convention, dtype: torch.dtype) -> Iterator[Case]:
    """``rotate_half`` and its kin: every pair by 90 degrees, and no rounding."""
    pairs = WIDTH // 2
    yield Case(
        key=("quarter turn", dtype, convention),
        xs=(draw(BATCH, HEADS, LENGTH, WIDTH, seed=2, dtype=dtype),),
        cos=torch.zeros(pairs, dtype=dtype),
        sin=torch.ones(pairs, dtype=dtype),
        convention=convention,
        call=lambda function, xs, cos, sin, _: function(xs[0]),
        exact=lambda xs, cos, sin, meaning: (turned(xs[0], cos, sin, meaning),),
        count=0,
        form="(x)",
    )


Cases = Callable[[Function, Convention, torch.dtype], Iterator[Case]]

FAMILIES: dict[str, Cases] = {
    "apply_rotary_pos_emb_vision": vision,
    "apply_multimodal_rotary_pos_emb": multimodal,
    "apply_rotary_pos_emb_2d": pairwise_2d,
    "apply_rotary_pos_emb_2d_self_attn": pairwise_2d,
    "apply_rotary_pos_emb_2d_cross_attn": cross_2d,
    "apply_rotary_emb": complex_pair,
    "vision_apply_rotary_emb": complex_pair,
    "_apply_rotary_emb": narrow,
    "apply_rotary_time_emb": narrow,
    "apply_multidimensional_rope": dimensions,
    **dict.fromkeys(("rotate_half", "rotate_half_esm", "rotate_half_llm", "rotate_half_text"), quarter_turn),
    **dict.fromkeys(("rotate_every_two", "rotate_pairwise"), quarter_turn),
}
FOREIGN: dict[str, Cases] = {
    "apply_rotary_pos_emb_vision": vision_foreign,
    "apply_multimodal_rotary_pos_emb": multimodal_foreign,
}
