"""One application of rules: what it covers, what it did, what it left alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .edits import Assign, Edit, Entry, Replace, Rule, SetItem, Skip

__all__ = ["ByPackage", "Layer"]


class ByPackage:
    """Rules by the top-level package of a module: most loaded modules are nobody's business."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._known: dict[str, list[Rule]] = {}
        self._last: dict[str, Rule] = {}

    def of(self, module_name: str) -> list[Rule]:
        """The rules that may match a module of this name."""
        package = module_name.partition(".")[0]
        found = self._known.get(package)
        if found is None:
            found = [rule for rule in self._rules if rule.packages is None or package in rule.packages]
            self._known[package] = found
        return found

    def any_matches(self, module_name: str) -> bool:
        """Whether any rule matches; quick, as it is asked for every import of the process."""
        rules = self.of(module_name)
        if not rules:
            return False
        package = module_name.partition(".")[0]
        # The rule that took the last name takes most: one has something to do with every module.
        last = self._last.get(package)
        if last is not None and last.matches(module_name):
            return True
        for rule in rules:
            if rule.matches(module_name):
                self._last[package] = rule
                return True
        return False


@dataclass(eq=False, slots=True)
class Layer:
    """The state of one `patch()` call.

    Attributes:
        rules: what it asks for, also of modules that are imported later.
        report: whom to tell when modules that were imported later have been adapted.
        journal: what was done, in order.
        skipped: targets that were left alone, by target.
        applied: targets that were changed, by target, with a line for people.
        active: False once undone.
        edits: what was decided about modules that were loaded when the layer came.
        surprises: skips that have not been reported yet.
        notices: warnings of edits that have not been reported yet.
        asked: the rules, by the packages that they have to do with.
    """

    rules: tuple[Rule, ...]
    report: Callable[[Layer], None]
    journal: list[Entry] = field(default_factory=list)
    skipped: dict[str, Skip] = field(default_factory=dict)
    applied: dict[str, str] = field(default_factory=dict)
    active: bool = True
    edits: list[Edit] = field(default_factory=list)
    surprises: list[Skip] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    asked: ByPackage = field(init=False)

    def __post_init__(self) -> None:
        self.asked = ByPackage(self.rules)

    def wants(self, module_name: str) -> bool:
        """Whether any rule has to do with a module of this name."""
        return self.asked.any_matches(module_name)

    def note_skip(self, skip: Skip) -> None:
        """Remember a target that is left alone."""
        known = self.skipped.get(skip.target)
        if known is None or (skip.in_vain and not known.in_vain):
            # What is wrong with something that has no effect is of no interest.
            self.surprises = [each for each in self.surprises if each is not known]
            self.skipped[skip.target] = skip
            if skip.surprising:
                self.surprises.append(skip)

    def note_applied(self, edit: Replace | Assign | SetItem) -> None:
        """Remember a target that is adapted."""
        if edit.notice and edit.target not in self.applied:
            self.notices.append(edit.notice)
        self.applied[edit.target] = f"{edit.rule}: {edit.detail}"
        self.skipped.pop(edit.target, None)
