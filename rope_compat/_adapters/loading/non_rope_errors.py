"""What stops custom code on newer releases and is no matter of RoPE: named, with the release, not mended.

Names come from the code of the classes, which is read and not run. They are gone where the installed release
is as new as the one named here and the live base classes do not have them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

__all__ = ["explain", "removed_names"]

#: Methods that custom models inherited from `PreTrainedModel`, and the first release without them.
_OF_MODELS = {
    "get_head_mask": "5.0.0",
    "get_extended_attention_mask": "5.17.0",
    "invert_attention_mask": "5.17.0",
}

#: Attributes of caches (transformers.cache_utils), and the first release without them.
_OF_CACHES = {
    "seen_tokens": "4.54.0",
    "from_legacy_cache": "5.0.0",
    "to_legacy_cache": "5.0.0",
    "key_cache": "4.56.0",
    "value_cache": "4.56.0",
    "get_max_cache_shape": "5.20.0",
}

#: Parts of messages of errors that loading raises, and what they mean.
_MESSAGES = {
    "all_tied_weights_keys": (
        "since transformers 5.0.0 the constructor of every model has to end with self.post_init(), and this "
        "one does not"
    ),
    "tie_weights() got an unexpected keyword argument": (
        "since transformers 5.0.0 tie_weights of a model takes missing_keys and recompute_mapping"
    ),
    "object has no attribute 'pad_token_id'": (
        "since transformers 5.0.0 configs have the token ids only that their own constructor sets: assign "
        "self.pad_token_id there, or put it into config.json"
    ),
    "'list' object has no attribute 'keys'": (
        "since transformers 5.0.0 _tied_weights_keys is a dict such as "
        '{"lm_head.weight": "model.embed_tokens.weight"}, not a list'
    ),
}


def removed_names(cls: type[Any]) -> list[str]:
    """What the module of a custom class uses that the installed release has removed, in words."""
    used = set(_used_names(cls.__module__))
    caches = _cache_classes()
    found = [
        f"{name} (PreTrainedModel has not had it since {release})"
        for name, release in _OF_MODELS.items()
        if name in used and _is_due(release) and not hasattr(cls, name)
    ]
    found += [
        f"{name} (caches have not had it since {release})"
        for name, release in _OF_CACHES.items()
        if name in used and _is_due(release) and not any(hasattr(cache, name) for cache in caches)
    ]
    return found


def explain(error: Exception, cls: type[Any]) -> str:
    """What an error during loading means, where it is a known one that is no matter of RoPE; else empty."""
    text = str(error)
    for part, meaning in _MESSAGES.items():
        if part in text:
            return f"{meaning}; this is no matter of RoPE, and rope_compat does not mend it"
    for name, release in (_OF_MODELS | _OF_CACHES).items():
        if isinstance(error, AttributeError) and f"'{name}'" in text and not hasattr(cls, name):
            return (
                f"transformers has not had {name} since {release}; this is no matter of RoPE, and "
                "rope_compat does not mend it"
            )
    return ""


def _is_due(release: str) -> bool:
    import transformers
    from packaging.version import InvalidVersion, Version

    try:
        return Version(transformers.__version__) >= Version(release)
    except InvalidVersion:
        return True


def _cache_classes() -> list[type[Any]]:
    module = sys.modules.get("transformers.cache_utils")
    names = ("Cache", "DynamicCache", "StaticCache")
    return [getattr(module, name) for name in names if hasattr(module, name)]


def _used_names(module_name: str) -> Iterator[str]:
    """Every attribute name that functions and methods of a module use."""
    module = sys.modules.get(module_name)
    for value in list(vars(module).values()) if module is not None else ():
        if getattr(value, "__module__", None) != module_name:
            continue
        functions = vars(value).values() if isinstance(value, type) else (value,)
        for function in functions:
            inner = getattr(function, "__func__", function)
            if isinstance(inner, FunctionType):
                yield from _names_of(inner.__code__)


def _names_of(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_of(constant)
