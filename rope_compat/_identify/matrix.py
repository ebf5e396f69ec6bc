"""What a matrix says: pairs of channels, the columns that turn them, direction, and where the results go.

A rotary function is linear in the tensor that it turns, so for each token it is a matrix ``[D, D]``. With
random tables every entry of it is 0, 1, or plus or minus one cell of a table, and tells which.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["Pair", "Structure", "Unread", "is_half_interleaved", "read_angles", "read_cells"]

#: How far float32 arithmetic on numbers below 2 may be off, with two products and a sum: 8 epsilon, and room
#: for a cosine and a sine of an angle.
TOLERANCE = 1e-5


class Unread(Exception):  # noqa: N818 - it never leaves this package: a trial that says nothing
    """A matrix that is no set of pairs; the message says why."""


@dataclass(frozen=True)
class Pair:
    """Two channels that turn together.

    Attributes:
        channels: the two, as they come in.
        outputs: where they go to.
        columns: which columns of cos and sin turn the first and the second result. Four equal numbers where
            one column serves the pair: cos for the first, sin for the first, sin, cos for the second.
        direction: 1 where (1, 0) goes to (cos, sin), -1 where it goes to (cos, -sin).
    """

    channels: tuple[int, int]
    outputs: tuple[int, int]
    columns: tuple[int, int, int, int]
    direction: int


@dataclass(frozen=True)
class Structure:
    """All pairs, the channels that pass through, and the words for them.

    Attributes:
        pairs: in the order of their first channel.
        untouched: channels that come out as they went in, where they were.
        cos_first: whether the first of the two tables serves as cos.
    """

    pairs: tuple[Pair, ...] = ()
    untouched: tuple[int, ...] = ()
    cos_first: bool = True

    @cached_property
    def _start(self) -> int:
        return min((channel for pair in self.pairs for channel in pair.channels), default=0)

    @cached_property
    def channels(self) -> tuple[int, int] | None:
        """First channel that is turned, and the one after the last; None where they are not in a row."""
        turned = sorted(channel for pair in self.pairs for channel in pair.channels)
        end = self._start + len(turned)
        return (self._start, end) if turned and turned == list(range(self._start, end)) else None

    @property
    def direction(self) -> int:
        """1, -1, or 0 where pairs differ."""
        directions = {pair.direction for pair in self.pairs}
        return directions.pop() if len(directions) == 1 else 0

    @property
    def pairing(self) -> str:
        """As `Identity.pairing`; empty where there are no pairs."""
        return self._pairing[0]

    @property
    def blocks(self) -> int:
        """How many blocks of the head are paired each for itself: 2 for rows and columns of a picture."""
        return self._pairing[1]

    @cached_property
    def _pairing(self) -> tuple[str, int]:
        count = len(self.pairs)
        apart = {pair.channels[1] - pair.channels[0] for pair in self.pairs}
        if not count:
            return "", 1
        if self.channels is None or len(apart) != 1 or count % (step := apart.pop()):
            return "other", 1
        if step == 1:
            return ("half or interleaved" if count == 1 else "interleaved"), 1
        wanted = [block * 2 * step + i for block in range(count // step) for i in range(step)]
        first = [pair.channels[0] - self._start for pair in self.pairs]
        return ("half", count // step) if first == wanted else ("other", 1)

    @property
    def outputs(self) -> str:
        """``in place``, ``halves`` where neighbours come out as the pairs of halves, or ``other``."""
        if all(pair.channels == pair.outputs for pair in self.pairs):
            return "in place"
        start, count = self._start, len(self.pairs)
        ordered = [pair.outputs for pair in self.pairs]
        if ordered == [(start + i, start + i + count) for i in range(count)]:
            return "halves"
        neighbours = [(start + 2 * i, start + 2 * i + 1) for i in range(count)]
        return "neighbours" if ordered == neighbours else "other"

    def columns(self, width: int) -> str:
        """Which tables, of `width` columns, make it a rotation: as `Identity.tables`.

        Or ``as channels`` for blocks; ``none`` where pairs would have to share angles, whatever the tables.
        """
        count = len(self.pairs)
        if self._angles() < count:
            return "none"
        columns = [(pair.columns[0], pair.columns[2]) for pair in self.pairs]
        if columns != [(pair.columns[1], pair.columns[3]) for pair in self.pairs]:
            return "other"
        if columns == [(i, i) for i in range(count)]:
            known = {count: "one column a pair", 2 * count: "concatenated, first half read"}
            return known.get(width, "other")
        if columns == [(2 * i, 2 * i) for i in range(count)]:
            return "repeated, every second read"
        if columns == [(i, i + count) for i in range(count)]:
            return "concatenated"
        if columns == [(2 * i, 2 * i + 1) for i in range(count)]:
            return "repeated"
        channels = [tuple(channel - self._start for channel in pair.channels) for pair in self.pairs]
        return "as channels" if columns == channels else "other"

    def _angles(self) -> int:
        """How many angles there may be, if all columns of a pair hold one angle."""
        groups: list[set[int]] = []
        for pair in self.pairs:
            joined = set(pair.columns).union(*(group for group in groups if group & set(pair.columns)))
            groups = [group for group in groups if not group & joined] + [joined]
        return len(groups)


def read_cells(matrices: Tensor, first: Tensor, second: Tensor) -> Structure:
    """Tell which cells of two tables the entries of the matrices are.

    ``matrices``: ``[T, D, D]``, one for each token; ``first`` and ``second``: ``[T, R]``, each token's row of
    the two tables, distinct random numbers.

    Raises:
        Unread: an entry is nothing of a table, or the entries make no pairs.
    """
    cells = torch.cat((first, second), dim=1)
    entries = matrices.flatten(1)
    used = entries.abs().amax(0) > TOLERANCE
    one = (entries - 1).abs().amax(0) < TOLERANCE
    ask = used & ~one
    plus = (entries[:, ask, None] - cells[:, None]).abs().amax(0)
    minus = (entries[:, ask, None] + cells[:, None]).abs().amax(0)
    distance, cell = torch.minimum(plus, minus).min(1) if plus.shape[0] else (plus.sum(1), plus.sum(1).long())
    if bool((distance > TOLERANCE).any()):
        raise Unread("an entry of the matrix is not a cell of the tables")
    sign = torch.where(plus.gather(1, cell[:, None]) <= TOLERANCE, 1, -1)[:, 0]
    size, width = matrices.shape[1], first.shape[1]
    where = ask.nonzero()[:, 0].tolist()
    labels = {
        (at // size, at % size): (int(each) // width, int(each) % width, int(turn))
        for at, each, turn in zip(where, cell.tolist(), sign.tolist(), strict=True)
    }
    untouched = _untouched(one.view(size, size), used.view(size, size))
    found = [
        _labelled(outputs, channels, labels)
        for outputs, channels in _blocks(used.view(size, size), untouched)
    ]
    if len({swapped for _, swapped in found}) > 1:
        raise Unread("one table serves as cos for some pairs and as sin for others")
    pairs = tuple(pair for pair, _ in found)
    return Structure(pairs, untouched, cos_first=not (found and found[0][1]))


Label = tuple[int, int, int]


def _labelled(
    outputs: tuple[int, int], channels: tuple[int, int], labels: dict[tuple[int, int], Label]
) -> tuple[Pair, bool]:
    """The pair, and whether the second table is its cos."""
    (a, b), (i, j) = outputs, channels
    try:
        p, q, r, s = (labels[at] for at in ((a, i), (a, j), (b, i), (b, j)))
    except KeyError:
        raise Unread("a channel is added as it is to one that turns") from None
    if not (p[0] == s[0] and q[0] == r[0] and p[0] != q[0] and p[2] == s[2] == 1 and q[2] == -r[2]):
        raise Unread("a pair's matrix is not ((cos, -sin), (sin, cos))")
    return Pair(channels, outputs, (p[1], q[1], r[1], s[1]), r[2]), p[0] == 1


def _untouched(one: Tensor, used: Tensor) -> tuple[int, ...]:
    alone = used.sum(1) == 1
    return tuple(i for i in range(one.shape[0]) if bool(one[i, i]) and bool(alone[i]))


def _blocks(used: Tensor, untouched: tuple[int, ...]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Outputs and channels of each pair.

    Raises:
        Unread: an output is made of other than two channels, or two channels of other than two outputs.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for output in range(used.shape[0]):
        if output not in untouched:
            groups.setdefault(tuple(used[output].nonzero()[:, 0].tolist()), []).append(output)
    found = []
    for channels, outputs in sorted(groups.items()):
        if len(channels) != 2 or len(outputs) != 2:
            raise Unread(f"channels {list(channels)} go into the results {outputs}")
        found.append(((outputs[0], outputs[1]), (channels[0], channels[1])))
    return found


def read_angles(matrices: Tensor) -> tuple[Structure, Tensor, Tensor]:
    """Pairs and their angles, where the function has no tables that are known.

    ``matrices``: ``[T, D, D]``. Returns the structure, whose columns number the pairs; the angles ``[T,
    P, 2]`` in radians of the first and the second result, equal in a rotation; and the factors ``[T, P,
    2]`` by which the two become longer.

    Raises:
        Unread: the entries make no pairs, or a row of a pair is no cos and sin.
    """
    used = matrices.abs().amax(0) > TOLERANCE
    one = (matrices - 1).abs().amax(0) < TOLERANCE
    untouched = _untouched(one, used)
    pairs, angles, factors = [], [], []
    for number, (outputs, channels) in enumerate(_blocks(used, untouched)):
        (a, b), (i, j) = outputs, channels
        p, q, r, s = (matrices[:, row, column] for row, column in ((a, i), (a, j), (b, i), (b, j)))
        angles.append(torch.stack((torch.atan2(-q, p), torch.atan2(r, s)), -1))
        factors.append(torch.stack((torch.hypot(p, q), torch.hypot(r, s)), -1))
        pairs.append(Pair(channels, outputs, (number,) * 4, 1))
    if not pairs:
        raise Unread("no channel is turned")
    return Structure(tuple(pairs), untouched), torch.stack(angles, 1), torch.stack(factors, 1)


def is_half_interleaved(used: Tensor) -> bool:
    """Whether entries are used as in ``x * cos + cat((-x[1::2], x[::2])) * sin``, or in its second term.

    ``used``: bool ``[D, D]``, by output and channel.
    """
    size = used.shape[0]
    turn = torch.zeros(size, size, dtype=torch.bool)
    half = torch.arange(size // 2)
    turn[half, 2 * half + 1] = True
    turn[half + size // 2, 2 * half] = True
    diagonal = torch.eye(size, dtype=torch.bool)
    return size >= 4 and any(torch.equal(used, each) for each in (turn, turn | diagonal))
