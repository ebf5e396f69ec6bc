"""Arguments of `patch()` and the environment variables that stand for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, cast

from .errors import ArgumentError

if TYPE_CHECKING:
    from packaging.version import Version

__all__ = ["Numbers", "OnProblem", "is_off", "read_numbers", "read_on_problem", "read_written_for"]

OnProblem = Literal["warn", "error", "ignore"]
Numbers = Literal["installed", "written_for"]

_MODES = ("patch", "warn", "error", "off")


def _mode() -> str:
    value = os.environ.get("ROPE_COMPAT", "").strip().lower()
    if value and value not in _MODES:
        raise ArgumentError(
            f"ROPE_COMPAT={value!r} is not known; expected one of {', '.join(_MODES)}, or nothing"
        )
    return value


def is_off() -> bool:
    """Whether ``ROPE_COMPAT=off`` makes `patch()` do nothing."""
    return _mode() == "off"


def read_on_problem(given: str | None) -> OnProblem:
    """The argument, else what ``ROPE_COMPAT`` says, else ``"warn"``."""
    if given is None:
        return "error" if _mode() == "error" else "warn"
    if given not in ("warn", "error", "ignore"):
        raise ArgumentError(f"on_problem={given!r} is not known; expected 'warn', 'error' or 'ignore'")
    return cast("OnProblem", given)


def read_numbers(given: str, written_for: Version | None) -> Numbers:
    """Whose numbers are wanted, checked; there is no environment variable: numbers never change unasked."""
    if given not in ("installed", "written_for"):
        raise ArgumentError(f"numbers={given!r} is not known; expected 'installed' or 'written_for'")
    if given == "written_for" and written_for is None:
        raise ArgumentError(
            "numbers='written_for' needs the release whose numbers are wanted: pass written_for as well, "
            'such as written_for="4.49"'
        )
    return cast("Numbers", given)


def read_written_for(given: str | None) -> Version | None:
    """The argument, else ``ROPE_COMPAT_WRITTEN_FOR``, as a version; None where neither says anything."""
    source = "written_for" if given is not None else "ROPE_COMPAT_WRITTEN_FOR"
    text = given if given is not None else os.environ.get("ROPE_COMPAT_WRITTEN_FOR", "")
    if not isinstance(text, str):
        raise ArgumentError(f'{source} must be a version as text, such as "4.37", not {text!r}')
    if not text.strip():
        if given is None:
            return None
        raise ArgumentError(f'{source} is empty; leave it out, or give a version such as "4.37"')
    # Imported here: it takes long, and few programs say what they were written for.
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text)
    except InvalidVersion:
        raise ArgumentError(
            f'{source}={text!r} is not a version; expected a release such as "4.37"'
        ) from None
