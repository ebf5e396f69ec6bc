"""Facts over builds: for each module, runs of consecutive builds in which its facts are the same.

What is built from the same facts is the same, whatever the order in which builds are added.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from packaging.version import Version

from rope_compat.catalog.reading.facts import Definition, Use
from rope_compat.catalog.reading.release import Name, ReleaseFacts

__all__ = ["History", "Run", "Runs", "Timeline"]

Value = TypeVar("Value")


class Run(NamedTuple):
    """Builds ``first`` to ``last`` (places in the list of builds, both included) with equal facts."""

    first: int
    last: int
    value: Any  # Python 3.10 has no generic named tuples


Runs = dict[str, list[Run]]
"""The runs of each module, in order; builds without the module are in none."""


class Timeline(Generic[Value]):
    """The runs of all modules, for one kind of facts."""

    def __init__(self, runs: Runs | None = None) -> None:
        self.runs: Runs = runs or {}
        self._same: dict[Value, Value] = {}

    def insert(self, place: int, facts: Mapping[str, Value]) -> None:
        """Add a build; those from this place on move up by one."""
        for module in {*self.runs, *facts}:
            moved = [part for run in self.runs.get(module, ()) for part in _make_room(run, place)]
            value = facts.get(module)
            if value is not None:
                value = self._same.setdefault(value, value)
                moved.append(Run(place, place, value))
                moved.sort(key=lambda run: run.first)
            self.runs[module] = _joined(moved)

    def remove(self, place: int) -> None:
        """Take a build out; those after it move down by one."""
        for module, runs in list(self.runs.items()):
            left = [
                Run(run.first - (run.first > place), run.last - (run.last >= place), run.value)
                for run in runs
                if not run.first == run.last == place
            ]
            if left:
                self.runs[module] = _joined(left)
            else:
                del self.runs[module]

    def at(self, place: int) -> dict[str, Value]:
        """The facts of one build, by module."""
        return {
            module: run.value
            for module, runs in self.runs.items()
            for run in runs
            if run.first <= place <= run.last
        }


def _make_room(run: Run, place: int) -> Iterable[Run]:
    if run.first >= place:
        return (Run(run.first + 1, run.last + 1, run.value),)
    if run.last < place:
        return (run,)
    return Run(run.first, place - 1, run.value), Run(place + 1, run.last + 1, run.value)


def _joined(runs: Iterable[Run]) -> list[Run]:
    joined: list[Run] = []
    for run in runs:
        if joined and joined[-1].last == run.first - 1 and joined[-1].value == run.value:
            joined[-1] = Run(joined[-1].first, run.last, run.value)
        else:
            joined.append(run)
    return joined


class History:
    """The facts of all builds, each a final release or a development build.

    Attributes:
        builds: version of each build, in the order of versions.
        targets: by module, every target with its definition.
        uses: by module, how its code uses targets.
        names: by module, every importable name.
    """

    def __init__(
        self,
        builds: Iterable[str] = (),
        targets: Runs | None = None,
        uses: Runs | None = None,
        names: Runs | None = None,
    ) -> None:
        self.builds = list(builds)
        self.targets: Timeline[tuple[tuple[str, Definition], ...]] = Timeline(targets)
        self.uses: Timeline[tuple[Use, ...]] = Timeline(uses)
        self.names: Timeline[tuple[Name, ...]] = Timeline(names)

    def add(self, facts: ReleaseFacts) -> None:
        """Add a build, in the place of one with the same version if there is one."""
        if facts.version in self.builds:
            self.remove(facts.version)
        place = bisect_left([Version(build) for build in self.builds], Version(facts.version))
        self.builds.insert(place, facts.version)
        self.targets.insert(place, facts.targets)
        self.uses.insert(place, facts.uses)
        self.names.insert(place, facts.names)

    def remove(self, version: str) -> None:
        """Take a build out. Raises `ValueError` when it is not there."""
        place = self.builds.index(version)
        del self.builds[place]
        for timeline in (self.targets, self.uses, self.names):
            timeline.remove(place)

    def at(self, version: str) -> ReleaseFacts:
        """The facts of one build. Raises `ValueError` when it is not there."""
        place = self.builds.index(version)
        return ReleaseFacts(version, self.names.at(place), self.targets.at(place), self.uses.at(place))
