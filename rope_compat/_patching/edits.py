"""What a rule can ask for, and what was done about it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from types import ModuleType
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, runtime_checkable

__all__ = [
    "MISSING",
    "AbsenceRule",
    "Assign",
    "Edit",
    "Entry",
    "Replace",
    "Resolve",
    "Rule",
    "SetItem",
    "Skip",
]


class _Missing:
    """The absence of an attribute."""

    def __repr__(self) -> str:
        return "<nothing>"


MISSING: Final = _Missing()


class Replace(NamedTuple):
    """Bind a replacement wherever an object is bound.

    Attributes:
        target: ``module:attribute``, for people.
        original: the object to replace.
        make: builds the replacement, a new object each time, since undoing finds it by identity; called
            only when there is none yet for `key`.
        key: edits of one original with equal keys share one replacement.
        everywhere: also rebind attributes of other modules and of classes that hold the original.
        rule: name of the rule that asked.
        detail: one line for people.
        notice: worth a warning, empty if nothing is.
    """

    target: str
    owner: ModuleType
    attribute: str
    original: object
    make: Callable[[], object]
    key: Hashable
    everywhere: bool
    rule: str
    detail: str
    notice: str = ""


class Assign(NamedTuple):
    """Set one attribute of one object, whether it exists or not.

    `copies`: undoing also takes back what others have copied from the attribute. Only for values that
    `make` builds anew each time: they are found by identity, and a shared one would be moved everywhere.
    """

    target: str
    owner: Any
    attribute: str
    make: Callable[[], object]
    key: Hashable
    rule: str
    detail: str
    notice: str = ""
    copies: bool = False


class SetItem(NamedTuple):
    """Set one key of one dict, whether it is there or not, or one place of a list; it stays the same object.

    For tables that others hold and add to: every holder sees the entry, and undoing leaves the others' alone.
    """

    target: str
    owner: dict[Any, Any] | list[Any]
    item: Hashable
    make: Callable[[], object]
    key: Hashable
    rule: str
    detail: str
    notice: str = ""


class Skip(NamedTuple):
    """A target that is left alone, and why. `surprising` ones are worth a warning.

    `in_vain`: somebody has put something there that nothing will use.
    """

    target: str
    rule: str
    reason: str
    surprising: bool = True
    in_vain: bool = False


Edit: TypeAlias = Replace | Assign | SetItem | Skip
Resolve: TypeAlias = Callable[[object], object]


class Rule(Protocol):
    """Proposes edits for modules.

    Two further attributes are optional, and make it cheap to ask:

    ``modules``: the names of the only modules that it matches, where these are known beforehand.

    ``lasting``: True where all that it proposes for a module follows from the attributes of the modules that
    lasting rules or ``modules`` name, and of the classes that these define; and where what `make` made can be
    put in place again after it was undone. It is not asked again then while these hold what they held.
    """

    @property
    def name(self) -> str:
        """A short stable name."""

    @property
    def packages(self) -> tuple[str, ...] | None:
        """Top-level packages outside of which nothing matches, which makes most imports cheap; None: any."""

    def matches(self, module_name: str) -> bool:
        """Whether the rule has to do with a module of this name; called for every import of `packages`."""

    def propose(self, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        """Edits for one imported module. `resolve` gives the original behind any replacement.

        Must not import anything, and must not change anything.
        """


@runtime_checkable
class AbsenceRule(Protocol):
    """A rule that is also told of modules that no finder finds."""

    def matches(self, module_name: str) -> bool:
        """As for `Rule`."""

    def absent(self, module_name: str) -> None:
        """Return, and the import fails as it always did; or raise what it is to fail with."""


class Entry(NamedTuple):
    """One thing that was done: a line of the journal."""

    rule: str
    place: str
    before: object
    after: object
    detail: str = ""
