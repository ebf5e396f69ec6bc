"""What the decoder layers of a module hand to their attention, and how many values they take back.

Read from the live code of the layers: where a user's function stands in the place of attention's ``forward``,
the layers are the only ones that still say what the installed release expects of it.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ..._patching.references import own_classes
from ..functions.base import info_of
from ..functions.signature import code_of
from .form import CACHES, CHILDREN, EMBEDDINGS, HANDED

__all__ = ["Caller", "read_caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """One call of attention by a decoder layer.

    Attributes:
        handed: the names of the arguments, of those that attention has ever had.
        cache: the name of the KV cache, None where none is handed.
        values: how many values the layer unpacks, 3 up to 4.47.1 and 2 from 4.48.0 on; None where it takes
            them by place.
        words: every name that the layer may hand, of whatever kind.
    """

    handed: frozenset[str]
    cache: str | None
    values: int | None
    words: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def is_new(self) -> bool:
        """Whether it follows the contract of 4.48.0 and later: the model has made cos and sin, and masks."""
        return self.values == 2 and EMBEDDINGS in self.handed


def read_caller(module: ModuleType, attention: type[Any]) -> Caller | None:
    """How the module's layers call a class of attention; None where they differ, or are the user's as well.

    Of several layers, those count that are named like the attention.
    """
    found = dict(_callers(module))
    stem = attention.__name__.partition("Attention")[0].removesuffix("Flash").removesuffix("Sdpa")
    alike = {name: caller for name, caller in found.items() if name == f"{stem}DecoderLayer"}
    alike = alike or {name: caller for name, caller in found.items() if name.startswith(stem)}
    different = set((alike or found).values())
    return different.pop() if len(different) == 1 else None


def _callers(module: ModuleType) -> Iterator[tuple[str, Caller]]:
    for name, cls in own_classes(module):
        if not name.endswith("Layer"):
            continue
        held = vars(cls).get("forward")
        info = info_of(held)
        forward = held if info is None else info.native
        if not isinstance(forward, FunctionType) or forward.__module__ != module.__name__:
            continue
        code = code_of(forward)
        if code is not None and not set(CHILDREN).isdisjoint(code.co_names):
            yield name, _read(code)


def _read(code: CodeType) -> Caller:
    words = frozenset(_words(code))
    handed = words & HANDED
    unpacked = {step.arg for step in dis.get_instructions(code) if step.opname == "UNPACK_SEQUENCE"} & {2, 3}
    return Caller(
        handed,
        next((name for name in CACHES if name in handed), None),
        unpacked.pop() if len(unpacked) == 1 else None,
        words,
    )


def _words(code: CodeType) -> Iterator[str]:
    """Every string among the constants: names of keyword arguments are, alone or in tuples."""
    for constant in code.co_consts:
        for word in constant if isinstance(constant, tuple) else (constant,):
            if isinstance(word, str):
                yield word
