"""The shims for attention and decoder layers: ``position_embeddings``, and the attributes that are gone.

What users have put in the place of attention's ``forward`` is in `attention_replaced`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

from .._patching.edits import Assign, Edit, Resolve, Rule
from .._patching.references import namespace, own_classes
from .._utils.disguise import native_of
from .attention_replaced import REPLACED, dead_hooks, replaced_classes, replacements
from .options import Options
from .rule import ModuleRule, giving, is_modeling
from .shim import Shim

__all__ = ["SHIMS", "rules"]

FORWARD = Shim(
    name="attention-forward",
    kind="adapt",
    targets=("transformers.models.*:*.forward",),
    why=(
        "from 4.48.0 on (Granite, GLM and some others: 4.45.0) attention requires position_embeddings, "
        "where it computed them from position_ids; the KV cache is called past_key_value, past_key_values "
        "or cache, and other names vanish in **kwargs"
    ),
    since="4.45.0",
    until=None,
    upstream="src/transformers/models/*/modeling_*.py at 4.45.0, 4.48.0, 4.54.0 and 4.56.0",
    helps="code that calls attention or decoder layers by itself: trainers, probes, subclasses",
)

ATTRIBUTES = Shim(
    name="attention-attributes",
    kind="restore",
    targets=("transformers.models.*:*Attention.rotary_emb",),
    why=(
        "from 4.48.0 on (Granite, GLM and some others: 4.45.0) attention has no rotary_emb, num_heads, "
        "num_key_value_heads, hidden_size, rope_theta"
    ),
    since="4.45.0",
    until=None,
    upstream="src/transformers/models/llama/modeling_llama.py at 4.48.0",
    helps="replacements of attention's forward, and code that reads layer.self_attn.rotary_emb",
)

GIVEN = Shim(
    name="attention-given-embeddings",
    kind="adapt",
    targets=("transformers.models.*:*.forward",),
    why=(
        "attention that owns its rotary module, most of it up to 4.47.1 and some for good, takes no "
        "position_embeddings, or loses them in **kwargs"
    ),
    since="4.36.0",
    until=None,
    upstream="src/transformers/models/*/modeling_*.py at 4.43.0, 4.45.0 and 4.48.0",
    helps="code written for 4.48 and later that calls attention or decoder layers by itself",
)

TOWERS = Shim(
    name="vision-attention-embeddings",
    kind="adapt",
    targets=("transformers.models.*:*.forward",),
    why=(
        "attention of vision towers took angles, rotary_pos_emb, up to 4.48.3, angles or cos and sin up to "
        "4.53.3, and takes cos and sin, position_embeddings, since; 5.10.0 dropped the other name"
    ),
    since="4.45.0",
    until=None,
    upstream="src/transformers/models/qwen2_vl/modeling_qwen2_vl.py at 4.45.0, 4.49.0, 4.54.0 and 5.10.0",
    helps="code that calls vision blocks or vision attention of Qwen-VL and GLM-V by itself",
)

_CACHES, _CACHE, _USABLE = "transformers.cache_utils", "Cache", "get_usable_length"

USABLE_LENGTH = Shim(
    name="cache-usable-length",
    kind="restore",
    targets=(f"{_CACHES}:{_CACHE}.{_USABLE}",),
    why="caches have no get_usable_length from 4.54.0 on, which attention of 4.36 to 4.42 counts its keys by",
    since="4.54.0",
    until=None,
    upstream="src/transformers/cache_utils.py at 4.54.0",
    helps="replacements of attention's forward, and custom code, written for 4.36 to 4.42",
)

SHIMS = (FORWARD, GIVEN, TOWERS, REPLACED, ATTRIBUTES, USABLE_LENGTH)


_OF_TEXT = ("Attention", "Attention2", "Layer")
_OF_TOWERS = ("Attention", "Attention2", "Block")
_Found = tuple[str, type[Any], Any, Any]
_Classes = list[tuple[str, type[Any]]]


def _classes(
    module: ModuleType,
    own: _Classes,
    read: Callable[[type[Any], Any], Any],
    endings: tuple[str, ...] = _OF_TEXT,
) -> Iterator[_Found]:
    """Of the classes that the module defines, the function behind ``forward`` and its form."""
    for name, cls in own:
        if name != cls.__name__ or not name.endswith(endings):
            continue
        native = native_of(vars(cls).get("forward"))
        # Replacements of users' have a shim of their own.
        if isinstance(native, FunctionType) and native.__module__ == module.__name__:
            form = read(cls, native)
            if form is not None:
                yield name, cls, native, form


def _edits(options: Options, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
    own = own_classes(module)
    yield from _towers(options, module, own)
    replaced = list(replaced_classes(module, own))
    yield from replacements(options, module, replaced)
    yield from dead_hooks(module, own, replaced)
    if _own_their_rotary_modules(own):
        yield from _owners(options, module, own)
        return
    from .._adapters.attention.contract import read_contract
    from .._adapters.attention.forward import read_by_type

    classes, by_type = (list(_classes(module, own, read)) for read in (read_contract, read_by_type))
    # Without one that rotates, position_embeddings are something else: object queries (DETR and its kin).
    if not replaced and not by_type and not any(form.kind == "attention" for _, _, _, form in classes):
        return
    yield from _forwards(options, module, classes, by_type)
    attentions = [(name, cls) for name, cls, _, form in classes if form.kind == "attention"]
    yield from _attributes(options, module, [*attentions, *((each.name, each.cls) for each in replaced)])


def _forwards(
    options: Options, module: ModuleType, classes: list[_Found], by_type: list[_Found]
) -> Iterable[Edit]:
    from .._adapters.attention.forward import adapt_by_type, adapt_forward

    detail = "takes calls without position_embeddings, and every name of the cache"
    for found, adapt in ((classes, adapt_forward), (by_type, adapt_by_type)):
        yield from _methods(options, module, FORWARD, found, adapt, detail)


def _owners(options: Options, module: ModuleType, own: _Classes) -> Iterable[Edit]:
    from .._adapters.attention.position_embeddings import adapt_owner, read_owner

    found = _classes(module, own, read_owner)
    yield from _methods(options, module, GIVEN, found, adapt_owner, "takes calls with position_embeddings")


def _towers(options: Options, module: ModuleType, own: _Classes) -> Iterable[Edit]:
    from .._adapters.attention.vision import adapt_tower, read_tower
    from .._adapters.functions.generation import read_generation
    from .._adapters.functions.vision import pairs_halves

    native: Any = native_of(namespace(module).get("apply_rotary_pos_emb_vision"))
    if native is None or not pairs_halves(native):
        return
    generation = read_generation(native)
    by_angles = generation is not None and generation.order == "freqs"
    found = _classes(module, own, partial(read_tower, rotates_by_angles=by_angles), _OF_TOWERS)
    yield from _methods(options, module, TOWERS, found, adapt_tower, "takes angles, and cos and sin")


def _methods(
    options: Options,
    module: ModuleType,
    shim: Shim,
    found: Iterable[_Found],
    adapt: Callable[..., object],
    detail: str,
) -> Iterator[Edit]:
    """An edit for the ``forward`` of each class, by what `adapt` makes of its function and its form."""
    from .._adapters.functions.base import Context

    key = (shim.name, str(options.written_for))
    for name, cls, native, form in found:
        if options.selection.selects(module.__name__, f"{name}.forward"):
            target = f"{module.__name__}:{name}.forward"
            context = Context(target, options.release, options.written_for)
            make = partial(adapt, native, form, context)
            yield Assign(target, cls, "forward", make, key, shim.name, detail)


def _attributes(options: Options, module: ModuleType, classes: list[tuple[str, type[Any]]]) -> Iterable[Edit]:
    from .._adapters.attention.owner import ATTRIBUTES as GETTERS
    from .._adapters.attention.owner import OldAttribute

    for name, cls in classes:
        for attribute, get in GETTERS.items():
            held = vars(cls).get(attribute)
            if held is not None and not isinstance(held, OldAttribute):
                continue
            if not options.selection.selects(module.__name__, f"{name}.{attribute}"):
                continue
            target = f"{module.__name__}:{name}.{attribute}"
            make = partial(OldAttribute, attribute, get)
            detail = "as attention up to 4.47.1 had it"
            yield Assign(target, cls, attribute, make, ATTRIBUTES.name, ATTRIBUTES.name, detail)


def _own_their_rotary_modules(own: _Classes) -> bool:
    """Whether attention in this module asks its own: up to 4.47.1, and for good in Moshi and others."""
    from .._adapters.attention.position_embeddings import asks_its_own

    return any(asks_its_own(cls) for _, cls in own if "Attention" in cls.__name__)


def _of_caches(options: Options, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
    from .._adapters.attention.masks import get_usable_length

    cls = namespace(module).get(_CACHE)
    is_free = isinstance(cls, type) and vars(cls).get(_USABLE) in (None, get_usable_length)
    if is_free and options.selection.selects(_CACHES, f"{_CACHE}.{_USABLE}"):
        shim, detail = USABLE_LENGTH.name, "as caches up to 4.53 had it"
        yield Assign(USABLE_LENGTH.targets[0], cls, _USABLE, giving(get_usable_length), shim, shim, detail)


def rules(options: Options) -> list[Rule]:
    """The rule for attention and decoder layers, which reads classes once for all shims; that of caches."""
    return [
        ModuleRule(FORWARD, is_modeling, partial(_edits, options), lasting=True),
        ModuleRule(USABLE_LENGTH, _CACHES, partial(_of_caches, options)),
    ]
