"""Layers that are handed two pairs of cos and sin, of which they take one: Gemma 3 and 3n up to 4.57."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..functions.base import AdapterInfo, Context, dress, refuse
from ..functions.signature import code_of, live_signature, signature_text
from .form import CACHES, EMBEDDINGS, Form, by_position
from .forward import WITHOUT, native_arguments
from .positions import embeddings_for

__all__ = ["adapt_by_type", "read_by_type"]

_PAIRS = ("position_embeddings_global", "position_embeddings_local")


def read_by_type(cls: type[Any], forward: Callable[..., Any]) -> Form | None:
    """The form of a layer's method, or None where it does not take both pairs."""
    code = code_of(forward)
    if code is None or _PAIRS[0] not in code.co_varnames:
        return None
    signature = live_signature(forward)
    if signature is None or not set(_PAIRS) <= set(signature.parameters):
        return None
    return Form.of("layer", signature, by_position(signature).index(_PAIRS[0]))


def adapt_by_type(native: Callable[..., Any], form: Form, context: Context) -> Callable[..., Any]:
    """The method that takes one pair, or computes it, and hands it on as both."""
    info = AdapterInfo(context, native, signature_text(form.signature), (WITHOUT,))

    def forward(self: Any, *args: Any, position_embeddings: Any = None, **kwargs: Any) -> Any:
        if position_embeddings is None and (_PAIRS[0] in kwargs or len(args) > 1):
            return native(self, *args, **kwargs)
        info.count(WITHOUT.name)
        given = {**dict(zip(form.names, args, strict=False)), **kwargs}
        pair = embeddings_for(self, given) if position_embeddings is None else position_embeddings
        if pair is None or not {*_PAIRS, EMBEDDINGS}.isdisjoint(given):
            raise refuse(info, args, kwargs, "there is no one pair of cos and sin for it")
        cache = next((given[name] for name in CACHES if given.get(name) is not None), None)
        given |= dict.fromkeys(_PAIRS, pair)
        return native(self, **native_arguments(info, form, given, cache))

    return dress(forward, info, form.signature)
