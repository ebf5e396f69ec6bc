"""What every adapter shares: its record, its refusals, the dressing of the function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from packaging.version import Version

from ..._facts.call_forms import CallForm, describe_forms
from ..._utils.disguise import dressed
from ...errors import CallFormError, LayoutError
from .signature import live_signature

__all__ = [
    "AdapterInfo",
    "Context",
    "as_restored",
    "count",
    "dress",
    "info_of",
    "is_compiling",
    "is_restored",
    "misfit",
    "refuse",
]


#: The attribute that every adapter carries its record in.
MARK = "__rope_compat__"

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
        count(self, form)


def info_of(function: object) -> AdapterInfo | None:
    """The record of an adapter, or None for any other object."""
    try:
        info = vars(function).get(MARK)
    except TypeError:
        return None
    return info if isinstance(info, AdapterInfo) else None


def is_restored(function: object) -> bool:
    """Whether `function` is one of ours that stands in nobody's place: the release has none of that name."""
    info = info_of(function)
    return info is not None and info.native is None


def count(info: AdapterInfo, form: str) -> None:
    """Note one foreign call in `form`; a compiler sees nothing of the record."""
    if not is_compiling():
        info.counts[form] = info.counts.get(form, 0) + 1


def dress(
    adapter: Callable[..., Any], info: AdapterInfo, signature: inspect.Signature | None = None
) -> Callable[..., Any]:
    """Have `adapter` look like its native function, or like its target where there is none, and carry `info`.

    `signature` is the native function's, where it is known. A restored function keeps its documentation.
    """
    native = info.native
    adapter.__name__ = adapter.__qualname__ = info.context.family
    adapter.__module__ = info.context.module
    if native is not None:
        return dressed(adapter, native, mark=(MARK, info), signature=signature or live_signature(native))
    setattr(adapter, MARK, info)
    return adapter


def as_restored(adapter: Callable[..., Any], documentation: str) -> Callable[..., Any]:
    """Have a dressed `adapter` say whose place it takes, instead of what computes it; see `is_restored`."""
    info = vars(adapter)[MARK]
    info.native = None
    adapter.__doc__ = documentation
    return dress(adapter, info)


def _describe(value: Any) -> str:
    """A value by dtype and shape, ``float32[2, 4, 7, 64]``, a number as it is, anything else by its type."""
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if dtype is not None and shape is not None:
        return f"{str(dtype).removeprefix('torch.')}{list(shape)}"
    is_plain = value is None or isinstance(value, (bool, int, float, str))
    return repr(value) if is_plain else type(value).__name__


def refuse(info: AdapterInfo, args: tuple[Any, ...], kwargs: dict[str, Any], why: str) -> CallFormError:
    """The error for a call that is in no known form, with the call, the native form and the others."""
    shown = ", ".join([*map(_describe, args), *(f"{name}={_describe(kwargs[name])}" for name in kwargs)])
    called = f"{info.context.family} of {info.context.module} was called as ({shown})"
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
