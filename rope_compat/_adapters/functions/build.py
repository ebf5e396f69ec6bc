"""Build the adapter for one live function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .base import Context
from .generation import read_generation
from .multimodal import adapt_multimodal, read_multimodal
from .pairwise_2d import adapt_2d, read_2d
from .rotary_pos_emb import adapt_rotary_pos_emb
from .signature import live_signature, signature_text
from .vision import adapt_flashatt, adapt_vision

__all__ = ["FAMILIES", "Builder", "UnknownGeneration", "build_adapter"]


class Builder(NamedTuple):
    """How the adapters of one family are built.

    ``read``: the generation of a live function, None where it is not one of the family. ``adapt``: the
    adapter for function, generation and context; None where the family has no such generation, and the
    function itself where it takes every form.
    """

    read: Callable[[Callable[..., Any]], Any]
    adapt: Callable[[Callable[..., Any], Any, Context], Callable[..., Any] | None]


_rotary = Builder(read_generation, adapt_rotary_pos_emb)

FAMILIES: dict[str, Builder] = {
    "apply_rotary_pos_emb": _rotary,
    "apply_rotary_pos_emb_vision": Builder(read_generation, adapt_vision),
    "apply_rotary_pos_emb_flashatt": Builder(read_generation, adapt_flashatt),
    "apply_rotary_pos_emb_interleave": _rotary,
    "apply_multimodal_rotary_pos_emb": Builder(read_multimodal, adapt_multimodal),
    "apply_rotary_pos_emb_2d": Builder(read_2d, adapt_2d),
    "apply_rotary_pos_emb_esm": _rotary,
}


class UnknownGeneration(Exception):  # noqa: N818 - a reason to skip, never raised to users
    """The function's signature is not one that its family has had; the message says so."""


def build_adapter(
    native: Callable[..., Any], context: Context, like: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """The adapter for `native`, which stands at ``context.target``; `native` itself where it takes all forms.

    `like` is the function to read signature and code from, where `native` is a wrapper of it.

    Raises:
        UnknownGeneration: the live signature is not one that the family has had.
    """
    source = native if like is None else like
    family = FAMILIES[context.family]
    generation = family.read(source) if callable(source) else None
    if getattr(generation, "extra", ()) and (context.is_library or family is not _rotary):
        # A replacement may have more parameters than its callers know of; in transformers' own function they
        # would be a form that nobody has looked at.
        generation = None
    adapter = family.adapt(native, generation, context) if generation is not None else None
    if adapter is None:
        signature = live_signature(source) if callable(source) else None
        shown = signature_text(signature) if signature is not None else "cannot be read"
        raise UnknownGeneration(f"its signature {shown} is not one that {context.family} has had")
    return adapter
