"""What an attention class with a telling name promised, and how it is kept on top of the live class."""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import IncompatibleVersionError

__all__ = ["IMPLEMENTATIONS", "Contract", "contract_of"]

#: What a name's end says about the computation.
IMPLEMENTATIONS = {
    "FlashAttention2": "flash_attention_2",
    "SdpaAttention": "sdpa",
    "SdpaSelfAttention": "sdpa",
}

#: The cache's parameter: past_key_value to 4.55, past_key_values from 4.56, cache from 5.24.
_CACHES = ("past_key_value", "past_key_values", "cache")
#: What came after hidden_states, by position, up to 4.47.1.
_OLD_ORDER = (
    "attention_mask",
    "position_ids",
    "past_key_value",
    "output_attentions",
    "use_cache",
    "cache_position",
    "position_embeddings",
)
#: Vision classes that took numbers where the live ones take a config: its class, and the fields.
_OF_NUMBERS = {
    "VisionAttention": ("Qwen2VLVisionConfig", "embed_dim", "num_heads"),
    "Qwen2_5_VLVisionAttention": ("Qwen2_5_VLVisionConfig", "hidden_size", "num_heads"),
    "Qwen2_5OmniVisionAttention": ("Qwen2_5OmniVisionEncoderConfig", "hidden_size", "num_heads"),
}
#: Attributes that attention modules had up to 4.47.1, by the config's field.
_OLD_ATTRIBUTES = {
    "hidden_size": "hidden_size",
    "num_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "max_position_embeddings": "max_position_embeddings",
}


@dataclass(frozen=True)
class Contract:
    """What one restored class promises.

    Attributes:
        name: the class.
        module: where it was.
        live: the class that it stands on; None where there is none, so that it cannot be instantiated.
        implementation: what it computes with.
        cache: the parameter of the live ``forward`` that takes the cache; empty where it takes none.
        rotary: whether the live ``forward`` takes ``position_embeddings``.
        parameters: of the live ``forward``.
        returns_three: what is meant by a call that either generation could have made.
    """

    name: str
    module: str
    live: type | None
    implementation: str
    cache: str
    rotary: bool
    parameters: frozenset[str]
    returns_three: bool

    @property
    def text(self) -> str:
        """The restored class's documentation."""
        return f"{self.name} as it once was: computes with {self.implementation}, whatever the config says."

    @property
    def where_now(self) -> str:
        """What to do instead of changing the class."""
        if self.live is None:
            return f"nothing in the installed transformers instantiates it; see {self.module}"
        return (
            f"the installed transformers has {self.live.__name__} for every implementation, and instantiates "
            f"nothing else. Assign to {self.module}.{self.live.__name__}, or register a function with "
            "transformers.AttentionInterface"
        )

    def describes(self, instance: Any) -> bool:
        """Whether a live attention computes what the name says."""
        if self.live is None or not isinstance(instance, self.live):
            return False
        config = getattr(instance, "config", None)
        return getattr(config, "_attn_implementation", None) == self.implementation

    def methods(self, base: type) -> dict[str, Any]:
        """The methods of the restored class."""
        if self.live is None:
            return {"__init__": _refusing(self)}
        return {"__init__": _constructor(self, base), "forward": _forward(self, base)}


def contract_of(live: Any, module: str, name: str, written_for: str | None) -> Contract:
    """The contract of one restored class; `live` is None where nothing can stand in for it."""
    parameters = frozenset(inspect.signature(live.forward).parameters) if live is not None else frozenset()
    return Contract(
        name=name,
        module=module,
        live=live,
        implementation=next(value for end, value in IMPLEMENTATIONS.items() if name.endswith(end)),
        cache=next((each for each in _CACHES if each in parameters), ""),
        rotary="position_embeddings" in parameters,
        parameters=parameters,
        returns_three=_is_older(written_for, module, name),
    )


def _is_older(written_for: str | None, module: str, name: str) -> bool:
    """Whether the calling code was written for a release that had the class."""
    if written_for is None:
        return False
    from ... import catalog
    from .history import place_of

    spans = catalog.name_spans(module, name)
    return bool(spans) and place_of(written_for) <= place_of(spans[-1].last)


def _refusing(contract: Contract) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        raise IncompatibleVersionError(
            f"{contract.name} cannot be made here: the installed transformers has no class in "
            f"{contract.module} whose attention the config chooses. Use the classes that the module has, or "
            "install the release that the code was written for"
        )

    return __init__


def _constructor(contract: Contract, base: Any) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        args, kwargs = _with_config(contract, args, kwargs)
        base.__init__(self, *args, **kwargs)
        config = getattr(self, "config", None)
        if config is None:
            # Encoders could be made of numbers alone (Bart's: embed_dim, num_heads).
            config = importlib.import_module("transformers").PretrainedConfig()
        self.config = _choosing(config, contract.implementation)
        for attribute, field in _OLD_ATTRIBUTES.items():
            if contract.rotary and not hasattr(self, attribute) and hasattr(config, field):
                setattr(self, attribute, getattr(config, field))

    return __init__


def _with_config(contract: Contract, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Numbers in place of a config, as vision classes took them: (dim, num_heads=16)."""
    live = contract.live.__name__ if contract.live is not None else ""
    first = args[0] if args else kwargs.get("dim")
    if live not in _OF_NUMBERS or not isinstance(first, int):
        return args, kwargs
    wanted, *fields = _OF_NUMBERS[live]
    values = dict(zip(("dim", "num_heads"), args, strict=False)) | kwargs
    numbers = (values["dim"], values.get("num_heads", 16))
    config = getattr(sys.modules[contract.module], wanted)
    return (config(**dict(zip(fields, numbers, strict=True))),), {}


def _choosing(config: Any, implementation: str) -> Any:
    """A copy of a config that chooses one implementation: other layers keep the model's own.

    The field is set and not the property, whose setter reaches into configs within the config.
    """
    own = copy.copy(config)
    vars(own)["_attn_implementation_internal"] = implementation
    return own


def _forward(contract: Contract, base: Any) -> Callable[..., Any]:
    def forward(self: Any, hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
        if contract.implementation == "flash_attention_2":
            _need_flash(contract)
        if not _is_old(contract, args, kwargs):
            return base.forward(self, hidden_states, *args, **kwargs)
        kwargs = dict(zip(_OLD_ORDER, args, strict=False)) | kwargs
        return _old_call(contract, base, self, hidden_states, kwargs)

    return forward


def _is_old(contract: Contract, args: Any, kwargs: Any) -> bool:
    """Whether a call is in the form of the releases that had the class."""
    if not contract.cache:
        return False
    if args and not isinstance(args[0], tuple):
        # position_embeddings stand second in the live form, where attention_mask stood.
        return contract.rotary
    if contract.cache != "past_key_value" and "past_key_value" in kwargs:
        return True
    if contract.rotary and not args and kwargs.get("position_embeddings") is None:
        return True
    return contract.returns_three and not args


def _old_call(contract: Contract, base: Any, self: Any, hidden_states: Any, given: dict[str, Any]) -> Any:
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
        result = base.forward(self, hidden_states, **{contract.cache: cache}, **given)
    finally:
        self.config = chosen
    output, weights = result[0], result[1] if len(result) > 1 else None
    return output, weights if with_weights else None, cache


@functools.cache
def _has_flash() -> bool:
    utils = importlib.import_module("transformers.utils")
    on_npu = getattr(utils, "is_torch_npu_available", bool)
    return bool(utils.is_flash_attn_2_available() or on_npu())


def _need_flash(contract: Contract) -> None:
    if not _has_flash():
        raise IncompatibleVersionError(
            f"{contract.name} computes with flash-attn, which is not usable here (not installed, or no GPU). "
            f"Use {contract.live.__name__ if contract.live else 'the live class'}, which computes with what "
            'the config says, or attn_implementation="sdpa"'
        )
