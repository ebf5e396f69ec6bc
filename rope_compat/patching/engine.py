"""Apply rules to modules, now and as they are imported, and take all of it back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from types import ModuleType

from .edits import Assign, Edit, Entry, Replace, Rule, Skip
from .hooks import ImportHook
from .layer import Layer
from .references import loaded_modules, move_references, namespace
from .slots import AttributeSlot, ObjectSlot

__all__ = ["Engine"]

Moves = dict[int, tuple[object, object]]


class Engine:
    """All that is replaced in this process. There is one; its lock serialises every change."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._layers: list[Layer] = []
        self._objects: dict[int, ObjectSlot] = {}
        self._replacements: dict[int, ObjectSlot] = {}
        self._attributes: dict[tuple[int, str], AttributeSlot] = {}
        self._hook = ImportHook(self._wants, self._on_import)
        if hasattr(os, "register_at_fork"):
            # A lock that another thread held when the process forked would stay held for ever.
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.RLock()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The active layers, oldest first."""
        return tuple(self._layers)

    def original_of(self, value: object) -> object:
        """The object behind a replacement; any other object is its own original."""
        slot = self._replacements.get(id(value))
        return value if slot is None else slot.original

    def apply(self, rules: Sequence[Rule], report: Callable[[Layer], None] = lambda layer: None) -> Layer:
        """Apply `rules` to the modules that are loaded and to those that will be.

        `report` is called, outside the lock, whenever modules were imported and adapted later.

        Whatever happens, either all of it is done or none: an exception undoes the layer
        and is raised again.
        """
        layer = Layer(tuple(rules), report)
        with self._lock:
            try:
                self._layers.append(layer)
                self._hook.install()
                modules = loaded_modules()
                half_done = [module for module in modules if _is_initializing(module)]
                layer.edits = self._process(layer, [m for m in modules if m not in half_done], modules)
            except BaseException:
                self.undo(layer)
                raise
        self._finish(layer, half_done)
        return layer

    def _finish(self, layer: Layer, half_done: Iterable[ModuleType]) -> None:
        """Adapt modules that another thread was importing when the layer came.

        Outside the lock: importing waits for that thread, which may be waiting for the lock.
        """
        for module in half_done:
            if any(rule.matches(module.__name__) for rule in layer.rules):
                try:
                    import_module(module.__name__)
                except ImportError:
                    # The other thread's import failed; it has been told.
                    continue
                with self._lock:
                    if layer.active:
                        self._process(layer, [module], [module])

    def undo(self, layer: Layer) -> None:
        """Take one layer back, wherever its replacements are bound by now. Idempotent."""
        with self._lock:
            if not layer.active:
                return
            layer.active = False
            self._layers = [other for other in self._layers if other is not layer]
            if not self._layers:
                self._hook.remove()
            moves: Moves = {}
            for slot in list(self._objects.values()):
                before = slot.top
                for replacement in slot.drop(layer):
                    moves[id(replacement)] = (replacement, slot.top)
                    self._replacements.pop(id(replacement), None)
                if before is not slot.top and id(before) not in moves:
                    moves[id(before)] = (before, slot.top)
                if not slot.stack:
                    self._objects.pop(id(slot.original), None)
            self._undo_attributes(layer)
            for _ in move_references(moves, loaded_modules()):
                pass

    def _undo_attributes(self, layer: Layer) -> None:
        for key, slot in list(self._attributes.items()):
            if not slot.holds(layer):
                continue
            ours = slot.current() is slot.top
            slot.drop(layer)
            # Where somebody has assigned something else since, theirs stays.
            if ours:
                slot.show()
            if not slot.stack:
                del self._attributes[key]

    def _wants(self, name: str) -> bool:
        return any(rule.matches(name) for layer in self._layers for rule in layer.rules)

    def _on_import(self, module: ModuleType, fresh: list[str]) -> None:
        names = {module.__name__, *fresh}
        with self._lock:
            for layer in self._layers:
                self._process(layer, [module], [m for m in loaded_modules() if m.__name__ in names])
        for layer in self.layers:
            layer.report(layer)

    def adapt_now(self, module: ModuleType) -> None:
        """Process a module that was executed without the import system, such as remote code."""
        self._on_import(module, [])

    def _process(
        self, layer: Layer, modules: Iterable[ModuleType], reachable: Iterable[ModuleType]
    ) -> list[Edit]:
        """Apply the layer's rules to `modules`; move references held in `reachable` ones."""
        moves: Moves = {}
        edits: list[Edit] = []
        for module in modules:
            for rule in layer.rules:
                if rule.matches(module.__name__):
                    for edit in rule.propose(module, self.original_of):
                        self._perform(layer, edit, moves)
                        edits.append(edit)
        for moved in move_references(moves, reachable):
            layer.journal.append(Entry("reference", moved.place, moved.before, moved.after))
        return edits

    def preview(self, rules: Sequence[Rule]) -> list[Edit]:
        """What `apply` would do with the modules that are loaded; changes nothing."""
        with self._lock:
            return [
                edit
                for module in loaded_modules()
                for rule in rules
                if rule.matches(module.__name__)
                for edit in rule.propose(module, self.original_of)
            ]

    def replacements(self) -> list[object]:
        """Every object that stands in another's place now."""
        with self._lock:
            slots = [*self._objects.values(), *self._attributes.values()]
            return [slot.top for slot in slots]

    def _perform(self, layer: Layer, edit: Edit, moves: Moves) -> None:
        if isinstance(edit, Skip):
            layer.note_skip(edit)
        elif isinstance(edit, Replace):
            self._replace(layer, edit, moves)
        else:
            self._assign(layer, edit)

    def _replace(self, layer: Layer, edit: Replace, moves: Moves) -> None:
        slot = self._objects.get(id(edit.original))
        if slot is None:
            slot = self._objects[id(edit.original)] = ObjectSlot(edit.original, everywhere=edit.everywhere)
        before = slot.top
        if not slot.holds(layer):
            replacement = slot.push(layer, edit.key, edit.make)
            self._replacements[id(replacement)] = slot
        attributes = namespace(edit.owner)
        current = attributes.get(edit.attribute)
        if current is not slot.top:
            attributes[edit.attribute] = slot.top
            layer.journal.append(Entry(edit.rule, edit.target, current, slot.top, edit.detail))
        layer.note_applied(edit)
        if before is not slot.top and (slot.everywhere or before is not slot.original):
            moves[id(before)] = (before, slot.top)
        if slot.everywhere:
            moves[id(slot.original)] = (slot.original, slot.top)

    def _assign(self, layer: Layer, edit: Assign) -> None:
        key = (id(edit.owner), edit.attribute)
        slot = self._attributes.get(key)
        if slot is None:
            slot = AttributeSlot(None, owner=edit.owner, attribute=edit.attribute, place=edit.target)
            slot.original = slot.current()
            self._attributes[key] = slot
        if not slot.holds(layer):
            before = slot.current()
            slot.push(layer, edit.key, edit.make)
            slot.show()
            layer.journal.append(Entry(edit.rule, edit.target, before, slot.top, edit.detail))
        layer.note_applied(edit)


def _is_initializing(module: ModuleType) -> bool:
    return bool(getattr(namespace(module).get("__spec__"), "_initializing", False))
