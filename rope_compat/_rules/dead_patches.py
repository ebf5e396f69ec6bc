"""What somebody put in a library's place and nothing will ever use: dead patches, by name and line.

The live code decides: a name is in vain where no code of its module looks it up.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .. import catalog
from .._facts.functions import FAMILIES
from .._patching.edits import Resolve, Skip
from .._patching.references import closed_over, namespace
from .._utils.disguise import native_of

__all__ = ["dead_attributes", "in_vain", "is_foreign", "is_looked_up"]

#: Methods that patches of other releases replace, and that transformers itself called once. Others may be the
#: patch's own helpers.
METHODS = frozenset(
    {
        "_compute_cos_sin_cache",
        "_flash_attention_forward",
        "_init_rope",
        "_prepare_4d_causal_attention_mask_with_cache_position",
        "_prepare_decoder_attention_mask",
        "_set_cos_sin_cache",
        "_update_causal_mask",
    }
)
_FUNCTIONS = frozenset(family.name for family in FAMILIES)
_CLASSES = ("Attention", "Attention2", "RotaryEmbedding")
#: `builtins`: ModernBERT takes `object` for the rotary class of flash-attn that is not installed.
_OURS = ("builtins", "transformers", "torch", "rope_compat", "kernels", "flash_attn")


def is_foreign(value: object) -> bool:
    """Whether a function or a class is neither transformers' nor ours."""
    if not isinstance(value, (FunctionType, type)) or hasattr(value, "__rope_compat__"):
        return False
    home = getattr(value, "__module__", None)
    return isinstance(home, str) and home.partition(".")[0] not in _OURS


def is_looked_up(module: ModuleType, name: str) -> bool:
    """Whether any function or method that the module defines refers to a global or an attribute `name`."""
    return any(name in code.co_names for code in _codes(module))


def in_vain(module: ModuleType, name: str, value: object, rule: str, *, note: str = "") -> Skip:
    """The report of a dead patch at ``module:name``."""
    home = module.__name__
    removed = catalog.explain(home, name) if "." not in name else ""
    gone = f"; {removed}" if removed.startswith("removed in") else ""
    reason = f"{_where(value)} was assigned to it, without effect: {note or _nothing(home, name)}{gone}"
    return Skip(f"{home}:{name}", rule, reason, in_vain=True)


def dead_attributes(module: ModuleType, rule: str, resolve: Resolve) -> Iterator[Skip]:
    """Replacements that nothing uses: of rotary functions, of classes, of methods of theirs."""
    attributes, home = namespace(module), module.__name__
    classes = [(name, value) for name, value in list(attributes.items()) if isinstance(value, type)]
    foreign = [each for each in classes if each[1].__module__ != home and each[0].endswith(_CLASSES)]
    functions = [(name, resolve(attributes[name])) for name in _FUNCTIONS.intersection(attributes)]
    for name, value in (*functions, *foreign):
        if is_foreign(value) and catalog.name_spans(home, name) and not is_looked_up(module, name):
            yield in_vain(module, name, value, rule)
    for name, cls in classes:
        if cls.__module__ == home and not METHODS.isdisjoint(vars(cls)):
            yield from _dead_methods(module, name, cls, rule)


def _dead_methods(module: ModuleType, name: str, cls: type[Any], rule: str) -> Iterator[Skip]:
    for method in sorted(METHODS.intersection(vars(cls))):
        value = vars(cls)[method]
        if is_foreign(value) and not is_looked_up(module, method):
            yield in_vain(module, f"{name}.{method}", value, rule)


def _nothing(module: str, name: str) -> str:
    return f"nothing in {module} looks {name.rpartition('.')[2]} up"


def _where(value: Any) -> str:
    name = getattr(value, "__qualname__", type(value).__qualname__)
    if isinstance(value, FunctionType):
        return f"{name}{_line([value])}"
    # Python keeps no line of a class itself: that of the first of its own methods.
    methods = [each for each in vars(value).values() if isinstance(each, FunctionType)]
    return f"{name} of {value.__module__}{_line(methods)}"


def _line(functions: list[FunctionType]) -> str:
    codes = [function.__code__ for function in functions]
    first = min(codes, key=lambda code: code.co_firstlineno, default=None)
    return f" ({first.co_filename}:{first.co_firstlineno})" if first is not None else ""


def _codes(module: ModuleType) -> Iterator[CodeType]:
    from .._adapters.functions.signature import nested_codes

    for value in list(namespace(module).values()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        members = list(vars(value).values()) if isinstance(value, type) else [value]
        for member in members:
            for code in _behind(getattr(member, "__func__", member)):
                yield from nested_codes(code)


def _behind(function: Any) -> Iterator[CodeType]:
    """The code of a function and of those that it wraps: an adapter's, a decorator's, a property's.

    Attention's `forward` is decorated from 4.54.0 to 4.57.6 (`deprecate_kwarg`).
    """
    found, waiting = set(), [function]
    while waiting:
        each = waiting.pop()
        each = native_of(each)
        code = getattr(each, "__code__", None)
        if isinstance(each, property):
            waiting += [each.fget, each.fset]
        elif isinstance(code, CodeType) and id(each) not in found:
            found.add(id(each))
            yield code
            waiting += [getattr(each, "__wrapped__", None), *closed_over(each)]
