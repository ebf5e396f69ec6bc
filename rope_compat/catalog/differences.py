"""What changed in the RoPE API between two releases, in griffe's vocabulary."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from rope_compat.catalog.model import DEFAULT_KINDS, Target
from rope_compat.catalog.query import fits
from rope_compat.catalog.reading.facts import Definition
from rope_compat.catalog.reading.words import is_parameter_name
from rope_compat.catalog.signature import arguments_of

__all__ = ["BREAKING", "DIFF_KINDS", "KINDS", "Change", "Facts", "Side", "changes_between"]

#: Every kind of change: those that break callers first.
KINDS = (
    "object removed",
    "object kind changed",
    "parameter removed",
    "parameter moved",
    "parameter made required",
    "parameter added as required",
    "parameter kind changed",
    "keys removed",
    "default changed",
    "parameter added",
    "parameter made optional",
    "keys added",
    "bases changed",
    "decorators changed",
    "condition changed",
    "body changed",
    "object added",
)
#: Those after which importing, calling or subclassing may fail.
BREAKING = frozenset(KINDS[: KINDS.index("keys removed") + 1])
_POSITION = "position_ids"

#: The kinds of targets that are compared unless others are asked for.
DIFF_KINDS = (*DEFAULT_KINDS, "carrier")

Facts = Mapping[str, Iterable[tuple[str, Definition]]]
"""Targets by module: of one build, as `rope_compat.catalog.reading.release.ReleaseFacts` has them."""


class Side(NamedTuple):
    """One of the two builds that are compared.

    ``has`` tells whether a name can be imported from a module there.
    """

    version: str
    facts: Facts
    has: Callable[[str, str], bool] = lambda module, name: True


class Change(NamedTuple):
    """One difference of one target.

    Attributes:
        target: what changed.
        object_kind: ``function``, ``class``, ``method``, ``mapping``, ``field`` or ``carrier``.
        kind: one of `KINDS`.
        detail: the parameter, key or text concerned; empty where `kind` says it all.
        before, after: the signatures; None where the target is not there.
        calls: at how many places transformers' own code called the target before.
        is_carrier: the target is not RoPE's own, but takes or computes something of RoPE (attention).
    """

    target: Target
    object_kind: str
    kind: str
    detail: str
    before: str | None
    after: str | None
    calls: int
    is_carrier: bool


def changes_between(
    before: Side,
    after: Side,
    *,
    pattern: str = "*",
    kinds: Iterable[str] = DIFF_KINDS,
    calls: Mapping[str, int] | None = None,
) -> list[Change]:
    """Every difference between two builds, those that break most callers first.

    What comes or goes with a class is not told on its own. Of carriers (attention's ``forward``) only what
    concerns RoPE is told: parameters that carry it, and functions and classes that are gone. ``calls``: at
    how many places each target is called in the earlier build.
    """
    wanted = frozenset(kinds)
    old, new = _by_target(before.facts), _by_target(after.facts)
    found = [
        change
        for target in sorted({*old, *new})
        if fits(target, pattern)
        for change in _compare(target, old.get(target), new.get(target))
        if change.object_kind in wanted
        and not (change.is_carrier and not _concerns_rope(change))
        and not _goes_with_class(change, old, new)
    ]
    if "carrier" in wanted:
        found += [each for each in _gone_with_carriers(old, new, after) if fits(each.target, pattern)]
    counts = calls or {}
    counted = [change._replace(calls=counts.get(str(change.target), 0)) for change in found]
    return sorted(counted, key=lambda each: (KINDS.index(each.kind), -each.calls, each.target))


Definitions = Mapping[Target, Definition]


def _by_target(facts: Facts) -> Definitions:
    return {
        Target(module, name): definition
        for module, entries in facts.items()
        for name, definition in entries
        if definition.kind != "reexport"
    }


def _gone_with_carriers(old: Definitions, new: Definitions, after: Side) -> Iterator[Change]:
    """Functions and classes that carried something of RoPE, and cannot be imported any more."""
    gone = {
        Target(target.module, target.name.partition(".")[0]): "class" if "." in target.name else "function"
        for target, definition in old.items()
        if definition.kind == "carrier" and target not in new
    }
    for target, kind in sorted(gone.items()):
        if (target not in old or old[target].kind == "carrier") and not after.has(*target):
            yield Change(target, kind, "object removed", "", None, None, 0, True)


def _goes_with_class(change: Change, old: Definitions, new: Definitions) -> bool:
    owner = Target(change.target.module, change.target.name.rpartition(".")[0])
    if not owner.name or change.kind not in {"object removed", "object added"}:
        return False
    return (owner in old) != (owner in new)


def _compare(target: Target, old: Definition | None, new: Definition | None) -> Iterator[Change]:
    if old == new:
        return
    some = new or old
    assert some is not None

    def change(kind: str, detail: str = "") -> Change:
        return Change(
            target,
            some.kind,
            kind,
            detail,
            old.signature if old else None,
            new.signature if new else None,
            0,
            some.kind == "carrier",
        )

    if new is None:
        yield change("object removed")
    elif old is None:
        yield change("object added")
    elif old.kind != new.kind:
        yield change("object kind changed", f"{old.kind} to {new.kind}")
    else:
        yield from (change(kind, detail) for kind, detail in _differences(old, new))


def _differences(old: Definition, new: Definition) -> Iterator[tuple[str, str]]:
    if old.signature != new.signature:
        if new.kind == "mapping":
            yield from _keys(old.signature, new.signature)
        elif new.kind == "field":
            yield "default changed", f"{old.signature} to {new.signature}"
        else:
            yield from _parameters(arguments_of(old.signature), arguments_of(new.signature))
    elif old.body != new.body and old.body and new.body:
        yield "body changed", ""
    for kind, first, second in (
        ("bases changed", old.bases, new.bases),
        ("decorators changed", old.decorators, new.decorators),
        ("condition changed", tuple(filter(None, [old.condition])), tuple(filter(None, [new.condition]))),
    ):
        if first != second:
            yield kind, f"{', '.join(first) or 'none'} to {', '.join(second) or 'none'}"


def _keys(old: str, new: str) -> Iterator[tuple[str, str]]:
    before, after = _items(old), _items(new)
    for kind, keys in (
        ("keys removed", [key for key in before if key not in after]),
        ("keys added", [key for key in after if key not in before]),
    ):
        if keys:
            yield kind, ", ".join(keys)


def _items(signature: str) -> list[str]:
    text = signature.strip("{}")
    return [each.strip() for each in text.split(", ")] if text else []


class _Parameter(NamedTuple):
    place: int | None  # None for what is not positional
    kind: str
    default: str | None


def _table(arguments: ast.arguments) -> dict[str, _Parameter]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(
        map(ast.unparse, arguments.defaults)
    )
    table = {
        each.arg: _Parameter(
            place, "positional only" if place < len(arguments.posonlyargs) else "positional", default
        )
        for place, (each, default) in enumerate(zip(positional, defaults, strict=True))
    }
    if arguments.vararg:
        table[f"*{arguments.vararg.arg}"] = _Parameter(None, "variadic", "")
    for each, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        table[each.arg] = _Parameter(None, "keyword only", ast.unparse(value) if value else None)
    if arguments.kwarg:
        table[f"**{arguments.kwarg.arg}"] = _Parameter(None, "variadic", "")
    return table


def _parameters(old: ast.arguments, new: ast.arguments) -> Iterator[tuple[str, str]]:
    before, after = _table(old), _table(new)
    for name in before:
        if name not in after:
            yield "parameter removed", name
    for name, now in after.items():
        was = before.get(name)
        if was is None:
            yield ("parameter added as required" if now.default is None else "parameter added"), name
            continue
        if was.kind != now.kind:
            yield "parameter kind changed", f"{name}: {was.kind} to {now.kind}"
        elif was.place is not None and now.place is not None and was.place != now.place:
            yield "parameter moved", f"{name}: place {was.place + 1} to {now.place + 1}"
        if was.default is None and now.default is not None:
            yield "parameter made optional", f"{name}={now.default}"
        elif was.default is not None and now.default is None:
            yield "parameter made required", name
        elif was.default != now.default:
            yield "default changed", f"{name}: {was.default} to {now.default}"


def _concerns_rope(change: Change) -> bool:
    """Whether a change of a carrier is one of RoPE. That it has come or gone is told with its class."""
    name = change.detail.partition(":")[0].partition("=")[0]
    return change.kind.startswith(("parameter", "default")) and (is_parameter_name(name) or name == _POSITION)
