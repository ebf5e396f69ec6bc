"""The timeline as a page: the picture, and the same as a table that can be read, searched and copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from itertools import chain

from rope_compat._report.svg import picture
from rope_compat._report.timeline import Group, Stretch, Timeline, families, labeller, many, noun
from rope_compat.catalog.model import Target

__all__ = ["document"]

_FEW = 3  # members that are named without having to be unfolded

_STYLE = """
:root{color-scheme:light dark}
body{margin:0 auto;max-width:1200px;padding:0 0 3rem;background:#ffffff;color:#1f2328;
font:14px/1.45 system-ui,-apple-system,"Segoe UI",sans-serif}
.picture{overflow-x:auto}.picture svg{display:block}
.picture g:hover text{font-weight:600}
h1{font-size:1px;position:absolute;clip-path:inset(50%);overflow:hidden;white-space:nowrap}
h2,p{margin:1.2rem 24px .6rem}h2{font-size:16px}
.wide{overflow-x:auto;margin:0 24px}
table{border-collapse:collapse;width:100%}
th,td{padding:.35rem .7rem;text-align:left;vertical-align:top;border-top:1px solid #d1d9e0}
thead th{border-top:0}tbody th{font-weight:400;width:20rem}
th:nth-child(3){width:40%}
td.r{white-space:nowrap}code{font:12px/1.5 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;
overflow-wrap:anywhere}
summary{cursor:pointer}details code{display:block}
input{font:inherit;padding:.3rem .5rem;width:20rem;max-width:100%;box-sizing:border-box}
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}th,td{border-color:#3d444d}}
"""
# The page says the same without it.
_SCRIPT = """
const box = document.getElementById("filter");
box.hidden = false;
box.querySelector("input").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const body of document.querySelectorAll("tbody"))
    body.hidden = !body.textContent.toLowerCase().includes(wanted);
});
"""


def document(timeline: Timeline) -> str:
    """The whole page, in ASCII, with nothing taken from elsewhere."""
    return "".join(_lines(timeline)).encode("ascii", "xmlcharrefreplace").decode()


def _lines(timeline: Timeline) -> Iterator[str]:
    title = escape(timeline.title())
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{title}: history</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    yield f'<h1>{title}: history</h1>\n<div class="picture">\n{picture(timeline)}</div>\n'
    yield '<h2 id="spans">Spans</h2>\n'
    yield '<p id="filter" hidden><label>Show only rows with <input type="search"></label></p>\n'
    if timeline.note:
        yield f"<p>{escape(timeline.note)}</p>\n"
    yield '<div class="wide">\n<table aria-labelledby="spans">\n<thead><tr>'
    for heading in ("Target", "Releases", "Signature", "Changed inside"):
        yield f'<th scope="col">{heading}</th>'
    yield "</tr></thead>\n"
    label, one = labeller(timeline.found), noun(timeline.found)
    for group in chain(*families(timeline.histories())):
        members = _members(group, label, one)
        # One history: who has had it, and a line for each span.
        yield "<tbody>\n"
        for at, each in enumerate(group.stretches):
            head = f'<th scope="rowgroup" rowspan="{len(group.stretches)}">{members}</th>' if at == 0 else ""
            inside = "<br>".join(map(escape, _inside(timeline, group, each)))
            yield f'<tr>{head}<td class="r">{escape(timeline.range_text(each.first, each.last))}</td>'
            yield f"<td><code>{escape(each.shown)}</code></td><td>{inside}</td></tr>\n"
        yield "</tbody>\n"
    yield f"</table>\n</div>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"


def _members(group: Group, label: Callable[[Target], str], one: str) -> str:
    names = sorted(each.full_name for each in group.members)
    listed = "".join(f"<code>{escape(name)}</code>" for name in names)
    if len(names) == 1:
        return listed
    short = sorted(label(each.target) for each in group.members)
    dots = ", ..." if len(short) > _FEW else ""
    summary = f"{many(len(names), one)}: {', '.join(short[:_FEW])}{dots}"
    return f"<details><summary>{escape(summary)}</summary>{listed}</details>"


def _inside(timeline: Timeline, group: Group, stretch: Stretch) -> Iterator[str]:
    """Of one target everything; of many the bodies only, since the rest is not the same in all."""
    if len(group.members) == 1:
        if stretch.condition and stretch.signature is not None:
            yield f"only if {stretch.condition}"
        for event in stretch.events:
            yield f"{timeline.builds[event.column]}: {event.what}"
        return
    for column, number in group.body_changes().items():
        if stretch.first < column <= stretch.last:
            yield f"{timeline.builds[column]}: body changed in {number} of {len(group.members)}"
