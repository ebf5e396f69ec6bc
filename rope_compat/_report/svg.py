"""The timeline as an SVG picture: a column for each release, a row for a history, a colour for a signature.

It needs nothing besides itself, fits light and dark surroundings, and is the same at every run.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from xml.sax.saxutils import escape

from rope_compat._report.timeline import (
    Group,
    History,
    Stretch,
    Timeline,
    families,
    labeller,
    many,
    minor,
    noun,
    subtitle,
)

__all__ = ["picture"]

_WIDTH = 1200
_MARGIN = 24
_LABELS = 250  # width of the labels of the rows
_AXIS = 56  # height of the labels of the columns
_ROW = 20
_BAR = 13
_FAMILY_GAP = 7
_LINE = 17  # height of a line of the legend
_CHARACTER = 6.65  # width of a character of the monospace font of 11 pixels
_LEAST = 12.5  # width of a minor release: its label must not touch the next
_WIDEST = 40
_ROWS = 300
_LEGEND_LINES = 3  # of one signature
_AXIS_BELOW = 25  # rows from which the axis is repeated below them

# Okabe and Ito's colours, told apart with every kind of colour blindness, without black; light and dark.
_COLOURS = (
    ("#0072B2", "#3A9BD9"),
    ("#E69F00", "#E69F00"),
    ("#009E73", "#1DB68A"),
    ("#CC79A7", "#D98CB8"),
    ("#56B4E9", "#8CCBF0"),
    ("#D55E00", "#EB7A2A"),
    ("#F0E442", "#F0E442"),
)
# After the last colour the first comes again, with a pattern over it.
_PATTERNS = (
    "",
    '<path d="M0 6L6 0" stroke-width="1.6"/>',
    '<circle cx="3" cy="3" r="1.3" stroke="none"/>',
    '<path d="M0 0L6 6M0 6L6 0" stroke-width="1.1"/>',
)
_DISTINCT = len(_COLOURS) * len(_PATTERNS)  # the others are grey
_STYLE = """
.rc{font-family:system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;font-size:12px}
.rc .m{font-family:ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:11px}
.rc .h{font-size:18px;font-weight:600}.rc .a{font-size:10px}.rc .g{font-weight:600}
.rc text{fill:#1f2328}.rc .q{fill:#59636e}
.rc .bg{fill:#ffffff}.rc .z{fill:#f3f5f7}
.rc .t{stroke:#c4cbd3;stroke-width:1}.rc .u{stroke:#8a939d;stroke-width:1}
.rc .b{fill:#ffffff;stroke:#1f2328;stroke-width:1}.rc .p{fill:#ffffff;stroke:#ffffff}
.rc .cx{fill:#9aa1a9}
"""
_DARK = """
.rc text{fill:#e6edf3}.rc .q{fill:#9aa5b1}
.rc .bg{fill:#0d1117}.rc .z{fill:#161b22}.rc .t{stroke:#3d444d}.rc .u{stroke:#6e7781}
.rc .b{fill:#0d1117;stroke:#e6edf3}.rc .p{fill:#0d1117;stroke:#0d1117}
.rc .cx{fill:#6e7781}
"""


def picture(timeline: Timeline) -> str:
    """The whole picture, in ASCII.

    At most 300 rows are drawn, the largest families first; a line says how many are not.
    """
    return _Picture(timeline).document().encode("ascii", "xmlcharrefreplace").decode()


class _Axis:
    """Where each column is. A minor release is at least as wide as its label is high."""

    def __init__(self, builds: Sequence[str], first: int, last: int) -> None:
        self.builds = builds
        every = range(first, last + 1)
        self.minors = [list(each) for _, each in groupby(every, lambda column: minor(builds[column]))]
        room = _WIDTH - 2 * _MARGIN - _LABELS
        small: set[int] = set()
        while True:
            wide = sum(len(each) for at, each in enumerate(self.minors) if at not in small)
            width = (room - _LEAST * len(small)) / max(1, wide)
            more = {at for at, each in enumerate(self.minors) if len(each) * width < _LEAST} - small
            if not more:
                break
            small |= more
        self.edges = {first: float(_MARGIN + _LABELS)}
        for at, columns in enumerate(self.minors):
            step = _LEAST / len(columns) if at in small else min(width, _WIDEST)
            for column in columns:
                self.edges[column + 1] = self.edges[column] + step
        self.left, self.right = self.edges[first], self.edges[last + 1]
        self.every = width >= _LEAST  # each release has room for a label of its own

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Where a label belongs, and what it says."""
        for columns in self.minors:
            for part in [[column] for column in columns] if self.every else [columns]:
                middle = (self.edges[part[0]] + self.edges[part[-1] + 1]) / 2
                yield middle, self.builds[part[0]] if self.every else minor(self.builds[part[0]])

    def majors(self) -> Iterator[tuple[float, str]]:
        """Where each major version begins."""
        firsts = [columns[0] for columns in self.minors]
        for major, columns in groupby(firsts, lambda column: self.builds[column].partition(".")[0]):
            yield self.edges[next(columns)], f"transformers {major}"


class _Picture:
    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.histories = timeline.histories()
        self.axis = _Axis(timeline.builds, timeline.first, timeline.last)
        self.label = labeller(timeline.found)
        self.noun = noun(timeline.found)
        self.spans = self._ranked()
        self.places = {shown: place for place, shown in enumerate(self.spans)}
        self.parts: list[str] = []
        self.below = 70.0

    def document(self) -> str:
        """Everything, from the top."""
        about = self._about()
        self._text(_MARGIN, 38, _cut(self.timeline.title(), 110), "h")
        self._text(_MARGIN, 58, about, "q")
        self._legend()
        self._rows()
        height = round(self.below + _MARGIN)
        return "\n".join(
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" class="rc" width="{_WIDTH}" height="{height}" '
                f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="rc-title rc-about">',
                f'<title id="rc-title">{escape(self.timeline.title())}: history</title>',
                f'<desc id="rc-about">{escape(about)}. One row for each history, one colour for each '
                "signature.</desc>",
                f"<style>{_style()}</style>",
                f"<defs>{_patterns()}</defs>",
                f'<rect class="bg" width="{_WIDTH}" height="{height}"/>',
                *self.parts,
                "</svg>\n",
            )
        )

    def _ranked(self) -> dict[str, list[tuple[History, Stretch]]]:
        """The signatures by how much of the picture they fill: the first have the plainest colours."""
        spans: dict[str, list[tuple[History, Stretch]]] = {}
        for each in self.histories:
            for stretch in each.stretches:
                spans.setdefault(stretch.shown, []).append((each, stretch))

        def rank(shown: str) -> tuple[int, int, str]:
            found = [stretch for _, stretch in spans[shown]]
            filled = sum(each.last - each.first + 1 for each in found) if len(self.histories) > 1 else 0
            return -filled, min(each.first for each in found), shown

        return {shown: spans[shown] for shown in sorted(spans, key=rank)}

    def _about(self) -> str:
        if not self.histories:
            return f"not there in {self.timeline.period()}"
        if len(self.timeline.found) == 1:
            return f"{self.histories[0].kind}, {self.timeline.period()}"
        return f"{subtitle(self.histories, are_names=self.timeline.are_names)}, {self.timeline.period()}"

    def _note(self, shown: str) -> str:
        """What the legend says of a signature besides."""
        if len(self.histories) == 1:
            return ", ".join(self.timeline.range_text(each.first, each.last) for _, each in self.spans[shown])
        return many(len({history.target for history, _ in self.spans[shown]}), self.noun)

    def _legend(self) -> None:
        drawn = {shown: self._note(shown) for shown in list(self.spans)[:_DISTINCT]}
        note_at = _MARGIN + 24
        text_at = note_at + (max(map(len, drawn.values()), default=0) + 2) * _CHARACTER
        room = int((_WIDTH - _MARGIN - text_at) / _CHARACTER)

        def entry(mark: Callable[[float], str], note: str, style: str, lines: Sequence[str] = ()) -> None:
            self.below += 4
            self.parts.append(mark(self.below))
            self._text(note_at, self.below + 11, note, style)
            for line in lines:
                self._text(text_at, self.below + 11, line, "m")
                self.below += _LINE
            self.below += 0 if lines else _LINE

        for place, (shown, note) in enumerate(drawn.items()):
            entry(partial(_bar, place, _MARGIN, 16), note, "m q", _lines(shown, room))
        hidden = len(self.spans) - len(drawn)
        if hidden:
            entry(partial(_bar, _DISTINCT, _MARGIN, 16), f"{hidden} more signatures", "q")
        if any(each.body_changes() for each in self.histories):
            entry(lambda y: _dot(_MARGIN + 8, y + 6.5, ""), "only the body changed", "q")

    def _rows(self) -> None:
        shown = families(self.histories)
        number = sum(map(len, shown))
        top = self.below + 16 + _AXIS
        placed: list[tuple[float, Group]] = []
        at = top + 4
        for family in shown:
            for group in family[: _ROWS - len(placed)]:
                placed.append((at, group))
                at += _ROW
            at += _FAMILY_GAP if len(placed) < _ROWS else 0
        bottom = at - _FAMILY_GAP + 4 if placed else at + _ROW
        self._grid(top, bottom)
        self._ticks(top)
        for y, group in placed:
            self.parts.append("<g>")
            self._row(group, y)
            self.parts.append("</g>")
        self.below = bottom
        if len(placed) >= _AXIS_BELOW:
            self._ticks(bottom, above=False)
            self.below += _AXIS
        if number > len(placed):
            self.below += 20
            self._text(_MARGIN, self.below, f"{number - len(placed)} more histories are not drawn.", "q")

    def _grid(self, top: float, bottom: float) -> None:
        for columns in self.axis.minors[::2]:
            left, right = self.axis.edges[columns[0]], self.axis.edges[columns[-1] + 1]
            box = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
            self.parts.append(f'<rect class="z" {box}/>')
        lines = [(x, top - _AXIS + 2, x, bottom, "u") for x, _ in self.axis.majors()]
        lines += [(self.axis.left, y, self.axis.right, y, "t") for y in (top, bottom)]
        for x1, y1, x2, y2, style in lines:
            ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
            self.parts.append(f'<line class="{style}" {ends}/>')

    def _ticks(self, y: float, *, above: bool = True) -> None:
        anchor, beside = ("start", y - 5) if above else ("end", y + 5)
        for x, text in self.axis.ticks():
            turned = f"translate({x + 3.5:.1f} {beside:.1f}) rotate(-90)"
            self.parts.append(
                f'<text class="a" transform="{turned}" text-anchor="{anchor}">{escape(text)}</text>'
            )
        for x, text in self.axis.majors() if above else ():
            self._text(x + 4, y - _AXIS + 8, text, "a g")

    def _row(self, group: Group, y: float) -> None:
        timeline, edges = self.timeline, self.axis.edges
        names = sorted(self.label(member.target) for member in group.members)
        members = names[0] if len(names) == 1 else f"{len(names)}: {', '.join(names)}"
        label = f"{_title(members)}{escape(self._row_label(names))}"
        self.parts.append(f'<text class="m" x="{_MARGIN}" y="{y + 14:.1f}">{label}</text>')
        for each in group.stretches:
            tip = [timeline.range_text(each.first, each.last), each.shown]
            if each.condition and each.signature is not None:
                tip.append(f"only if {each.condition}")
            if len(timeline.found) > 1:
                tip.append(members)
            left, right = edges[each.first], edges[each.last + 1]
            place = self.places[each.shown]
            self.parts.append(_bar(place, left, right - left - 1, y + 4, "\n".join(tip)))
        for column, number in group.body_changes().items():
            where = f" in {number} of {len(names)}" if len(names) > 1 else ""
            tip_text = f"{timeline.builds[column]}: body changed{where}"
            self.parts.append(_dot(edges[column] + 3.5, y + 10.5, tip_text))

    def _row_label(self, names: list[str]) -> str:
        room = int(_LABELS / _CHARACTER) - 2
        if len(names) > 1:
            return _cut(f"{many(len(names), self.noun)}: {', '.join(names)}", room)
        target = self.timeline.found[0].target
        name = names[0] if len(self.timeline.found) > 1 else target.name or target.module
        half = (room - 3) // 2
        # Without the middle: names differ at their ends.
        return name if len(name) <= room else f"{name[:half]}...{name[-half:]}"

    def _text(self, x: float, y: float, text: str, style: str) -> None:
        self.parts.append(f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>')


def _style() -> str:
    light = "".join(f".rc .c{at}{{fill:{light}}}" for at, (light, _) in enumerate(_COLOURS))
    dark = "".join(f".rc .c{at}{{fill:{dark}}}" for at, (_, dark) in enumerate(_COLOURS))
    return f"{_STYLE}{light}\n@media (prefers-color-scheme:dark){{{_DARK}{dark}\n}}\n"


def _patterns() -> str:
    return "".join(
        f'<pattern id="rc-p{at}" width="6" height="6" patternUnits="userSpaceOnUse">'
        f'<g class="p">{body}</g></pattern>'
        for at, body in enumerate(_PATTERNS)
        if body
    )


def _bar(place: int, x: float, width: float, y: float, tip: str = "") -> str:
    """A span of the signature of this rank: its colour, and a pattern over it after the last colour."""
    pattern, colour = divmod(place, len(_COLOURS))
    box = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 1.5):.1f}" height="{_BAR}" rx="2"'
    if place >= _DISTINCT:
        return f'<rect class="cx" {box}>{_title(tip)}</rect>'
    plain = f'<rect class="c{colour}" {box}>{_title(tip)}</rect>'
    return plain + (f'<rect fill="url(#rc-p{pattern})" {box}>{_title(tip)}</rect>' if pattern else "")


def _dot(x: float, y: float, tip: str) -> str:
    return f'<circle class="b" cx="{x:.1f}" cy="{y:.1f}" r="2.6">{_title(tip)}</circle>'


def _title(tip: str) -> str:
    return f"<title>{escape(tip)}</title>" if tip else ""


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 3]}..."


def _lines(text: str, room: int) -> list[str]:
    short = textwrap.wrap(text, room, max_lines=_LEGEND_LINES, placeholder=" ...", break_on_hyphens=False)
    return short or [""]
