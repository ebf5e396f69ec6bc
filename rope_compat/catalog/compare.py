"""What changed in the RoPE API between two builds, in griffe's vocabulary.

The builds are releases of the catalog, or anything that can be read like one.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from rope_compat._facts.rope_names import is_parameter_name
from rope_compat.catalog.model import DEFAULT_KINDS, Definition, Target
from rope_compat.catalog.query import fits, release_for
from rope_compat.catalog.signature import arguments_of, parameters_of
from rope_compat.catalog.sources import BadSourceError
from rope_compat.catalog.store import Catalog, catalog

__all__ = [
    "BREAKING",
    "DIFF_KINDS",
    "KINDS",
    "Change",
    "Side",
    "changes",
    "changes_between",
    "compare",
    "side_at",
    "side_of",
]

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

#: The kinds of targets that are compared unless others are asked for.
DIFF_KINDS = (*DEFAULT_KINDS, "carrier")


class Side(NamedTuple):
    """One of the two builds that are compared.

    ``facts`` has its targets by module, as `rope_compat.catalog.model.ReleaseFacts`; ``has`` tells whether a
    name can be imported from a module there.
    """

    version: str
    facts: Mapping[str, Iterable[tuple[str, Definition]]]
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


def changes(
    before: str, after: str, *, pattern: str = "*", kinds: Iterable[str] = DIFF_KINDS
) -> list[Change]:
    """What changed in the RoPE API from one release to another, those changes first that break most callers.

    A release may be a version of the catalog, the path of a wheel, an sdist, an unpacked transformers or a
    checkout, or ``"installed"``; the last two are read then, which takes some ten seconds. ``pattern``
    narrows as for `targets`.

    Raises:
        BadSourceError: a path holds no transformers that can be read, or none is installed.
        ValueError: neither a path nor a version.
    """
    return compare(side_of(before), side_of(after), pattern=pattern, kinds=kinds)


def compare(
    before: Side, after: Side, *, pattern: str = "*", kinds: Iterable[str] = DIFF_KINDS
) -> list[Change]:
    """`changes`, of sides that have been looked up."""
    known = catalog()
    calls = known.call_counts(before.version) if before.version in known.order else {}
    return changes_between(before, after, pattern=pattern, kinds=kinds, calls=calls)


def side_of(what: str) -> Side:
    """A release of the catalog, what lies at a path, or what is installed. Raises as `changes`."""
    from packaging.version import InvalidVersion, Version

    known = catalog()
    if what in known.order:
        return side_at(known, what)
    if what == "installed":
        spec = find_spec("transformers")
        if spec is None or spec.origin is None:
            raise BadSourceError("transformers is not installed; give a release of the catalog, or a path")
        return _side_read(Path(spec.origin).parent)
    if Path(what).exists():
        return _side_read(Path(what))
    try:
        version = release_for(what)
    except InvalidVersion:
        raise ValueError(
            f"{what!r} is neither a release that the catalog knows ({known.releases[0]} to "
            f"{known.releases[-1]}) nor an existing path"
        ) from None
    if Version(Version(what).base_version) > Version(known.releases[-1]):
        raise ValueError(
            f"{what} is newer than {known.releases[-1]}, the newest release that the catalog knows; run "
            "rope-compat catalog update, or give the path of a wheel or checkout"
        )
    return side_at(known, version)


def side_at(known: Catalog, build: str) -> Side:
    """One build of a catalog."""
    order, place = known.order, known.order[build]

    def has(module: str, name: str) -> bool:
        spans = known.name_spans(module, name)
        return any(order[span.first] <= place <= order[span.last] for span in spans)

    facts = {
        module: [
            (name, Definition(*each[2:]))
            for name in known.names(module)
            for each in known.generations(module, name)
            if order[each.first] <= place <= order[each.last]
        ]
        for module in known.modules()
    }
    return Side(build, facts, has)


def _side_read(path: Path) -> Side:
    from rope_compat.catalog.harvest import harvest

    read = harvest(path)

    def has(module: str, name: str) -> bool:
        names = read.names.get(module, ())
        return any(each.name == name for each in names) or f"{module}.{name}" in read.names

    return Side(read.version, read.targets, has)


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
    old, new = _by_target(before), _by_target(after)
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
    counted = [change._replace(calls=(calls or {}).get(str(change.target), 0)) for change in found]
    return sorted(counted, key=lambda each: (KINDS.index(each.kind), -each.calls, each.target))


Definitions = Mapping[Target, Definition]


def _by_target(side: Side) -> Definitions:
    return {
        Target(module, name): definition
        for module, entries in side.facts.items()
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


def _concerns_rope(change: Change) -> bool:
    """Whether a change of a carrier is one of RoPE. That it has come or gone is told with its class."""
    name = change.detail.partition(":")[0].partition("=")[0]
    carries = is_parameter_name(name) or name == "position_ids"
    return change.kind.startswith(("parameter", "default")) and carries


def _compare(target: Target, old: Definition | None, new: Definition | None) -> Iterator[Change]:
    some = new or old
    assert some is not None
    before, after = old.signature if old else None, new.signature if new else None
    for kind, detail in _differences(old, new):
        yield Change(target, some.kind, kind, detail, before, after, 0, some.kind == "carrier")


def _differences(old: Definition | None, new: Definition | None) -> Iterator[tuple[str, str]]:
    """Kind and detail of each difference."""
    if old == new:
        return
    if old is None or new is None:
        yield ("object added" if old is None else "object removed"), ""
        return
    if old.kind != new.kind:
        yield "object kind changed", f"{old.kind} to {new.kind}"
        return
    if old.signature != new.signature:
        if new.kind == "mapping":
            yield from _keys(old.signature, new.signature)
        elif new.kind == "field":
            yield "default changed", f"{old.signature} to {new.signature}"
        else:
            yield from _parameters(_table(old.signature), _table(new.signature))
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
    before, after = ([key for key in text.strip("{}").split(", ") if key] for text in (old, new))
    for kind, keys in (
        ("keys removed", [key for key in before if key not in after]),
        ("keys added", [key for key in after if key not in before]),
    ):
        if keys:
            yield kind, ", ".join(keys)


class _Parameter(NamedTuple):
    place: int | None  # None for what is not positional
    kind: str
    default: str | None


def _table(signature: str) -> dict[str, _Parameter]:
    arguments = arguments_of(signature)
    found = [(name, ast.unparse(value) if value else None) for name, value in parameters_of(arguments)]
    named = len(found) - len(arguments.kwonlyargs)
    table = {}
    for place, (name, default) in enumerate(found[:named]):
        kind = "positional only" if place < len(arguments.posonlyargs) else "positional"
        table[name] = _Parameter(place, kind, default)
    if arguments.vararg:
        table[f"*{arguments.vararg.arg}"] = _Parameter(None, "variadic", "")
    table |= {name: _Parameter(None, "keyword only", default) for name, default in found[named:]}
    if arguments.kwarg:
        table[f"**{arguments.kwarg.arg}"] = _Parameter(None, "variadic", "")
    return table


def _parameters(before: dict[str, _Parameter], after: dict[str, _Parameter]) -> Iterator[tuple[str, str]]:
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
