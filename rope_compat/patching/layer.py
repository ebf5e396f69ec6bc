"""One application of rules: what it covers, what it did, what it left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .edits import Assign, Edit, Entry, Replace, Rule, Skip

__all__ = ["Layer"]


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
    _packages: frozenset[str] | None = None

    def __post_init__(self) -> None:
        known = [rule.packages for rule in self.rules]
        if None not in known:
            self._packages = frozenset(package for packages in known for package in packages or ())

    def wants(self, module_name: str) -> bool:
        """Whether any rule has to do with a module of this name."""
        if self._packages is not None and module_name.partition(".")[0] not in self._packages:
            return False
        return any(rule.matches(module_name) for rule in self.rules)

    def note_skip(self, skip: Skip) -> None:
        """Remember a target that is left alone."""
        if skip.target not in self.skipped:
            self.skipped[skip.target] = skip
            if skip.surprising:
                self.surprises.append(skip)

    def note_applied(self, edit: Replace | Assign) -> None:
        """Remember a target that is adapted."""
        if edit.notice and edit.target not in self.applied:
            self.notices.append(edit.notice)
        self.applied[edit.target] = f"{edit.rule}: {edit.detail}"
        self.skipped.pop(edit.target, None)
