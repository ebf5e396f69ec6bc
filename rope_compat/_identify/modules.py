"""Rotary modules, and the rotary functions that a model's attention uses."""

from __future__ import annotations

import contextlib
import re
import types
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn

from .._adapters.functions.signature import nested_codes
from .call_forms import Sizes
from .identity import judge
from .result import Identity
from .tables import judge_tables

__all__ = ["judge_module"]

_ROTARY = re.compile(r"rot|rope", re.IGNORECASE)
_ROTARY_CLASS = re.compile(r"rotary|rope", re.IGNORECASE)

_WANTS = {
    "concatenated": "concatenated",
    "concatenated, first half read": "concatenated",
    "repeated": "repeated",
    "repeated, every second read": "repeated",
    "one column a pair": "one column a pair",
}


def judge_module(subject: str, module: nn.Module) -> Identity:
    """A rotary module by what it gives, any other by the rotary functions and modules in it."""
    if _ROTARY_CLASS.search(type(module).__name__) or not any(True for _ in module.children()):
        return _rotary(subject, module)
    functions = [judge(_title(f), f, Sizes()) for f in _functions(module)]
    functions = [each for each in functions if each.verdict in ("rotation", "not a rotation", "ambiguous")]
    modules = [_rotary(name or type(each).__name__, each) for name, each in _rotary_modules(module)]
    if not functions:
        functions = [each for each in modules if each.verdict != "tables"]
    if not functions and not modules:
        reason = "no rotary function is called by its modules, and it has no rotary module"
        return Identity(subject, "unknown", reason)
    return _together(subject, functions, [each for each in modules if each not in functions])


def _rotary(subject: str, module: nn.Module) -> Identity:
    tables = judge_tables(subject, module)
    if tables is not None:
        return tables
    found = judge(subject, module, Sizes())
    for dim in _dims(module) if found.verdict == "unknown" else ():
        found = judge(subject, module, Sizes(dim=dim))
        if found.verdict != "unknown":
            break
    return found


def _dims(module: nn.Module) -> list[int]:
    """Sizes of head that the module may be for, from its attributes and buffers."""
    found = [
        value
        for name, value in vars(module).items()
        if (type(value) is int and "dim" in name) or name == "head_size"
    ]
    for tensor in [*module.buffers(), *(v for v in vars(module).values() if isinstance(v, Tensor))]:
        if tensor.ndim:
            found += [tensor.shape[-1], 2 * tensor.shape[-1], 2 * tensor.shape[-2] if tensor.ndim > 1 else 0]
    return [size for size in dict.fromkeys(found) if 2 <= size <= 512 and size % 2 == 0 and size != 16]


def _functions(model: nn.Module) -> Iterable[Callable[..., Any]]:
    """Functions with a rotary name that methods of the model's classes call, each once."""
    classes = dict.fromkeys(base for each in model.modules() for base in type(each).__mro__)
    methods = (
        getattr(method, "__func__", method)
        for base in classes
        if not base.__module__.startswith("torch.")
        for method in vars(base).values()
    )
    found = (each for method in methods if isinstance(method, types.FunctionType) for each in _called(method))
    return {id(each): each for each in found}.values()


def _called(method: types.FunctionType) -> Iterator[Callable[..., Any]]:
    for worker in _workers(method):
        for code in nested_codes(worker.__code__):
            for name in code.co_names:
                value = worker.__globals__.get(name)
                is_class = isinstance(value, type)
                if _ROTARY.search(name) and callable(value) and not is_class and "parameters" not in name:
                    yield value


def _workers(method: types.FunctionType) -> list[types.FunctionType]:
    """A method and the functions behind it: those that decorators and adapters wrap."""
    found = [method]
    for each in found:
        behind = [getattr(each, "__wrapped__", None)]
        for cell in each.__closure__ or ():
            with contextlib.suppress(ValueError):  # a cell that is empty still
                behind.append(cell.cell_contents)
        found += [
            one for one in behind if isinstance(one, types.FunctionType) and all(one is not f for f in found)
        ]
    return found


def _rotary_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """One of each class and set of frequencies."""
    found: dict[tuple[Any, ...], tuple[str, nn.Module]] = {}
    for name, module in model.named_modules():
        if _ROTARY_CLASS.search(type(module).__name__):
            values = tuple(
                tuple(b.flatten()[:4].tolist()) for b in module.buffers(recurse=False) if not b.is_meta
            )
            found.setdefault((type(module), values), (name, module))
    return list(found.values())


def _together(subject: str, functions: list[Identity], modules: list[Identity]) -> Identity:
    notes = []
    made = {module.tables for module in modules if module.verdict == "tables"}
    for function in functions:
        wanted = _WANTS.get(function.tables)
        if wanted and made and wanted not in made:
            notes.append(
                f"{function.subject} takes tables that are {wanted}; the rotary modules make tables that are "
                f"{' and '.join(sorted(made))}: unless code between them converts, pairs turn by wrong angles"
            )
    found = partial(Identity, subject, parts=(*functions, *modules), notes=tuple(notes))
    wrong = next((each for each in functions if each.verdict == "not a rotation"), None)
    if wrong is not None:
        return found("not a rotation", f"{wrong.subject}: {wrong.reason}", wrong.mistake)
    if len({each.pairing for each in functions}) > 1:
        reason = "its code has rotary functions of different pairings; its config decides which one is called"
        return found("ambiguous", reason, candidates=tuple(functions))
    first = functions[0] if functions else modules[0]
    frequencies = next((module.frequencies for module in modules if module.frequencies), first.frequencies)
    return found(
        "rotation" if functions else "tables",
        arguments=first.arguments,
        layout=first.layout,
        pairing=first.pairing,
        outputs=first.outputs,
        direction=first.direction,
        part=first.part,
        tables=first.tables,
        frequencies=frequencies,
        factor=next((module.factor for module in modules), 1.0),
    )


def _title(function: Any) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return f"{function.__module__.rpartition('.')[2]}:{name}"
