"""Apply rules to modules, now and as they are imported, and take all of it back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType

from .asking import RuleSet
from .bindings import Bindings, NewMoves
from .collecting import paused_collector
from .edits import AbsenceRule, Edit, Entry, Replace, Rule, Skip
from .fingerprint import fingerprint
from .hooks import Fresh, ImportHook
from .layer import Layer
from .locking import ForkSafeLock
from .progress import is_initializing, names_in_progress, wait_for
from .references import loaded_modules, name_of
from .snapshots import Snapshots

__all__ = ["Engine"]


class Engine:
    """All that is replaced in this process. There is one; its lock serialises every change.

    `strangers`: top-level packages whose classes hold nothing of the libraries that are patched.
    `renew`: told of a replacement that was undone and is about to be put in place again.
    """

    def __init__(
        self, strangers: frozenset[str] = frozenset(), renew: Callable[[object], None] = lambda made: None
    ) -> None:
        self._lock = ForkSafeLock()
        self._layers: tuple[Layer, ...] = ()
        self._snapshots = Snapshots(strangers)
        self._bindings = Bindings(strangers, self._snapshots)
        self._renew = renew
        # Modules whose code was running when a layer came, with no hook to tell when it is done.
        self._unfinished: list[ModuleType] = []
        # By id of a module: what it held after it was processed last.
        self._seen: dict[int, int] = {}
        self._hook = ImportHook(self._wants, self._on_import, self._on_absent)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The active layers, oldest first."""
        return self._layers

    def apply(
        self, rules: Sequence[Rule] | RuleSet, report: Callable[[Layer], None] = lambda layer: None
    ) -> Layer:
        """Apply `rules` to the modules that are loaded and to those that will be.

        A `RuleSet` that is applied again remembers what its rules said. `report` is called, outside the lock,
        whenever modules were imported and adapted later.

        Whatever happens, either all of it is done or none: an exception undoes the layer
        and is raised again.
        """
        layer = Layer(_as_set(rules), report)
        try:
            with self._lock:
                is_first = not self._layers
                self._layers += (layer,)
                self._hook.install()
                # In this order: an import that began before the hook came is seen in one of the two.
                begun = names_in_progress()
                modules = loaded_modules()
                running = [m for m in modules if is_initializing(m)]
                begun |= set(map(name_of, running))
                finished = [m for m in modules if m not in running] if running else modules
                with paused_collector():
                    known = self._ask_again(layer.asked, finished) if is_first else None
                    layer.edits = self._process(layer, finished, proposals=known)
            # Outside the lock: another thread that is being waited for may be waiting for the lock.
            for name in sorted(begun):
                if layer.wants(name):
                    wait_for(name)
                    self._process_begun(layer, name)
        except BaseException:
            self.undo(layer)
            raise
        return layer

    def undo(self, layer: Layer) -> None:
        """Take one layer back, wherever its replacements are bound by now. Idempotent."""
        with self._lock:
            if not layer.active:
                return
            layer.active = False
            self._layers = tuple(other for other in self._layers if other is not layer)
            if not self._layers:
                self._hook.remove()
                self._unfinished.clear()
            self._bindings.drop(layer)

    def preview(self, rules: Sequence[Rule] | RuleSet) -> list[Edit]:
        """What `apply` would do with the modules that are loaded; changes nothing."""
        with self._lock:
            asked, resolve = _as_set(rules), self._bindings.original_of
            if not self._layers:
                return [edit for _, edits in self._ask_again(asked, loaded_modules()) for edit in edits]
            return [edit for module in loaded_modules() for edit in asked.propose(module, resolve)]

    def replacements(self) -> list[object]:
        """Every object that stands in another's place now."""
        with self._lock:
            self._catch_up()
            return self._bindings.replacements()

    def adapt_now(self, module: ModuleType) -> None:
        """Process a module that was executed without the import system, such as remote code."""
        with self._lock:
            for layer in self._layers:
                self._process(layer, [module])
        self._report()

    def recheck(self, modules: Iterable[ModuleType]) -> None:
        """Process those modules again that hold something else than when this was asked last."""
        changed = [module for module in modules if self._seen.get(id(module)) != fingerprint(module)]
        if not changed:
            return
        with self._lock:
            for layer in self._layers:
                self._process(layer, [module for module in changed if layer.wants(name_of(module))])
            self._seen.update((id(module), fingerprint(module)) for module in changed)
        self._report()

    def _wants(self, name: str) -> bool:
        # Where the lock is not free there will be another time: this thread holds import locks.
        if self._unfinished and self._lock.acquire(0):
            try:
                self._catch_up()
            finally:
                self._lock.release()
        for layer in self._layers:  # noqa: SIM110 - a generator would cost half of the answer
            if layer.wants(name):
                return True
        return False

    def _on_import(self, module: ModuleType, fresh: Fresh) -> None:
        name = name_of(module)
        # A module may put another object in its own place while its code runs.
        successor = sys.modules.get(name, module)
        is_replaced = successor is not module and issubclass(type(successor), ModuleType)
        imported = [module, successor] if is_replaced else [module]
        with self._lock:
            for layer in self._layers:
                self._process(layer, imported, reachable=fresh)
        self._report()

    def _on_absent(self, name: str) -> None:
        """Ask the rules that have to say something of modules that are not there; they may raise."""
        for layer in self._layers:
            for rule in layer.asked.rules:
                if isinstance(rule, AbsenceRule) and rule.matches(name):
                    rule.absent(name)

    def _process_begun(self, layer: Layer, name: str) -> None:
        """Process a module whose import began before the layer came."""
        module = sys.modules.get(name)
        if not isinstance(module, ModuleType):
            return
        with self._lock:
            if layer.active:
                layer.edits += self._process(layer, [module])
                if is_initializing(module):
                    # This thread imports it, or is waited for: what it has yet to define is for `_catch_up`.
                    self._unfinished = [m for m in self._unfinished if m is not module] + [module]

    def _catch_up(self) -> None:
        """Under the lock: process modules that are finished by now, and were not when their layer came."""
        finished = [m for m in self._unfinished if not is_initializing(m)]
        self._unfinished = [m for m in self._unfinished if is_initializing(m)]
        for layer in self._layers if finished else ():
            self._process(layer, finished)

    def _report(self) -> None:
        for layer in self._layers:
            layer.report(layer)

    def _ask_again(
        self, asked: RuleSet, modules: Sequence[ModuleType]
    ) -> list[tuple[ModuleType, list[Edit]]]:
        """What is proposed for modules while nothing is patched; what has not changed is not asked again."""
        resolve = self._bindings.original_of
        if asked.packages is None:
            self._snapshots.clear()
            return [(module, asked.propose(module, resolve)) for module in modules]
        return asked.propose_again(self._snapshots.take(modules, asked.packages), resolve, self._renew)

    def _process(
        self,
        layer: Layer,
        modules: Sequence[ModuleType],
        reachable: Fresh | None = None,
        proposals: Iterable[tuple[ModuleType, list[Edit]]] | None = None,
    ) -> list[Edit]:
        """Apply the layer's rules to `modules`; move references held in these and in `reachable` ones.

        Without `reachable`, references are moved wherever they are held. `proposals`: what the rules said a
        moment ago, while nothing was patched.
        """
        moves: NewMoves = {}
        edits: list[Edit] = []
        is_first = proposals is not None
        if proposals is None:
            resolve = self._bindings.original_of
            proposals = ((module, layer.asked.propose(module, resolve)) for module in modules)
        for _, proposed in proposals:
            for edit in proposed:
                self._perform(layer, edit, moves)
            edits += proposed
        if not moves:
            return edits
        # A list from before the edits would miss modules that another thread has imported meanwhile.
        holders = loaded_modules() if reachable is None else [*modules, *loaded_modules(reachable())]
        for moved in self._bindings.move(moves, holders, from_snapshots=is_first):
            layer.journal.append(Entry("reference", moved.place, moved.before, moved.after))
        return edits

    def _perform(self, layer: Layer, edit: Edit, moves: NewMoves) -> None:
        if isinstance(edit, Skip):
            layer.note_skip(edit)
            return
        if isinstance(edit, Replace):
            self._bindings.replace(layer, edit, moves)
        else:
            self._bindings.assign(layer, edit)
        layer.note_applied(edit)


def _as_set(rules: Sequence[Rule] | RuleSet) -> RuleSet:
    return rules if isinstance(rules, RuleSet) else RuleSet(rules)
