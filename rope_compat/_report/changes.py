"""What changed between two releases, as a page that reads like release notes for RoPE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rope_compat._report.page import Item, Page, Row, Section, Tone, counted, some
from rope_compat.catalog.compare import BREAKING, Change
from rope_compat.catalog.signature import split_parameters

__all__ = ["page", "to_dict"]

_SHOWN_MODULES = 8
_SHOWN_GROUPS = 12
_SHOWN_MOVES = 4
_LONG = 180
_REMOVED, _ADDED = "object removed", "object added"
_GONE = frozenset({_REMOVED, "object kind changed"})
#: Title of each section, its tone, and the kinds of change that put a group into it: the first that fits.
_SECTIONS: tuple[tuple[str, Tone, frozenset[str]], ...] = (
    ("Gone: importing, calling or subclassing these fails", "bad", _GONE),
    ("Calls that fail, or mean something else", "bad", BREAKING - _GONE),
    ("Other values where nothing is passed", "warn", frozenset({"default changed"})),
    (
        "Takes or has more than before",
        "plain",
        frozenset({"parameter added", "parameter made optional", "keys added"}),
    ),
    ("Other code under the same signature", "warn", frozenset({"body changed"})),
    ("New", "plain", frozenset({_ADDED})),
    (
        "Bases, decorators, conditions",
        "plain",
        frozenset({"bases changed", "decorators changed", "condition changed"}),
    ),
)


@dataclass(frozen=True)
class _Group:
    """Targets that changed in the same way, `details`, from `before` to `after`."""

    name: str
    before: str | None
    after: str | None
    details: tuple[str, ...]
    changes: tuple[Change, ...]

    @property
    def targets(self) -> list[str]:
        return sorted({str(each.target) for each in self.changes})

    @property
    def calls(self) -> int:
        return sum({str(each.target): each.calls for each in self.changes}.values())


def page(before: str, after: str, found: Sequence[Change]) -> Page:
    """The changes, in groups that changed alike; those that break most callers first."""
    modules = {each.target.module for each in found}
    if not found:
        return Page(f"RoPE API from {before} to {after}: no change", (), "good")
    targets = len({each.target for each in found})
    count = f"{counted(targets, 'target')} in {counted(len(modules), 'module')}"
    headline = f"RoPE API from {before} to {after}: {count} changed"
    sections = [
        Section(title, tuple(_entries(groups, tone)))
        for (title, tone, _), groups in zip(_SECTIONS, _sorted_into_sections(found), strict=True)
    ]
    breaking = any(section.entries for section in sections[:2])
    return Page(headline, tuple(sections), "warn" if breaking else "plain", _FOOTER)


_FOOTER = (
    "calls: places in transformers' own code that called it before. One target over all releases: "
    "rope-compat history TARGET. Every change, one by one: --json"
)


def to_dict(before: str, after: str, found: Sequence[Change]) -> dict[str, object]:
    """The changes one by one, as JSON-ready data."""
    return {
        "from": before,
        "to": after,
        "changes": [
            {
                "target": str(each.target),
                "object": each.object_kind,
                "kind": each.kind,
                "detail": each.detail,
                "before": each.before,
                "after": each.after,
                "calls": each.calls,
            }
            for each in found
        ],
    }


def _sorted_into_sections(found: Sequence[Change]) -> list[list[_Group]]:
    by_target: dict[str, list[Change]] = {}
    classes = {str(each.target) for each in found if each.object_kind == "class"}
    for each in found:
        # The constructor of a class is told with the class.
        if not (each.target.name.endswith(".__init__") and str(each.target).rpartition(".")[0] in classes):
            by_target.setdefault(str(each.target), []).append(each)
    placed: list[dict[object, list[Change]]] = [{} for _ in _SECTIONS]
    for changes in by_target.values():
        kinds = {each.kind for each in changes}
        place = next(index for index, (_, _, wanted) in enumerate(_SECTIONS) if kinds & wanted)
        placed[place].setdefault(_likeness(changes), []).extend(changes)
    return [sorted(map(_group, groups.values()), key=_rank) for groups in placed]


def _likeness(changes: Sequence[Change]) -> object:
    first = changes[0]
    # A new model is one line; so is a function that is gone from many, as it is searched for by its name.
    if first.kind == _ADDED:
        return first.target.module
    if first.kind == _REMOVED:
        is_function = first.object_kind == "function"
        return first.target.name if is_function else first.target.module, first.object_kind
    return _name(first), first.before, first.after, tuple(sorted(map(_words, changes)))


def _group(changes: Sequence[Change]) -> _Group:
    first = changes[0]
    details = () if first.kind in {_ADDED, _REMOVED} else tuple(dict.fromkeys(map(_words, changes)))
    names = dict.fromkeys(map(_name, changes) if details else (each.target.name for each in changes))
    return _Group(", ".join(names), first.before, first.after, details, tuple(changes))


def _rank(group: _Group) -> tuple[int, int, str]:
    return -group.calls, -len(group.targets), group.name


def _name(change: Change) -> str:
    """What targets that change alike are called together: functions by name, methods and classes by sort."""
    name = change.target.name
    if change.object_kind == "function" or change.object_kind == "mapping":
        return name
    owner, _, method = name.rpartition(".")
    sort = "attention and layers" if change.is_carrier else "rotary classes"
    return f"{method} of {sort}" if owner else f"constructor of {sort}"


def _words(change: Change) -> str:
    if change.kind.startswith("parameter"):
        name, _, how = change.detail.partition(": ")
        return f"{name} {change.kind.removeprefix('parameter ')}{f' from {how}' if how else ''}"
    return f"{change.kind}: {change.detail}" if change.detail else change.kind


def _entries(groups: Sequence[_Group], tone: Tone) -> Iterator[Item | Row]:
    for group in groups[:_SHOWN_GROUPS]:
        yield _item(group, tone)
    rest = groups[_SHOWN_GROUPS:]
    if rest:
        targets = sum(len(group.targets) for group in rest)
        yield Item(f"{counted(len(rest), 'more group')} with {counted(targets, 'target')}; --json lists them")


def _item(group: _Group, tone: Tone) -> Item:
    modules = sorted({each.target.module for each in group.changes})
    where = modules[0] if len(modules) == 1 else counted(len(modules), "module")
    calls = f", {counted(group.calls, 'call')}" if group.calls else ""
    details = []
    if group.before != group.after and group.details:
        concerned = {change.detail.partition(":")[0].partition("=")[0] for change in group.changes}
        details += [_short(str(group.before), concerned), f"-> {_short(str(group.after), concerned)}"]
    if group.details and group.details != ("body changed",):
        details.append("; ".join(_telling(group.details)))
    if len(modules) > 1:
        details.append(_models(modules))
    return Item(f"{group.name} ({where}{calls})", tone, tuple(details))


def _telling(details: Sequence[str]) -> list[str]:
    """What changed, without the parameters that have only moved because another came or went before them."""
    moved = [each for each in details if " moved from " in each]
    others = [each for each in details if each not in moved]
    if len(moved) <= _SHOWN_MOVES:
        return [*others, *moved]
    return [*others, *moved[:_SHOWN_MOVES], f"{len(moved) - _SHOWN_MOVES} more moved"]


def _short(signature: str, concerned: set[str]) -> str:
    """A long signature without the parameters that stayed as they were."""
    if len(signature) <= _LONG or not signature.startswith("("):
        return signature
    parts: list[str] = []
    for part in split_parameters(signature):
        if part.partition("=")[0] in concerned or part == "self":
            parts.append(part)
        elif parts[-1:] != ["..."]:
            parts.append("...")
    return f"({', '.join(parts)})"


def _models(modules: Iterable[str]) -> str:
    return some(list(dict.fromkeys(map(_model, modules))), _SHOWN_MODULES)


def _model(module: str) -> str:
    parts = module.split(".")
    return parts[-2] if len(parts) > 2 and parts[1] == "models" else parts[-1]
