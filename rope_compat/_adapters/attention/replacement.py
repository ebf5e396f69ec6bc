"""What a user's function that stands in the place of attention's ``forward`` expects and returns.

Read once, when it is adapted: from its signature, and from the names that its code and its helpers use.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Literal

from ..functions.signature import (
    code_of,
    globals_of,
    live_signature,
    nested_codes,
    reads_argument,
    signature_text,
)
from .contract import CACHES, EMBEDDINGS, HANDED, Caller, tests_none

__all__ = ["Replacement", "Unfit", "expectation", "read_replacement"]

Mask = Literal["none", "added", "padding", "handed", "unclear"]

#: What code that computes scores by itself uses, and adds the mask to.
_ADDING = frozenset(("softmax", "scaled_dot_product_attention", "memory_efficient_attention"))
#: Takes whatever the model has made for the implementation that the config chooses.
_CHOOSING = "ALL_ATTENTION_FUNCTIONS"
_POSITIONS = frozenset(("position_ids", "cache_position"))
_DEPTH = 3


class Unfit(Exception):  # noqa: N818 - a reason to skip, never raised to users
    """The function follows no contract that attention has had; the message says why.

    ``unknown``: what it requires and decoder layers have never handed.
    """

    def __init__(self, why: str, unknown: frozenset[str] = frozenset()) -> None:
        super().__init__(why)
        self.unknown = unknown


@dataclass(frozen=True, slots=True)
class Replacement:
    """One function.

    Attributes:
        accepted: its parameters with a name, without ``self`` and the hidden states.
        required: those of them without a default.
        swallows: takes ``**kwargs``.
        cache: its name of the KV cache, None where it takes none.
        is_new: of 4.48.0 or later.
        mask: what it does with ``attention_mask``: nothing, adds it to the scores (4-D, floating), reads a
            padding mask off it (2-D, for flash-attention), or hands it to what the config chooses.
        takes_no_mask: asks whether the mask is None.
        takes_pairs: of 4.35 or before: reads keys and values of its layer off the cache, and returns them.
    """

    accepted: frozenset[str]
    required: frozenset[str]
    swallows: bool
    cache: str | None
    is_new: bool
    mask: Mask
    takes_no_mask: bool
    takes_pairs: bool

    def is_older_than(self, caller: Caller) -> bool:
        """Whether the layers, which call it without an error, hand a cache or a mask that it does not know.

        From 4.38.0 on layers have a ``cache_position``, and masks may be one key longer than the keys.
        """
        is_cut = self.mask == "added" and "cache_position" in caller.handed - self.accepted
        return self.takes_pairs or self.mask == "padding" or is_cut


def read_replacement(function: Callable[..., Any], cls: type[Any]) -> Replacement:
    """What `function` expects as a method of `cls`.

    Raises:
        Unfit: it has parameters that no release has handed, or its code cannot be read.
    """
    signature, code = live_signature(function), code_of(function)
    if signature is None or code is None:
        raise Unfit("its signature or its code cannot be read")
    parameters = list(signature.parameters.values())
    named = [p for p in parameters[2:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if len(parameters) < 2 or parameters[1].kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        raise Unfit(f"{signature_text(signature)} does not take self and hidden_states")
    names = [p.name for p in named]
    required = frozenset(p.name for p in named if p.default is p.empty)
    unknown = required - HANDED
    if unknown:
        named_so = ", ".join(sorted(unknown))
        raise Unfit(f"it requires {named_so}, which no release hands to attention", unknown)
    used = frozenset(_names(function, cls, _DEPTH))
    cache = next((name for name in CACHES if name in names), None)
    return Replacement(
        accepted=frozenset(names),
        required=required,
        swallows=any(p.kind is p.VAR_KEYWORD for p in parameters),
        cache=cache,
        is_new=_is_new(function, signature),
        mask=_mask(function, names, used),
        takes_no_mask=tests_none(function, "attention_mask"),
        takes_pairs=cache is not None and "update" not in used and bool(reads_argument(function, cache)),
    )


def expectation(function: Callable[..., Any], cls: type[Any], caller: Caller) -> Replacement | None:
    """What `function` expects of the layers that call it; None where they can call it as it is.

    Raises:
        Unfit: it follows no contract that attention has had, or not one that can be told.
    """
    fits = _fits_as_it_is(function, caller)
    if fits and caller.is_new:
        return None
    try:
        expects = read_replacement(function, cls)
    except Unfit as reason:
        # Attention of another kind, whose layers hand more: cross-attention, encoders.
        if fits or (reason.unknown and reason.unknown <= caller.words):
            return None
        raise
    if fits and (caller.values is None or not expects.is_older_than(caller)):
        return None
    if caller.values is None:
        raise Unfit("the layers that call it do not say how many values they take")
    if caller.is_new and not expects.is_new and expects.mask == "unclear":
        raise Unfit(
            "its code does not show which attention mask it expects: a floating one to add to scores "
            "(softmax, scaled_dot_product_attention) or the padding mask of flash-attention, and not both"
        )
    return expects


def _fits_as_it_is(function: Callable[..., Any], caller: Caller) -> bool:
    """Whether the installed layers can call `function`, and it follows the contract that they do.

    Told by names and numbers: a function of 4.48.0 or later for layers of the same, an older one for older
    layers, or one that names nothing of what it is handed, and hands it on.
    """
    signature = live_signature(function)
    if signature is None:
        return False
    parameters = list(signature.parameters.values())[1:]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    swallows = any(p.kind is p.VAR_KEYWORD for p in parameters)
    handed = caller.handed - {"hidden_states"}
    if swallows and handed.isdisjoint(names):
        return True
    if _is_new(function, signature) != caller.is_new or not (swallows or handed <= set(names)):
        return False
    if not caller.handed.issuperset(_POSITIONS.intersection(names)):
        return False
    # A name of the cache that is not the layers' own would stay empty, and theirs vanish in **kwargs.
    return caller.cache is None or caller.cache in names or not set(names).intersection(CACHES)


def _is_new(function: Callable[..., Any], signature: inspect.Signature) -> bool:
    """Whether `function` follows the contract of 4.48.0 and later.

    cos and sin are required, or there are no position_ids to compute them by; else it has no way but to
    return two values.
    """
    embeddings = signature.parameters.get(EMBEDDINGS)
    if embeddings is not None and (
        embeddings.default is embeddings.empty or "position_ids" not in signature.parameters
    ):
        return True
    return _returned_numbers(function) == {2}


def _returned_numbers(function: Callable[..., Any]) -> set[int | None]:
    """How many values each ``return`` gives, as far as that is written there."""
    code, found, last = code_of(function), set[int | None](), None
    for step in dis.get_instructions(code) if code is not None else ():
        if step.opname == "RETURN_VALUE":
            found.add(last.arg if last is not None and last.opname == "BUILD_TUPLE" else None)
        last = step
    return found


def _mask(function: Callable[..., Any], names: list[str], used: frozenset[str]) -> Mask:
    if "attention_mask" not in names or not reads_argument(function, "attention_mask"):
        return "none"
    if _CHOOSING in used:
        return "handed"
    adds = not _ADDING.isdisjoint(used)
    is_flash = any(map(_is_flash, used))
    if adds == is_flash:
        return "unclear"
    return "added" if adds else "padding"


def _names(function: Callable[..., Any], cls: type[Any], depth: int) -> Iterator[str]:
    """Names that the code uses, and that helpers use which it calls: functions beside it and methods."""
    code = code_of(function)
    if code is None:
        return
    beside = globals_of(function)
    for name in {name for inner in nested_codes(code) for name in inner.co_names}:
        yield name
        for helper in (beside.get(name), getattr(cls, name, None)):
            known_as = getattr(helper, "__name__", None)
            if callable(helper) and isinstance(known_as, str):
                yield known_as
            # The names of these say all that is asked.
            if not isinstance(helper, FunctionType) or _is_flash(name) or _is_librarys(helper):
                continue
            if depth:
                yield from _names(helper, cls, depth - 1)


def _is_flash(name: str) -> bool:
    """Whether a name is one of flash-attention's functions, or of what its padding is taken out by."""
    return "flash" in name or "unpad" in name


def _is_librarys(function: FunctionType) -> bool:
    return function.__module__.partition(".")[0] in ("torch", "transformers", "flash_attn", "xformers")
