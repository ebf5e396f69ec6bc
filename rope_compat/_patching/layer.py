"""One application of rules: what it covers, what it did, what it left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .asking import RuleSet
from .edits import Assign, Edit, Entry, Replace, SetItem, Skip

__all__ = ["Layer"]


@dataclass(eq=False, slots=True)
class Layer:
    """The state of one `patch()` call.

    Attributes:
        asked: the rules, which are also asked about modules that are imported later.
        report: whom to tell when modules that were imported later have been adapted.
        journal: what was done, in order.
        skipped: targets that were left alone, by target.
        applied: targets that were changed, by target, with a line for people.
        active: False once undone.
        edits: what was decided about modules that were loaded when the layer came.
        surprises: skips that have not been reported yet.
        notices: warnings of edits that have not been reported yet.
    """

    asked: RuleSet
    report: Callable[[Layer], None]
    journal: list[Entry] = field(default_factory=list)
    skipped: dict[str, Skip] = field(default_factory=dict)
    applied: dict[str, str] = field(default_factory=dict)
    active: bool = True
    edits: list[Edit] = field(default_factory=list)
    surprises: list[Skip] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def wants(self, module_name: str) -> bool:
        """Whether any rule has to do with a module of this name."""
        return bool(self.asked.of(module_name))

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
