"""What an unknown rotary function, module or model computes: found by calling it, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ..errors import ArgumentError
from .call_forms import Sizes, quiet
from .identity import judge
from .modules import judge_module
from .result import Call, Identity
from .tables import judge_tables

__all__ = ["Call", "Identity", "identify"]


def identify(function: Callable[..., Any], *, name: str = "") -> Identity:
    """Find out what a rotary function, a rotary module or a model computes, by calling it.

    A rotary function is linear: for each token it is a matrix, which basis vectors bring out. It is
    called with small float32 tensors on the CPU, with random cos and sin (or angles, complex numbers,
    positions: whatever the names of its parameters admit) in every layout and shape that callers use;
    sizes are all different, so that axes that do not meet are refused. Each entry of the matrices is then
    a cell of a table, which tells pairing, direction, part of the head and which columns the tables have
    to have, without tolerance. A function that makes its own angles is called at several positions, and
    its frequencies are read.

    What two readings fit is reported with both (`verdict` ``ambiguous``); what cannot be read is
    ``unknown``. The function is called a few thousand times, without gradients; random numbers of the
    caller are left as they were.

    Args:
        function: a function ``(q, k, cos, sin)``, ``(x, sin, cos)``, ``(xq, xk, freqs_cis)``, ``(tensor,
            freqs)``, ``(x, positions)`` or the like; ``rotate_half`` and its like; a rotary
            `torch.nn.Module`; or a model or attention module, whose rotary function and module are looked
            for.
        name: what to call it in the answer; its own name if empty.

    Returns:
        An `Identity`. It prints as a page; `Identity.to_dict` is JSON-ready.

    Raises:
        ArgumentError: `function` cannot be called, or is a class.
    """
    subject = name or _name(function)
    if isinstance(function, type):
        raise ArgumentError(
            f"identify() got the class {subject}; expected an instance or a function: construct it first"
        )
    if not callable(function):
        raise ArgumentError(f"identify() got {function!r}; expected a function, a rotary module or a model")
    with quiet():
        if isinstance(function, nn.Module):
            return judge_module(subject, function)
        found = judge(subject, function, Sizes())
        tables = judge_tables(subject, function) if found.verdict == "unknown" else None
    return tables or found


def _name(function: Any) -> str:
    for subject in (function, type(function)):
        name = getattr(subject, "__qualname__", None) or getattr(subject, "__name__", None)
        if isinstance(name, str):
            home = getattr(subject, "__module__", "") or ""
            return f"{home.rpartition('.')[2]}:{name}" if home else name
    return repr(function)
