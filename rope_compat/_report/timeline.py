"""What a timeline is made of: what each target was in which columns, and which targets were the same.

A column is a build's place in the catalog. The text page and the pictures are made of this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from rope_compat._report.page import counted, some
from rope_compat.catalog.model import Generation, Target
from rope_compat.catalog.query import generations
from rope_compat.catalog.store import catalog

__all__ = [
    "BODY",
    "Event",
    "Group",
    "History",
    "Stretch",
    "Timeline",
    "differences",
    "families",
    "grouped",
    "labeller",
    "many",
    "minor",
    "noun",
    "of_name",
    "of_target",
    "subtitle",
]

#: What an `Event` says where only the code of the body is different.
BODY = "body changed"

#: What distinguishes the stretches of a kind, where that is no signature.
_UNITS = {"mapping": "set of keys", "field": "default", "reexport": "origin"}
_DATA = frozenset(_UNITS)
_PLURALS = {
    "class": "classes",
    "set of keys": "sets of keys",
    "reexport": "re-exports",
    "other history": "other histories",
}

_SHOWN_PARTS = 6  # of what was added to a signature, and of what was dropped
_PACKAGE = "transformers."
_MODELS = "transformers.models."


class Event(NamedTuple):
    """What a release changed without changing the signature."""

    column: int
    what: str


class Stretch(NamedTuple):
    """Consecutive columns, both ends included, in which a target had one signature, or a name one kind.

    Attributes:
        shown: what tells stretches apart: the signature; of a re-export and of a name, words.
        signature: as `Generation.signature`; None of a name.
        kind: as `Generation.kind` or `NameSpan.kind`.
        condition: when it is there, as source; empty where it always is.
        decorators: those at its start, as source.
        events: what changed inside.
    """

    first: int
    last: int
    shown: str
    signature: str | None
    kind: str
    condition: str = ""
    decorators: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()


class History(NamedTuple):
    """What one target, or one name of a module, has been.

    Attributes:
        kind: the last one.
        has_body: whether the catalog has fingerprints of its code: not where only the signature counts.
    """

    target: Target
    kind: str
    stretches: tuple[Stretch, ...]
    has_body: bool = True

    @property
    def full_name(self) -> str:
        """``module:qualname``; of a module, only that."""
        return str(self.target).removesuffix(":")

    def body_changes(self) -> tuple[int, ...]:
        """The columns at which the body changed and the signature did not."""
        return tuple(event.column for each in self.stretches for event in each.events if event.what == BODY)

    def narrowed(self, first: int, last: int) -> History:
        """The part inside two columns, both included; without stretches where there is none."""
        kept = (
            each._replace(
                first=max(each.first, first),
                last=min(each.last, last),
                events=tuple(event for event in each.events if first < event.column <= last),
            )
            for each in self.stretches
            if each.first <= last and each.last >= first
        )
        return self._replace(stretches=tuple(kept))


class Group(NamedTuple):
    """Targets with the same stretches; of a family, all but the start of the first."""

    members: tuple[History, ...]

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """Those of the member that is the oldest."""
        return self.members[0].stretches

    def starts(self) -> tuple[int, int]:
        """The columns in which the oldest and the youngest member begin."""
        every = [each.stretches[0].first for each in self.members]
        return min(every), max(every)

    def body_changes(self) -> dict[int, int]:
        """How many members had only their body changed, by column."""
        counts = Counter(column for member in self.members for column in member.body_changes())
        return dict(sorted(counts.items()))


class Timeline(NamedTuple):
    """What was asked for, and what was found.

    Attributes:
        asked: the pattern.
        found: every history that fits, sorted by target, over all builds.
        builds: all builds; columns count them.
        first, last: the columns that are shown.
        are_names: the histories are those of importable names, which are no targets.
        note: what is to be said besides.
    """

    asked: str
    found: tuple[History, ...]
    builds: tuple[str, ...]
    first: int
    last: int
    are_names: bool = False
    note: str = ""

    def histories(self) -> list[History]:
        """Those that have something in the columns shown, cut to them."""
        cut = (each.narrowed(self.first, self.last) for each in self.found)
        return [each for each in cut if each.stretches]

    def title(self) -> str:
        """The one target in full, or the pattern."""
        return self.found[0].full_name if len(self.found) == 1 else self.asked

    def period(self) -> str:
        """The releases that are shown."""
        return f"transformers {self.range_text(self.first, self.last)}"

    def range_text(self, first: int, last: int) -> str:
        """``4.28.0 - 4.34.1``, or one release."""
        return self.builds[first] if first == last else f"{self.builds[first]} - {self.builds[last]}"


def of_target(target: Target) -> History:
    """The history of one target of the catalog. Raises `ValueError` when no build has it."""
    order = catalog().order
    known = generations(target.module, target.name)
    if not known:
        raise ValueError(f"{target} is not a target of the catalog")
    found: list[Stretch] = []
    before: Generation | None = None
    for each in known:
        first, last = order[each.first], order[each.last]
        if before is not None and found[-1].last == first - 1 and _same_api(before, each):
            events = found[-1].events + tuple(Event(first, what) for what in _inner_changes(before, each))
            found[-1] = found[-1]._replace(last=last, events=events)
        else:
            shown = f"re-exported from {each.signature}" if each.kind == "reexport" else each.signature
            found.append(
                Stretch(first, last, shown, each.signature, each.kind, each.condition, each.decorators)
            )
        before = each
    return History(
        target, known[-1].kind, tuple(found), known[-1].kind in _DATA or any(each.body for each in known)
    )


def of_name(target: Target) -> History | None:
    """In which builds ``from module import name`` works; None where it never did."""
    order = catalog().order
    known = catalog().name_spans(target.module, target.name)
    if not known:
        return None
    stretches = tuple(
        Stretch(
            order[each.first],
            order[each.last],
            f"{each.kind}, only if {each.condition}" if each.condition else each.kind,
            None,
            each.kind,
            each.condition,
        )
        for each in known
    )
    return History(target, known[-1].kind, stretches)


def grouped(histories: Iterable[History], *, by_start: bool = True) -> list[Group]:
    """Targets with the same stretches together, the largest group first.

    Without ``by_start``, models that joined at different times but have had the same changes since then are
    together, the oldest first.
    """
    groups: dict[object, list[History]] = {}
    for each in histories:
        head, *rest = each.stretches
        start = (head.first if by_start else -1, head.last, head.shown)
        key = (each.kind, start, *((one.first, one.last, one.shown) for one in rest))
        groups.setdefault(key, []).append(each)
    found = [Group(tuple(sorted(each, key=_age))) for each in groups.values()]
    return sorted(found, key=lambda each: (-len(each.members), _age(each.members[0])))


def families(histories: Iterable[History]) -> list[list[Group]]:
    """Groups of targets with equal stretches; those that differ in nothing but their start are a family.

    The largest family comes first, in it the oldest group.
    """
    return [
        sorted(grouped(family.members), key=lambda group: _age(group.members[0]))
        for family in grouped(histories, by_start=False)
    ]


def minor(build: str) -> str:
    """``4.28`` of ``4.28.1``."""
    return ".".join(build.split(".")[:2])


def labeller(histories: Sequence[History]) -> Callable[[Target], str]:
    """How to name each of some targets briefly: by what is different between them."""
    every = [each.target for each in histories]
    what = noun(histories)
    if what == "module":
        return lambda target: _short(target.module)

    def own(target: Target) -> str:
        return target.name.rpartition(".")[0] if what == "class" else target.name

    seen = Counter(map(own, every))
    return lambda each: own(each) if seen[own(each)] == 1 else f"{_short(each.module)}:{own(each)}"


def noun(histories: Sequence[History]) -> str:
    """What a group counts: modules where all have one name, classes where all are one method or field."""
    names = {each.target.name for each in histories}
    if len(names) == 1:
        return "module"
    in_classes = all("." in each for each in names)
    return "class" if in_classes and len({each.rpartition(".")[2] for each in names}) == 1 else "target"


def many(number: int, one: str) -> str:
    """``1 class``, ``2 classes``: as `counted`, of what needs more than an s as well."""
    return f"{number} {_PLURALS[one]}" if one in _PLURALS and number != 1 else counted(number, one)


def subtitle(histories: Sequence[History], *, are_names: bool) -> str:
    """How many of what kind, with how many signatures: ``193 functions, 12 signatures``."""
    if are_names:
        return f"can be imported from {counted(len(histories), 'module')}"
    kinds = {each.kind for each in histories}
    kind = kinds.pop() if len(kinds) == 1 else "target"
    stretches = [stretch for each in histories for stretch in each.stretches]
    number = len({each.shown for each in stretches if kind == "reexport" or each.kind != "reexport"})
    unit = _UNITS.get(kind, "signature")
    return f"{many(len(histories), kind)}, {many(number, unit)}"


def differences(before: Stretch, after: Stretch) -> str:
    """What one signature has that the one before had not; empty where they are no signatures, or the same."""
    old, new = _parts(before.signature or ""), _parts(after.signature or "")
    if not old or not new:
        return ""
    said = [
        f"{word} {some(names, _SHOWN_PARTS)}"
        for word, names in (
            ("adds", [text for name, text in new.items() if name not in old]),
            ("drops", [name for name in old if name not in new]),
        )
        if names
    ]
    said += [f"{old[name]} becomes {new[name]}" for name in new if old.get(name, new[name]) != new[name]]
    if [name for name in old if name in new] != [name for name in new if name in old]:
        said.append("in another order")
    return "; ".join(said)


def _parts(signature: str) -> dict[str, str]:
    """The parameters of a signature as written, or the keys of a mapping, by name. Empty of anything else."""
    if signature.startswith("{"):
        return {key: key for key in signature.strip("{}").split(", ")}
    if not signature.startswith("("):
        return {}
    from ast import unparse

    from rope_compat.catalog.signature import arguments_of

    found = arguments_of(signature)
    positional = [*found.posonlyargs, *found.args]
    defaults = [None] * (len(positional) - len(found.defaults)) + found.defaults
    every = [*zip(positional, defaults, strict=True), *zip(found.kwonlyargs, found.kw_defaults, strict=True)]
    parts = {each.arg: f"{each.arg}={unparse(value)}" if value else each.arg for each, value in every}
    names = [each.arg for each in positional]
    if found.posonlyargs:
        names.insert(len(found.posonlyargs), "/")
    if found.vararg or found.kwonlyargs:
        names.append(f"*{found.vararg.arg if found.vararg else ''}")
    names += [each.arg for each in found.kwonlyargs]
    names += [f"**{found.kwarg.arg}"] if found.kwarg else []
    return {name: parts.get(name, name) for name in names}


def _age(history: History) -> tuple[int, Target]:
    return history.stretches[0].first, history.target


def _short(module: str) -> str:
    """The model's name, where a module is a model's: ``llama``, ``llama (configuration)``."""
    if not module.startswith(_MODELS):
        return module.removeprefix(_PACKAGE)
    *path, last = module.removeprefix(_MODELS).split(".")
    if not path:
        return f"{last} (package)"
    if not last.endswith(f"_{path[-1]}"):
        return ".".join((*path, last))
    role = last.removesuffix(f"_{path[-1]}")
    return ".".join(path) if role == "modeling" else f"{'.'.join(path)} ({role})"


def _same_api(before: Generation, after: Generation) -> bool:
    return before.signature == after.signature and (before.kind == "reexport") == (after.kind == "reexport")


def _inner_changes(before: Generation, after: Generation) -> Iterator[str]:
    # Of some targets no body is recorded: what is not known has not changed.
    if before.body != after.body and before.body and after.body:
        yield BODY
    if before.decorators != after.decorators:
        yield (
            f"decorated with {', '.join(after.decorators)}" if after.decorators else "no decorators any more"
        )
    if before.bases != after.bases:
        yield f"bases are now {', '.join(after.bases) or 'none'}"
    if before.condition != after.condition:
        yield f"only if {after.condition}" if after.condition else "always, without a condition"
