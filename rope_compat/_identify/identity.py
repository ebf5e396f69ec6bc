"""From readings in many forms to one identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .call_forms import Sizes, call, random_x, try_form
from .example import keeps_lengths, smallest
from .frequencies import explain
from .readings import Reading, examine, read
from .result import Call, Identity, Precision
from .signature import flags

__all__ = ["judge"]

Function = Callable[..., Any]

#: The most telling shapes first: those that a caller of a batch has.
_ORDER = ("[B, S, R]", "[N, R]", "[S, R]", "", "[1, S, R]", "[B, 1, S, R]", "[B, S, 1, R]")
_SECOND_FIRST = {
    "cos|sin": "sin|cos",
    "sin|cos": "cos|sin",
    "(cos, sin)": "(sin, cos)",
    "stacked": "stacked, sin first",
}
_HALF_INTERLEAVED = "neighbours turned, halves written: cat((-x[1::2], x[::2])) is no quarter turn of pairs"
_SHARED = "neighbours with half-concatenated angles"
#: Kinds of readings that are mistakes: the reason, and the name where neighbours are turned.
_MISTAKES = {
    "mistake": "neighbours are turned, and the results are written to the halves of the head",
    "two angles": "the two channels of a pair turn by different angles",
    "shared angles": "the two channels of a pair are turned by different columns, so that pairs would share "
    "angles",
}


def judge(subject: str, function: Function, sizes: Sizes) -> Identity:
    """Examine a function that turns tensors, and say what it is."""
    readings = sorted(examine(function, sizes), key=_order)
    groups: dict[object, list[Reading]] = {}
    for each in readings:
        if each.is_rotation:
            words = each.structure
            key = (words.pairing, words.blocks, words.outputs, words.direction, words.cos_first)
            groups.setdefault(key, []).append(each)
    if not groups:
        return _no_rotation(subject, function, readings)
    found = [_rotation(subject, function, group, sizes) for group in groups.values()]
    if len(found) == 1:
        return found[0]
    reason = "it computes different things in different forms of call"
    return Identity(subject, "ambiguous", reason, candidates=tuple(found))


def _order(reading: Reading) -> tuple[int, int, int]:
    form = reading.trial.form
    place = _ORDER.index(form.shape) if form.shape in _ORDER else len(_ORDER)
    return (len(form.layout) < 4, place, -form.width)


def _rotation(subject: str, function: Function, group: Sequence[Reading], sizes: Sizes) -> Identity:
    main = max(group, key=lambda each: len(each.structure.pairs))
    roles, form = main.trial.roles, main.trial.form
    frequencies, notes = None, list(_flag_notes(function, main, sizes))
    if main.columns == "its own":
        if main.rates is not None:
            frequencies = explain(main.rates[:, 0].abs().tolist())
        else:
            notes.append("its angles do not grow linearly with what was passed as positions")
    if main.kind == "rotation" and form.positions and form.kind and "N" not in form.shape:
        notes.append("position_ids are taken and choose no rows: cos and sin have to be each token's own")
    if roles.may("positions") and form.kind and not form.positions:
        notes.append(_what_optional_positions_do(function, roles.may("positions")[0], main, sizes))
    return Identity(
        subject,
        "quarter turn" if main.kind == "quarter turn" else "rotation",
        arguments=_arguments(main),
        kind=_kind(main),
        layout=_layout(group, main),
        calls=(*dict.fromkeys(map(_call, group)), *_with_axis(function, main, sizes)),
        turned=tuple(roles.names("x")[i] for i in main.turned),
        pairing=main.structure.pairing,
        blocks=main.structure.blocks,
        outputs=main.structure.outputs,
        direction=main.structure.direction,
        part=_part(group, main),
        tables=main.columns if main.columns not in ("its own", "none needed") else "",
        frequencies=frequencies,
        factor=round(main.factor, 5),
        precisions=tuple(_precisions(function, main)),
        notes=tuple(notes),
    )


def _call(reading: Reading) -> Call:
    form = reading.trial.form
    return Call(form.layout, form.shape, form.positions, ", ".join(f"{k}={v!r}" for k, v in form.options))


def _kind(reading: Reading) -> str:
    """The kind of tables, with cos and sin in the order that was measured."""
    kind = reading.trial.form.kind
    return kind if reading.structure.cos_first else _SECOND_FIRST.get(kind, kind)


def _arguments(reading: Reading) -> str:
    first, second = ("cos", "sin") if reading.structure.cos_first else ("sin", "cos")
    kind = {"complex": "cos + i sin"}.get(reading.trial.form.kind, _kind(reading))
    meaning = {"first": first, "second": second, "table": kind}
    words = []
    for name, role in reading.trial.roles.given:
        said = meaning.get(role, "")
        words.append(name if not said or said == name else f"{name}: {said}")
    return f"({', '.join(words)})"


def _layout(group: Sequence[Reading], main: Reading) -> str:
    forms = {(reading.trial.form.layout, reading.trial.form.shape) for reading in group}
    if main.kind == "quarter turn":
        return ""
    if {("bhsd", "[B, 1, S, R]"), ("bshd", "[B, S, 1, R]")} <= forms:
        return "as tables"
    return main.trial.form.layout


def _part(group: Sequence[Reading], main: Reading) -> str:
    size, own = main.trial.sizes.dim, main.structure.channels
    if own is None:
        return "other"
    if own != (0, size):
        return f"channels {own[0]} to {own[1] - 1} of {size}"
    narrow = {span for each in group if (span := each.structure.channels) is not None} - {own}
    if not narrow:
        return "all"
    if all(start == 0 for start, _ in narrow):
        return "first"
    return "last" if all(end == size for _, end in narrow) else "other"


def _what_optional_positions_do(function: Function, name: str, main: Reading, sizes: Sizes) -> str:
    here = main.trial.sizes
    positions = torch.arange(here.tokens - 1, -1, -1).expand(here.batch, -1)
    trial = try_form(partial(function, **{name: positions}), main.trial.roles, main.trial.form, sizes)
    same = trial is not None and all(map(torch.equal, trial.matrices, main.trial.matrices))
    what = "is taken and ignored" if same else "changes what is computed, or the form of the tables"
    return f"{name} {what}"


def _with_axis(function: Function, main: Reading, sizes: Sizes) -> Iterator[Call]:
    """Calls of the other layout, by an axis that has a default."""
    names, form = main.trial.roles.may("axis"), main.trial.form
    if names and form.shape == "[B, S, R]":
        for layout, axis in (("bhsd", 1), ("bshd", 2)):
            other = replace(form, layout=layout, options=((names[0], axis),))
            trial = try_form(function, main.trial.roles, other, sizes)
            if trial is not None and layout != form.layout and (found := read(trial)).is_rotation:
                yield _call(found)


def _flag_notes(function: Function, main: Reading, sizes: Sizes) -> Iterator[str]:
    """What options that are true or false change."""
    for name, value in flags(function):
        trial = try_form(partial(function, **{name: value}), main.trial.roles, main.trial.form, sizes)
        other = None if trial is None else read(trial)
        if other is not None and other.is_rotation and other.structure != main.structure:
            changes = (
                ("pairing", other.structure.pairing, main.structure.pairing),
                ("direction", other.structure.direction, main.structure.direction),
                ("tables", other.columns, main.columns),
            )
            changed = [f"{what} {new}" for what, new, old in changes if new != old]
            if changed:
                yield f"{name}={value}: {', '.join(changed)}"


def _precisions(function: Function, reading: Reading) -> Iterator[Precision]:
    """float32, bfloat16 and float16 tensors, each with tables of its own dtype and with float32 tables."""
    trial = reading.trial
    has_tables = trial.cells is not None and trial.form.kind not in ("complex", "angles")
    yield _precision(function, reading, torch.float32, torch.float32, has_tables)
    for dtype in (torch.bfloat16, torch.float16):
        for tables in (dtype, torch.float32) if has_tables else (torch.float32,):
            yield _precision(function, reading, dtype, tables, has_tables)


def _precision(
    function: Function, reading: Reading, given: torch.dtype, tables: torch.dtype, has_tables: bool
) -> Precision:
    trial = reading.trial
    xs = [x.to(given) for x in random_x(trial)]
    values = _cast(trial.values, tables)
    answers = call(function, replace(trial, values=values), xs)
    wide = replace(trial, values=_cast(values, torch.float32))
    exact = call(function, wide, [x.float() for x in xs])
    names = (_name(given), _name(tables) if has_tables else "")
    if answers is None or exact is None:
        return Precision(*names, "", "")
    answer, right = answers[reading.turned[0]], exact[reading.turned[0]]
    if torch.float32 in (given, answer.dtype):
        return Precision(*names, _name(answer.dtype), "")
    once = torch.equal(answer, right.to(answer.dtype))
    return Precision(*names, _name(answer.dtype), "once" if once else "at each step")


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, dict):
        return {name: _cast(each, dtype) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(_cast(each, dtype) for each in value)
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _no_rotation(subject: str, function: Function, readings: Sequence[Reading]) -> Identity:
    if not readings:
        reason = "it answered in none of the known forms of call; nothing can be said about it"
        return Identity(subject, "unknown", reason)
    for kind, reason in _MISTAKES.items():
        found = next((each for each in readings if each.kind == kind), None)
        if found is not None:
            mistake = _SHARED if found.structure.pairing == "interleaved" else ""
            mistake = _HALF_INTERLEAVED if kind == "mistake" else mistake
            return _wrong(subject, function, found, reason, mistake)
    linear = [each for each in readings if each.trial.linear]
    if not linear or any(keeps_lengths(function, each) for each in linear):
        reasons = list(dict.fromkeys(each.reason for each in readings))
        return Identity(subject, "unknown", "it answers, but cannot be read: " + "; ".join(reasons[:3]))
    return _wrong(subject, function, linear[0], f"lengths change: {linear[0].reason}", "")


def _wrong(subject: str, function: Function, reading: Reading, reason: str, mistake: str) -> Identity:
    roles, form = reading.trial.roles, reading.trial.form
    return Identity(
        subject,
        "not a rotation",
        reason,
        mistake,
        arguments=_arguments(reading),
        kind=form.kind,
        layout=form.layout,
        calls=(Call(form.layout, form.shape, form.positions),),
        turned=tuple(roles.names("x")[i] for i in reading.turned),
        pairing=reading.structure.pairing,
        example=smallest(function, reading),
    )
