"""Whose class is it: a library's, or custom code's?"""

from __future__ import annotations

from typing import Any

__all__ = ["is_custom", "qualified_name"]

_LIBRARIES = ("transformers", "torch")


def is_custom(cls: type[Any]) -> bool:
    """Whether a class is neither transformers' own nor torch's.

    Remote code lives in ``transformers_modules``, which is a package of its own.
    """
    return cls.__module__.partition(".")[0] not in _LIBRARIES


def qualified_name(cls: type[Any]) -> str:
    """``module.Class``, for people."""
    return f"{cls.__module__}.{cls.__qualname__}"
