"""Build the adapter for one live function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .base import Context
from .flashatt import adapt_flashatt
from .generation import Generation, read_generation
from .rotary_pos_emb import adapt_rotary_pos_emb
from .signature import live_signature, signature_text
from .vision import adapt_vision

__all__ = ["FAMILIES", "UnknownGeneration", "build_adapter"]

Builder = Callable[[Callable[..., Any], Generation, Context], Callable[..., Any] | None]

FAMILIES: dict[str, Builder] = {
    "apply_rotary_pos_emb": adapt_rotary_pos_emb,
    "apply_rotary_pos_emb_vision": adapt_vision,
    "apply_rotary_pos_emb_flashatt": adapt_flashatt,
}


class UnknownGeneration(Exception):  # noqa: N818 - a reason to skip, never raised to users
    """The function's signature is not one that its family has had; the message says so."""


def build_adapter(
    native: Callable[..., Any], context: Context, like: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """The adapter for `native`, which stands at ``context.target``.

    `like` is the function to read signature and code from, where `native` is a wrapper of it.

    Raises:
        UnknownGeneration: the live signature is not one that the family has had.
    """
    source = native if like is None else like
    generation = read_generation(source) if callable(source) else None
    adapter = FAMILIES[context.family](native, generation, context) if generation is not None else None
    if adapter is None:
        signature = live_signature(source) if callable(source) else None
        shown = signature_text(signature) if signature is not None else "cannot be read"
        raise UnknownGeneration(f"its signature {shown} is not one that {context.family} has had")
    return adapter
