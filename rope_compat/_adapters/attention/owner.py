"""Which rotary module is an attention layer's, from 4.48.0 on, where the model owns it.

Nothing is stored in the model, neither a submodule nor a link, so that `state_dict`, copies, pickles and
device maps stay as they are. The owner is looked for among the living modules when it is first asked for, and
remembered weakly, for all layers of the model at once.
"""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary, ref

from torch import nn

from ..._facts.config_fields import LOCAL_MODULES
from ...errors import CallFormError
from ..functions.base import is_compiling
from .form import CHILDREN

__all__ = ["attention_of", "layer_type_of", "rotary_of"]

_ENDING = "RotaryEmbedding"

#: By the id of the attention, with a reference that takes the entry away: a compiler guards one key of it,
#: where it would guard the order of all of a `WeakKeyDictionary`'s.
_owners: dict[int, tuple[ref[nn.Module], ref[nn.Module]]] = {}
_own: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()


def attention_of(module: nn.Module) -> nn.Module:
    """The attention of a decoder layer; attention itself."""
    for name in CHILDREN:
        child = module._modules.get(name)
        if child is not None:
            return child
    return module


def layer_type_of(attention: nn.Module) -> str | None:
    """What kind of layer this is, where the model has several."""
    for name in ("layer_type", "attention_type"):
        if isinstance(vars(attention).get(name), str):
            return str(vars(attention)[name])
    types = getattr(vars(attention).get("config"), "layer_types", None)
    index = vars(attention).get("layer_idx")
    return types[index] if types and isinstance(index, int) and index < len(types) else None


def rotary_of(attention: nn.Module) -> nn.Module | None:
    """The rotary module of attention (to 4.47.1), or of the model that it is in, or one made for it.

    None where it cannot be known: no owner is alive, and its module has not one class that fits.
    """
    own = _rotaries(attention)
    if len(own) == 1:
        return next(iter(own.values()))
    known = _owners.get(id(attention))
    owner = known[1]() if known is not None else None
    if owner is None:
        owner = _search(attention)
    return _pick(owner, attention) if owner is not None else _made(attention)


def _rotaries(module: nn.Module) -> dict[str, nn.Module]:
    """The rotary modules among a module's children."""
    return {
        name: child
        for name, child in module._modules.items()
        if child is not None and type(child).__name__.endswith(_ENDING)
    }


def _pick(owner: nn.Module, attention: nn.Module) -> nn.Module | None:
    found = _rotaries(owner)
    if len(found) == 1:
        return next(iter(found.values()))
    local = [name for name in found if name in LOCAL_MODULES]
    if len(found) != 2 or len(local) != 1:
        return None
    is_local = vars(attention).get("is_sliding")
    if is_local is None:
        is_local = layer_type_of(attention) == "sliding_attention"
    return next(child for name, child in found.items() if (name in local) == bool(is_local))


def _search(attention: nn.Module) -> nn.Module | None:
    """The nearest owner; of several that share the module, the one that shares its config, too."""
    if is_compiling():
        # The frame is run by Python then, where a compiler may leave that to it.
        raise CallFormError(
            "which rotary module is an attention's is searched for among living objects, which no compiler "
            "follows: call the module once before it is compiled, or pass position_embeddings"
        )
    config, found = vars(attention).get("config"), []
    for module in gc.get_objects():
        # Not isinstance: proxies answer it, some by importing what they stand for.
        if not issubclass(type(module), nn.Module) or "_modules" not in vars(module):
            continue
        if _rotaries(module) and any(child is attention for child in _below(module)):
            found.append(module)
    found.sort(key=lambda owner: vars(owner).get("config") is not config)
    for child in _below(found[0]) if found else ():
        _remember(child, found[0])
    return found[0] if found else None


def _remember(child: nn.Module, owner: nn.Module) -> None:
    key = id(child)

    def forget(gone: ref[nn.Module]) -> None:
        # The id may be another module's by now.
        if key in _owners and _owners[key][0] is gone:
            del _owners[key]

    _owners[key] = ref(child, forget), ref(owner)


def _below(owner: nn.Module) -> Iterator[nn.Module]:
    """What is in a module, without what is in another owner below it."""
    for child in owner._modules.values():
        if child is not None:
            yield child
            if not _rotaries(child):
                yield from _below(child)


def _made(attention: nn.Module) -> nn.Module | None:
    """For attention without a model: a rotary module of its own, made of its config, outside of it."""
    made = _own.get(attention)
    config = vars(attention).get("config")
    place = next(attention.parameters(recurse=True), None)
    if made is None and config is not None and place is not None:
        cls = _class_for(type(attention))
        if cls is None:
            return None
        made = _own[attention] = cls(config=config)
    if made is not None and place is not None:
        made.to(device=place.device)
    return made


def _class_for(attention: type[Any]) -> type[nn.Module] | None:
    """The class of the same module that takes a config, and is called most like the attention."""
    for cls in attention.__mro__:
        module = sys.modules.get(cls.__module__)
        if module is None:
            continue
        names = [name for name, value in vars(module).items() if _takes_config(value, module.__name__)]
        stem = cls.__name__.partition("Attention")[0]
        if f"{stem}{_ENDING}" in names or len(names) == 1:
            chosen = f"{stem}{_ENDING}" if f"{stem}{_ENDING}" in names else names[0]
            found: type[nn.Module] = vars(module)[chosen]
            return found
    return None


def _takes_config(value: object, home: str) -> bool:
    return (
        isinstance(value, type)
        and value.__name__.endswith(_ENDING)
        and value.__module__ == home
        and "config" in inspect.signature(value).parameters
    )
