"""What stands in whose place: every original with its replacements, every attribute and key that was set."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from types import ModuleType
from weakref import ref

from .edits import MISSING, Assign, Entry, Replace, SetItem
from .layer import Layer
from .references import Moved, loaded_modules, move_in_class, move_references, namespace
from .slots import AttributeSlot, ItemSlot, ObjectSlot
from .snapshots import Snapshots

__all__ = ["Bindings"]

NewMoves = dict[int, tuple[object, object]]
#: Kind, id of the owner, and attribute or key.
_Place = tuple[type, int, Hashable]


class Bindings:
    """The state of all layers together. Its owner serialises the calls."""

    def __init__(self, strangers: frozenset[str], snapshots: Snapshots) -> None:
        self._strangers = strangers
        self._snapshots = snapshots
        self._objects: dict[int, ObjectSlot] = {}
        self._replacements: dict[int, ObjectSlot] = {}
        self._places: dict[_Place, AttributeSlot | ItemSlot] = {}
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
        if isinstance(edit, Assign):
            key: _Place = (AttributeSlot, id(edit.owner), edit.attribute)
        else:
            key = (ItemSlot, id(edit.owner), edit.item)
        slot = self._places.get(key)
        current = slot.current() if slot is not None else None
        if slot is None or not slot.knows(current):
            # A reload, or the user, has put something else there since: that is what undoing goes back to.
            made = AttributeSlot(edit) if isinstance(edit, Assign) else ItemSlot(edit)
            slot = self._places[key] = made
            current = slot.original
        if not slot.holds(layer):
            slot.push(layer, edit.key, edit.make)
        top = slot.top
        if current is not top:
            slot.show()
            layer.journal.append(Entry(edit.rule, edit.target, current, top, edit.detail))

    def move(
        self, moves: NewMoves, modules: Iterable[ModuleType], *, from_snapshots: bool = False
    ) -> list[Moved]:
        """Move references that the modules and their classes hold.

        `from_snapshots`: where these were taken a moment ago, they tell which modules hold some.
        """
        moved = []
        for step in self._steps(moves, modules, from_snapshots):
            self._touch(step.owner)
            moved.append(step)
        return moved

    def _steps(self, moves: NewMoves, modules: Iterable[ModuleType], from_snapshots: bool) -> Iterator[Moved]:
        if not from_snapshots:
            yield from move_references(moves, modules, strangers=self._strangers)
            return
        for module, places in self._snapshots.places(moves, modules):
            if places is None:
                yield from move_references(moves, [module], strangers=self._strangers)
                continue
            in_module, classes = places
            if in_module:
                yield from move_references(moves, [module], classes=False)
            for cls in classes:
                yield from move_in_class(cls, moves, set())

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
            before = slot.top
            dropped = slot.drop(layer)
            if not dropped and slot.stack and slot.top is before:
                continue
            # Where somebody has put something else there since, theirs stays.
            is_ours = slot.current() is before
            if slot.copies and slot.top is not MISSING:
                moves.update((id(replacement), (replacement, slot.top)) for replacement in dropped)
            if not slot.stack:
                del self._places[key]
            try:
                if is_ours and before is not slot.top:
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
        # A module that holds what it held while nothing was patched holds nothing of ours.
        changed = self._snapshots.changed(loaded_modules()) if moves else ()
        for _ in move_references(moves, changed, strangers=self._strangers):
            pass
        if not self._objects and not self._places:
            self._touched.clear()

    def _touch(self, owner: object) -> None:
        known = self._touched.get(id(owner))
        # An id can come again once its object is gone.
        if known is None or known() is not owner:
            self._touched[id(owner)] = ref(owner)
