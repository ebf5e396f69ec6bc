"""The table of names beside RoPE, against the catalog."""

from __future__ import annotations

import itertools
import re

import pytest

from rope_compat import catalog
from rope_compat._facts.removed_names import TABLE, RemovedName, is_due, periods
from rope_compat._rules.removed_names import loses_names
from rope_compat.catalog.store import catalog as store

EXACT = [(record, module) for record in TABLE if record.gone for module in record.modules]
PATTERNS = [record for record in TABLE if not record.gone]


def gone_by_catalog(module: str, name: str, *, from_the_first: bool) -> tuple[tuple[str, str], ...]:
    """Periods of the supported releases in which a name is not there; `from_the_first`: after it was."""
    order, builds = store().order, catalog.releases()
    there = {
        place
        for span in catalog.name_spans(module, name)
        for place in range(order[span.first], order[span.last] + 1)
    }
    assert there, f"{module}:{name} was never there"
    found: list[tuple[str, str]] = []
    oldest = order[catalog.oldest_supported()]
    for place in range(max(min(there), oldest) if from_the_first else oldest, len(builds)):
        if place in there:
            continue
        if place - 1 in there or not found:
            found.append((builds[place], builds[place]))
        found[-1] = (found[-1][0], builds[place])
    return tuple((first, "" if last == builds[-1] else last) for first, last in found)


@pytest.mark.parametrize(("record", "module"), EXACT, ids=lambda value: str(getattr(value, "name", value)))
def test_a_record_says_what_the_catalog_says(record: RemovedName, module: str) -> None:
    # A name that came late is restored for older releases only where that is meant.
    known = [gone_by_catalog(module, record.name, from_the_first=each) for each in (True, False)]
    assert periods(record.gone) in known


@pytest.fixture(scope="module")
def lost() -> list[tuple[str, str]]:
    """Every name that a module of a model had in one supported release, and lost in a later one."""
    first = store().order[catalog.oldest_supported()]
    found: set[tuple[str, str]] = set()
    for module in store()._names["modules"]:
        if module.startswith("transformers.models.") and re.search(r"\.(modeling|configuration)_", module):
            runs = [(last, set(names)) for _, last, names in store()._name_runs(module) if last >= first]
            for (_, before), (_, after) in itertools.pairwise(runs):
                found |= {(module, name) for name in before - after}
    return sorted(found)


@pytest.mark.parametrize("record", PATTERNS, ids=lambda record: record.name)
def test_a_pattern_covers_something_that_a_release_has_lost(
    record: RemovedName, lost: list[tuple[str, str]]
) -> None:
    assert any(record.covers(module, name) for module, name in lost)


#: Parts that only transformers itself imports from.
INNER = re.compile(
    r"transformers\.(agents|cli|commands|distributed|exporters|quantizers|tools|"
    r"generation\.continuous_batching|utils\.dummy_)"
)


def test_modules_that_have_lost_something_of_their_own_are_the_ones_that_answer() -> None:
    first = store().order[catalog.oldest_supported()]
    named = {module for record in TABLE if record.gone for module in record.modules}
    packages = {module.rpartition(".")[0] for module in store()._names["modules"]}
    for module in store()._names["modules"]:
        if module.startswith(("transformers.models.", "rope_compat")) or "." not in module:
            continue
        kinds = {"class", "function", "mapping"} | ({"import"} if module in packages else set())
        own: set[str] = set()
        lost: set[str] = set()
        for _, last, names in store()._name_runs(module):
            if last >= first:
                lost |= own - set(names)
                public = {name: kind for name, (kind, _) in names.items() if not name.startswith("_")}
                own |= {name for name, kind in public.items() if kind in kinds}
        expected = module in named or (bool(lost) and not INNER.match(module))
        assert loses_names(module) is expected, (module, sorted(lost)[:5])


def test_every_record_restores_or_advises() -> None:
    for record in TABLE:
        assert record.restored != bool(record.instead), record


@pytest.mark.parametrize(
    ("release", "due"),
    [("4.57.6", False), ("5.0.0", True), ("5.24.0", True), ("5.1.0.dev0", True), (None, True)],
)
def test_a_period_without_an_end(release: str | None, due: bool) -> None:
    assert is_due("5.0.0-", release) is due


def test_periods_that_end() -> None:
    gone = "4.48.0-4.48.1, 5.0.0-5.2.0"
    assert [is_due(gone, each) for each in ("4.47.1", "4.48.1", "4.48.2", "5.2.0", "5.3.0", None)] == [
        False, True, False, True, False, False,
    ]  # fmt: skip
