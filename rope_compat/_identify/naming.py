"""Names for what the pairs of a matrix are: pairing, part of the head, columns of the tables."""

from __future__ import annotations

from dataclasses import dataclass

from .matrix import Pair, Structure

__all__ = ["Described", "describe", "table_columns"]


@dataclass(frozen=True)
class Described:
    """A structure in words.

    Attributes:
        pairing: ``half``, ``interleaved``, ``half or interleaved`` where a block has one pair only, or
            ``other``.
        blocks: how many blocks of the head are paired each for itself (2 for rows and columns of a picture).
        outputs: ``in place``, or ``halves`` where neighbours come out as the pairs of halves, or ``other``.
        channels: first channel that is turned, and the one after the last; None where they are not in a row.
        direction: 1, -1, or 0 where pairs differ.
    """

    pairing: str
    blocks: int
    outputs: str
    channels: tuple[int, int] | None
    direction: int


def describe(structure: Structure) -> Described:
    """The words for a structure that has pairs."""
    pairs = structure.pairs
    turned = sorted(channel for pair in pairs for channel in pair.channels)
    start, count = turned[0], len(turned)
    in_row = turned == list(range(start, start + count))
    directions = {pair.direction for pair in pairs}
    pairing, blocks = _pairing(pairs, start) if in_row else ("other", 1)
    return Described(
        pairing,
        blocks,
        _outputs(pairs, start),
        (start, start + count) if in_row else None,
        directions.pop() if len(directions) == 1 else 0,
    )


def _pairing(pairs: tuple[Pair, ...], start: int) -> tuple[str, int]:
    first = [pair.channels[0] - start for pair in pairs]
    apart = {pair.channels[1] - pair.channels[0] for pair in pairs}
    count = len(pairs)
    if len(apart) != 1:
        return "other", 1
    step = apart.pop()
    if count % step:
        return "other", 1
    if step == 1:
        return ("half or interleaved" if count == 1 else "interleaved"), 1
    wanted = [block * 2 * step + i for block in range(count // step) for i in range(step)]
    return ("half", count // step) if first == wanted else ("other", 1)


def _outputs(pairs: tuple[Pair, ...], start: int) -> str:
    if all(pair.channels == pair.outputs for pair in pairs):
        return "in place"
    count = len(pairs)
    halves = [(start + i, start + i + count) for i in range(count)]
    neighbours = [(start + 2 * i, start + 2 * i + 1) for i in range(count)]
    ordered = [pair.outputs for pair in pairs]
    if ordered == halves:
        return "halves"
    return "neighbours" if ordered == neighbours else "other"


def table_columns(structure: Structure, width: int) -> str:
    """Which tables make the structure a rotation.

    One of ``one column a pair``, ``concatenated`` (``cat((freqs, freqs), -1)``), ``repeated``
    (``repeat_interleave(2, -1)``), the first two followed by ``, first half read``; ``as channels`` for
    blocks; or ``none``, where pairs would have to share angles: no table makes it one.
    """
    pairs = structure.pairs
    count = len(pairs)
    if _classes(pairs) < count:
        return "none"
    if any(pair.columns[0] != pair.columns[1] or pair.columns[2] != pair.columns[3] for pair in pairs):
        return "other"
    columns = [(pair.columns[0], pair.columns[2]) for pair in pairs]
    if columns == [(i, i) for i in range(count)]:
        if width == count:
            return "one column a pair"
        return "concatenated, first half read" if width == 2 * count else "other"
    if columns == [(2 * i, 2 * i) for i in range(count)]:
        return "repeated, every second read"
    if columns == [(i, i + count) for i in range(count)]:
        return "concatenated"
    if columns == [(2 * i, 2 * i + 1) for i in range(count)]:
        return "repeated"
    start = min(pair.channels[0] for pair in pairs)
    if all(pair.columns[::2] == tuple(channel - start for channel in pair.channels) for pair in pairs):
        return "as channels"
    return "other"


def _classes(pairs: tuple[Pair, ...]) -> int:
    """How many angles there may be, if all columns of a pair hold one angle."""
    leader: dict[int, int] = {}

    def find(column: int) -> int:
        while leader.setdefault(column, column) != column:
            column = leader[column]
        return column

    for pair in pairs:
        for column in pair.columns[1:]:
            leader[find(column)] = find(pair.columns[0])
    return len({find(column) for column in leader})
