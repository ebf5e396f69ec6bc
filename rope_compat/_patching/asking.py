"""Which rules have to do with a module, and what they proposed for it the last time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

from .edits import MISSING, Assign, Edit, Resolve, Rule, Skip
from .references import name_of
from .snapshots import Snapshot

__all__ = ["RuleSet"]

_NONE: tuple[Rule, ...] = ()

#: A question that several rules share, and these with their places.
_Group = tuple[Callable[[str], bool], list[tuple[int, Rule]]]


class _Package:
    """The rules for the modules of one top-level package: by exact name, and by question."""

    def __init__(self, rules: Sequence[Rule], package: str) -> None:
        self.exact: dict[str, list[tuple[int, Rule]]] = {}
        groups: dict[object, _Group] = {}
        for place, rule in enumerate(rules):
            if rule.packages is not None and package not in rule.packages:
                continue
            names = getattr(rule, "modules", None)
            for name in names or ():
                self.exact.setdefault(name, []).append((place, rule))
            if names is None:
                question = getattr(rule, "wants", rule.matches)
                groups.setdefault(question, (rule.matches, []))[1].append((place, rule))
        self.groups = list(groups.values())

    def of(self, module_name: str) -> tuple[Rule, ...]:
        found = list(self.exact.get(module_name, ()))
        for matches, members in self.groups:
            if matches(module_name):
                found += members
        return tuple(rule for _, rule in sorted(found, key=_place)) if found else _NONE


def _place(entry: tuple[int, Rule]) -> int:
    return entry[0]


class RuleSet:
    """The rules of one or more layers: asked together, once for each name.

    Most loaded modules are nobody's business, and most rules have to do with the same ones.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._packages: dict[str, _Package | None] = {}
        self._of: dict[str, tuple[Rule, ...]] = {}
        self._proposals: dict[Snapshot, dict[int, tuple[Edit, ...]]] = {}

    @property
    def packages(self) -> set[str] | None:
        """The top-level packages that the rules have to do with; None: any."""
        named = [rule.packages for rule in self.rules]
        return None if None in named else {package for each in named for package in each or ()}

    def of(self, module_name: str) -> tuple[Rule, ...]:
        """The rules that match a module of this name; quick, as it is asked for every import."""
        found = self._of.get(module_name)
        if found is None:
            package = module_name.partition(".")[0]
            try:
                known = self._packages[package]
            except KeyError:
                made = _Package(self.rules, package)
                known = self._packages[package] = made if made.exact or made.groups else None
            if known is None:
                return _NONE
            found = self._of[module_name] = known.of(module_name)
        return found

    def propose(self, module: ModuleType, resolve: Resolve) -> list[Edit]:
        """What the rules propose for one module now."""
        return [edit for rule in self.of(name_of(module)) for edit in rule.propose(module, resolve)]

    def propose_again(
        self,
        modules: Iterable[tuple[str, ModuleType, Snapshot]],
        resolve: Resolve,
        renew: Callable[[object], None],
    ) -> list[tuple[ModuleType, list[Edit]]]:
        """The same for modules that nothing is patched in, without asking where nothing has changed.

        What one module holds may decide about another: where one has changed, all are asked.
        """
        asked = [(*each, rules) for each in modules for rules in (self.of(each[0]),) if rules]
        if not {snapshot for _, _, snapshot, _ in asked}.issuperset(self._proposals):
            self._proposals.clear()
        found = []
        for _, module, snapshot, rules in asked:
            known = self._proposals.get(snapshot)
            if known is None:
                known = {}
                if any(map(_says_something_lasting, rules)):
                    self._proposals[snapshot] = known
            edits: list[Edit] = []
            for rule in rules:
                kept = known.get(id(rule))
                if kept is not None:
                    edits += kept
                elif getattr(rule, "lasting", False):
                    lasting = tuple(_lasting(edit, renew) for edit in rule.propose(module, resolve))
                    known[id(rule)] = lasting
                    edits += lasting
                else:
                    edits += rule.propose(module, resolve)
            found.append((module, edits))
        return found


def _says_something_lasting(rule: Rule) -> bool:
    """Whether lasting answers may depend on a module because of `rule`: not if it asks each module anew."""
    return bool(getattr(rule, "lasting", False) or getattr(rule, "modules", None))


def _lasting(edit: Edit, renew: Callable[[object], None]) -> Edit:
    if isinstance(edit, Skip) or (isinstance(edit, Assign) and edit.copies):
        return edit
    return edit._replace(make=_Once(edit.make, renew))


class _Once:
    """Makes a replacement once; afterwards it gives the same one, told that it is to begin anew."""

    __slots__ = ("_made", "_make", "_renew")

    def __init__(self, make: Callable[[], object], renew: Callable[[object], None]) -> None:
        self._make, self._renew = make, renew
        self._made: Any = MISSING

    def __call__(self) -> object:
        if self._made is MISSING:
            self._made = self._make()
        else:
            self._renew(self._made)
        return self._made
