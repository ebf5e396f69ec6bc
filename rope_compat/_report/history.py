"""The page of ``rope-compat history`` for a terminal, and the same as JSON-ready data."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import chain, groupby

from rope_compat._report.page import WIDTH
from rope_compat._report.terminal import console, styled, write
from rope_compat._report.timeline import (
    Group,
    History,
    Stretch,
    Timeline,
    differences,
    grouped,
    labeller,
    many,
    minor,
    noun,
    subtitle,
)

__all__ = ["page_text", "show", "to_dicts"]

_UNKNOWN_WIDTH = 80
_SHOWN_GROUPS = 20
_SHOWN_LINES = 4  # of the names of a group's members
_STEP = 8  # cells from one label of the axis to the next
_WIDEST_CELL = 4
_INDENT = "   "
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#7F9FD0")

Line = list[tuple[str, str]]
"""Pieces of text with their styles, as rich names them."""


def to_dicts(histories: Sequence[History], builds: Sequence[str]) -> list[dict[str, object]]:
    """Every span of every target, JSON-ready. Re-exports are spans only of what is nothing else by now."""
    return [
        {
            "target": each.full_name,
            "kind": each.kind,
            "spans": [
                _span(stretch, builds)
                for stretch in each.stretches
                if stretch.kind != "reexport" or each.kind == "reexport"
            ],
            "body_changed": [builds[column] for column in each.body_changes()],
        }
        for each in histories
    ]


def _span(stretch: Stretch, builds: Sequence[str]) -> dict[str, object]:
    span = {"first": builds[stretch.first], "last": builds[stretch.last], "signature": stretch.signature}
    if stretch.signature is None and stretch.condition:
        span["condition"] = stretch.condition
    return dict(span)


def show(timeline: Timeline) -> None:
    """Print the page on standard output: in colours on a terminal if rich is installed, see `page_text`."""
    width = max(10, min(shutil.get_terminal_size((_UNKNOWN_WIDTH, 24)).columns, WIDTH))
    terminal = console()
    if terminal is None:
        write(page_text(timeline, width))
        return
    for line in _Lines(timeline, width).lines:
        terminal.print(styled(*line), soft_wrap=True)


def page_text(timeline: Timeline, width: int = _UNKNOWN_WIDTH) -> str:
    """The page without colours, in lines of at most `width` columns."""
    lines = _Lines(timeline, width).lines
    return "".join(f"{''.join(text for text, _ in line).rstrip()}\n" for line in lines)


class _Lines:
    """The lines of a page, each of at most `width` columns."""

    def __init__(self, timeline: Timeline, width: int) -> None:
        self.timeline, self.width, self.lines = timeline, width, list[Line]()
        histories = timeline.histories()
        if not histories:
            self._say(f"{timeline.title()}: not there in {timeline.period()}.", "bold")
            self._end()
            return
        self._say(timeline.title(), "bold")
        self.bar = _Bar(timeline, width)
        if len(timeline.found) == 1:
            self._one(histories[0])
        else:
            self._many(histories)

    def _say(self, text: str, style: str = "", start: str = "") -> None:
        self.lines += _wrapped(text, self.width, start, style)

    def _gap(self) -> None:
        self.lines.append([])

    def _one(self, history: History) -> None:
        timeline = self.timeline
        about = f"{history.kind} that can be imported" if timeline.are_names else history.kind
        self._say(f"{about}, {timeline.period()}")
        self._gap()
        group = Group((history,))
        keys = _keys([group])
        self.lines += self.bar.axis(), self.bar.of(group, keys)
        before: Stretch | None = None
        for each in history.stretches:
            self._gap()
            if before is not None and each.first > before.last + 1:
                absent = timeline.range_text(before.last + 1, each.first - 1)
                self._say(f"not there: {absent}", "dim", "-  ")
                self._gap()
            self._stretch(each, keys, timeline.range_text(each.first, each.last))
            if before is not None:
                self._say(differences(before, each), "green", _INDENT)
            self._marks(each)
            before = each
        if not (history.has_body or timeline.are_names):
            self._gap()
            self._say("Of this target only signatures are recorded, not bodies.", "dim")
        self._note()
        self._gap()
        self._end()

    def _many(self, histories: list[History]) -> None:
        timeline = self.timeline
        groups = grouped(histories, by_start=False)
        self._say(f"{subtitle(histories, are_names=timeline.are_names)}, {timeline.period()}")
        hidden = len(timeline.found) - len(histories)
        if hidden:
            self._say(f"{hidden} more in none of these releases")
        if len(groups) < len(histories):
            self._say("Bars: a capital stands for all of the group, a small letter for some of it.", "dim")
        # One letter for one signature on the whole page, where there are letters enough.
        common = _keys(groups)
        for group in groups[:_SHOWN_GROUPS]:
            self._gap()
            self._group(group, common if len(common) <= len(_LETTERS) else _keys([group]))
        rest = groups[_SHOWN_GROUPS:]
        if rest:
            number = many(sum(len(group.members) for group in rest), noun(timeline.found))
            text = f"and {number} more with {many(len(rest), 'other history')}"
            self._gap()
            self._say(f"{text}; narrow TARGET, or --json lists all")
        self._note()

    def _group(self, group: Group, keys: dict[str, str]) -> None:
        builds, total = self.timeline.builds, len(group.members)
        first, last = group.starts()
        end = max(member.stretches[-1].last for member in group.members)
        heading = f"{many(total, noun(self.timeline.found))}, since {builds[first]}"
        if first != last:
            heading += f" at the earliest, {builds[last]} at the latest"
        if end < self.timeline.last:
            heading += f", gone from {builds[end + 1]} on"
        self._say(heading, "bold")
        self.lines += self.bar.axis(), self.bar.of(group, keys)
        for at, each in enumerate(group.stretches):
            released = self.timeline.range_text(each.first, each.last)
            self._stretch(each, keys, f"up to {builds[each.last]}" if at == 0 and first != last else released)
        changes = [
            f"{builds[column]} (in {number})" if number < total else builds[column]
            for column, number in group.body_changes().items()
        ]
        if changes:
            self._say(f"body changed: {', '.join(changes)}", "cyan", _INDENT)
        label = labeller(self.timeline.found)
        self._names(sorted(label(member.target) for member in group.members))

    def _stretch(self, stretch: Stretch, keys: dict[str, str], released: str) -> None:
        """One generation: its letter, its releases and its signature."""
        key = keys[stretch.shown]
        self.lines.append([(key, _style(key)), (f"  {released}"[: self.width - 1], "bold")])
        self._say(stretch.shown, start=_INDENT)

    def _marks(self, stretch: Stretch) -> None:
        """What is not in a signature: condition, decorators, and what changed inside a stretch."""
        if stretch.condition and stretch.signature is not None:
            self._say(f"only if {stretch.condition}", "yellow", _INDENT)
        if stretch.decorators:
            self._say(f"decorated with {', '.join(stretch.decorators)}", "cyan", _INDENT)
        for column, events in groupby(stretch.events, lambda event: event.column):
            what = "; ".join(event.what for event in events)
            self._say(f"{self.timeline.builds[column]}: {what}", "cyan", _INDENT)

    def _names(self, names: list[str]) -> None:
        lines = _wrapped(", ".join(names), self.width, f"{_INDENT}in ")
        if len(lines) <= _SHOWN_LINES + 1:
            self.lines += lines
            return
        kept = lines[:_SHOWN_LINES]
        start, (text, style) = kept[-1]
        kept[-1] = [start, (f"{text.rpartition(',')[0]},", style)]
        self.lines += kept
        shown = sum(text.count(",") for line in kept for text, _ in line)
        self._say(f"and {len(names) - shown} more; --json lists all", start="      ")

    def _note(self) -> None:
        if self.timeline.note:
            self._gap()
            self._say(self.timeline.note)

    def _end(self) -> None:
        """Whether it is there in the newest release; of many, nothing."""
        if len(self.timeline.found) > 1:
            return
        builds, last = self.timeline.builds, self.timeline.found[0].stretches[-1]
        if last.last == len(builds) - 1:
            how = f" ({last.shown})" if last.condition or last.kind == "reexport" else ""
            self._say(f"There in {builds[-1]}, the newest release{how}.", "green")
        else:
            gone = f"Gone from {builds[last.last + 1]} on (last in {builds[last.last]})."
            self._say(gone, "bold red")


class _Bar:
    """Cells of one or more columns, as many as the width holds."""

    def __init__(self, timeline: Timeline, width: int) -> None:
        columns = range(timeline.first, timeline.last + 1)
        room = max(1, width - 3)
        minors = [list(each) for _, each in groupby(columns, lambda column: minor(timeline.builds[column]))]
        cells = [[column] for column in columns] if len(columns) <= room // 2 else minors
        at_once = -(-len(cells) // room)
        self.cells = [[*chain(*cells[at : at + at_once])] for at in range(0, len(cells), at_once)]
        self.wide = max(1, min(_WIDEST_CELL, room // len(self.cells)))
        names = [timeline.builds[cell[0]] for cell in self.cells]
        self.labels = (
            names if len(self.cells[0]) == 1 and len(self.cells) == len(columns) else list(map(minor, names))
        )
        self.room = room

    def axis(self) -> Line:
        """The labels of some cells: of the first of each major version, and of others where there is room."""
        majors = [label.partition(".")[0] for label in self.labels]
        starts = [at for at, major in enumerate(majors) if at == 0 or major != majors[at - 1]]
        step = max(1, -(-_STEP // self.wide))
        wanted = [*starts, *(at for start in starts for at in range(start, len(self.cells), step))]
        line = [" "] * (self.room + 3)
        for at in wanted:
            place, label = at * self.wide, self.labels[at]
            around = line[max(0, place - 1) : place + len(label) + 1]
            if place + len(label) <= self.room and not "".join(around).strip():
                line[place : place + len(label)] = label
        return [(f"   {''.join(line).rstrip()}", "dim")]

    def of(self, group: Group, keys: dict[str, str]) -> Line:
        """A letter for what most members were at the end of each cell; a point where no member was."""
        letters = [self._letter(group, cell, keys) for cell in self.cells]
        pieces = [("   ", "")]
        for letter, same in groupby(letters):
            pieces.append((letter * self.wide * len(list(same)), _style(letter)))
        return pieces

    @staticmethod
    def _letter(group: Group, cell: list[int], keys: dict[str, str]) -> str:
        here: Counter[str] = Counter()
        for member in group.members:
            inside = [each for each in member.stretches if each.first <= cell[-1] and each.last >= cell[0]]
            here.update(each.shown for each in inside[-1:])
        if not here:
            return "."
        shown, number = max(here.items(), key=lambda item: item[1])
        key = keys[shown]
        return key if number == len(group.members) else key.lower()


def _keys(groups: Sequence[Group]) -> dict[str, str]:
    """A letter for each signature, in the order in which they came."""
    first: dict[str, int] = {}
    for group in groups:
        for each in group.stretches:
            first[each.shown] = min(first.get(each.shown, each.first), each.first)
    ordered = sorted(first, key=lambda shown: first[shown])
    return {shown: _LETTERS[at] if at < len(_LETTERS) else "#" for at, shown in enumerate(ordered)}


def _style(letter: str) -> str:
    at = _LETTERS.find(letter.upper())  # neither "." nor "#" is among them
    return f"black on {_COLOURS[at % len(_COLOURS)]}" if at >= 0 else ""


def _wrapped(text: str, width: int, start: str = "", style: str = "") -> list[Line]:
    """Lines of at most `width` columns, the first after `start`; none of an empty text."""
    lines = textwrap.wrap(text, max(1, width - len(start)), break_on_hyphens=False)
    return [[(start if at == 0 else " " * len(start), ""), (line, style)] for at, line in enumerate(lines)]
