"""From readings in many forms to one identity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .dtypes import precisions
from .example import keeps_lengths, smallest
from .forms import Form, Sizes
from .frequencies import explain
from .matrix import MISTAKE
from .parameters import flags
from .result import Call, Identity
from .survey import Reading, examine, read
from .trial import try_form

__all__ = ["judge"]

Function = Callable[..., Any]

#: The most telling shapes first: those that a caller of a batch has.
_ORDER = ("[B, S, R]", "[N, R]", "[S, R]", "", "[1, S, R]", "[B, 1, S, R]", "[B, S, 1, R]")


def judge(subject: str, function: Function, sizes: Sizes) -> Identity:
    """Examine a function that turns tensors, and say what it is."""
    readings = sorted(examine(function, sizes), key=_order)
    rotations = [reading for reading in readings if reading.is_rotation]
    if rotations:
        kinds = list(dict.fromkeys(_identity_key(reading) for reading in rotations))
        groups = [[each for each in rotations if _identity_key(each) == kind] for kind in kinds]
        found = [_rotation(subject, function, group, sizes) for group in groups]
        if len(found) == 1:
            return found[0]
        reason = "it computes different things in different forms of call"
        return Identity(subject, "ambiguous", reason, candidates=tuple(found))
    return _no_rotation(subject, function, readings)


def _order(reading: Reading) -> tuple[int, int, int]:
    form = reading.trial.form
    place = _ORDER.index(form.shape) if form.shape in _ORDER else len(_ORDER)
    return (len(form.layout) < 4, place, -form.width)


def _identity_key(reading: Reading) -> tuple[object, ...]:
    words = reading.words
    assert words is not None
    assert reading.structure is not None
    return (words.pairing, words.blocks, words.outputs, words.direction, reading.structure.cos_first)


def _rotation(subject: str, function: Function, group: Sequence[Reading], sizes: Sizes) -> Identity:
    main = max(group, key=_width_of_turned)
    main = next(each for each in group if _width_of_turned(each) == _width_of_turned(main))
    words, structure = main.words, main.structure
    assert words is not None
    assert structure is not None
    roles = main.trial.roles
    frequencies, notes = None, list(_flag_notes(function, main, sizes))
    if main.columns == "its own":
        if main.rates is not None:
            frequencies = explain(main.rates[:, 0].abs().tolist())
        else:
            notes.append("its angles do not grow linearly with what was passed as positions")
    if (
        main.kind == "rotation"
        and main.trial.form.positions
        and main.trial.form.kind
        and "N" not in main.trial.form.shape
    ):
        notes.append("position_ids are taken and choose no rows: cos and sin have to be each token's own")
    calls, optional_notes = _calls(function, group, main, sizes)
    calls += _with_axis(function, main, sizes)
    return Identity(
        subject,
        "quarter turn" if main.kind == "quarter turn" else "rotation",
        arguments=_arguments(main),
        kind=_kind(main),
        layout=_layout(group, main),
        calls=calls,
        turned=tuple(roles.names("x")[i] for i in main.turned),
        pairing=words.pairing,
        blocks=words.blocks,
        outputs=words.outputs,
        direction=words.direction,
        part=_part(group, main),
        tables=main.columns if main.columns not in ("its own", "none needed") else "",
        frequencies=frequencies,
        factor=round(main.factor, 5),
        precisions=precisions(function, main),
        notes=(*notes, *optional_notes),
    )


def _width_of_turned(reading: Reading) -> int:
    return 0 if reading.structure is None else 2 * len(reading.structure.pairs)


def _kind(reading: Reading) -> str:
    """The kind of tables, with cos and sin in the order that was measured."""
    kind = reading.trial.form.kind
    swapped = {
        "cos|sin": "sin|cos",
        "sin|cos": "cos|sin",
        "(cos, sin)": "(sin, cos)",
        "stacked": "stacked, sin first",
    }
    structure = reading.structure
    return kind if structure is None or structure.cos_first else swapped.get(kind, kind)


def _arguments(reading: Reading) -> str:
    structure = reading.structure
    second_is_cos = structure is not None and not structure.cos_first
    meaning = {"first": "sin", "second": "cos"} if second_is_cos else {"first": "cos", "second": "sin"}
    kind = {"complex": "cos + i sin"}.get(reading.trial.form.kind, _kind(reading))
    words = []
    for name, role in reading.trial.roles.given:
        said = meaning.get(role, kind if role == "table" else "")
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
    size = main.trial.drawn.sizes.dim
    spans = {}
    for reading in group:
        words = reading.words
        if words is not None and words.channels is not None:
            spans[reading.trial.form.width, words.channels] = words.channels
    if not spans:
        return "other"
    words = main.words
    assert words is not None
    if words.channels != (0, size):
        if words.channels is None:
            return "other"
        return f"channels {words.channels[0]} to {words.channels[1] - 1} of {size}"
    narrow = {span for span in spans.values() if span != (0, size)}
    if not narrow:
        return "all"
    return (
        "first"
        if all(span[0] == 0 for span in narrow)
        else "last"
        if all(s[1] == size for s in narrow)
        else "other"
    )


def _calls(
    function: Function, group: Sequence[Reading], main: Reading, sizes: Sizes
) -> tuple[tuple[Call, ...], list[str]]:
    calls = [
        Call(form.layout, form.shape, form.positions, ", ".join(f"{k}={v!r}" for k, v in form.options))
        for form in (reading.trial.form for reading in group)
    ]
    notes = []
    names = [name for name, role in main.trial.roles.optional if role == "positions"]
    if names and main.trial.form.kind and not main.trial.form.positions:
        notes.append(_what_optional_positions_do(function, names[0], main, sizes))
    return tuple(dict.fromkeys(calls)), notes


def _what_optional_positions_do(function: Function, name: str, main: Reading, sizes: Sizes) -> str:
    import torch

    tokens = main.trial.drawn.sizes.tokens
    positions = torch.arange(tokens - 1, -1, -1).expand(main.trial.drawn.sizes.batch, -1)
    trial = try_form(partial(function, **{name: positions}), main.trial.roles, main.trial.form, sizes)
    same = trial is not None and all(
        torch.equal(one, other) for one, other in zip(trial.matrices, main.trial.matrices, strict=True)
    )
    return (
        f"{name} is taken and ignored"
        if same
        else f"{name} changes what is computed, or the form of the tables"
    )


def _with_axis(function: Function, main: Reading, sizes: Sizes) -> tuple[Call, ...]:
    """Calls of the other layout, by an axis that has a default."""
    names = [name for name, role in main.trial.roles.optional if role == "axis"]
    if not names or main.trial.form.shape != "[B, S, R]":
        return ()
    found = []
    for layout, axis in (("bhsd", 1), ("bshd", 2)):
        form = main.trial.form
        other = Form(layout, form.kind, form.shape, form.width, form.positions, ((names[0], axis),))
        trial = try_form(function, main.trial.roles, other, sizes)
        if trial is not None and read(trial).is_rotation and layout != form.layout:
            found.append(Call(layout, other.shape, other.positions, f"{names[0]}={axis}"))
    return tuple(found)


def _flag_notes(function: Function, main: Reading, sizes: Sizes) -> list[str]:
    """What options that are true or false change."""
    notes = []
    for name, value in flags(function):
        trial = try_form(partial(function, **{name: value}), main.trial.roles, main.trial.form, sizes)
        if trial is None:
            continue
        other = read(trial)
        if other.is_rotation and other.structure != main.structure and other.words is not None:
            words = other.words
            changed = [
                f"{what} {new}"
                for what, new, old in (
                    ("pairing", words.pairing, main.words and main.words.pairing),
                    ("direction", words.direction, main.words and main.words.direction),
                    ("tables", other.columns, main.columns),
                )
                if new != old
            ]
            if changed:
                notes.append(f"{name}={value}: {', '.join(changed)}")
    return notes


def _no_rotation(subject: str, function: Function, readings: Sequence[Reading]) -> Identity:
    if not readings:
        reason = "it answered in none of the known forms of call; nothing can be said about it"
        return Identity(subject, "unknown", reason)
    for kind, mistake, reason in (
        ("mistake", MISTAKE, "neighbours are turned, and the results are written to the halves of the head"),
        (
            "two angles",
            "neighbours with half-concatenated angles",
            "the two channels of a pair turn by different angles",
        ),
        (
            "shared angles",
            "neighbours with half-concatenated angles",
            "the two channels of a pair are turned by different columns, so that pairs would share angles",
        ),
    ):
        found = next((each for each in readings if each.kind == kind), None)
        if found is not None:
            if kind != "mistake" and not (found.words is not None and found.words.pairing == "interleaved"):
                mistake = ""
            return _wrong(subject, function, found, reason, mistake)
    linear = [each for each in readings if each.trial.linear]
    if not linear or any(keeps_lengths(function, each) for each in linear):
        reasons = list(dict.fromkeys(each.reason for each in readings))
        return Identity(subject, "unknown", "it answers, but cannot be read: " + "; ".join(reasons[:3]))
    return _wrong(subject, function, linear[0], f"lengths change: {linear[0].reason}", "")


def _wrong(subject: str, function: Function, reading: Reading, reason: str, mistake: str) -> Identity:
    words = reading.words
    return Identity(
        subject,
        "not a rotation",
        reason,
        mistake,
        arguments=_arguments(reading),
        kind=reading.trial.form.kind,
        layout=reading.trial.form.layout,
        calls=(Call(reading.trial.form.layout, reading.trial.form.shape, reading.trial.form.positions),),
        turned=tuple(reading.trial.roles.names("x")[i] for i in reading.turned),
        pairing=words.pairing if words is not None else "",
        example=smallest(function, reading),
    )
