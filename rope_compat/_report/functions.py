"""doctor's section on the rotary functions that are there: what differs, in as few lines as will do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rope_compat._report.examination import Drift, Examination, Functions
from rope_compat._report.page import Entry, Item, Row, Section
from rope_compat._report.words import counted

__all__ = ["differing", "functions_section"]

_SHOWN_GROUPS = 4
_SHOWN_TARGETS = 3


def functions_section(found: Examination) -> Section:
    """What was looked at, and what differs; without entries where nothing was looked at."""
    functions = found.functions
    if functions is None:
        return Section("Rotary functions", ())
    how = "in the source" if functions.how == "read" else "in the imported modules"
    return Section(f"Rotary functions, {how}", tuple(_entries(functions)))


def differing(functions: Functions) -> str:
    """How many differ, with the verb."""
    count = len(functions.drift)
    return f"{count} differ{'s' if count == 1 else ''}"


def _entries(functions: Functions) -> Iterator[Entry]:
    modules = len({target.partition(":")[0] for target in functions.targets})
    yield Row("found", f"{len(functions.targets)} in {counted(modules, 'module')}")
    if functions.failed:
        yield Row("failed", f"{counted(len(functions.failed), 'module')} cannot be imported", "warn")
    if functions.failed and not functions.targets:
        return
    if functions.release is None:
        yield Row("compared", "with nothing, as the version names no release")
    elif not functions.drift:
        yield Row("compared", f"with {functions.release}: no difference")
    else:
        yield Row("compared", f"with {functions.release}: {differing(functions)}", "warn")
    if functions.unknown:
        yield Row("new", f"{len(functions.unknown)} that no known release has: {_some(functions.unknown)}")
    groups = _groups(functions.drift)
    for message, targets in groups[:_SHOWN_GROUPS]:
        yield _group(message, targets)
    if len(groups) > _SHOWN_GROUPS:
        yield Item(f"{len(groups) - _SHOWN_GROUPS} more kinds of difference; --json lists them", "warn")


def _groups(drift: Sequence[Drift]) -> list[tuple[str, list[str]]]:
    """Targets that differ in the same way, under the sentence that is true of each; most targets first."""
    groups: dict[str, list[str]] = {}
    for each in drift:
        groups.setdefault(each.message.replace(each.target, "{}"), []).append(each.target)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def _group(message: str, targets: list[str]) -> Item:
    if len(targets) == 1:
        return Item(message.replace("{}", targets[0], 1), "warn")
    return Item(message.replace("{}", f"each of {len(targets)}", 1), "warn", (_some(targets),))


def _some(targets: Sequence[str]) -> str:
    shown = ", ".join(targets[:_SHOWN_TARGETS])
    more = len(targets) - _SHOWN_TARGETS
    return f"{shown} and {more} more" if more > 0 else shown
