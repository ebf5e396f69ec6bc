"""What live code says about the contract of attention: which arguments are handed, and what comes back.

`Contract` is read from the ``forward`` of an attention or decoder layer, `Caller` from the layers that call
it: where a user's function stands in the place of attention's ``forward``, the layers are the only ones that
still say what the installed release expects of it.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Literal

from ..._utils.disguise import native_of
from ..functions.signature import code_of, live_signature

__all__ = [
    "CACHES",
    "CHILDREN",
    "EMBEDDINGS",
    "HANDED",
    "Caller",
    "Contract",
    "by_position",
    "cache_in",
    "read_caller",
    "read_contract",
    "tests_none",
]

#: Names of the KV cache: up to 4.55, from 4.56.0, and from 5.2x; ``layer_past`` in Falcon and GPT-NeoX.
CACHES = ("past_key_value", "past_key_values", "cache", "layer_past")
EMBEDDINGS = "position_embeddings"
#: What decoder layers call their attention.
CHILDREN = ("self_attn", "attention", "attn")
#: All that layers have handed to their attention, in any release.
HANDED = frozenset(
    (
        *CACHES,
        EMBEDDINGS,
        "hidden_states",
        "attention_mask",
        "position_ids",
        "output_attentions",
        "use_cache",
        "cache_position",
        "padding_mask",
    )
)


@dataclass(frozen=True, slots=True)
class Contract:
    """What one ``forward`` takes.

    Attributes:
        kind: ``attention`` rotates, ``layer`` hands ``position_embeddings`` to its attention.
        names: the parameters that can be given by position, without ``self``.
        accepted: every parameter with a name.
        swallows: takes ``**kwargs``.
        cache: its name of the KV cache, None where it takes none.
        index: the place of ``position_embeddings``.
        signature: all of it.
    """

    kind: Literal["attention", "layer"]
    names: tuple[str, ...]
    accepted: frozenset[str]
    swallows: bool
    cache: str | None
    index: int
    signature: inspect.Signature = field(compare=False, repr=False)

    @staticmethod
    def of(kind: Literal["attention", "layer"], signature: inspect.Signature, index: int) -> Contract:
        """The contract that a signature with ``self`` says."""
        parameters, names = list(signature.parameters.values())[1:], by_position(signature)
        return Contract(
            kind,
            names,
            frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)),
            any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters),
            next((name for name in CACHES if name in names), None),
            index,
            signature,
        )


def read_contract(cls: type[Any], forward: Callable[..., Any]) -> Contract | None:
    """The contract of a method, or None where ``position_embeddings`` are not its, or not rotary.

    Left out: towers with ``cu_seqlens``, whose positions come from a grid; attention that works without
    (``position_embeddings is None`` is tested: ESM, GraniteMoeHybrid), since absence means something there;
    object queries of the DETR family, which have the name and no rotary embedding.
    """
    code = code_of(forward)
    if code is None or EMBEDDINGS not in code.co_varnames:
        return None
    signature = live_signature(forward)
    if signature is None or EMBEDDINGS not in signature.parameters:
        return None
    names = by_position(signature)
    if not names or names[0] != "hidden_states" or "cu_seqlens" in names or EMBEDDINGS not in names:
        return None
    kind = _kind(cls, forward)
    if kind is None or (kind == "attention" and tests_none(forward, EMBEDDINGS)):
        return None
    return Contract.of(kind, signature, names.index(EMBEDDINGS))


def by_position(signature: inspect.Signature) -> tuple[str, ...]:
    """The parameters of a method that can be given by position, without ``self``."""
    return tuple(p.name for p in list(signature.parameters.values())[1:] if p.kind is p.POSITIONAL_OR_KEYWORD)


def _kind(cls: type[Any], forward: Callable[..., Any]) -> Literal["attention", "layer"] | None:
    code = code_of(forward)
    used = code.co_names if code is not None else ()
    # _attn_projections_and_rope in GPT-NeoX up to 4.48.3.
    if any(name.startswith(("apply_", "_attn_")) and ("rot" in name or "rope" in name) for name in used):
        return "attention"
    if cls.__name__.endswith("Layer") and set(CHILDREN).intersection(used):
        return "layer"
    return None


def tests_none(function: Callable[..., Any], name: str) -> bool:
    """Whether the code asks if its argument `name` ``is None``, or ``is not None``.

    By looking for the two instructions in the bytes: to take all functions of transformers apart would take
    a third of a second.
    """
    code = code_of(function)
    if code is None or name not in code.co_varnames:
        return False
    place, none = (
        code.co_varnames.index(name),
        code.co_consts.index(None) if None in code.co_consts else -1,
    )
    for operation, argument in _loads(place):
        at = code.co_code.find(bytes((operation, argument)))
        while at >= 0:
            following, constant = code.co_code[at + 2 : at + 4]
            if at % 2 == 0 and (following in _JUMPS or (following in _CONSTANTS and constant == none)):
                return True
            at = code.co_code.find(bytes((operation, argument)), at + 1)
    return False


_JUMPS = frozenset(number for name, number in dis.opmap.items() if name.endswith("NONE") and "JUMP" in name)
_CONSTANTS = frozenset(number for name, number in dis.opmap.items() if name == "LOAD_CONST")


def _loads(place: int) -> Iterator[tuple[int, int]]:
    """The instructions that end by loading the local variable at `place`, with their arguments."""
    for name, number in dis.opmap.items():
        if not name.startswith(("LOAD_FAST", "STORE_FAST_LOAD_FAST")) or name.endswith("CLEAR"):
            continue
        if name.count("FAST") == 1:
            yield number, place
        elif place < 16:
            # From 3.13 on one instruction may load two; its argument holds both.
            yield from ((number, other << 4 | place) for other in range(16))


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


def read_caller(own: Iterable[tuple[str, type[Any]]], attention: type[Any]) -> Caller | None:
    """How layers, among a module's own classes, call attention; None where they differ, or are the user's.

    Of several layers, those count that are named like the attention.
    """
    found = dict(_callers(own))
    stem = attention.__name__.partition("Attention")[0].removesuffix("Flash").removesuffix("Sdpa")
    alike = {name: caller for name, caller in found.items() if name == f"{stem}DecoderLayer"}
    alike = alike or {name: caller for name, caller in found.items() if name.startswith(stem)}
    different = set((alike or found).values())
    return different.pop() if len(different) == 1 else None


def _callers(own: Iterable[tuple[str, type[Any]]]) -> Iterator[tuple[str, Caller]]:
    for name, cls in own:
        if not name.endswith("Layer"):
            continue
        forward = native_of(vars(cls).get("forward"))
        if not isinstance(forward, FunctionType) or forward.__module__ != cls.__module__:
            continue
        code = code_of(forward)
        if code is not None and not set(CHILDREN).isdisjoint(code.co_names):
            # Names of keyword arguments are among the constants, alone or in tuples.
            constants = (each if isinstance(each, tuple) else (each,) for each in code.co_consts)
            words = frozenset(word for each in constants for word in each if isinstance(word, str))
            cache = next((each for each in CACHES if each in words), None)
            steps = dis.get_instructions(code)
            unpacked = {step.arg for step in steps if step.opname == "UNPACK_SEQUENCE"} & {2, 3}
            yield name, Caller(words & HANDED, cache, unpacked.pop() if len(unpacked) == 1 else None, words)


def cache_in(given: Mapping[str, Any]) -> Any:
    """The KV cache among arguments, by whatever name; None where there is none."""
    return next((given[name] for name in CACHES if given.get(name) is not None), None)
