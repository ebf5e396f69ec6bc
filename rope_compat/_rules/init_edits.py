"""What the shims of `init_functions` change in the modules of transformers.

Loaded when torch is there: what stands for these functions computes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

from .._adapters.functions.base import Context, info_of, is_restored
from .._adapters.init_functions import functions as adapters
from .._adapters.init_functions.dynamic_update import adapt_dynamic_rope_update, dynamic_rope_update_of
from .._adapters.init_functions.init_weights import NativeTable, spare_custom_rotary
from .._facts.rope_types import BY_FUNCTION, OF_CLASS, ROPE_TYPES, TABLE, UPDATE_NAME, UTILS
from .._patching.edits import Assign, Edit, Replace, Resolve, SetItem, Skip
from .._patching.references import namespace
from .functions import context_for
from .options import Options
from .rule import giving
from .shim import Shim

__all__ = [
    "Propose",
    "custom_rotary",
    "default",
    "functions",
    "native_table",
    "of_classes_early",
    "parameters_early",
    "proportional_early",
    "update",
    "update_early",
    "validation",
]

Make = Callable[[], object]
Propose = Callable[[Shim, Options, ModuleType, Resolve], Iterable[Edit]]


def _table(module: ModuleType) -> dict[str, Any] | None:
    table = namespace(module).get(TABLE)
    return table if isinstance(table, dict) else None


def functions(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    """Each of the library's own functions, under its name and in the table: one adapter for both."""
    table = _table(module) or {}
    types = {id(resolve(function)): rope_type for rope_type, function in table.items()}
    for name, value in list(namespace(module).items()):
        native: Any = resolve(value)
        # Under its name also where somebody has given its type another function in the table.
        rope_type = types.get(id(native)) or BY_FUNCTION.get(name)
        if rope_type is None or not _is_own_function(native, module):
            continue
        target = f"{UTILS}:{name}"
        context = context_for(target, options, is_library=True)
        adapter = adapters.adapt_init_function(native, rope_type, context)
        if adapter is None:
            yield Skip(target, shim.name, "its signature is not one that it has had")
            continue
        make = giving(adapter)
        detail = f"takes every call form that it has had; type {rope_type}"
        yield _replace(shim, module, name, native, make, detail)
        if id(native) in types:
            yield _item(shim, table, rope_type, make, detail)


def default(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    """The default type, in the table and under its name: together with loading, or not at all."""
    if _is_4x(module) or _is_given(namespace(module).get(ROPE_TYPES["default"].function)):
        return
    if options.load:
        yield from _add(shim, options, module, "default")
        return
    reason = "restored with load=True only: custom models that load without it have garbage in their buffers"
    yield Skip(shim.targets[0], shim.name, reason, surprising=False)


def proportional_early(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    """The type of 5.5.0 for releases before."""
    if not _is_given(namespace(module).get(ROPE_TYPES["proportional"].function)):
        yield from _add(shim, options, module, "proportional")


def _add(shim: Shim, options: Options, module: ModuleType, rope_type: str) -> Iterator[Edit]:
    """A function that the release lacks, under its name and in the table."""
    table, name = _table(module), ROPE_TYPES[rope_type].function
    if table is None:
        return
    context = context_for(f"{UTILS}:{name}", options, is_library=True)
    make = giving(adapters.restore_init_function(rope_type, context))
    detail = f"what releases compute that have it; type {rope_type}"
    yield _assign(shim, module, name, make, detail)
    if not _is_given(table.get(rope_type)):
        yield _item(shim, table, rope_type, make, detail)


def native_table(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    """A view of the table for the loader, which has imported it by name."""
    held = namespace(module).get(TABLE)
    table = held.table if isinstance(held, NativeTable) else held
    if options.load and isinstance(table, dict):
        make = partial(NativeTable, table)
        detail = "sees no restored default"
        yield Assign(shim.targets[0], module, TABLE, make, shim.name, shim.name, detail, copies=True)


def update(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    """The decorator, for modules that were written for other releases."""
    native, table = resolve(namespace(module).get(UPDATE_NAME)), _table(module)
    if table is not None and isinstance(native, FunctionType) and not is_restored(native):
        context, knows_layers = _context(shim.targets[0], options), not _is_4x(module)
        make = partial(adapt_dynamic_rope_update, native, table, context, knows_layers=knows_layers)
        detail = "decorates rotary modules written for other releases as those do"
        yield _replace(shim, module, UPDATE_NAME, native, make, detail)


def update_early(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    """The decorator of 4.51.0 for releases before."""
    table = _table(module)
    if table is not None and not _is_given(namespace(module).get(UPDATE_NAME)):
        make = partial(dynamic_rope_update_of, table, _context(shim.targets[0], options))
        yield _assign(shim, module, UPDATE_NAME, make, "brings frequencies up to date as 4.51.0 and later do")


def parameters_early(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    """The type of 5.0.0 for releases before."""
    if not _is_given(namespace(module).get("RopeParameters")):
        make = partial(adapters.rope_parameters_type, _context(shim.targets[0], options))
        yield _assign(shim, module, "RopeParameters", make, "a type for annotations")


def validation(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    """The argument of 4.45.2 for releases before."""
    name = "rope_config_validation"
    native = resolve(namespace(module).get(name))
    if isinstance(native, FunctionType) and "ignore_keys" not in native.__code__.co_varnames:
        make = partial(adapters.ignoring_keys, native, _context(shim.targets[0], options))
        yield _replace(shim, module, name, native, make, "takes ignore_keys")


def of_classes_early(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    """A function for every rotary class that looks its frequencies up, and so has none of its own."""
    for name, cls in list(namespace(module).items()):
        if not name.endswith("RotaryEmbedding") or getattr(cls, "__module__", "") != module.__name__:
            continue
        held = vars(cls).get(OF_CLASS)
        is_ours = isinstance(held, staticmethod) and is_restored(held.__func__)
        if is_ours or (not hasattr(cls, OF_CLASS) and _looks_up(cls)):
            target = f"{module.__name__}:{name}.{OF_CLASS}"
            make = partial(_static_default, _context(target, options))
            yield Assign(target, cls, OF_CLASS, make, shim.name, shim.name, "as classes of 5.x have it")


def _static_default(context: Context) -> object:
    return staticmethod(adapters.restore_init_function("default", context))


def custom_rotary(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    """`PreTrainedModel._init_weights`, for modules that lack what it asks for."""
    owner, target = namespace(module).get("PreTrainedModel"), shim.targets[0]
    native = _behind(vars(owner).get("_init_weights")) if isinstance(owner, type) else None
    # Without load=True nothing puts back what loading takes from these modules: better the library's error.
    if options.load and isinstance(native, FunctionType) and _asks_rotary_modules(native):
        make = partial(spare_custom_rotary, native, _context(target, options))
        detail = "spares custom rotary modules"
        yield Assign(target, owner, "_init_weights", make, shim.name, shim.name, detail)


def _assign(shim: Shim, module: ModuleType, name: str, make: Make, detail: str) -> Assign:
    return Assign(f"{UTILS}:{name}", module, name, make, shim.name, shim.name, detail)


def _replace(shim: Shim, module: ModuleType, name: str, native: Any, make: Make, detail: str) -> Replace:
    return Replace(f"{UTILS}:{name}", module, name, native, make, shim.name, True, shim.name, detail)


def _item(shim: Shim, table: dict[str, Any], rope_type: str, make: Make, detail: str) -> SetItem:
    return SetItem(f"{UTILS}:{TABLE}[{rope_type!r}]", table, rope_type, make, shim.name, shim.name, detail)


def _context(target: str, options: Options) -> Context:
    """The context of what has one form only: its history would tell nothing."""
    return Context(target, options.release)


def _is_own_function(value: object, module: ModuleType) -> bool:
    return isinstance(value, FunctionType) and value.__module__ == module.__name__ and not is_restored(value)


def _behind(value: object) -> object:
    """The library's function behind one of ours, or the value itself."""
    info = info_of(value)
    return value if info is None or info.native is None else info.native


def _is_given(value: object) -> bool:
    """Whether something is there that rope_compat has not put there."""
    return value is not None and not is_restored(value)


def _is_4x(module: ModuleType) -> bool:
    """Whether the module is that of 4.x: 5.0.0 brought the mixin that puts configs in order."""
    return "RotaryEmbeddingConfigMixin" not in namespace(module)


def _looks_up(cls: type[Any]) -> bool:
    """Whether a class takes its function from the table."""
    return TABLE in getattr(getattr(cls.__init__, "__code__", None), "co_names", ())


def _asks_rotary_modules(function: Any) -> bool:
    """Whether `_init_weights` is that of 5.x, which computes frequencies again."""
    # 5.0.0 and others wrap it in torch.no_grad.
    function = getattr(function, "__wrapped__", function)
    return "original_inv_freq" in getattr(getattr(function, "__code__", None), "co_consts", ())
