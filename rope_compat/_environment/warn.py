"""Warnings that point at the user's line, once each."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings

from rope_compat._environment.model import Environment
from rope_compat.errors import (
    ArgumentError,
    DevelopmentBuildWarning,
    IncompatibleVersionError,
    IncompatibleVersionWarning,
    RopeCompatWarning,
)

__all__ = ["announce", "warn_about"]

# Frames that stand between the user's line and ours: the package itself, `with` on generators, import hooks,
# and what transformers' lazy modules import by.
_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_BETWEEN = (_PACKAGE, str(contextlib.__file__), str(importlib.__file__), "<frozen importlib")
_LAZY = os.path.join("transformers", "utils", "import_utils.py")

_registry: dict[str | tuple[str, type[Warning], int], int] = {}


def warn_about(environment: Environment, on_problem: str = "warn") -> None:
    """Tell the user what is wrong here, notes left out.

    ``on_problem``: ``"warn"`` warns about everything; ``"error"`` raises `IncompatibleVersionError` when
    something cannot work, and warns about the rest; ``"ignore"`` does nothing. Any other value raises
    `ArgumentError`.
    """
    if on_problem not in ("warn", "error", "ignore"):
        raise ArgumentError(f"on_problem={on_problem!r} is not known; expected 'warn', 'error' or 'ignore'")
    if on_problem == "ignore":
        return
    fatal = [problem for problem in environment.problems if problem.severity == "fatal"]
    if fatal and on_problem == "error":
        raise IncompatibleVersionError("; ".join(map(str, fatal)))
    for problem in environment.problems:
        if problem.severity != "note":
            development = problem.code == "development-build"
            announce(str(problem), DevelopmentBuildWarning if development else IncompatibleVersionWarning)


def announce(message: str, category: type[RopeCompatWarning]) -> None:
    """Issue a warning at the user's line that led here; the same message once, wherever it comes from.

    The standard filters decide as for any warning (``always``, ``error``, ``ignore``), and as for any warning
    "once" starts anew when the filters change. Raises the warning when a filter says ``error``.
    """
    filename, lineno, module = _users_line()
    if any(key[:2] == (message, category) for key in list(_registry) if isinstance(key, tuple)):
        # Python counts a message on another line as another warning. Marked as seen here too, it stays
        # silent, unless the filters have changed meanwhile: then warn_explicit empties the registry before it
        # looks.
        _registry[(message, category, lineno)] = 1
    warnings.warn_explicit(message, category, filename, lineno, module=module, registry=_registry)


def _users_line() -> tuple[str, int, str]:
    # By hand rather than by stacklevel, as the depth differs by caller; `skip_file_prefixes` is there from
    # 3.12 on only.
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(_BETWEEN) or frame.f_code.co_filename.endswith(_LAZY)
    ):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno, str(frame.f_globals.get("__name__", "<unknown>"))
