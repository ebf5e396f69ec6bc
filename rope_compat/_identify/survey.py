"""All forms in which a function answers, and what it is in each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from .forms import LAYOUTS, Form, Sizes, forms
from .frequencies import rates
from .matrix import Structure, Unread, is_half_interleaved, read_angles, read_cells
from .naming import Described, describe, table_columns
from .parameters import Roles, possible_roles
from .trial import Trial, try_form

__all__ = ["Reading", "examine", "read"]

#: A function that answers in so many forms and is a rotation in none will be none in more.
_ENOUGH = 60
#: With so many answers that are none, what else is none is not looked at closely.
_EXAMPLES = 8

Function = Callable[..., Any]


@dataclass(frozen=True)
class Reading:
    """What a function is in one form.

    Attributes:
        trial: the call, and its matrices.
        kind: ``rotation``, ``quarter turn``, ``mistake`` (halves and neighbours mixed up), ``shared angles``,
            ``two angles`` (the channels of a pair turn differently), ``scaled``, or ``unread``.
        structure: of the first tensor that is turned.
        words: the structure in words.
        columns: which tables it takes, see `table_columns`.
        turned: which tensors are turned, by their place.
        rates: radians a position of the two results of each pair ``[P, 2]``, where the function makes its own
            angles; None where they are not proportional to the position.
        factor: by which the turned channels become longer.
        reason: why it is unread.
    """

    trial: Trial
    kind: str
    structure: Structure | None = None
    words: Described | None = None
    columns: str = ""
    turned: tuple[int, ...] = (0,)
    rates: Tensor | None = None
    factor: float = 1.0
    reason: str = ""

    @property
    def is_rotation(self) -> bool:
        """Whether this is a rotation for some tables."""
        return self.kind in ("rotation", "quarter turn")


def examine(function: Function, sizes: Sizes, layouts: tuple[str, ...] = LAYOUTS) -> list[Reading]:
    """Call `function` in all forms that its signature admits, and read each answer.

    Stops at the first reading of the signature, and the first kind of tables, with which it is a
    rotation: each entry of its matrices is then a cell of the tables, which no other kind of tables would
    give.
    """
    found: list[Reading] = []
    for roles in _with_optional(possible_roles(function)):
        for _, kind in groupby(forms(roles, sizes.dim, layouts), lambda form: form.kind):
            quick = len(found) >= _EXAMPLES
            here = [read(trial) for trial in _trials(function, roles, kind, sizes, quick=quick)]
            if any(reading.is_rotation for reading in here):
                return [reading for reading in here if reading.is_rotation]
            found += here
        if len(found) > _ENOUGH:
            break
    return found


def _with_optional(candidates: Iterable[Roles]) -> Iterator[Roles]:
    """Each as it is, then with the positions or the axis that it may be given."""
    candidates = list(candidates)
    yield from candidates
    for roles in candidates:
        positions = tuple(each for each in roles.optional if each[1] == "positions")
        if positions:
            yield replace(roles, given=roles.given + positions)


def _trials(
    function: Function, roles: Roles, kind: Iterable[Form], sizes: Sizes, *, quick: bool
) -> Iterator[Trial]:
    for form in kind:
        trial = try_form(function, roles, form, sizes, quick=quick)
        if trial is not None:
            yield trial


def read(trial: Trial) -> Reading:
    """What the matrices of a trial say."""
    if not trial.linear:
        return Reading(trial, "unread", reason="it is not linear, or mixes tokens, heads or sequences")
    turned = tuple(i for i, each in enumerate(trial.matrices) if not _is_identity(each))
    if not turned:
        return Reading(trial, "unread", reason="the tensors come out as they went in")
    found = [_read_one(trial, place) for place in turned]
    if any(each.kind != found[0].kind or each.structure != found[0].structure for each in found):
        return Reading(trial, "unread", reason="the tensors are turned in different ways")
    return replace(found[0], turned=turned)


def _is_identity(matrices: Tensor) -> bool:
    return bool(((matrices - torch.eye(matrices.shape[-1])).abs() < 1e-5).all())


def _read_one(trial: Trial, place: int) -> Reading:
    matrices = trial.matrices[place]
    if bool(((matrices - matrices[:, :1]).abs() > 1e-5).any()):
        return Reading(trial, "unread", reason="heads are turned differently")
    by_token = matrices[:, 0].flatten(0, 1)
    if is_half_interleaved(by_token.abs().amax(0) > 1e-5):
        return Reading(trial, "mistake")
    try:
        if trial.drawn.cells is not None:
            return _with_tables(trial, place, by_token)
        if bool((by_token == by_token[:1]).all()) and not trial.roles.has("positions"):
            return _constant(trial, by_token)
        return _with_own_angles(trial, by_token)
    except Unread as error:
        return Reading(trial, "unread", reason=str(error))


def _with_tables(trial: Trial, place: int, by_token: Tensor) -> Reading:
    cells = trial.drawn.cells
    assert cells is not None
    first, second = cells[min(place, len(cells) - 1)]
    structure = read_cells(by_token, first.flatten(0, 1), second.flatten(0, 1))
    if not structure.pairs:
        raise Unread("no channel is turned")
    if trial.roles.has("sections"):
        structure = _of_one_axis(structure, trial.form.width)
    columns = table_columns(structure, trial.form.width)
    kind = "shared angles" if columns == "none" else "rotation"
    return Reading(trial, kind, structure, describe(structure), columns)


def _of_one_axis(structure: Structure, width: int) -> Structure:
    """Columns of tables with an axis of three, whichever of the three they are of."""
    pairs = []
    for pair in structure.pairs:
        a, b, c, d = (column % width for column in pair.columns)
        if len({column // width for column in pair.columns}) > 1:
            raise Unread("the channels of a pair are turned by positions of different axes")
        pairs.append(replace(pair, columns=(a, b, c, d)))
    return replace(structure, pairs=tuple(pairs))


def _constant(trial: Trial, by_token: Tensor) -> Reading:
    """A function of one tensor: the quarter turn of its pairs."""
    _ones, _zeros = torch.ones(len(by_token), 1), torch.zeros(len(by_token), 1)
    matrix = by_token[0]
    if not torch.equal(matrix @ matrix, -torch.eye(len(matrix))):
        raise Unread("it is the same at all positions, and no quarter turn of pairs")
    structure, angles, _ = read_angles((matrix + torch.eye(len(matrix)))[None])
    direction = angles[0, :, 0].sign()
    pairs = tuple(
        replace(pair, direction=int(turn))
        for pair, turn in zip(structure.pairs, direction.tolist(), strict=True)
    )
    structure = replace(structure, pairs=pairs)
    return Reading(trial, "quarter turn", structure, describe(structure), "none needed")


def _with_own_angles(trial: Trial, by_token: Tensor) -> Reading:
    structure, angles, factors = read_angles(by_token)
    sizes = trial.drawn.sizes
    positions = trial.drawn.positions
    if positions is None:
        positions = torch.arange(sizes.tokens).expand(sizes.batch, -1)
    positions = positions.flatten()
    factor = float(factors.mean())
    if bool(((factors - factor).abs() > 1e-4).any()):
        raise Unread("channels become longer or shorter by different factors")
    both = [rates(angles[..., side], positions) for side in (0, 1)]
    found = None if both[0] is None or both[1] is None else torch.stack([both[0], both[1]], -1)
    apart = torch.remainder(angles[..., 0] - angles[..., 1] + 3, 6.283185307179586) - 3
    if bool((apart.abs() > 1e-4).any()):
        return Reading(trial, "two angles", structure, describe(structure), rates=found, factor=factor)
    if found is not None:
        pairs = tuple(
            replace(pair, direction=-1 if rate < 0 else 1)
            for pair, rate in zip(structure.pairs, found[:, 0].tolist(), strict=True)
        )
        structure = replace(structure, pairs=pairs)
    return Reading(trial, "rotation", structure, describe(structure), "its own", rates=found, factor=factor)
