"""The method that stands where a user's function replaces attention's ``forward``.

The installed layers call the function through it: with the arguments that it takes, by its own names, and
they get as many values as they unpack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ..._facts.call_forms import BY_INSTALLED_LAYERS
from ...errors import CallFormError
from ..functions.base import AdapterInfo, Context, dress, refuse
from ..functions.signature import live_signature, signature_text
from .contract import EMBEDDINGS, HANDED, Caller, cache_in
from .masks import MaskMaker, Span, rows_of, span_of
from .owner import embeddings_for, positions_for
from .replacement import Replacement

__all__ = ["adapt_replacement"]

#: Says where packed sequences begin; only flash-attention reads it.
_PACKED = ("cu_seq_lens_q", "cu_seq_lens_k", "cu_seqlens_q", "cu_seqlens_k")


def adapt_replacement(
    function: Callable[..., Any], expects: Replacement, caller: Caller, context: Context
) -> Callable[..., Any]:
    """`function` as the installed layers call it; calls in its own form go straight to it."""
    signature = live_signature(function)
    text = signature_text(signature) if signature is not None else ""
    info = AdapterInfo(context, function, text, (BY_INSTALLED_LAYERS,))
    masks = MaskMaker()
    # What tells the layers' calls from the user's own: they hand cos and sin, or never do.
    by_embeddings = EMBEDDINGS in caller.handed

    def as_layers_call_it(self: Any, *args: Any, **kwargs: Any) -> Any:
        if (EMBEDDINGS in kwargs) != by_embeddings or len(args) > 1:
            return function(self, *args, **kwargs)
        hidden = args[0] if args else kwargs.pop("hidden_states", None)
        if not isinstance(hidden, Tensor):
            raise refuse(info, args, kwargs, "there are no hidden states")
        return _call(info, expects, caller, masks, self, hidden, kwargs)

    return dress(as_layers_call_it, info)


def _call(
    info: AdapterInfo,
    expects: Replacement,
    caller: Caller,
    masks: MaskMaker,
    module: Any,
    hidden: Tensor,
    given: dict[str, Any],
) -> Any:
    info.count(BY_INSTALLED_LAYERS.name)
    cache = cache_in(given)
    layer = vars(module).get("layer_idx") or 0
    known = {**given, "hidden_states": hidden}
    arguments: dict[str, Any] = {}
    past = _pair_of(cache, layer) if expects.takes_pairs else cache
    if "attention_mask" in expects.accepted:
        mask = given.get("attention_mask")
        if not expects.is_new:
            mask = _mask(expects, masks, module, hidden, span_of(hidden, past, layer), given)
        elif isinstance(mask, Tensor) and mask.ndim == 4 and mask.shape[2] > hidden.shape[1]:
            mask = rows_of(mask, span_of(hidden, past, layer))
        arguments["attention_mask"] = mask
    if expects.cache is not None:
        arguments[expects.cache] = past
    arguments |= _positions(expects, module, known)
    if "output_attentions" in expects.accepted:
        arguments["output_attentions"] = bool(given.get("output_attentions"))
    if "use_cache" in expects.accepted:
        # From 4.53 to 4.57 layers do not know it: a cache is there where it is to be used.
        arguments["use_cache"] = cache is not None
    if EMBEDDINGS in expects.accepted:
        arguments[EMBEDDINGS] = _embeddings(info, expects, module, known)
    arguments |= dict.fromkeys(expects.required - arguments.keys())
    arguments |= _others(expects, given)
    result = info.native(module, hidden, **arguments)  # type: ignore[misc]
    if expects.takes_pairs and cache is not None:
        pair = _values(info, expects, result)[2]
        _put_pair(cache, layer, pair, hidden.shape[1], {"cache_position": _cache_position(module, known)})
    output, weights, _ = _values(info, expects, result)
    return (output, weights) if caller.values == 2 else (output, weights, cache)


def _mask(
    expects: Replacement, masks: MaskMaker, module: Any, hidden: Tensor, span: Span, given: Mapping[str, Any]
) -> Any:
    mask, pair = given.get("attention_mask"), given.get(EMBEDDINGS)
    anchor = pair[0] if isinstance(pair, (tuple, list)) else None
    if expects.mask == "padding":
        if any(given.get(name) is not None for name in _PACKED):
            raise CallFormError("this function cannot be told of packed sequences (cu_seq_lens)")
        return masks.padding(mask, hidden, span, optional=expects.takes_no_mask, anchor=anchor)
    if expects.mask != "added":
        return mask
    causal = given.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if mask is None or (isinstance(mask, Tensor) and mask.ndim == 2):
        _refuse_window(module, span)
    return masks.added(mask, hidden, span, causal=bool(causal), anchor=anchor)


def _refuse_window(module: Any, span: Span) -> None:
    """Where kernels get the window as an argument, None and a padding mask say nothing of it."""
    config = vars(module).get("config")
    window = vars(module).get("sliding_window", getattr(config, "sliding_window", None))
    chosen = getattr(config, "_attn_implementation", None)
    if isinstance(window, int) and span.past + span.queries > window and chosen not in ("eager", "sdpa"):
        raise CallFormError(
            f"the layer looks through a window of {window} tokens, of which {chosen} is told outside of the "
            'mask: load the model with attn_implementation="eager"'
        )


def _positions(expects: Replacement, module: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """``position_ids`` and ``cache_position``, where the function takes them."""
    found: dict[str, Any] = {}
    if "position_ids" in expects.accepted:
        given = known.get("position_ids")
        found["position_ids"] = positions_for(module, known) if given is None else given
    if "cache_position" in expects.accepted:
        found["cache_position"] = _cache_position(module, known)
    return found


def _cache_position(module: Any, known: Mapping[str, Any]) -> Any:
    """Where tokens stand in the cache: padding counts, which it does not in ``position_ids``."""
    at = known.get("cache_position")
    return positions_for(module, {**known, "position_ids": None})[0] if at is None else at


def _embeddings(info: AdapterInfo, expects: Replacement, module: Any, known: Mapping[str, Any]) -> Any:
    pair = known.get(EMBEDDINGS)
    if pair is None and expects.is_new:
        pair = embeddings_for(module, known)
        if pair is None:
            raise refuse(info, (), {}, "there is no rotary module to compute position_embeddings by")
    return pair


def _others(expects: Replacement, given: Mapping[str, Any]) -> dict[str, Any]:
    """What layers hand beside the contract: given where it can be taken."""
    return {
        name: value
        for name, value in given.items()
        if name not in HANDED and (expects.swallows or name in expects.accepted)
    }


def _values(info: AdapterInfo, expects: Replacement, result: Any) -> tuple[Any, Any, Any]:
    """Output, weights and what was returned of the cache, None where that is not there."""
    if not isinstance(result, tuple) or len(result) not in (2, 3):
        shown = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
        raise CallFormError(
            f"the function in the place of {info.context.target} returned {shown}, where attention returns "
            "(output, weights) or, up to 4.47.1, (output, weights, past_key_value)"
        )
    output, *others = (*result, None)[:3]
    # GPT-NeoX up to 4.47.1: output, cache, and weights if they are asked for.
    first, second = reversed(others) if expects.cache == "layer_past" and not expects.is_new else others
    return output, first, second


def _pair_of(cache: Any, layer: int) -> tuple[Tensor, Tensor] | None:
    """Keys and values ``[b, heads, past, d]`` of a layer, as up to 4.35; None where it has seen nothing."""
    if cache is None or isinstance(cache, tuple):
        return cache
    past = int(cache.get_seq_length(layer))
    if past == 0:
        return None
    layers = getattr(cache, "layers", None)
    if layers is not None:
        # From 4.54.0.
        keys, values = layers[layer].keys, layers[layer].values
    else:
        keys, values = cache.key_cache[layer], cache.value_cache[layer]
    # A static cache holds room for more.
    return keys[:, :, :past], values[:, :, :past]


def _put_pair(cache: Any, layer: int, pair: Any, new: int, options: dict[str, Any]) -> None:
    """Put what is new in the pair that attention returned into the cache."""
    if isinstance(cache, tuple):
        return
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], Tensor):
        raise CallFormError(
            "the function in the place of attention's forward returned no pair of keys and values, which "
            "would be lost for the next token"
        )
    keys, values = pair
    cache.update(keys[:, :, -new:], values[:, :, -new:], layer, options)
