"""What a live function's signature says, and what its code does with ``position_ids``."""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

__all__ = [
    "code_of",
    "globals_of",
    "is_module",
    "live_signature",
    "mentions",
    "nested_codes",
    "picks_rows",
    "reads_argument",
    "signature_text",
]


_STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def is_module(function: object) -> bool:
    """True for a `torch.nn.Module`, which is what the ``kernels`` package makes of a function."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(function, torch.nn.Module)


def live_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of `function`, or None where Python cannot tell.

    With ``kernels`` installed, decorated functions of transformers 5.0 and later are
    modules whose own signature reads ``(*args, **kwargs)``: ``forward`` has the truth.
    """
    if type(function) is FunctionType and not function.__dict__:
        return _of_plain(function)
    subject = function.forward if is_module(function) else function  # type: ignore[attr-defined]
    try:
        return inspect.signature(subject)
    except (TypeError, ValueError):
        return None


_Parameter = inspect.Parameter


def _of_plain(function: FunctionType) -> inspect.Signature:
    """What `inspect.signature` gives for a function that nothing decorates, in a tenth of its time."""
    code, annotations = function.__code__, function.__annotations__
    names, count = code.co_varnames, code.co_argcount
    defaults, by_keyword = function.__defaults__ or (), function.__kwdefaults__ or {}
    required = count - len(defaults)
    values = dict(zip(names[required:count], defaults, strict=True)) | by_keyword
    positional_only, keyword_only = code.co_posonlyargcount, count + code.co_kwonlyargcount
    kinds: dict[str, Any] = dict.fromkeys(names[:positional_only], _Parameter.POSITIONAL_ONLY)
    kinds |= dict.fromkeys(names[positional_only:count], _Parameter.POSITIONAL_OR_KEYWORD)
    place = keyword_only
    if code.co_flags & inspect.CO_VARARGS:
        kinds[names[place]] = _Parameter.VAR_POSITIONAL
        place += 1
    kinds |= dict.fromkeys(names[count:keyword_only], _Parameter.KEYWORD_ONLY)
    if code.co_flags & inspect.CO_VARKEYWORDS:
        kinds[names[place]] = _Parameter.VAR_KEYWORD
    empty = _Parameter.empty
    return inspect.Signature(
        [
            _Parameter(name, kind, default=values.get(name, empty), annotation=annotations.get(name, empty))
            for name, kind in kinds.items()
        ],
        return_annotation=annotations.get("return", empty),
        __validate_parameters__=False,
    )


def signature_text(signature: inspect.Signature) -> str:
    """Names, defaults and markers of `signature` without annotations.

    Written out, as patching needs hundreds: `inspect` would make three objects a parameter for it.
    """
    parts: list[str] = []
    positional_only = has_star = False
    for parameter in signature.parameters.values():
        kind = parameter.kind
        if positional_only and kind is not parameter.POSITIONAL_ONLY:
            parts.append("/")
        positional_only = kind is parameter.POSITIONAL_ONLY
        if kind is parameter.KEYWORD_ONLY and not has_star:
            parts.append("*")
        has_star = has_star or kind in (parameter.VAR_POSITIONAL, parameter.KEYWORD_ONLY)
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        parts.append(f"{_STARS.get(kind, '')}{parameter.name}{default}")
    return f"({', '.join([*parts, '/'] if positional_only else parts)})"


def _worker(function: Callable[..., Any]) -> Any:
    """The function that does the work, through decorators and ``kernels`` modules."""
    subject: Any = function
    if is_module(subject):
        forward = type(subject).forward
        # kernels' Func.forward closes over the decorated function as `func`.
        cells = dict(zip(forward.__code__.co_freevars, forward.__closure__ or (), strict=False))
        subject = cells["func"].cell_contents if "func" in cells else forward
    return inspect.unwrap(subject)


def code_of(function: Callable[..., Any]) -> CodeType | None:
    """The code object of `function`, through decorators and ``kernels`` modules."""
    if type(function) is FunctionType and not function.__dict__:
        # Most are plain functions, and patching asks thousands.
        return function.__code__
    return getattr(_worker(function), "__code__", None)


def globals_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The globals that the code of `function` sees; empty where there is no Python code."""
    found: dict[str, Any] = getattr(_worker(function), "__globals__", {})
    return found


def reads_argument(function: Callable[..., Any], name: str) -> bool | None:
    """Whether the code of `function` ever reads its argument `name`; None where there is no code.

    A signature does not say it: Gemma's ``apply_rotary_pos_emb`` of 4.38.0 requires
    ``position_ids`` and ignores them, Llama's of 4.37.2 indexes with them.
    """
    code = code_of(function)
    if code is None:
        return None
    if name in code.co_cellvars:
        return True
    # From 3.13 on one instruction may load two locals; its argval is then a pair.
    return any(
        name == argval or (isinstance(argval, tuple) and name in argval)
        for argval in (
            instruction.argval for instruction in dis.get_instructions(code) if instruction.arg is not None
        )
    )


def picks_rows(function: Callable[..., Any]) -> bool:
    """Whether the code of `function`, nested functions included, can pick rows of a tensor by an index."""
    code = code_of(function)
    if code is None or mentions(function, "gather", "index_select", "embedding", "take_along_dim"):
        return code is not None
    return any(
        # From 3.14 on subscription is one of the binary operations.
        instruction.opname == "BINARY_SUBSCR"
        or (instruction.opname, instruction.argrepr) == ("BINARY_OP", "[]")
        for inner in nested_codes(code)
        for instruction in dis.get_instructions(inner)
    )


def mentions(function: Callable[..., Any], *words: str) -> bool:
    """Whether the code of `function`, nested functions included, refers to one of the names `words`."""
    code = code_of(function)
    return code is not None and any(word in inner.co_names for inner in nested_codes(code) for word in words)


def nested_codes(code: CodeType) -> Iterator[CodeType]:
    """A code object, and those of the functions, lambdas and comprehensions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested_codes(constant)
