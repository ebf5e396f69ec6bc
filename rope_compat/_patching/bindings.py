"""What stands in whose place: every original with its replacements, every attribute and key that was set."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from types import ModuleType
from weakref import ref

from .edits import MISSING, Assign, Entry, Replace, SetItem
from .layer import Layer
from .references import Moved, loaded_modules, move_in_class, move_references, namespace
from .slots import AttributeSlot, ItemSlot, ObjectSlot

__all__ = ["Bindings"]

NewMoves = dict[int, tuple[object, object]]


class Bindings:
    """The state of all layers together. Its owner serialises the calls."""

    def __init__(self, strangers: frozenset[str] = frozenset()) -> None:
        self._strangers = strangers
        self._objects: dict[int, ObjectSlot] = {}
        self._replacements: dict[int, ObjectSlot] = {}
        # By kind, id of the owner, and attribute or key.
        self._places: dict[tuple[type, int, Hashable], AttributeSlot | ItemSlot] = {}
        # Modules and classes that were changed, by id: some may have left `sys.modules` before undoing.
        self._touched: dict[int, ref[object]] = {}

    def original_of(self, value: object) -> object:
        """The object behind a replacement; any other object is its own original."""
        slot = self._replacements.get(id(value))
        return value if slot is None else slot.original

    def replacements(self) -> list[object]:
        """Every object that stands in another's place now."""
        return [slot.top for slot in (*self._objects.values(), *self._places.values()) if slot.stack]

    def replace(self, layer: Layer, edit: Replace, moves: NewMoves) -> None:
        """Replace at the target; enter in `moves` what is to be moved elsewhere."""
        slot = self._objects.get(id(edit.original))
        if slot is None:
            slot = self._objects[id(edit.original)] = ObjectSlot(edit.original, everywhere=edit.everywhere)
        before = slot.top
        is_new = not slot.holds(layer)
        if is_new:
            replacement = slot.push(layer, edit.key, edit.make)
            self._replacements[id(replacement)] = slot
        attributes = namespace(edit.owner)
        current = attributes.get(edit.attribute, MISSING)
        if current is not slot.top:
            self._touch(edit.owner)
            attributes[edit.attribute] = slot.top
            layer.journal.append(Entry(edit.rule, edit.target, current, slot.top, edit.detail))
        elif not is_new:
            return
        if before is not slot.top and (slot.everywhere or before is not slot.original):
            moves[id(before)] = (before, slot.top)
        if slot.everywhere:
            moves[id(slot.original)] = (slot.original, slot.top)

    def assign(self, layer: Layer, edit: Assign | SetItem) -> None:
        """Set one attribute or one key, unless this layer has done it and it still holds."""
        kind = AttributeSlot if isinstance(edit, Assign) else ItemSlot
        place = edit.attribute if isinstance(edit, Assign) else edit.item
        key = (kind, id(edit.owner), place)
        slot = self._places.get(key)
        if slot is None or not slot.knows(slot.current()):
            # A reload, or the user, has put something else there since: that is what undoing goes back to.
            made = AttributeSlot.of(edit) if isinstance(edit, Assign) else ItemSlot.of(edit)
            slot = self._places[key] = made
        before = slot.current()
        if not slot.holds(layer):
            slot.push(layer, edit.key, edit.make)
        if before is not slot.top:
            slot.show()
            layer.journal.append(Entry(edit.rule, edit.target, before, slot.top, edit.detail))

    def move(self, moves: NewMoves, modules: Iterable[ModuleType]) -> list[Moved]:
        """Move references that the modules and their classes hold."""
        moved = []
        for step in move_references(moves, modules, strangers=self._strangers):
            self._touch(step.owner)
            moved.append(step)
        return moved

    def drop(self, layer: Layer) -> None:
        """Take everything back that only this layer wanted, wherever it is bound by now."""
        moves: NewMoves = {}
        for slot in list(self._objects.values()):
            before = slot.top
            for replacement in slot.drop(layer):
                moves[id(replacement)] = (replacement, slot.top)
                self._replacements.pop(id(replacement), None)
            if before is not slot.top and id(before) not in moves:
                moves[id(before)] = (before, slot.top)
            if not slot.stack:
                self._objects.pop(id(slot.original), None)
        try:
            self._drop_places(layer, moves)
        finally:
            self._move_back(moves)

    def _drop_places(self, layer: Layer, moves: NewMoves) -> None:
        failed: Exception | None = None
        for key, slot in list(self._places.items()):
            # Where somebody has put something else there since, theirs stays.
            is_ours = slot.holds(layer) and slot.current() is slot.top
            for replacement in slot.drop(layer):
                if slot.copies and slot.top is not MISSING:
                    moves[id(replacement)] = (replacement, slot.top)
            if not slot.stack:
                del self._places[key]
            try:
                if is_ours:
                    slot.show()
            except Exception as error:
                # One owner that refuses must not keep the others from being restored.
                failed = failed or error
        if failed is not None:
            raise failed

    def _move_back(self, moves: NewMoves) -> None:
        # What was changed comes first: until it is back, modules that another thread imports copy from there.
        for reference in list(self._touched.values()):
            owner = reference()
            if isinstance(owner, ModuleType):
                for _ in move_references(moves, [owner], classes=False):
                    pass
            elif isinstance(owner, type):
                for _ in move_in_class(owner, moves, set()):
                    pass
        for _ in move_references(moves, loaded_modules(), strangers=self._strangers):
            pass
        if not self._objects and not self._places:
            self._touched.clear()

    def _touch(self, owner: object) -> None:
        known = self._touched.get(id(owner))
        # An id can come again once its object is gone.
        if known is None or known() is not owner:
            self._touched[id(owner)] = ref(owner)
