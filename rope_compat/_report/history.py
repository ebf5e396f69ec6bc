"""The page of ``rope-compat history`` for a terminal, and the same as JSON-ready data."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
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
    for line in _page(timeline, width):
        terminal.print(styled(*line), soft_wrap=True)


def page_text(timeline: Timeline, width: int = _UNKNOWN_WIDTH) -> str:
    """The page without colours, in lines of at most `width` columns."""
    return "".join(f"{''.join(text for text, _ in line).rstrip()}\n" for line in _page(timeline, width))


def _page(timeline: Timeline, width: int) -> Iterator[Line]:
    histories = timeline.histories()
    if not histories:
        yield from _wrapped(f"{timeline.title()}: not there in {timeline.period()}.", width, style="bold")
        yield from _ends(timeline, width)
    elif len(timeline.found) == 1:
        yield from _one(timeline, histories[0], width)
    else:
        yield from _many(timeline, histories, width)


def _one(timeline: Timeline, history: History, width: int) -> Iterator[Line]:
    yield from _wrapped(timeline.title(), width, style="bold")
    group = Group((history,))
    keys = _keys([group])
    about = f"{history.kind} that can be imported" if timeline.are_names else history.kind
    yield from _wrapped(f"{about}, {timeline.period()}", width)
    yield []
    bar = _Bar(timeline, width)
    yield bar.axis()
    yield bar.of(group, keys)
    before: Stretch | None = None
    for each in history.stretches:
        yield []
        if before is not None and each.first > before.last + 1:
            absent = f"not there: {timeline.range_text(before.last + 1, each.first - 1)}"
            yield from _wrapped(absent, width, "-  ", style="dim")
            yield []
        yield from _block(timeline, each, keys, width, before)
        yield from _marks(timeline, each, width)
        before = each
    if not (history.has_body or timeline.are_names):
        yield []
        yield from _wrapped("Of this target only signatures are recorded, not bodies.", width, style="dim")
    yield from _note(timeline, width)
    yield []
    yield from _ends(timeline, width)


def _many(timeline: Timeline, histories: list[History], width: int) -> Iterator[Line]:
    yield from _wrapped(timeline.title(), width, style="bold")
    groups = grouped(histories, by_start=False)
    summary = subtitle(histories, are_names=timeline.are_names)
    yield from _wrapped(f"{summary}, {timeline.period()}", width)
    hidden = len(timeline.found) - len(histories)
    if hidden:
        yield from _wrapped(f"{hidden} more in none of these releases", width)
    if len(groups) < len(histories):
        hint = "Bars: a capital stands for all of the group, a small letter for some of it."
        yield from _wrapped(hint, width, style="dim")
    bar = _Bar(timeline, width)
    # One letter for one signature on the whole page, where there are letters enough.
    common = _keys(groups)
    for group in groups[:_SHOWN_GROUPS]:
        yield []
        yield from _group(timeline, group, bar, common if len(common) <= len(_LETTERS) else None, width)
    rest = groups[_SHOWN_GROUPS:]
    if rest:
        number = many(sum(len(group.members) for group in rest), noun(timeline.found))
        text = f"and {number} more with {many(len(rest), 'other history')}"
        yield []
        yield from _wrapped(f"{text}; narrow TARGET, or --json lists all", width)
    yield from _note(timeline, width)


def _group(
    timeline: Timeline, group: Group, bar: _Bar, keys: dict[str, str] | None, width: int
) -> Iterator[Line]:
    keys = keys or _keys([group])
    yield from _wrapped(_heading(timeline, group), width, style="bold")
    yield bar.axis()
    yield bar.of(group, keys)
    for each in group.stretches:
        from_start = each is not group.stretches[0] or len(set(group.starts())) == 1
        yield from _block(timeline, each, keys, width, from_start=from_start)
    yield from _bodies(timeline, group, width)
    label = labeller(timeline.found)
    yield from _names(sorted(label(member.target) for member in group.members), width)


def _note(timeline: Timeline, width: int) -> Iterator[Line]:
    if timeline.note:
        yield []
        yield from _wrapped(timeline.note, width)


def _heading(timeline: Timeline, group: Group) -> str:
    builds = timeline.builds
    number = many(len(group.members), noun(timeline.found))
    first, last = group.starts()
    end = max(member.stretches[-1].last for member in group.members)
    text = f"{number}, since {builds[first]}"
    if first != last:
        text += f" at the earliest, {builds[last]} at the latest"
    if end < timeline.last:
        text += f", gone from {builds[end + 1]} on"
    return text


def _block(
    timeline: Timeline,
    stretch: Stretch,
    keys: dict[str, str],
    width: int,
    before: Stretch | None = None,
    *,
    from_start: bool = True,
) -> Iterator[Line]:
    """One generation: its letter and releases, its signature, and what is new in that."""
    key = keys[stretch.shown]
    released = timeline.range_text(stretch.first, stretch.last)
    if not from_start:
        released = f"up to {timeline.builds[stretch.last]}"
    yield [(key, _style(key)), (f"  {released}"[: width - 1], "bold")]
    yield from _wrapped(stretch.shown, width, _INDENT)
    if before is not None:
        yield from _wrapped(differences(before, stretch), width, _INDENT, style="green")


def _marks(timeline: Timeline, stretch: Stretch, width: int) -> Iterator[Line]:
    """What is not in a signature: condition, decorators, and what changed inside a stretch."""
    if stretch.condition and stretch.signature is not None:
        yield from _wrapped(f"only if {stretch.condition}", width, _INDENT, style="yellow")
    if stretch.decorators:
        yield from _wrapped(f"decorated with {', '.join(stretch.decorators)}", width, _INDENT, style="cyan")
    for column, events in groupby(stretch.events, lambda event: event.column):
        what = "; ".join(event.what for event in events)
        yield from _wrapped(f"{timeline.builds[column]}: {what}", width, _INDENT, style="cyan")


def _bodies(timeline: Timeline, group: Group, width: int) -> Iterator[Line]:
    changes = group.body_changes()
    if changes:
        total = len(group.members)
        text = ", ".join(
            f"{timeline.builds[column]} (in {number})" if number < total else timeline.builds[column]
            for column, number in changes.items()
        )
        yield from _wrapped(f"body changed: {text}", width, "   ", style="cyan")


def _names(names: list[str], width: int) -> Iterator[Line]:
    lines = list(_wrapped(", ".join(names), width, f"{_INDENT}in "))
    if len(lines) <= _SHOWN_LINES + 1:
        yield from lines
        return
    kept = lines[:_SHOWN_LINES]
    start, text = kept[-1][-2:]
    kept[-1] = [start, (f"{text[0].rpartition(',')[0]},", text[1])]
    yield from kept
    shown = sum(text.count(",") for line in kept for text, _ in line)
    yield from _wrapped(f"and {len(names) - shown} more; --json lists all", width, "      ")


def _ends(timeline: Timeline, width: int) -> Iterator[Line]:
    """Whether it is there in the newest release; of many, nothing."""
    if len(timeline.found) > 1:
        return
    newest = len(timeline.builds) - 1
    last = timeline.found[0].stretches[-1]
    if last.last == newest:
        how = f" ({last.shown})" if last.condition or last.kind == "reexport" else ""
        yield from _wrapped(
            f"There in {timeline.builds[newest]}, the newest release{how}.", width, style="green"
        )
    else:
        gone = f"Gone from {timeline.builds[last.last + 1]} on"
        yield from _wrapped(f"{gone} (last in {timeline.builds[last.last]}).", width, style="bold red")


class _Bar:
    """Cells of one or more columns, as many as the width holds."""

    def __init__(self, timeline: Timeline, width: int) -> None:
        columns = range(timeline.first, timeline.last + 1)
        room = max(1, width - 3)
        minors = [list(each) for _, each in groupby(columns, lambda column: minor(timeline.builds[column]))]
        self.cells = [[column] for column in columns] if len(columns) <= room // 2 else minors
        at_once = -(-len(self.cells) // room)
        self.cells = [
            [*chain.from_iterable(self.cells[at : at + at_once])] for at in range(0, len(self.cells), at_once)
        ]
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
        here: dict[str, int] = {}
        for member in group.members:
            stretch = next(
                (
                    each
                    for each in reversed(member.stretches)
                    if each.first <= cell[-1] and each.last >= cell[0]
                ),
                None,
            )
            if stretch is not None:
                here[stretch.shown] = here.get(stretch.shown, 0) + 1
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


def _wrapped(text: str, width: int, start: str = "", *, style: str = "") -> Iterator[Line]:
    """Lines of at most `width` columns, the first after `start`; none of an empty text."""
    lines = textwrap.wrap(text, max(1, width - len(start)), break_on_hyphens=False)
    for at, line in enumerate(lines):
        yield [(start if at == 0 else " " * len(start), ""), (line, style)]
