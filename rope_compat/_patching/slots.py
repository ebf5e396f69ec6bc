"""Who replaced what: one slot per original, one layer per `patch()` call.

Layers can be removed in any order. A slot shows its newest layer's replacement, and the
original once the last layer is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from .edits import MISSING, Assign, SetItem

__all__ = ["AttributeSlot", "ItemSlot", "ObjectSlot"]


class _Slot:
    __slots__ = ("original", "stack")

    def __init__(self, original: object) -> None:
        self.original = original
        #: (layer, key, replacement), oldest first.
        self.stack: list[tuple[object, Hashable, object]] = []

    @property
    def top(self) -> object:
        return self.stack[-1][2] if self.stack else self.original

    def holds(self, layer: object) -> bool:
        return any(owner is layer for owner, _, _ in self.stack)

    def push(self, layer: object, key: Hashable, make: Callable[[], object]) -> object:
        """Add `layer`, with the replacement of an older layer of the same key, or a new one."""
        shared = [made for _, known, made in self.stack if known == key] if self.stack else ()
        replacement = shared[0] if shared else make()
        self.stack.append((layer, key, replacement))
        return replacement

    def drop(self, layer: object) -> list[object]:
        """Remove `layer`; return the replacements that nothing wants any more."""
        if len(self.stack) == 1:
            # There is one `patch()` most of the time.
            ((owner, _, only),) = self.stack
            if owner is not layer:
                return []
            self.stack = []
            return [only]
        dropped = [replacement for owner, _, replacement in self.stack if owner is layer]
        self.stack = [entry for entry in self.stack if entry[0] is not layer]
        kept = {id(replacement) for _, _, replacement in self.stack}
        return [replacement for replacement in dropped if id(replacement) not in kept]


class ObjectSlot(_Slot):
    """An object that is replaced wherever it is bound (or, `everywhere` false, only at its targets)."""

    __slots__ = ("everywhere",)

    def __init__(self, original: object, *, everywhere: bool) -> None:
        super().__init__(original)
        self.everywhere = everywhere


class _PlaceSlot(_Slot):
    """One place that can be set, whatever it holds; its original may be `MISSING`.

    The owner is held here, so that its id stays its own while the slot exists.
    """

    __slots__ = ("copies", "owner")

    def __init__(self, owner: Any, *, copies: bool = False) -> None:
        self.owner, self.copies = owner, copies
        super().__init__(self.current())

    def current(self) -> object:
        """What the place holds now, or `MISSING`."""
        raise NotImplementedError

    def knows(self, value: object) -> bool:
        """Whether `value` is the original or one of the replacements, not something put there since."""
        return value is self.original or any(value is replacement for _, _, replacement in self.stack)

    def show(self) -> None:
        """Make the place hold the slot's top."""
        raise NotImplementedError


class AttributeSlot(_PlaceSlot):
    """One attribute of one object."""

    __slots__ = ("attribute",)

    def __init__(self, edit: Assign) -> None:
        self.attribute = edit.attribute
        super().__init__(edit.owner, copies=edit.copies)

    def current(self) -> object:
        """What the attribute holds in the owner's own namespace."""
        return vars(self.owner).get(self.attribute, MISSING)

    def show(self) -> None:
        """Make the attribute hold the slot's top."""
        top = self.top
        if top is not MISSING:
            setattr(self.owner, self.attribute, top)
        elif self.current() is not MISSING:
            delattr(self.owner, self.attribute)


class ItemSlot(_PlaceSlot):
    """One key of one dict, or one place of a list."""

    __slots__ = ("item",)

    def __init__(self, edit: SetItem) -> None:
        self.item = edit.item
        super().__init__(edit.owner)

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
