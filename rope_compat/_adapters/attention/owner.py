"""Which rotary module is an attention layer's, from 4.48.0 on, where the model owns it.

Nothing is stored in the model, neither a submodule nor a link, so that `state_dict`, copies, pickles and
device maps stay as they are. The owner is looked for among the living modules when it is first asked for, and
remembered weakly, for all layers of the model at once.
"""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

from ..._facts.config_fields import LOCAL_MODULES
from ...configs.spec import RopeSpec
from ...errors import CallFormError
from ..functions.base import is_compiling
from .contract import CHILDREN, cache_in

__all__ = [
    "ATTRIBUTES",
    "OldAttribute",
    "attention_of",
    "embeddings_for",
    "layer_type_of",
    "positions_for",
    "rotary_of",
]

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


def embeddings_for(module: nn.Module, given: Mapping[str, Any]) -> Any | None:
    """What the model would hand down for this call, or None where there is no rotary module to ask."""
    attention = attention_of(module)
    rotary = rotary_of(attention)
    if rotary is None:
        return None
    parameters = inspect.signature(type(rotary).forward).parameters
    hidden: Tensor = given["hidden_states"]
    positions = positions_for(attention, given)
    if "position_ids" not in parameters:
        return _rows_of_tables(rotary, hidden, positions) if "seq_len" in parameters else None
    if positions.ndim == 2 and _has_sections(attention):
        positions = positions[None].expand(3, -1, -1)
    if "layer_type" in parameters:
        return rotary(hidden, position_ids=positions, layer_type=layer_type_of(attention))
    return rotary(hidden, position_ids=positions)


def _rows_of_tables(rotary: nn.Module, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """``[B, S, D]`` from a module that gives tables, ``[S, D]`` or ``[1, 1, S, D]`` (some to 4.44.2)."""
    cos, sin = rotary(hidden, seq_len=int(positions.max()) + 1)
    return cos.flatten(0, -2)[positions], sin.flatten(0, -2)[positions]


def positions_for(attention: nn.Module, given: Mapping[str, Any]) -> Tensor:
    """``position_ids``, else ``cache_position``, else what follows the tokens of the KV cache."""
    hidden: Tensor = given["hidden_states"]
    positions: Tensor | None = given.get("position_ids")
    if positions is not None:
        return positions if positions.ndim > 1 else positions[None]
    if given.get("cache_position") is not None:
        at: Tensor = given["cache_position"]
        return at[None] if at.ndim == 1 else at
    cache = cache_in(given)
    past = 0 if cache is None else int(cache.get_seq_length(vars(attention).get("layer_idx") or 0))
    return torch.arange(past, past + hidden.shape[1], device=hidden.device)[None]


def _has_sections(attention: nn.Module) -> bool:
    """Whether positions have three axes: time, height and width."""
    config = vars(attention).get("config")
    # The stored fields: what stands for one that is not there raises, which no compiler follows.
    stored = vars(config) if config is not None else {}
    return any("mrope_section" in (stored.get(name) or {}) for name in ("rope_parameters", "rope_scaling"))


class OldAttribute:
    """An attribute of up to 4.47.1, read on instances that have none; not there when the class is asked.

    It has no `__set__`: what an instance stores comes first, so that subclasses may assign the name.
    """

    def __init__(self, name: str, get: Callable[[Any], Any]) -> None:
        self.name, self._get = name, get

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        if instance is None:
            raise AttributeError(f"type object {owner.__name__!r} has no attribute {self.name!r}")  # type: ignore[union-attr]
        for store in ("_modules", "_parameters", "_buffers"):
            held = vars(instance).get(store)
            if held is not None and self.name in held:
                return held[self.name]
        value = self._get(instance)
        if value is None:
            raise AttributeError(f"{type(instance).__name__!r} object has no attribute {self.name!r}")
        return value


def _of_config(name: str) -> Callable[[Any], Any]:
    return lambda attention: getattr(vars(attention).get("config"), name, None)


def _key_value_heads(attention: Any) -> Any:
    found = _of_config("num_key_value_heads")(attention)
    return _of_config("num_attention_heads")(attention) if found is None else found


def _theta(attention: Any) -> Any:
    config = vars(attention).get("config")
    if config is None:
        return None
    spec = RopeSpec.of(config)
    return spec.for_layer(layer_type_of(attention)).theta if spec.layers else spec.theta


ATTRIBUTES: dict[str, Callable[[Any], Any]] = {
    "rotary_emb": rotary_of,
    "num_heads": _of_config("num_attention_heads"),
    "num_key_value_heads": _key_value_heads,
    "hidden_size": _of_config("hidden_size"),
    "max_position_embeddings": _of_config("max_position_embeddings"),
    "rope_theta": _theta,
}
