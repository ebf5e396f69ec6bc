"""The facts of all builds, to which builds are added; and the bytes of a file that they become.

Equal histories give equal bytes on every machine, in whatever order their builds were added. The sections
``targets`` and ``uses`` are lines (see `rope_compat.catalog.format`). ``names`` is far larger, and lines
below bzip2: of the compressors that Python has, the only one whose output has not changed in decades (zlib
has several implementations, xz changes with its versions).
"""

from __future__ import annotations

import bz2
import itertools
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from packaging.version import Version

from rope_compat.catalog.format import KINDS, NAME_KINDS, NO_DETAIL, Container, lines, pack
from rope_compat.catalog.model import Definition, Name, ReleaseFacts, Run, Use, extend
from rope_compat.catalog.store import Catalog

__all__ = ["History", "Timeline", "decode", "encode"]

Value = TypeVar("Value")
Runs = dict[Any, list[Run]]

_LETTERS = {kind: letter for letter, kind in KINDS.items()}
_NAME_LETTERS = {kind: letter for letter, kind in NAME_KINDS.items()}


class Timeline(list[dict[str, Value]]):
    """One kind of facts: for each build, in the order of versions, what each module has."""

    def runs(self) -> Runs:
        """By module, in the order of their names: runs of builds that have the same."""
        runs: Runs = {}
        for place, facts in enumerate(self):
            for module, value in facts.items():
                extend(runs.setdefault(module, []), place, place, value)
        return dict(sorted(runs.items()))


class History:
    """The facts of all builds, each a final release or a development build.

    ``builds`` has the version of each, in their order; ``targets``, ``uses`` and ``names`` have a place for
    each of them, see `ReleaseFacts`.
    """

    def __init__(self, builds: Iterable[str] = ()) -> None:
        self.builds = list(builds)
        self.targets: Timeline[tuple[tuple[str, Definition], ...]] = Timeline({} for _ in self.builds)
        self.uses: Timeline[tuple[Use, ...]] = Timeline({} for _ in self.builds)
        self.names: Timeline[tuple[Name, ...]] = Timeline({} for _ in self.builds)

    def add(self, facts: ReleaseFacts) -> None:
        """Add a build, in the place of one with the same version if there is one."""
        if facts.version in self.builds:
            self.remove(facts.version)
        place = bisect_left(self.builds, Version(facts.version), key=Version)
        self.builds.insert(place, facts.version)
        _insert(self.targets, place, facts.targets)
        _insert(self.uses, place, facts.uses)
        _insert(self.names, place, facts.names)

    def remove(self, version: str) -> None:
        """Take a build out. Raises `ValueError` when it is not there."""
        place = self.builds.index(version)
        del self.builds[place], self.targets[place], self.uses[place], self.names[place]

    def at(self, version: str) -> ReleaseFacts:
        """The facts of one build. Raises `ValueError` when it is not there."""
        place = self.builds.index(version)
        return ReleaseFacts(version, self.names[place], self.targets[place], self.uses[place])


def _insert(timeline: Timeline[Value], place: int, facts: Mapping[str, Value]) -> None:
    # What is as it was is kept once: from release to release that is nearly everything.
    before = timeline[place - 1] if place else {}
    shared = {module: (value, before.get(module)) for module, value in facts.items()}
    timeline.insert(place, {module: old if old == new else new for module, (new, old) in shared.items()})


def encode(history: History) -> bytes:
    """The file for a history."""
    sections = {
        "targets": _targets(history.targets.runs()),
        "uses": _uses(history.uses.runs()),
        "names": bz2.compress(_names(history.names.runs()), 9),
    }
    return pack(history.builds, sections)


def decode(container: Container) -> History:
    """The history in a file."""
    known = Catalog(container)
    history = History(container.builds)
    targets: Runs = {}
    for module in known.modules():
        for name in known.names(module):
            for each in known.generations(module, name):
                run = Run(known.order[each.first], known.order[each.last], (name, Definition(*each[2:])))
                targets.setdefault(module, []).append(run)
    uses: Runs = {}
    for module, first, last, use in known.use_rows():
        uses.setdefault(module, []).append(Run(first, last, use))
    for timeline, runs in ((history.targets, targets), (history.uses, uses)):
        for module, rows in runs.items():
            # Where one fact begins or ends, the facts of the module are others.
            cuts = sorted({row.first for row in rows} | {row.last + 1 for row in rows})
            for first, after in itertools.pairwise(cuts):
                value = tuple(sorted(row.value for row in rows if row.first <= first <= row.last))
                for place in range(first, after) if value else ():
                    timeline[place][module] = value
    for module, first, last, names in known.name_rows():
        history.names[first][module] = tuple(Name._make((name, *names[name])) for name in sorted(names))
        for place in range(first + 1, last + 1):
            history.names[place][module] = history.names[first][module]
    return history


def _places(values: Iterable[Value]) -> dict[Value, int]:
    """Each value, and its place in the sorted list of them."""
    return {value: place for place, value in enumerate(sorted(set(values)))}  # type: ignore[type-var]


# Targets: {module: {qualname: [letter, [first, last, signature, body, detail?], ...]}}; signature and detail
# are places in the tables.


def _targets(runs: Runs) -> bytes:
    modules = {module: _by_name(each) for module, each in runs.items()}
    every = [run.value for names in modules.values() for found in names.values() for run in found]
    signatures = _places(definition.signature for definition in every)
    details = _places(definition[3:] for definition in every if definition[3:] != NO_DETAIL)

    def entry(found: Sequence[Run]) -> Iterator[object]:
        kind = ""
        for first, last, definition in found:
            if definition.kind != kind:
                kind = definition.kind
                yield _LETTERS[kind]
            detail = [details[definition[3:]]] if definition[3:] in details else []
            yield [first, last, signatures[definition.signature], definition.body, *detail]

    return lines(
        {"signatures": [*signatures], "details": [*details]},
        (
            (module, {name: [*entry(names[name])] for name in sorted(names)})
            for module, names in modules.items()
        ),
    )


def _by_name(runs: Sequence[Run]) -> Runs:
    """From runs of a module to runs of each of its names."""
    found: Runs = {}
    for first, last, value in runs:
        for name, definition in value:
            extend(found.setdefault(name, []), first, last, definition)
    return found


# Uses: {module: {target: [[first, last, shape, places], ...]}}; the module's own name is left out of targets.


def _uses(runs: Runs) -> bytes:
    shapes = _places(use.shape for each in runs.values() for run in each for use in run.value)

    def entry(module: str, each: Sequence[Run]) -> dict[str, list[list[int]]]:
        rows: Runs = {}
        for first, last, uses in each:
            for use in uses:
                extend(rows.setdefault(use[:2], []), first, last, use.places)
        found: dict[str, list[list[int]]] = {}
        for (target, shape), spans in sorted(rows.items()):
            found.setdefault(target.removeprefix(module), []).extend(
                [first, last, shapes[shape], places] for first, last, places in spans
            )
        return found

    return lines({"shapes": [*shapes]}, ((module, entry(module, each)) for module, each in runs.items()))


# Names: {module: [[first, last, {key: "name name"}, "gone gone"], ...]}. Of each run after a module's first,
# what differs from the run before. A key is the letter of the kind, and after it the place of the condition.


def _names(runs: Runs) -> bytes:
    every = (name.condition for each in runs.values() for run in each for name in run.value)
    conditions = _places(condition for condition in every if condition)

    def entry(each: Sequence[Run]) -> Iterator[list[object]]:
        before: frozenset[Name] = frozenset()
        for first, last, value in each:
            now = frozenset(value)
            added: dict[str, list[str]] = {}
            for name in sorted(now - before):
                key = _NAME_LETTERS[name.kind] + (str(conditions[name.condition]) if name.condition else "")
                added.setdefault(key, []).append(name.name)
            gone = {name.name for name in before - now} - {name.name for name in now}
            groups = {key: " ".join(names) for key, names in sorted(added.items())}
            yield [first, last, groups, *([" ".join(sorted(gone))] if gone else [])]
            before = now

    return lines({"conditions": [*conditions]}, ((module, [*entry(each)]) for module, each in runs.items()))
