"""What a live function's signature says, and what its code does with ``position_ids``."""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

__all__ = [
    "code_of",
    "globals_of",
    "is_module",
    "live_signature",
    "mentions",
    "reads_argument",
    "signature_text",
]


def is_module(function: object) -> bool:
    """True for a `torch.nn.Module`, which is what the ``kernels`` package makes of a function."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(function, torch.nn.Module)


def live_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of `function`, or None where Python cannot tell.

    With ``kernels`` installed, decorated functions of transformers 5.0 and later are
    modules whose own signature reads ``(*args, **kwargs)``: ``forward`` has the truth.
    """
    subject = function.forward if is_module(function) else function  # type: ignore[attr-defined]
    try:
        return inspect.signature(subject)
    except (TypeError, ValueError):
        return None


def signature_text(signature: inspect.Signature) -> str:
    """Names, defaults and markers of `signature` without annotations."""
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(bare))


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


def mentions(function: Callable[..., Any], *words: str) -> bool:
    """Whether the code of `function`, nested functions included, refers to one of the names `words`."""
    code = code_of(function)
    return code is not None and any(word in inner.co_names for inner in _codes(code) for word in words)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
