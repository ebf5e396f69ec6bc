"""Who replaced what: one slot per original, one layer per `patch()` call.

Layers can be removed in any order. A slot shows its newest layer's replacement, and the
original once the last layer is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from .edits import MISSING, Assign, SetItem

__all__ = ["AttributeSlot", "ItemSlot", "ObjectSlot"]


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
class _PlaceSlot(_Slot):
    """One place that can be set, whatever it holds; its original may be `MISSING`.

    The owner is held here, so that its id stays its own while the slot exists.
    """

    owner: Any = None
    copies: bool = False

    def current(self) -> object:
        """What the place holds now, or `MISSING`."""
        raise NotImplementedError

    def knows(self, value: object) -> bool:
        """Whether `value` is the original or one of the replacements, not something put there since."""
        return value is self.original or any(value is replacement for _, _, replacement in self.stack)

    def show(self) -> None:
        """Make the place hold the slot's top."""
        raise NotImplementedError


@dataclass(slots=True)
class AttributeSlot(_PlaceSlot):
    """One attribute of one object."""

    attribute: str = ""

    @classmethod
    def of(cls, edit: Assign) -> AttributeSlot:
        """A slot whose original is what the attribute holds now."""
        slot = cls(MISSING, owner=edit.owner, attribute=edit.attribute, copies=edit.copies)
        slot.original = slot.current()
        return slot

    def current(self) -> object:
        """What the attribute holds in the owner's own namespace."""
        return vars(self.owner).get(self.attribute, MISSING)

    def show(self) -> None:
        """Make the attribute hold the slot's top."""
        if self.top is MISSING:
            if self.current() is not MISSING:
                delattr(self.owner, self.attribute)
        else:
            setattr(self.owner, self.attribute, self.top)


@dataclass(slots=True)
class ItemSlot(_PlaceSlot):
    """One key of one dict, or one place of a list."""

    item: Hashable = None

    @classmethod
    def of(cls, edit: SetItem) -> ItemSlot:
        """A slot whose original is what the key holds now."""
        slot = cls(MISSING, owner=edit.owner, item=edit.item)
        slot.original = slot.current()
        return slot

    def current(self) -> object:
        """What the dict or the list holds there."""
        owner, item = self.owner, self.item
        if isinstance(owner, list) and isinstance(item, int):
            return owner[item]
        return owner.get(item, MISSING)

    def show(self) -> None:
        """Make the key hold the slot's top."""
        if self.top is MISSING:
            self.owner.pop(self.item, None)
        else:
            self.owner[self.item] = self.top
