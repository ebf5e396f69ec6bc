"""``position_embeddings=`` for attention that owns its rotary module: all up to 4.42, some for good.

For one call, attention asks an answer instead of its rotary module. The answer stands in a shallow copy of
the module, which shares weights and hooks, so that nothing of the model changes and threads do not meet.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor, nn

from ..._facts.call_forms import WITH_EMBEDDINGS
from ..._utils.disguise import native_of
from ..classes.shape import read_shape
from ..functions.base import AdapterInfo, Context, dress, refuse
from ..functions.signature import code_of, live_signature, signature_text
from .contract import CHILDREN, EMBEDDINGS, Contract, by_position, cache_in

__all__ = ["adapt_owner", "asks_its_own", "read_owner"]

Pair = tuple[Tensor, Tensor]

_TWO_VALUES, _TENSORS = Version("4.48.0"), Version("4.54.0")


class _Answer:
    """What a rotary module is asked for, known beforehand; everything else is the module's."""

    def __init__(self, pair: Pair, module: nn.Module) -> None:
        self._pair, self._module = pair, module

    def __call__(self, *args: Any, **kwargs: Any) -> Pair:
        return self._pair

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def read_owner(cls: type[Any], forward: Callable[..., Any]) -> Contract | None:
    """The contract of a method of attention or of a layer that does not take ``position_embeddings``."""
    signature = live_signature(forward)
    if signature is None or EMBEDDINGS in signature.parameters:
        return None
    names = by_position(signature)
    is_layer = cls.__name__.endswith("Layer")
    asks = _uses(forward, *_CHILDREN) if is_layer else asks_its_own(cls)
    if not asks or names[:1] != ("hidden_states",):
        return None
    return Contract.of("layer" if is_layer else "attention", signature, len(names))


_CHILDREN = (*CHILDREN, "self_attention")


def _uses(function: Any, *names: str) -> bool:
    code = code_of(function)
    return code is not None and not set(names).isdisjoint(code.co_names)


def asks_its_own(cls: type[Any]) -> bool:
    """Whether any method asks ``self.rotary_emb``: ``forward``, or what it calls (GPT-NeoX, 4.42 to 4.44).

    To have one is not enough: Qwen2-VL's of 4.48 to 4.57 makes one that nobody asks.
    """
    methods = [
        (name, native_of(method))
        for base in cls.__mro__
        if base.__module__ == cls.__module__
        for name, method in list(vars(base).items())
    ]
    # Not what users have put there, which asks for the module that attention once had.
    return any(
        isinstance(method, FunctionType)
        and method.__module__ == cls.__module__
        and "init" not in name
        and _uses(method, "rotary_emb")
        for name, method in methods
    )


def adapt_owner(native: Callable[..., Any], contract: Contract, context: Context) -> Callable[..., Any]:
    """The method that takes ``position_embeddings=`` as well; without it, a call goes straight through."""
    text = signature_text(contract.signature)
    info = AdapterInfo(context, native, text, (WITH_EMBEDDINGS,))

    def with_given_embeddings(self: Any, *args: Any, position_embeddings: Any = None, **kwargs: Any) -> Any:
        if position_embeddings is None:
            return native(self, *args, **kwargs)
        return _foreign(info, contract, self, position_embeddings, args, kwargs)

    return dress(with_given_embeddings, info, contract.signature)


def _foreign(
    info: AdapterInfo,
    contract: Contract,
    module: Any,
    pair: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    info.count(WITH_EMBEDDINGS.name)
    if len(args) > len(contract.names):
        raise refuse(info, args, kwargs, "there are too many arguments")
    given = {**dict(zip(contract.names, args, strict=False)), **kwargs}
    cache = cache_in(given)
    if cache is not None:
        given = {name: value for name, value in given.items() if value is not cache}
        if contract.cache is not None:
            given[contract.cache] = cache
    children = {"": module} if contract.kind == "attention" else module._modules
    found = [(name, child) for name, child in children.items() if child is not None and _rotary(child)]
    if len(found) != 1:
        raise refuse(info, args, kwargs, "its attention has no rotary module of its own")
    ((name, attention),) = found
    rotary = _rotary(attention)
    cos, sin = _checked(info, pair, given)
    if read_shape(type(rotary)).forward == "tables":
        if "position_ids" not in contract.accepted:
            raise refuse(info, args, kwargs, "its cos and sin are tables, and it takes no position_ids")
        given["position_ids"] = torch.arange(cos.shape[:2].numel(), device=cos.device).view(cos.shape[:2])
        cos, sin = cos.flatten(0, 1), sin.flatten(0, 1)
    answering = _with(attention, "rotary_emb", _Answer((cos, sin), rotary))
    subject = answering if contract.kind == "attention" else _with(module, name, answering)
    hidden, with_weights = given.pop("hidden_states"), bool(given.get("output_attentions"))
    result = info.native(subject, hidden, **_accepted(contract, given))  # type: ignore[misc]
    return _as_later(contract, info.context.written_for, with_weights, result)


def _rotary(attention: nn.Module) -> Any:
    return attention._modules.get("rotary_emb")


def _checked(info: AdapterInfo, pair: Any, given: dict[str, Any]) -> Pair:
    """cos and sin, where they are rows of the tokens of this call."""
    hidden = given.get("hidden_states")
    if isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(hidden, Tensor):
        cos, sin = pair
        batch, length = hidden.shape[0], hidden.shape[1]
        are_alike = isinstance(cos, Tensor) and isinstance(sin, Tensor) and cos.shape == sin.shape
        if are_alike and cos.ndim == 3 and cos.shape[0] in (1, batch) and cos.shape[1] == length:
            return cos, sin
    why = "position_embeddings are not cos and sin [B or 1, S, D] of its tokens"
    raise refuse(info, (), {EMBEDDINGS: pair, **given}, why)


def _with(module: Any, name: Any, child: Any) -> Any:
    """A shallow copy of a module with another child."""
    copied = object.__new__(type(module))
    vars(copied).update(vars(module))
    vars(copied)["_modules"] = {**module._modules, name: child}
    return copied


def _accepted(contract: Contract, given: dict[str, Any]) -> dict[str, Any]:
    """What the method takes; of what it does not, what later releases hand beside cos and sin is left out."""
    dropped = {"position_ids", "cache_position", "use_cache", "output_attentions"} - contract.accepted
    return {name: value for name, value in given.items() if name not in dropped}


def _as_later(contract: Contract, written: Version | None, with_weights: bool, result: Any) -> Any:
    """What the release returned that the caller was written for, from 4.48.0 on: no cache, later a tensor."""
    if written is None or written < _TWO_VALUES or not isinstance(result, tuple):
        return result
    # GPT-NeoX up to 4.47.1: the cache comes before the weights.
    place = -1 if contract.cache == "layer_past" else 1
    weights = result[place] if with_weights and len(result) > 1 else None
    if contract.kind == "attention":
        return result[0], weights
    if written >= _TENSORS:
        return result[0]
    return (result[0], weights) if with_weights else (result[0],)
