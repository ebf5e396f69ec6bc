"""Attributes that rotary modules once had, readable where code still reads them.

None is a buffer or is kept on the instance, so `state_dict` and pickles stay as they are. What the class or a
subclass sets itself comes first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch

from ..functions.base import is_compiling

__all__ = ["Legacy", "added"]

_tables: WeakKeyDictionary[Any, tuple[Any, Any, Any]] = WeakKeyDictionary()


Compute = Callable[[Any], Any]

_REGISTERS = torch.nn.Module.register_buffer.__code__


class Legacy:
    """A descriptor without a setter: an attribute or buffer of the instance leads."""

    def __init__(self, name: str, compute: Compute) -> None:
        self.name = name
        self.compute = compute

    def __get__(self, module: Any, owner: type) -> Any:
        if module is None:
            return self
        buffers = vars(module).get("_buffers", {})
        if self.name in buffers:
            return buffers[self.name]
        # Subclasses written for 4.36 register cos_cached themselves, and torch asks if the name is free.
        # An override of register_buffer would cost each constructor: torch inspects its signature every time.
        if not is_compiling() and sys._getframe(1).f_code is _REGISTERS:
            raise _missing(module, self.name)
        return self.compute(module)


def _missing(module: Any, name: str, why: str = "") -> AttributeError:
    return AttributeError(f"{type(module).__name__!r} object has no attribute {name!r}{why}")


def _cached(name: str, place: int) -> Compute:
    def compute(module: Any) -> Any:
        inv_freq = _inv_freq(module, name, ": the module has no single inv_freq, so there is no single table")
        length, dtype = module.max_seq_len_cached, torch.get_default_dtype()
        key = (int(length), dtype, inv_freq.device, id(inv_freq), inv_freq._version)
        known = _tables.get(module)
        if known is None or known[0] != key:
            cos, sin = module.forward(
                torch.empty(0, dtype=dtype, device=inv_freq.device), seq_len=int(length)
            )
            known = _tables[module] = (key, cos, sin)
        return known[place]

    return compute


def _inv_freq(module: Any, name: str, why: str = "") -> Any:
    inv_freq = vars(module).get("_buffers", {}).get("inv_freq")
    if inv_freq is None:
        raise _missing(module, name, why)
    return inv_freq


def _base(module: Any) -> Any:
    from .constructor_arguments import from_config

    config = vars(module).get("config")
    # 4.43.0 to 4.47.1 keep what a constructor without a config was given.
    given = vars(module).get("rope_kwargs") or {}
    if config is None and "base" not in given:
        raise _missing(module, "base")
    return given["base"] if config is None else from_config(config).theta


def _max_position_embeddings(module: Any) -> Any:
    given = vars(module).get("rope_kwargs") or {}
    found = getattr(
        vars(module).get("config"), "max_position_embeddings", given.get("max_position_embeddings")
    )
    if found is None:
        raise _missing(module, "max_position_embeddings")
    return found


def _rope_init_fn(module: Any) -> Any:
    rope_type = module.rope_type
    utils = sys.modules.get("transformers.modeling_rope_utils")
    if not isinstance(rope_type, str):
        raise _missing(module, "rope_init_fn", ": its layers have embeddings of different types")
    if rope_type == "default" and hasattr(module, "compute_default_rope_parameters"):
        return module.compute_default_rope_parameters
    if utils is None or rope_type not in utils.ROPE_INIT_FUNCTIONS:
        raise _missing(module, "rope_init_fn", f": this release has no init function for {rope_type!r}")
    return utils.ROPE_INIT_FUNCTIONS[rope_type]


#: Tables to 4.41.2, `dim` and `base` to 4.42.4 (some to 4.47.1), `rope_init_fn` from 4.43.0 to 4.57.6.
_ALWAYS: dict[str, Compute] = {
    "cos_cached": _cached("cos_cached", 1),
    "sin_cached": _cached("sin_cached", 2),
    "max_seq_len_cached": lambda module: module.max_position_embeddings,
    "dim": lambda module: 2 * _inv_freq(module, "dim").shape[-1],
    "base": _base,
    "max_position_embeddings": _max_position_embeddings,
    "rope_init_fn": _rope_init_fn,
    "rope_kwargs": lambda module: {},
}
#: From 4.43.0 on. Later classes that lack them must go on lacking them: the loader of 5.x asks.
_EARLY: dict[str, Compute] = {
    "rope_type": lambda module: "default",
    "original_inv_freq": lambda module: _inv_freq(module, "original_inv_freq"),
    "attention_scaling": lambda module: 1.0,
}


def added(cls: type, *, is_early: bool) -> dict[str, Compute]:
    """What a class lacks, with how to compute it; `is_early`: its constructor takes a dim and no config."""
    found: dict[str, Compute] = {}
    for name, compute in {**_ALWAYS, **(_EARLY if is_early else {})}.items():
        native = vars(cls).get(name)
        if native is None:
            found[name] = compute
        elif isinstance(native, Legacy):
            found[name] = native.compute
        elif isinstance(native, property) and native.fget is not None:
            # 4.38.0 to 4.41.2 have cos_cached as a property, which a subclass cannot register over.
            found[name] = native.fget
    return found
