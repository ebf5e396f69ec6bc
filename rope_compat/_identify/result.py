"""What `identify` answers: records, which everything else here fills in, and the page that they print."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from .._report.page import Item, Page, Row, Section, Tone, page_text

__all__ = ["Call", "Example", "Frequencies", "Identity", "Precision", "Verdict", "page"]

Verdict = Literal["rotation", "quarter turn", "tables", "not a rotation", "ambiguous", "unknown"]


@dataclass(frozen=True, slots=True)
class Call:
    """One form of call in which the function answers.

    Attributes:
        layout: axes of the tensors that are turned: b batch, h heads, s tokens, d channels. ``bsd`` has
            no heads, or batch and heads in one axis; ``shd`` no batch.
        tables: shape of cos and sin, or of what stands for them: N is more rows than tokens, which positions
            choose from. Empty where there are none.
        positions: shape of positions, empty where none are passed.
        options: other arguments that make this form, such as ``unsqueeze_dim=2``.
    """

    layout: str
    tables: str = ""
    positions: str = ""
    options: str = ""

    def __str__(self) -> str:
        tables = f"tables {self.tables}" if self.tables else ""
        positions = f"positions {self.positions}" if self.positions else ""
        return ", ".join(filter(None, (f"({', '.join(self.layout)})", tables, positions, self.options)))


@dataclass(frozen=True)
class Precision:
    """One combination of dtypes.

    Attributes:
        given: dtype of the tensors that are turned.
        tables: dtype of cos and sin, empty where the function makes them.
        output: dtype of the results, empty where it refuses this combination.
        rounds: ``once`` where the results are those of float32 arithmetic, rounded once; ``at each step``
            where products and sums are rounded as well; empty where nothing is rounded.
    """

    given: str
    tables: str
    output: str
    rounds: str


@dataclass(frozen=True)
class Example:
    """One head of one token: what went in, what came out, and what a rotation gives.

    Attributes:
        given: the channels that went in.
        angles: by which each pair had to turn, in radians.
        output: the channels that came out.
        half: what a rotation of the pairs (i, i + D/2) gives.
        interleaved: what a rotation of the pairs (2i, 2i + 1) gives.
        scores: where the function makes its own angles: what a query at position m and the same key at n
            make, as ``(m, n, score)``; in a rotation the scores of one distance are equal.
    """

    given: tuple[float, ...]
    angles: tuple[float, ...]
    output: tuple[float, ...]
    half: tuple[float, ...]
    interleaved: tuple[float, ...]
    scores: tuple[tuple[int, int, float], ...] = ()


@dataclass(frozen=True)
class Frequencies:
    """What frequencies say.

    Attributes:
        values: in radians a position, one a pair, in the order of the pairs.
        theta: the base, where the frequencies say one.
        scaling: ``default``, ``linear``, ``yarn``, ``llama3``, or those that it may be; empty where nothing
            known fits.
        factor: the divisor of the slow frequencies; 1.0 without scaling.
        resting: how many pairs do not turn.
    """

    values: tuple[float, ...]
    theta: float | None
    scaling: tuple[str, ...]
    factor: float = 1.0
    resting: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """What an unknown rotary function, module or model computes.

    Attributes:
        subject: what was looked at.
        verdict: ``rotation``; ``quarter turn`` (`rotate_half` and its like); ``tables`` (a module or
            function that makes cos and sin); ``not a rotation``; ``ambiguous``, with `candidates`;
            ``unknown``, with `reason`.
        reason: why it is no rotation, or why nothing can be said.
        mistake: the name of a widespread mistake, empty otherwise.
        arguments: how it is called, with each argument's meaning as measured.
        kind: what tables are: ``cos, sin``, ``angles``, ``complex``, ``cos|sin`` (one after the other in
            the last axis), ``sin|cos``, ``stacked`` ([..., R, 2]), ``matrices`` ([..., R, 2, 2]), ``(cos,
            sin)`` (a tuple); empty where the function makes its own.
        layout: ``bhsd`` or ``bshd``, ``as tables`` where tables are broadcast as they are, or another
            order of axes; empty where it does not matter.
        calls: the forms in which it answers.
        turned: the arguments that it turns.
        pairing: ``half`` (channels i, i + R/2), ``interleaved`` (2i, 2i + 1), ``half or interleaved``
            where there is one pair only and they are the same, or ``other``.
        blocks: into how many blocks the turned part is divided, each with pairs of its own.
        outputs: ``in place``; ``halves`` where neighbours are turned and come out as the pairs of halves.
        direction: 1 where (1, 0) goes to (cos, sin), -1 where it goes to (cos, -sin), 0 where pairs differ.
        part: ``all``; ``first`` or ``last`` where narrower tables turn only these channels of the head;
            ``channels 0 to 15 of 64`` where the function decides.
        tables: which columns cos and sin have to have: ``one column a pair``, ``concatenated``
            (``cat((freqs, freqs), -1)``), ``repeated`` (``repeat_interleave(2, -1)``), or one of the last two
            with the note that half of the columns is not read.
        frequencies: theta and scaling, where it makes its own angles.
        factor: by which the turned channels become longer (the attention factor of YaRN and LongRoPE).
        precisions: what comes out for which dtypes.
        example: of what is wrong.
        candidates: all that it may be, where that is ambiguous.
        parts: the identities of a model's functions and modules.
        notes: what else was noticed.
    """

    subject: str
    verdict: Verdict
    reason: str = ""
    mistake: str = ""
    arguments: str = ""
    kind: str = ""
    layout: str = ""
    calls: tuple[Call, ...] = ()
    turned: tuple[str, ...] = ()
    pairing: str = ""
    blocks: int = 1
    outputs: str = ""
    direction: int = 0
    part: str = ""
    tables: str = ""
    frequencies: Frequencies | None = None
    factor: float = 1.0
    precisions: tuple[Precision, ...] = ()
    example: Example | None = None
    candidates: tuple[Identity, ...] = ()
    parts: tuple[Identity, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_rotation(self) -> bool:
        """Whether it turns pairs, and nothing else."""
        return self.verdict in ("rotation", "quarter turn")

    def to_dict(self) -> dict[str, object]:
        """JSON-ready data."""
        return asdict(self)

    def __str__(self) -> str:
        return page_text(page(self))


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
    sections = (
        Section("What it is:", tuple(_rows(identity))),
        Section("Calls that it answers:", tuple(Item(str(call)) for call in identity.calls)),
        Section("Precision:", tuple(_precision(each) for each in identity.precisions)),
        Section("The smallest example:", tuple(_example(identity.example))),
        Section("Correct are:", tuple(Item(each, "good") for each in _FORMS) if identity.mistake else ()),
        Section("Worth knowing:", tuple(map(Item, identity.notes))),
        Section("It may be:", tuple(map(_part, identity.candidates))),
        Section("Its parts:", tuple(map(_part, identity.parts))),
    )
    return Page(_headline(identity), sections, tone)


def _headline(identity: Identity) -> str:
    said: str = identity.verdict
    if identity.mistake:
        said += f": {identity.mistake}"
    elif identity.verdict in ("rotation", "quarter turn") and identity.pairing:
        said += f", {identity.pairing} pairing"
    return f"{identity.subject}: {said}." + (f" {identity.reason.capitalize()}." if identity.reason else "")


def _rows(identity: Identity) -> list[Row]:
    layout = f"({', '.join(identity.layout)})" if identity.layout else ""
    if identity.layout == "as tables":
        layout = "any: cos and sin are broadcast as they are"
    rows = [
        ("arguments", identity.arguments),
        ("turns", ", ".join(identity.turned)),
        ("layout", layout),
        ("pairing", _pairing(identity)),
        ("direction", _DIRECTION[identity.direction] if identity.is_rotation else ""),
        ("part", _PART.get(identity.part, identity.part)),
        ("tables", _TABLES.get(identity.tables, identity.tables)),
        ("frequencies", _frequencies(identity.frequencies)),
        ("factor", "" if identity.factor == 1.0 else f"channels become longer by {identity.factor:g}"),
    ]
    return [Row(label, text) for label, text in rows if text]


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


def _example(example: Example | None) -> list[Row]:
    if example is None:
        return []
    labels = ("given", "angles", "output", "half", "interleaved")
    rows = [Row(each, ", ".join(f"{value:g}" for value in getattr(example, each))) for each in labels]
    return rows + [Row(f"score {m}, {n}", f"{score:g}") for m, n, score in example.scores]


def _part(identity: Identity) -> Item:
    details = tuple(f"{row.label}: {row.text}" for row in _rows(identity))
    return Item(_headline(identity), "bad" if identity.verdict == "not a rotation" else "plain", details)
