"""The page of what a rotary function, module or model computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._report.page import Entry, Item, Page, Row, Section, Tone

if TYPE_CHECKING:
    from .result import Example, Frequencies, Identity, Precision

__all__ = ["page"]

_PAIRING = {
    "half": "half: channels i and i + R/2",
    "interleaved": "interleaved: channels 2i and 2i + 1",
    "half or interleaved": "there is one pair only: half and interleaved are the same",
    "other": "neither halves nor neighbours",
}
_DIRECTION = {
    1: "forward: (1, 0) goes to (cos, sin)",
    -1: "backward: (1, 0) goes to (cos, -sin)",
    0: "not the same for all pairs",
}
_PART = {
    "all": "the whole head",
    "first": "as many channels as the tables say, the first of the head",
    "last": "as many channels as the tables say, the last of the head",
}
_TABLES = {
    "one column a pair": "one column for each pair",
    "concatenated": "one column for each channel, cat((freqs, freqs), -1)",
    "repeated": "one column for each channel, freqs.repeat_interleave(2, -1)",
    "concatenated, first half read": "cat((freqs, freqs), -1); only the first half of the columns is read",
    "repeated, every second read": "freqs.repeat_interleave(2, -1); only every second column is read",
    "as channels": "one column for each channel, concatenated block by block",
}
_FORMS = (
    "halves: x1, x2 = x.chunk(2, -1); x * cos + cat((-x2, x1), -1) * sin with cat((freqs, freqs), -1)",
    "neighbours: x * cos + stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2) * sin with "
    "freqs.repeat_interleave(2, -1)",
)


def page(identity: Identity) -> Page:
    """The verdict, what was found, and for what is wrong the smallest example."""
    tone: Tone = "bad" if identity.verdict == "not a rotation" else "plain"
    if identity.verdict in ("ambiguous", "unknown"):
        tone = "warn"
    sections = [
        Section("What it is:", tuple(_rows(identity))),
        Section("Calls that it answers:", tuple(Item(str(call)) for call in identity.calls)),
        Section("Precision:", tuple(_precision(each) for each in identity.precisions)),
        Section("The smallest example:", tuple(_example(identity.example))),
        Section("Correct are:", tuple(Item(each, "good") for each in _FORMS) if identity.mistake else ()),
        Section("Worth knowing:", tuple(Item(note) for note in identity.notes)),
    ]
    for title, parts in (("It may be:", identity.candidates), ("Its parts:", identity.parts)):
        sections.append(Section(title, tuple(_part(each) for each in parts)))
    return Page(_headline(identity), tuple(sections), tone)


def _headline(identity: Identity) -> str:
    said: str = identity.verdict
    if identity.mistake:
        said += f": {identity.mistake}"
    elif identity.verdict in ("rotation", "quarter turn") and identity.pairing:
        said += f", {identity.pairing} pairing"
    return f"{identity.subject}: {said}." + (f" {identity.reason.capitalize()}." if identity.reason else "")


def _rows(identity: Identity) -> list[Entry]:
    rows = [
        ("arguments", identity.arguments),
        ("turns", ", ".join(identity.turned)),
        ("layout", _layout(identity.layout)),
        ("pairing", _pairing(identity)),
        ("direction", _DIRECTION[identity.direction] if identity.is_rotation else ""),
        ("part", _PART.get(identity.part, identity.part)),
        ("tables", _TABLES.get(identity.tables, identity.tables)),
        ("frequencies", _frequencies(identity.frequencies)),
        ("factor", "" if identity.factor == 1.0 else f"channels become longer by {identity.factor:g}"),
    ]
    return [Row(label, text) for label, text in rows if text]


def _layout(layout: str) -> str:
    if layout == "as tables":
        return "any: cos and sin are broadcast as they are"
    return f"({', '.join(layout)})" if layout else ""


def _pairing(identity: Identity) -> str:
    said = _PAIRING.get(identity.pairing, identity.pairing)
    if identity.blocks > 1:
        said += f", in each of {identity.blocks} blocks"
    if identity.outputs == "halves":
        said += "; the results come out as pairs of halves, which changes no score"
    return said


def _frequencies(found: Frequencies | None) -> str:
    if found is None:
        return ""
    if found.theta is None:
        return f"{len(found.values)} pairs, not of a known form"
    said = f"theta {found.theta:g}, {' or '.join(found.scaling)}"
    if found.factor != 1.0:
        said += f", factor {found.factor:g}"
    return said + (f", {found.resting} pairs at rest" if found.resting else "")


def _precision(each: Precision) -> Row:
    label = each.given + (f", tables {each.tables}" if each.tables else "")
    if not each.output:
        return Row(label, "refused")
    rounds = {"once": ", rounded once", "at each step": ", rounded at each step", "": ""}[each.rounds]
    return Row(label, f"gives {each.output}{rounds}")


def _example(example: Example | None) -> list[Entry]:
    if example is None:
        return []
    rows = [
        ("given", example.given),
        ("angles", example.angles),
        ("output", example.output),
        ("half", example.half),
        ("interleaved", example.interleaved),
    ]
    found: list[Entry] = [Row(label, ", ".join(f"{value:g}" for value in values)) for label, values in rows]
    found += [Row(f"score {m}, {n}", f"{score:g}") for m, n, score in example.scores]
    return found


def _part(identity: Identity) -> Item:
    details = tuple(f"{entry.label}: {entry.text}" for entry in _rows(identity) if isinstance(entry, Row))
    return Item(_headline(identity), "bad" if identity.verdict == "not a rotation" else "plain", details)
