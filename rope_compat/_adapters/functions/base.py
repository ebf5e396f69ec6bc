"""What every adapter shares: its record, its refusals, the dressing of the function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from packaging.version import Version

from ..._facts.call_forms import CallForm, describe_forms
from ...errors import CallFormError, LayoutError
from .signature import live_signature

__all__ = [
    "AdapterInfo",
    "Context",
    "describe_call",
    "dress",
    "info_of",
    "is_compiling",
    "is_restored",
    "misfit",
    "refuse",
]


# torch.compiler.is_compiling came with torch 2.2; before, there is no cheap way to tell.
is_compiling: Callable[[], bool] = getattr(torch.compiler, "is_compiling", lambda: False)


@dataclass(frozen=True, slots=True)
class Context:
    """What an adapter needs to know besides the function itself.

    Attributes:
        target: ``module:qualname`` that the adapter stands for.
        release: the installed version of `library`, for messages; None when unknown.
        written_for: the release that the calling code was written for, if the user said so.
        is_library: the function is the library's own, not a user's replacement.
        history: first and last release of each signature that the target had, and the signature.
        removed_in: the first release without it; None where it is still there.
        signature_written_for: the signature that it had in the release `written_for`.
        library: the package whose function it is, and whose version `release` is.
        strict: calls whose layout nothing proves are refused.
    """

    target: str
    release: str | None = None
    written_for: Version | None = None
    is_library: bool = True
    history: Sequence[tuple[str, str, str]] = ()
    removed_in: str | None = None
    signature_written_for: str | None = None
    library: str = "transformers"
    strict: bool = False

    @property
    def module(self) -> str:
        """The module of the target."""
        return self.target.partition(":")[0]

    @property
    def family(self) -> str:
        """The name of the target, which its family is called by."""
        return self.target.partition(":")[2]

    @property
    def had_offset(self) -> bool:
        """GPT-NeoX-Japanese to 4.44.2: an int after sin may be an offset into rank-4 tables."""
        return any("offset" in signature for _, _, signature in self.history)

    @property
    def had_single(self) -> bool:
        """ESM to 5.5.4, GLM-MoE-DSA to 5.10.4 and the Gemma 3n family rotate one tensor a call."""
        return any(signature.startswith("(x,") for _, _, signature in self.history)


@dataclass(slots=True)
class AdapterInfo:
    """The record that every adapter carries as ``__rope_compat__``.

    `counts` holds the number of eager foreign calls by form. Native calls are not
    counted: counting them would cost something on a path that must cost nothing.
    Calls in compiled graphs are not counted either, since a counter would be a guard.
    """

    context: Context
    native: Callable[..., Any] | None
    native_signature: str
    forms: tuple[CallForm, ...]
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, form: str) -> None:
        """Note one foreign call in `form`; nothing under a compiler."""
        if not is_compiling():
            self.counts[form] = self.counts.get(form, 0) + 1


def info_of(function: object) -> AdapterInfo | None:
    """The record of an adapter, or None for any other object."""
    try:
        info = vars(function).get("__rope_compat__")
    except TypeError:
        return None
    return info if isinstance(info, AdapterInfo) else None


def is_restored(function: object) -> bool:
    """Whether `function` is one of ours that stands in nobody's place: the release has none of that name."""
    info = info_of(function)
    return info is not None and info.native is None


def dress(
    adapter: Callable[..., Any], info: AdapterInfo, signature: inspect.Signature | None = None
) -> Callable[..., Any]:
    """Give `adapter` the name, the documentation and the signature of its native function.

    `signature` is the native function's, where it is known: reading one costs 30 µs.

    Not by `functools.wraps`: that would set ``__wrapped__``, which `inspect` follows past
    the adapter, and would copy Dynamo's private attributes from compiled callables.
    """
    native = info.native
    adapter.__name__ = getattr(native, "__name__", info.context.family)
    adapter.__qualname__ = getattr(native, "__qualname__", info.context.family)
    adapter.__module__ = getattr(native, "__module__", None) or info.context.module
    adapter.__doc__ = getattr(native, "__doc__", None)
    if signature is None and native is not None:
        signature = live_signature(native)
    if signature is not None:
        adapter.__signature__ = signature  # type: ignore[attr-defined]
    adapter.__rope_compat__ = info  # type: ignore[attr-defined]
    return adapter


def describe_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Show a call by types and shapes: ``(float32[2, 4, 7, 64], ..., position_ids=int64[2, 7])``."""
    shown = [_describe(value) for value in args]
    shown += [f"{name}={_describe(value)}" for name, value in kwargs.items()]
    return f"({', '.join(shown)})"


def _describe(value: Any) -> str:
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if dtype is not None and shape is not None:
        return f"{str(dtype).removeprefix('torch.')}{list(shape)}"
    return (
        repr(value) if value is None or isinstance(value, (bool, int, float, str)) else type(value).__name__
    )


def refuse(info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any], why: str) -> CallFormError:
    """The error for a call that is in no known form, with the call, the native form and the others."""
    called = f"{info.context.family} of {info.context.module} was called as {describe_call(args, kwargs)}"
    return CallFormError(f"{called}: {why}\n{_forms(info)}")


def misfit(info: AdapterInfo, why: str) -> LayoutError:
    """The error for tensors whose axes do not meet, with the native form and the others."""
    return LayoutError(f"{info.context.family} of {info.context.module}: {why}\n{_forms(info)}")


def _forms(info: AdapterInfo) -> str:
    library, release = info.context.library, info.context.release
    where = f"{library} {release}" if release else f"the installed {library}"
    title = f"native form in {where}" if info.native is not None else "form of the restored function"
    if info.context.removed_in is not None:
        title += f", which was removed in {info.context.removed_in}"
    lines = [f"  {title}:", f"    {info.native_signature}"]
    if info.forms:
        lines += [
            "  other forms that rope_compat takes here:",
            describe_forms(info.forms, info.context.history),
        ]
    if info.context.history:
        lines.append(f"  all forms that it has had: rope-compat history {info.context.target}")
    return "\n".join(lines)
