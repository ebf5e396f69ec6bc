"""The shim for users' functions that stand in the place of attention's ``forward``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from .._patching.edits import Assign, Edit, Skip
from .._patching.references import namespace, own_classes
from .._utils.disguise import native_of
from .dead_patches import in_vain, is_foreign, is_looked_up
from .options import Options
from .shim import Shim

if TYPE_CHECKING:
    from .._adapters.attention.contract import Caller

__all__ = ["REPLACED", "adapt_by_hand", "dead_hooks", "replaced_classes", "replacements"]

REPLACED = Shim(
    name="attention-replacements",
    kind="adapt",
    targets=("transformers.models.*:*Attention.forward",),
    why=(
        "a function that replaces attention's forward was written for what the layers of one release hand to "
        "it: 4.36.0 brought cache objects, 4.43.0 and 4.48.0 position_embeddings, two return values and "
        "masks that are None, 4.53.0 boolean masks, 4.56.0 and 5.24.0 other names of the cache"
    ),
    since="4.36.0",
    until=None,
    upstream="src/transformers/models/llama/modeling_llama.py at 4.36.0, 4.48.0, 4.53.0 and 4.56.0",
    helps="flash-attention, long-context and streaming patches: LlamaAttention.forward = mine",
    note="one that is assigned after a model was made is not seen: rope_compat.adapt",
)
#: What models made their masks by, up to 4.35.
_HOOK = "_prepare_decoder_attention_mask"


@dataclass(frozen=True, slots=True)
class Replaced:
    """A class whose ``forward`` is a user's function."""

    name: str
    cls: type[Any]
    function: Callable[..., Any]


def replaced_classes(module: ModuleType, own: list[tuple[str, type[Any]]]) -> Iterator[Replaced]:
    """The attention classes of a module with rotary embeddings whose ``forward`` is not transformers'."""
    if not any(name.endswith("RotaryEmbedding") for name in namespace(module)):
        return
    for name, cls in own:
        if name != cls.__name__ or not name.endswith(("Attention", "Attention2")):
            continue
        function = native_of(vars(cls).get("forward"))
        if not isinstance(function, FunctionType) or (function.__module__ or "").startswith("transformers."):
            continue
        # Towers with a grid of patches are called by blocks, in ways of their own.
        if "cu_seqlens" not in function.__code__.co_varnames:
            yield Replaced(name, cls, function)


def replacements(options: Options, module: ModuleType, replaced: list[Replaced]) -> Iterable[Edit]:
    """An edit for each replacement that the installed layers cannot call as it is."""
    from .._adapters.attention.contract import read_caller
    from .._adapters.attention.replacement import Unfit

    for each in replaced:
        if not options.selection.selects(module.__name__, f"{each.name}.forward"):
            continue
        target = f"{module.__name__}:{each.name}.forward"
        caller = read_caller(own_classes(module), each.cls)
        if caller is None:
            reason = "the layers that call it are not transformers' own, or differ"
            yield Skip(target, REPLACED.name, reason, surprising=False)
            continue
        try:
            make = _maker(options, target, each, caller)
        except Unfit as reason:
            yield Skip(target, REPLACED.name, f"{_shown(each.function)} is in its place, and {reason}")
            continue
        if make is not None:
            key = (REPLACED.name, str(options.written_for))
            detail = f"{_shown(each.function)} in its place, called as it expects"
            yield Assign(target, each.cls, "forward", make, key, REPLACED.name, detail)


def dead_hooks(
    module: ModuleType, own: list[tuple[str, type[Any]]], replaced: list[Replaced]
) -> Iterable[Edit]:
    """What users have put on a model to make its masks by, where nothing calls it any more (from 4.36.0 on).

    No surprise where attention computes with the padding mask: it is what such a hook was for, and handed.
    """
    for name, cls in own:
        hook = vars(cls).get(_HOOK)
        if is_foreign(hook) and not is_looked_up(module, _HOOK):
            served = any(_mask_of(each) == "padding" for each in replaced)
            dead = in_vain(module, f"{name}.{_HOOK}", hook, REPLACED.name)
            yield dead._replace(surprising=not served)


def _mask_of(replaced: Replaced) -> str:
    from .._adapters.attention.replacement import Unfit, read_replacement

    try:
        return read_replacement(replaced.function, replaced.cls).mask
    except Unfit:
        return "unclear"


def _maker(options: Options, target: str, each: Replaced, caller: Caller) -> Callable[[], object] | None:
    """What makes the adapter, None where the layers can call the function as it is."""
    from .._adapters.attention.replacement import expectation

    expects = expectation(each.function, each.cls, caller)
    if expects is None:
        return None

    def make() -> object:
        from .._adapters.attention.replaced import adapt_replacement
        from .._adapters.functions.base import Context

        context = Context(target, options.release, options.written_for, is_library=False)
        return adapt_replacement(each.function, expects, caller, context)

    return make


def adapt_by_hand(function: Callable[..., Any], target: str, options: Options) -> Callable[..., Any]:
    """`function` as the installed layers can call it in the place of `target`; itself where they can already.

    Raises:
        ValueError: it cannot be adapted, and why.
    """
    from importlib import import_module

    from .._adapters.attention.contract import read_caller
    from .._adapters.attention.replacement import Unfit

    module_name, _, path = target.partition(":")
    name = path.removesuffix(".forward")
    module = import_module(module_name)
    cls = vars(module).get(name)
    if not isinstance(cls, type):
        raise ValueError(f"{module_name} has no class {name}")
    caller = read_caller(own_classes(module), cls)
    if caller is None:
        raise ValueError("the layers that call it are not transformers' own, or differ")
    try:
        make = _maker(options, target, Replaced(name, cls, function), caller)
    except Unfit as reason:
        raise ValueError(str(reason)) from None
    return function if make is None else make()  # type: ignore[return-value]


def _shown(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__qualname__', function)} of {getattr(function, '__module__', None)}"
