"""The ``forward`` that stands in the place of an attention's or a decoder layer's from 4.48.0 on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from packaging.version import Version
from torch import Tensor

from ..._facts.call_forms import WITHOUT_EMBEDDINGS
from ...errors import CallFormError
from ..functions.base import AdapterInfo, Context, dress, refuse
from ..functions.signature import code_of, live_signature, signature_text
from .contract import CACHES, EMBEDDINGS, Contract, by_position, cache_in
from .owner import embeddings_for

__all__ = ["adapt_by_type", "adapt_forward", "read_by_type"]

#: The parameters up to 4.47.1, in their order.
_OLD = tuple(WITHOUT_EMBEDDINGS.signature.strip("()").split(", "))
#: Gemma 3 and 3n up to 4.57: layers are handed two pairs of cos and sin, of which they take one.
_PAIRS = ("position_embeddings_global", "position_embeddings_local")
_THREE_VALUES_BEFORE, _TUPLES_BEFORE = Version("4.48.0"), Version("4.54.0")
_UNSAID: Any = object()
#: What the model consumes, or what says nothing: dropped where the method does not take it.
_DROPPED = ("position_ids", "cache_position", "use_cache", "output_attentions", "padding_mask")


def adapt_forward(native: Callable[..., Any], contract: Contract, context: Context) -> Callable[..., Any]:
    """The method that takes calls with and without ``position_embeddings``, and every name of the cache."""
    info = AdapterInfo(context, native, signature_text(contract.signature), (WITHOUT_EMBEDDINGS,))
    index, is_layer = contract.index, contract.kind == "layer"
    foreign = (
        frozenset(name for name in CACHES if name not in contract.accepted) if contract.cache else frozenset()
    )
    # A layer hands None on, where its model says it has none; attention needs them.
    unsaid = _UNSAID if is_layer else None

    # transformers calls by keywords: one parameter taken out, one set operation, and on.
    def with_or_without_embeddings(
        self: Any, *args: Any, position_embeddings: Any = unsaid, **kwargs: Any
    ) -> Any:
        if position_embeddings is not unsaid and foreign.isdisjoint(kwargs):
            return native(self, *args, position_embeddings=position_embeddings, **kwargs)
        if len(args) > index and _is_embedding(args[index]) and foreign.isdisjoint(kwargs):
            return native(self, *args, **kwargs)
        if position_embeddings is not unsaid:
            kwargs[EMBEDDINGS] = position_embeddings
        return _foreign(info, contract, self, args, kwargs)

    return dress(with_or_without_embeddings, info, contract.signature)


def _is_embedding(value: Any) -> bool:
    """Whether a value at the place of ``position_embeddings`` is one, and not an attention mask or None."""
    if isinstance(value, Tensor):
        return value.is_complex()
    return isinstance(value, (tuple, list, dict))


def _foreign(
    info: AdapterInfo, contract: Contract, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    given = _named(info, contract, args, kwargs)
    cache = cache_in(given)
    is_old = given.get(EMBEDDINGS) is None and given.get("alibi") is None
    if is_old:
        info.count(WITHOUT_EMBEDDINGS.name)
        found = embeddings_for(module, given)
        if found is not None:
            given[EMBEDDINGS] = found
        elif contract.kind == "attention":
            raise refuse(info, args, kwargs, "no model that this module is in has a rotary module for it")
    result = info.native(module, **_native_arguments(info, contract, given, cache))  # type: ignore[misc]
    written = info.context.written_for
    return result if not is_old or written is None else _as_once(contract, written, given, cache, result)


def _native_arguments(
    info: AdapterInfo, contract: Contract, given: dict[str, Any], cache: Any
) -> dict[str, Any]:
    """What the native method takes, by its own names."""
    arguments = {
        name: value for name, value in given.items() if name not in CACHES or name in contract.accepted
    }
    if contract.cache is not None and cache is not None:
        arguments[contract.cache] = cache
    elif cache is not None:
        raise CallFormError(f"{info.context.target} takes no KV cache")
    for name in _DROPPED:
        # position_ids are handed on in **kwargs by transformers' own layers as well.
        is_meant = name == "position_ids" or (name == "output_attentions" and arguments.get(name))
        if name not in contract.accepted and not (is_meant and contract.swallows):
            arguments.pop(name, None)
    # Required without a default in 4.48 to 4.5x.
    if "attention_mask" in contract.accepted:
        arguments.setdefault("attention_mask", None)
    return arguments


def _named(
    info: AdapterInfo, contract: Contract, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments by name; the order of 4.47 and before is told by what stands at each place."""
    orders = [contract.names] if contract.index >= len(args) else [_OLD, contract.names]
    orders += [_OLD]
    for order in orders:
        if len(args) <= len(order) and all(map(_fits, order, args)):
            given = dict(zip(order, args, strict=False))
            twice = sorted(given.keys() & kwargs.keys())
            if twice:
                raise refuse(info, args, kwargs, f"{', '.join(twice)} given twice")
            if "hidden_states" in given or "hidden_states" in kwargs:
                return {**given, **kwargs}
    raise refuse(info, args, kwargs, "the arguments by position are in no order that it has had")


def _fits(name: str, value: Any) -> bool:
    if value is None:
        return True
    if name == EMBEDDINGS:
        return _is_embedding(value)
    if name in ("position_ids", "cache_position"):
        return isinstance(value, Tensor) and not value.is_floating_point() and value.ndim <= 3
    if name in CACHES:
        return hasattr(value, "update")
    if name in ("output_attentions", "use_cache"):
        return isinstance(value, bool)
    if name == "attention_mask":
        # Of two axes: the padding mask of flash-attention.
        return isinstance(value, Tensor) and value.ndim in (2, 4)
    return True


def _as_once(contract: Contract, written: Version, given: dict[str, Any], cache: Any, result: Any) -> Any:
    """What the release returned that the caller was written for."""
    wants_weights, use_cache = bool(given.get("output_attentions")), bool(given.get("use_cache"))
    if contract.kind == "attention":
        # 4.48.0: two values, the cache is not returned any more; eager attention returns weights always.
        if written < _THREE_VALUES_BEFORE and isinstance(result, tuple) and len(result) == 2:
            return result[0], result[1] if wants_weights else None, cache
        return result
    if isinstance(result, Tensor):
        if written >= _TUPLES_BEFORE:
            return result
        if wants_weights:
            raise CallFormError(
                "a decoder layer of 4.54.0 and later returns no attention weights: call the model with "
                "output_attentions=True"
            )
        # 4.54.0: the tensor itself, where [0] picks the first of the batch.
        result = (result,)
    return (*result, cache) if use_cache and written < _THREE_VALUES_BEFORE else result


def read_by_type(cls: type[Any], forward: Callable[..., Any]) -> Contract | None:
    """The contract of a layer's method, or None where it does not take both pairs."""
    code = code_of(forward)
    if code is None or _PAIRS[0] not in code.co_varnames:
        return None
    signature = live_signature(forward)
    if signature is None or not set(_PAIRS) <= set(signature.parameters):
        return None
    return Contract.of("layer", signature, by_position(signature).index(_PAIRS[0]))


def adapt_by_type(native: Callable[..., Any], contract: Contract, context: Context) -> Callable[..., Any]:
    """The method that takes one pair, or computes it, and hands it on as both."""
    info = AdapterInfo(context, native, signature_text(contract.signature), (WITHOUT_EMBEDDINGS,))

    def with_one_pair(self: Any, *args: Any, position_embeddings: Any = None, **kwargs: Any) -> Any:
        if position_embeddings is None and (_PAIRS[0] in kwargs or len(args) > 1):
            return native(self, *args, **kwargs)
        info.count(WITHOUT_EMBEDDINGS.name)
        given = {**dict(zip(contract.names, args, strict=False)), **kwargs}
        pair = embeddings_for(self, given) if position_embeddings is None else position_embeddings
        if pair is None or not {*_PAIRS, EMBEDDINGS}.isdisjoint(given):
            raise refuse(info, args, kwargs, "there is no one pair of cos and sin for it")
        cache = cache_in(given)
        given |= dict.fromkeys(_PAIRS, pair)
        return native(self, **_native_arguments(info, contract, given, cache))

    return dress(with_one_pair, info, contract.signature)
