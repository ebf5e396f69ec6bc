"""What the user said that rules and adapters depend on, and what is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .._settings import Numbers, OnProblem, read_numbers, read_on_problem, read_written_for
from .selection import Selection, Targets

if TYPE_CHECKING:
    from packaging.version import Version

__all__ = ["SWITCHES", "Options", "read_options"]

#: Arguments of `patch` that leave a part out where they are False.
SWITCHES = ("config", "load", "names")


class Options(NamedTuple):
    """The arguments of one `patch`, read, with the installed release; equal ones have equal rules."""

    written_for: Version | None
    release: str | None
    selection: Selection
    config: bool = True
    load: bool = True
    on_problem: OnProblem = "warn"
    strict: bool = False
    numbers: Numbers = "installed"
    names: bool = True


def read_options(
    *,
    written_for: str | None = None,
    targets: Targets = None,
    numbers: str = "installed",
    on_problem: str | None = None,
    **switches: bool,
) -> Options:
    """The arguments of `patch` as options, checked; which release is installed is left open.

    Raises:
        ArgumentError: an argument is not one of those that `patch` documents.
    """
    problem, version = read_on_problem(on_problem), read_written_for(written_for)
    selection = Selection(targets)
    whose = read_numbers(numbers, version)
    return Options(version, None, selection, on_problem=problem, numbers=whose, **switches)
