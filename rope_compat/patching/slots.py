"""Who replaced what: one slot per original, one layer per `patch()` call.

Layers can be removed in any order. A slot shows its newest layer's replacement, and the
original once the last layer is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from .edits import MISSING

__all__ = ["AttributeSlot", "ObjectSlot"]


@dataclass(slots=True)
class _Slot:
    original: object
    #: (layer, key, replacement), oldest first.
    stack: list[tuple[object, Hashable, object]] = field(default_factory=list)

    @property
    def top(self) -> object:
        return self.stack[-1][2] if self.stack else self.original

    def holds(self, layer: object) -> bool:
        return any(owner is layer for owner, _, _ in self.stack)

    def push(self, layer: object, key: Hashable, make: Callable[[], object]) -> object:
        """Add `layer`, with the replacement of an older layer of the same key, or a new one."""
        shared = [replacement for _, known, replacement in self.stack if known == key]
        replacement = shared[0] if shared else make()
        self.stack.append((layer, key, replacement))
        return replacement

    def drop(self, layer: object) -> list[object]:
        """Remove `layer`; return the replacements that nothing wants any more."""
        dropped = [replacement for owner, _, replacement in self.stack if owner is layer]
        self.stack = [entry for entry in self.stack if entry[0] is not layer]
        kept = {id(replacement) for _, _, replacement in self.stack}
        return [replacement for replacement in dropped if id(replacement) not in kept]


@dataclass(slots=True)
class ObjectSlot(_Slot):
    """An object that is replaced wherever it is bound (or, `everywhere` false, only at its targets)."""

    everywhere: bool = True


@dataclass(slots=True)
class AttributeSlot(_Slot):
    """One attribute of one object; its original may be `MISSING`."""

    owner: Any = None
    attribute: str = ""
    copies: bool = False

    @classmethod
    def of(cls, owner: object, attribute: str, *, copies: bool) -> AttributeSlot:
        """A slot whose original is what the attribute holds now."""
        slot = cls(MISSING, owner=owner, attribute=attribute, copies=copies)
        slot.original = slot.current()
        return slot

    def current(self) -> object:
        """What the attribute holds in the owner's own namespace."""
        return vars(self.owner).get(self.attribute, MISSING)

    def knows(self, value: object) -> bool:
        """Whether `value` is the original or one of the replacements, not something assigned since."""
        return value is self.original or any(value is replacement for _, _, replacement in self.stack)

    def show(self) -> None:
        """Make the attribute hold the slot's top."""
        if self.top is MISSING:
            if self.current() is not MISSING:
                delattr(self.owner, self.attribute)
        else:
            setattr(self.owner, self.attribute, self.top)
