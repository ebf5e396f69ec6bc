"""Attention classes that said by their name what they computed with: gone since the config chooses.

From 4.48.0 on a model has one attention class, whose ``forward`` asks the config. A restored class is a
subclass of that one, made when it is asked for: it takes what its predecessor took, and computes with what
its name says.
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..._environment import announce
from ..._patching.edits import MISSING
from ...errors import DeadPatchWarning, IncompatibleVersionError
from .lookup import names_when_last_there, was_there_in

__all__ = ["DeadTable", "LegacyAttentionType", "find"]

#: What a name's end says about the computation.
_IMPLEMENTATIONS = {
    "FlashAttention2": "flash_attention_2",
    "SdpaAttention": "sdpa",
    "SdpaSelfAttention": "sdpa",
}
#: Live classes that are not called as their predecessors were.
_RENAMED = {
    "OptFlashAttention2": "OPTAttention",
    "DistilBertFlashAttention2": "DistilBertSelfAttention",
    "DistilBertSdpaAttention": "DistilBertSelfAttention",
}
#: The cache's parameter: past_key_value to 4.55, past_key_values from 4.56, cache from 5.24.
_CACHES = ("past_key_value", "past_key_values", "cache")
#: What came after hidden_states, by position, up to 4.47.1.
_OLD_ORDER = (
    "attention_mask", "position_ids", "past_key_value", "output_attentions", "use_cache", "cache_position",
    "position_embeddings",
)  # fmt: skip
#: Attributes that attention modules had up to 4.47.1, by the config's field.
_OLD_ATTRIBUTES = {
    "hidden_size": "hidden_size",
    "num_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "max_position_embeddings": "max_position_embeddings",
}
#: Vision classes that took (dim, num_heads=16) where the live ones take a config: its class, and the fields.
_OF_NUMBERS = {
    "VisionAttention": ("Qwen2VLVisionConfig", "embed_dim", "num_heads"),
    "Qwen2_5_VLVisionAttention": ("Qwen2_5_VLVisionConfig", "hidden_size", "num_heads"),
    "Qwen2_5OmniVisionAttention": ("Qwen2_5OmniVisionEncoderConfig", "hidden_size", "num_heads"),
}


def find(module: str, name: str, written_for: str | None = None) -> Any:
    """A class or a table of classes; `MISSING` where the module has nothing that it could stand on."""
    if name.endswith("_ATTENTION_CLASSES"):
        return _table(module, name)
    return _class(module, name, written_for)


@dataclass(frozen=True)
class _Contract:
    """What one restored class promises.

    Attributes:
        name: the class.
        module: where it was.
        live: the class that it stands on; None where there is none, so that it cannot be instantiated.
        implementation: what it computes with.
        parameters: of the live ``forward``.
        cache: the one of them that takes the cache; empty where none does.
        returns_three: what is meant by a call that either generation could have made.
    """

    name: str
    module: str
    live: Any
    implementation: str
    parameters: frozenset[str]
    cache: str
    returns_three: bool


def _implementation(name: str) -> str:
    return next(value for end, value in _IMPLEMENTATIONS.items() if name.endswith(end))


def _live_name(name: str) -> str:
    return _RENAMED.get(name) or name.replace("FlashAttention2", "Attention").replace("Sdpa", "")


def _class(module: str, name: str, written_for: str | None) -> Any:
    import torch

    namespace = vars(sys.modules[module])
    live = namespace.get(_live_name(name))
    is_module = isinstance(live, type) and issubclass(live, torch.nn.Module)
    if not is_module or "ALL_ATTENTION_FUNCTIONS" not in namespace:
        live = None
    parameters = frozenset(inspect.signature(live.forward).parameters) if live is not None else frozenset()
    cache = next((each for each in _CACHES if each in parameters), "")
    is_old = was_there_in(written_for, module, name)
    contract = _Contract(name, module, live, _implementation(name), parameters, cache, is_old)
    text = f"{name} as it once was: computes with {contract.implementation}, whatever the config says."
    body = {"__module__": module, "__doc__": text, "__init__": _constructor(contract)}
    if live is None:
        return LegacyAttentionType(name, (torch.nn.Module,), body, contract)
    return LegacyAttentionType(name, (live,), {**body, "forward": _forward(contract)}, contract)


class LegacyAttentionType(type):
    """The class of restored attention classes. Subclasses are the user's own, and have no contract."""

    _contract: _Contract

    def __new__(
        cls, name: str, bases: tuple[type, ...], body: dict[str, Any], contract: _Contract | None = None
    ) -> LegacyAttentionType:
        return super().__new__(cls, name, bases, body if contract is None else body | {"_contract": contract})

    def __init__(
        cls, name: str, bases: tuple[type, ...], body: dict[str, Any], contract: _Contract | None = None
    ) -> None:
        super().__init__(name, bases, body)

    def __setattr__(cls, name: str, value: Any) -> None:
        """Says when something is put on a restored class in vain."""
        super().__setattr__(name, value)
        if "_contract" not in vars(cls) or not callable(value):
            return
        module, live = cls._contract.module, cls._contract.live
        where_now = (
            f"nothing in the installed transformers instantiates it; see {module}"
            if live is None
            else f"the installed transformers has {live.__name__} for every implementation, and instantiates "
            f"nothing else. Assign to {module}.{live.__name__}, or register a function with "
            "transformers.AttentionInterface"
        )
        announce(
            f"{cls.__name__}.{name} was assigned, without effect on any model: {where_now}", DeadPatchWarning
        )

    def __instancecheck__(cls, instance: Any) -> bool:
        """Also a live attention that computes as the name says: it is what the class once stood for."""
        if super().__instancecheck__(instance):
            return True
        contract = vars(cls).get("_contract")
        if contract is None or contract.live is None or not isinstance(instance, contract.live):
            return False
        chosen = getattr(getattr(instance, "config", None), "_attn_implementation", None)
        return bool(chosen == contract.implementation)


def _constructor(contract: _Contract) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        if contract.live is None:
            raise IncompatibleVersionError(
                f"{contract.name} cannot be made here: the installed transformers has no class in "
                f"{contract.module} whose attention the config chooses. Use the classes that the module has, "
                "or install the release that the code was written for"
            )
        first = args[0] if args else kwargs.get("dim")
        if contract.live.__name__ in _OF_NUMBERS and isinstance(first, int):
            wanted, *fields = _OF_NUMBERS[contract.live.__name__]
            given = {"num_heads": 16, **dict(zip(("dim", "num_heads"), args, strict=False)), **kwargs}
            numbers = dict(zip(fields, (given["dim"], given["num_heads"]), strict=True))
            args, kwargs = (getattr(sys.modules[contract.module], wanted)(**numbers),), {}
        contract.live.__init__(self, *args, **kwargs)
        config = getattr(self, "config", None)
        if config is None:
            # Encoders could be made of numbers alone (Bart's: embed_dim, num_heads).
            config = importlib.import_module("transformers").PretrainedConfig()
        self.config = _choosing(config, contract.implementation)
        if "position_embeddings" in contract.parameters:
            for attribute, field in _OLD_ATTRIBUTES.items():
                if not hasattr(self, attribute) and hasattr(config, field):
                    setattr(self, attribute, getattr(config, field))

    return __init__


def _choosing(config: Any, implementation: str) -> Any:
    """A copy of a config that chooses one implementation: other layers keep the model's own.

    The field is set and not the property, whose setter reaches into configs within the config.
    """
    own = copy.copy(config)
    vars(own)["_attn_implementation_internal"] = implementation
    return own


def _forward(contract: _Contract) -> Callable[..., Any]:
    def forward(self: Any, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        if contract.implementation == "flash_attention_2" and not _has_flash():
            raise IncompatibleVersionError(
                f"{contract.name} computes with flash-attn, which is not usable here (not installed, or no "
                f"GPU). Use {contract.live.__name__}, which computes with what the config says, or "
                'attn_implementation="sdpa"'
            )
        if not _is_old(contract, args, kwargs):
            return contract.live.forward(self, hidden_states, *args, **kwargs)
        kwargs = dict(zip(_OLD_ORDER, args, strict=False)) | kwargs
        return _old_call(contract, self, hidden_states, kwargs)

    return forward


def _is_old(contract: _Contract, args: Any, kwargs: Any) -> bool:
    """Whether a call is in the form of the releases that had the class."""
    if not contract.cache:
        return False
    rotary = "position_embeddings" in contract.parameters
    if args and not isinstance(args[0], tuple):
        # position_embeddings stand second in the live form, where attention_mask stood.
        return rotary
    if contract.cache != "past_key_value" and "past_key_value" in kwargs:
        return True
    if rotary and not args and kwargs.get("position_embeddings") is None:
        return True
    return contract.returns_three and not args


def _old_call(contract: _Contract, self: Any, hidden_states: Any, given: dict[str, Any]) -> Any:
    """Call the live ``forward`` and give back three values: output, weights if asked for, cache."""
    cache = given.pop("past_key_value", given.pop(contract.cache, None))
    with_weights = given.pop("output_attentions", False)
    for name in ("use_cache", "padding_mask"):
        given.pop(name, None)
    if "cache_position" not in contract.parameters:
        given.pop("cache_position", None)
    if given.get("position_embeddings") is None:
        given.pop("position_embeddings", None)
    given.setdefault("attention_mask", None)
    chosen = self.config
    if with_weights:
        # No kernel returns weights: the old classes computed them by hand too.
        self.config = _choosing(chosen, "eager")
    try:
        result = contract.live.forward(self, hidden_states, **{contract.cache: cache}, **given)
    finally:
        self.config = chosen
    output, weights = result[0], result[1] if len(result) > 1 else None
    return output, weights if with_weights else None, cache


@functools.cache
def _has_flash() -> bool:
    utils = importlib.import_module("transformers.utils")
    on_npu = getattr(utils, "is_torch_npu_available", bool)
    return bool(utils.is_flash_attn_2_available() or on_npu())


def _table(module: str, name: str) -> Any:
    """``LLAMA_ATTENTION_CLASSES`` and its like: implementations to classes, as far as the module had them."""
    family = _plain(name.removesuffix("_ATTENTION_CLASSES"))
    place = sys.modules[module]
    legacy = list(_legacy_names(module, name, family))
    found = {_implementation(each): getattr(place, each, MISSING) for each in legacy}
    live = [_live_name(each) for each in legacy]
    live += [each for each in vars(place) if each.endswith("Attention") and _plain(each[:-9]) == family]
    eager = [vars(place)[each] for each in live if isinstance(vars(place).get(each), type)]
    if not eager:
        return MISSING
    given = {kind: value for kind, value in found.items() if value is not MISSING}
    return DeadTable(f"{module}.{name}", {"eager": eager[0], **given})


def _legacy_names(module: str, table: str, family: str) -> Iterator[str]:
    for each in sorted(names_when_last_there(module, table)):
        if each.endswith(tuple(_IMPLEMENTATIONS)):
            own = _plain(_live_name(each).removesuffix("Attention"))
            # QWEN2_VL_VISION_ATTENTION_CLASSES has VisionFlashAttention2.
            if own == family or (own == "vision" and family.endswith(own)):
                yield each


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


class DeadTable(dict[str, Any]):
    """A table that no model looks classes up in: says so when something is put into it."""

    def __init__(self, target: str, content: dict[str, Any]) -> None:
        super().__init__(content)
        self._target = target

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        announce(
            f"{self._target}[{key!r}] was assigned, without effect on any model: installed transformers has "
            "one attention class for each model, and does not look it up. Replace that class's forward, or "
            "register a function with AttentionInterface",
            DeadPatchWarning,
        )

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As `dict.update`, one by one."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value
