"""The shim for what attention up to 4.4x asked the KV cache, and caches do not answer any more."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from types import ModuleType
from typing import Any

from .._patching.edits import Assign, Edit, Resolve, Rule
from .._patching.references import namespace
from .options import Options
from .rule import ModuleRule, giving
from .shim import Shim

__all__ = ["USABLE_LENGTH", "rules"]

_MODULE, _CLASS, _METHOD = "transformers.cache_utils", "Cache", "get_usable_length"

USABLE_LENGTH = Shim(
    name="cache-usable-length",
    kind="restore",
    targets=(f"{_MODULE}:{_CLASS}.{_METHOD}",),
    why="caches have no get_usable_length from 4.54.0 on, which attention of 4.36 to 4.42 counts its keys by",
    since="4.54.0",
    until=None,
    upstream="src/transformers/cache_utils.py at 4.54.0",
    helps="replacements of attention's forward, and custom code, written for 4.36 to 4.42",
)


def get_usable_length(self: Any, new_seq_length: int, layer_idx: int | None = 0) -> int:
    """How many of the keys in the cache stay when `new_seq_length` are added."""
    layer = layer_idx or 0
    previous = int(self.get_seq_length(layer))
    # A dynamic cache makes a layer when its first keys come, and cannot be asked before (to 4.55).
    layers = getattr(self, "layers", None)
    if layers is not None and layer >= len(layers):
        return previous
    # get_max_cache_shape to 5.19, get_max_length from 5.18.0; -1 where there is no limit.
    ask = getattr(self, "get_max_length", None) or self.get_max_cache_shape
    most = ask(layer)
    is_full = most is not None and 0 < most < previous + new_seq_length
    return int(most) - new_seq_length if is_full else previous


def _edits(options: Options, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
    cls = namespace(module).get(_CLASS)
    held = vars(cls).get(_METHOD) if isinstance(cls, type) else None
    if not isinstance(cls, type) or held not in (None, get_usable_length):
        return
    if options.selection.selects(_MODULE, f"{_CLASS}.{_METHOD}"):
        shim, detail = USABLE_LENGTH.name, "as caches up to 4.53 had it"
        yield Assign(USABLE_LENGTH.targets[0], cls, _METHOD, giving(get_usable_length), shim, shim, detail)


def rules(options: Options) -> list[Rule]:
    """The rule for the base class of caches."""
    return [ModuleRule(USABLE_LENGTH, _MODULE, partial(_edits, options))]
