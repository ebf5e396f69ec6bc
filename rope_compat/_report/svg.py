"""The timeline as an SVG picture: a column for each release, a row for a history, a colour for a signature.

It needs nothing besides itself, fits light and dark surroundings, and is the same at every run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple
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
            rest = [each for at, each in enumerate(self.minors) if at not in small]
            width = (room - _LEAST * len(small)) / max(1, sum(map(len, rest)))
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
        for major, columns in groupby(self.edges.keys() - {max(self.edges)}, self._major):
            yield self.edges[min(columns)], f"transformers {major}"

    def _major(self, column: int) -> str:
        return self.builds[column].partition(".")[0]


class _Key(NamedTuple):
    """How a signature is drawn, and what the legend says of it."""

    shown: str
    place: int
    note: str

    @property
    def colour(self) -> str:
        return f"c{self.place % len(_COLOURS)}" if self.pattern is not None else "cx"

    @property
    def pattern(self) -> int | None:
        found = self.place // len(_COLOURS)
        return found if found < len(_PATTERNS) else None


class _Picture:
    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.histories = timeline.histories()
        self.axis = _Axis(timeline.builds, timeline.first, timeline.last)
        self.label = labeller(timeline.found)
        self.noun = noun(timeline.found)
        self.keys = self._rank()
        self.parts: list[str] = []
        self.below = 0.0

    def document(self) -> str:
        """Everything, from the top."""
        self._head()
        self._legend()
        self._rows()
        height = round(self.below + _MARGIN)
        title = escape(f"{self.timeline.title()}: history")
        about = escape(f"{self._about()}. One row for each history, one colour for each signature.")
        return "\n".join(
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" class="rc" width="{_WIDTH}" height="{height}" '
                f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="rc-title rc-about">',
                f'<title id="rc-title">{title}</title>',
                f'<desc id="rc-about">{about}</desc>',
                f"<style>{_style()}</style>",
                f"<defs>{_patterns()}</defs>",
                f'<rect class="bg" width="{_WIDTH}" height="{height}"/>',
                *self.parts,
                "</svg>\n",
            )
        )

    def _rank(self) -> dict[str, _Key]:
        """The signatures by how much of the picture they fill, the first have the plainest colours."""
        spans: dict[str, list[tuple[History, Stretch]]] = {}
        for each in self.histories:
            for stretch in each.stretches:
                spans.setdefault(stretch.shown, []).append((each, stretch))

        def rank(shown: str) -> tuple[int, int, str]:
            first = min(stretch.first for _, stretch in spans[shown])
            if len(self.histories) == 1:
                return 0, first, shown
            return -sum(stretch.last - stretch.first + 1 for _, stretch in spans[shown]), first, shown

        found: dict[str, _Key] = {}
        for place, shown in enumerate(sorted(spans, key=rank)):
            if len(self.histories) == 1:
                note = ", ".join(self.timeline.range_text(one.first, one.last) for _, one in spans[shown])
            else:
                note = many(len({history.target for history, _ in spans[shown]}), self.noun)
            found[shown] = _Key(shown, place, note)
        return found

    def _about(self) -> str:
        period = f"transformers {self.timeline.range_text(self.timeline.first, self.timeline.last)}"
        if not self.histories:
            return f"not there in {period}"
        if len(self.timeline.found) == 1:
            return f"{self.histories[0].kind}, {period}"
        return f"{subtitle(self.histories, are_names=self.timeline.are_names)}, {period}"

    def _head(self) -> None:
        self._text(_MARGIN, 38, _cut(self.timeline.title(), 110), "h")
        self._text(_MARGIN, 58, self._about(), "q")
        self.below = 70.0

    def _legend(self) -> None:
        drawn = [key for key in self.keys.values() if key.pattern is not None]
        note_at = _MARGIN + 24
        text_at = note_at + (max((len(key.note) for key in drawn), default=0) + 2) * _CHARACTER
        room = int((_WIDTH - _MARGIN - text_at) / _CHARACTER)
        for key in drawn:
            self.below += 4
            self.parts.append(_bar(key, _MARGIN, self.below, 16))
            self._text(note_at, self.below + 11, key.note, "m q")
            for line in _lines(key.shown, room):
                self._text(text_at, self.below + 11, line, "m")
                self.below += _LINE
        hidden = len(self.keys) - len(drawn)
        if hidden:
            self.below += 4
            self.parts.append(_bar(_Key("", len(_COLOURS) * len(_PATTERNS), ""), _MARGIN, self.below, 16))
            self._text(note_at, self.below + 11, f"{hidden} more signatures", "q")
            self.below += _LINE
        if any(each.body_changes() for each in self.histories):
            self.below += 4
            self.parts.append(_dot(_MARGIN + 8, self.below + 6.5, ""))
            self._text(note_at, self.below + 11, "only the body changed", "q")
            self.below += _LINE

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
        for at, columns in enumerate(self.axis.minors):
            if at % 2 == 0:
                left, right = self.axis.edges[columns[0]], self.axis.edges[columns[-1] + 1]
                self.parts.append(
                    f'<rect class="z" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
                    f'height="{bottom - top:.1f}"/>'
                )
        for x, _ in self.axis.majors():
            self.parts.append(_line(x, top - _AXIS + 2, x, bottom, "u"))
        for y in (top, bottom):
            self.parts.append(_line(self.axis.left, y, self.axis.right, y, "t"))

    def _ticks(self, y: float, *, above: bool = True) -> None:
        for x, text in self.axis.ticks():
            place = f"{x + 3.5:.1f} {y - 5:.1f}" if above else f"{x + 3.5:.1f} {y + 5:.1f}"
            anchor = "start" if above else "end"
            self.parts.append(
                f'<text class="a" transform="translate({place}) rotate(-90)" text-anchor="{anchor}">'
                f"{escape(text)}</text>"
            )
        for x, text in self.axis.majors() if above else ():
            self._text(x + 4, y - _AXIS + 8, text, "a g")

    def _row(self, group: Group, y: float) -> None:
        names = sorted(self.label(member.target) for member in group.members)
        self.parts.append(
            f'<text class="m" x="{_MARGIN}" y="{y + 14:.1f}"><title>{escape(_members(names))}</title>'
            f"{escape(self._row_label(names))}</text>"
        )
        for each in group.stretches:
            left, right = self.axis.edges[each.first], self.axis.edges[each.last + 1]
            tip = self._tip(each, names)
            self.parts.append(_bar(self.keys[each.shown], left, y + 4, right - left - 1, tip))
        total = len(names)
        for column, number in group.body_changes().items():
            where = f" in {number} of {total}" if total > 1 else ""
            x = self.axis.edges[column] + 3.5
            self.parts.append(_dot(x, y + 10.5, f"{self.timeline.builds[column]}: body changed{where}"))

    def _row_label(self, names: list[str]) -> str:
        room = int(_LABELS / _CHARACTER) - 2
        if len(names) == 1:
            return _squeezed(names[0] if len(self.timeline.found) > 1 else self._own_name(), room)
        return _cut(f"{many(len(names), self.noun)}: {', '.join(names)}", room)

    def _own_name(self) -> str:
        target = self.timeline.found[0].target
        return target.name or target.module

    def _tip(self, stretch: Stretch, names: list[str]) -> str:
        lines = [self.timeline.range_text(stretch.first, stretch.last), stretch.shown]
        if stretch.condition and stretch.signature is not None:
            lines.append(f"only if {stretch.condition}")
        if len(self.timeline.found) > 1:
            lines.append(_members(names))
        return "\n".join(lines)

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


def _bar(key: _Key, x: float, y: float, width: float, tip: str = "") -> str:
    box = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 1.5):.1f}" height="{_BAR}" rx="2"'
    title = f"<title>{escape(tip)}</title>" if tip else ""
    plain = f'<rect class="{key.colour}" {box}>{title}</rect>'
    if not key.pattern:
        return plain
    return f'{plain}<rect fill="url(#rc-p{key.pattern})" {box}>{title}</rect>'


def _dot(x: float, y: float, tip: str) -> str:
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return f'<circle class="b" cx="{x:.1f}" cy="{y:.1f}" r="2.6">{title}</circle>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _members(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)}: {', '.join(names)}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 3]}..."


def _squeezed(text: str, room: int) -> str:
    """Without the middle: names differ at their ends."""
    half = (room - 3) // 2
    return text if len(text) <= room else f"{text[:half]}...{text[-half:]}"


def _lines(text: str, room: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, room, max_lines=_LEGEND_LINES, placeholder=" ...", break_on_hyphens=False) or [
        ""
    ]
