"""All forms in which a function answers, and what its matrices say in each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from .call_forms import Sizes, Trial, forms, try_form
from .frequencies import rates
from .matrix import Structure, Unread, is_half_interleaved, read_angles, read_cells
from .signature import Roles, possible_roles

__all__ = ["Reading", "examine", "read"]

#: A function that answers in so many forms and is a rotation in none will be none in more.
_ENOUGH = 60
#: With so many answers that are none, what else is none is not looked at closely.
_EXAMPLES = 8
_NOTHING = Structure()

Function = Callable[..., Any]


@dataclass(frozen=True)
class Reading:
    """What a function is in one form.

    Attributes:
        trial: the call, and its matrices.
        kind: ``rotation``, ``quarter turn``, ``mistake`` (halves and neighbours mixed up), ``shared angles``,
            ``two angles`` (the channels of a pair turn differently), or ``unread``.
        structure: of the first tensor that is turned; without pairs where it has none that can be read.
        columns: which tables it takes, see `Structure.columns`.
        turned: which tensors are turned, by their place.
        rates: radians a position of the two results of each pair ``[P, 2]``, where the function makes its own
            angles; None where they are not proportional to the position.
        factor: by which the turned channels become longer.
        reason: why it is unread.
    """

    trial: Trial
    kind: str
    structure: Structure = _NOTHING
    columns: str = ""
    turned: tuple[int, ...] = (0,)
    rates: Tensor | None = None
    factor: float = 1.0
    reason: str = ""

    @property
    def is_rotation(self) -> bool:
        """Whether this is a rotation for some tables."""
        return self.kind in ("rotation", "quarter turn")


def examine(function: Function, sizes: Sizes) -> list[Reading]:
    """Call `function` in all forms that its signature admits, and read each answer.

    Stops at the first reading of the signature, and the first kind of tables, with which it is a
    rotation: each entry of its matrices is then a cell of the tables, which no other kind of tables would
    give.
    """
    found: list[Reading] = []
    for roles in _with_optional(possible_roles(function)):
        for _, kind in groupby(forms(roles, sizes.dim), lambda form: form.kind):
            quick = len(found) >= _EXAMPLES
            trials = (try_form(function, roles, form, sizes, quick=quick) for form in kind)
            here = [read(trial) for trial in trials if trial is not None]
            if any(reading.is_rotation for reading in here):
                return [reading for reading in here if reading.is_rotation]
            found += here
        if len(found) > _ENOUGH:
            break
    return found


def _with_optional(candidates: list[Roles]) -> Iterable[Roles]:
    """Each as it is, then with the positions that it may be given."""
    yield from candidates
    for roles in candidates:
        positions = tuple(each for each in roles.optional if each[1] == "positions")
        if positions:
            yield replace(roles, given=roles.given + positions)


def read(trial: Trial) -> Reading:
    """What the matrices of a trial say."""
    if not trial.linear:
        return Reading(trial, "unread", reason="it is not linear, or mixes tokens, heads or sequences")
    same = torch.eye(trial.sizes.dim)
    turned = tuple(i for i, each in enumerate(trial.matrices) if bool(((each - same).abs() >= 1e-5).any()))
    if not turned:
        return Reading(trial, "unread", reason="the tensors come out as they went in")
    found = [_read_one(trial, place) for place in turned]
    if any(each.kind != found[0].kind or each.structure != found[0].structure for each in found):
        return Reading(trial, "unread", reason="the tensors are turned in different ways")
    return replace(found[0], turned=turned)


def _read_one(trial: Trial, place: int) -> Reading:
    matrices = trial.matrices[place]
    by_token = matrices[:, 0].flatten(0, 1)
    try:
        if bool(((matrices - matrices[:, :1]).abs() > 1e-5).any()):
            raise Unread("heads are turned differently")
        if is_half_interleaved(by_token.abs().amax(0) > 1e-5):
            return Reading(trial, "mistake")
        if trial.cells is not None:
            return _with_tables(trial, trial.cells[min(place, len(trial.cells) - 1)], by_token)
        if bool((by_token == by_token[:1]).all()) and not trial.roles.names("positions"):
            return _quarter_turn(trial, by_token[0])
        return _with_own_angles(trial, by_token)
    except Unread as error:
        return Reading(trial, "unread", reason=str(error))


def _with_tables(trial: Trial, cells: tuple[Tensor, Tensor], by_token: Tensor) -> Reading:
    structure = read_cells(by_token, cells[0].flatten(0, 1), cells[1].flatten(0, 1))
    if not structure.pairs:
        raise Unread("no channel is turned")
    width = trial.form.width
    if trial.roles.names("sections"):
        # The tables have an axis of three: their columns, whichever of the three they are of.
        if any(len({column // width for column in pair.columns}) > 1 for pair in structure.pairs):
            raise Unread("the channels of a pair are turned by positions of different axes")
        pairs = []
        for pair in structure.pairs:
            a, b, c, d = (column % width for column in pair.columns)
            pairs.append(replace(pair, columns=(a, b, c, d)))
        structure = replace(structure, pairs=tuple(pairs))
    columns = structure.columns(width)
    return Reading(trial, "shared angles" if columns == "none" else "rotation", structure, columns)


def _quarter_turn(trial: Trial, matrix: Tensor) -> Reading:
    """A function of one tensor: the quarter turn of its pairs."""
    same = torch.eye(len(matrix))
    if not torch.equal(matrix @ matrix, -same):
        raise Unread("it is the same at all positions, and no quarter turn of pairs")
    structure, angles, _ = read_angles((matrix + same)[None])
    return Reading(trial, "quarter turn", _directed(structure, angles[0, :, 0]), "none needed")


def _directed(structure: Structure, angles: Tensor) -> Structure:
    """The structure, with the direction of each pair by the sign of its angle."""
    pairs = zip(structure.pairs, angles.tolist(), strict=True)
    return replace(
        structure, pairs=tuple(replace(pair, direction=-1 if angle < 0 else 1) for pair, angle in pairs)
    )


def _with_own_angles(trial: Trial, by_token: Tensor) -> Reading:
    structure, angles, factors = read_angles(by_token)
    sizes, positions = trial.sizes, trial.positions
    if positions is None:
        positions = torch.arange(sizes.tokens).expand(sizes.batch, -1)
    factor = float(factors.mean())
    if bool(((factors - factor).abs() > 1e-4).any()):
        raise Unread("channels become longer or shorter by different factors")
    first, second = (rates(angles[..., side], positions.flatten()) for side in (0, 1))
    found = None if first is None or second is None else torch.stack((first, second), -1)
    apart = torch.remainder(angles[..., 0] - angles[..., 1] + 3, 6.283185307179586) - 3
    if bool((apart.abs() > 1e-4).any()):
        return Reading(trial, "two angles", structure, rates=found, factor=factor)
    if found is not None:
        structure = _directed(structure, found[:, 0])
    return Reading(trial, "rotation", structure, "its own", rates=found, factor=factor)
