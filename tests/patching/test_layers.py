"""Layers that come and go in any order, and what is left when one of them fails."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from patching_support import (
    CORE,
    Library,
    ProposalRule,
    WrapRule,
    assert_same,
    assign,
    new_name,
    places,
    snapshot,
    unwrapped,
)

from rope_compat._patching.edits import Edit, Replace
from rope_compat._patching.engine import Engine
from rope_compat._patching.layer import Layer

MakeLibrary = Callable[..., Library]


def failing() -> object:
    raise LookupError("make")


def replace(module: ModuleType, make: Callable[[], object]) -> Replace:
    return Replace(f"{module.__name__}:f", module, "f", unwrapped(module.f), make, "k", True, "proposal", "")


def raising(module: ModuleType) -> Iterable[Edit]:
    yield assign(module, module, "extra", 1)
    raise LookupError("make")


class Refusing:
    def __setattr__(self, name: str, value: object) -> None:
        raise LookupError("make")


FAILURES: dict[str, Callable[[ModuleType], Iterable[Edit]]] = {
    "a rule raises": raising,
    "a replacement cannot be made": lambda m: [assign(m, m, "extra", 1), replace(m, failing)],
    "a value cannot be made": lambda m: [assign_failing(m)],
    "an owner refuses": lambda m: [assign(m, m, "extra", 1), assign(m, Refusing(), "extra", 1)],
}


def assign_failing(module: ModuleType) -> Edit:
    edit = assign(module, module, "extra", 1)
    return type(edit)(edit.target, edit.owner, edit.attribute, failing, "k", "proposal", "")


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("nested", [False, True])
def test_a_failure_half_way_puts_everything_back(
    engine: Engine, library: MakeLibrary, failure: str, nested: bool
) -> None:
    made = library({"core.py": CORE, "user.py": "from LIB.core import f\n", "zlast.py": CORE})
    core, user, last = made.load("core"), made.load("user"), made.load("zlast")
    outer = engine.apply([WrapRule(made.name, "outer")]) if nested else None
    before, finders = snapshot(core, user, last), list(sys.meta_path)
    with pytest.raises(LookupError, match="make"):
        engine.apply([WrapRule(core.__name__, "inner"), ProposalRule(last.__name__, FAILURES[failure])])
    assert_same(before, snapshot(core, user, last))
    assert sys.meta_path == finders
    assert engine.layers == ((outer,) if outer else ())
    if outer:
        engine.undo(outer)
    assert core.f is user.f is core.RAW["f"]
    assert last.f is last.RAW["f"]


def test_an_owner_that_cannot_be_restored_does_not_keep_others_from_it(
    engine: Engine, library: MakeLibrary
) -> None:
    core = library().load("core")
    before = snapshot(core)

    class Latched:
        locked = False

        def __setattr__(self, name: str, value: object) -> None:
            if self.locked:
                raise LookupError("locked")
            super().__setattr__(name, value)

    owner = Latched()
    owner.extra = 0  # type: ignore[attr-defined]
    edits = ProposalRule(core.__name__, lambda m: [assign(m, owner, "extra", 1), assign(m, m, "extra", 1)])
    layer = engine.apply([edits, WrapRule(core.__name__)])
    Latched.locked = True
    with pytest.raises(LookupError, match="locked"):
        engine.undo(layer)
    assert_same(before, snapshot(core))
    assert engine.layers == ()


USER = "from LIB.core import f\nclass Holder:\n    held = staticmethod(f)\n"


class AnyOrder(RuleBasedStateMachine):
    """Beside the real modules, a shadow of what each place would hold if nobody had ever patched."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.engine = Engine()
        self.layers: list[Layer] = []
        self.users: list[ModuleType] = []
        self.forgotten: list[ModuleType] = []
        self.shadow: dict[tuple[int, str], object] = {}
        # The layers that have met what the target holds; an assignment of one's own they have not.
        self.covering: list[Layer] = []

    @initialize()
    def begin(self) -> None:
        sys.path.insert(0, self.folder.name)
        self.library = Library(Path(self.folder.name), new_name()).write({"__init__.py": "", "core.py": CORE})
        importlib.invalidate_caches()
        self.core: Any = None

    def teardown(self) -> None:
        for layer in self.layers:
            self.engine.undo(layer)
        self.layers.clear()
        self.every_place_is_what_it_would_have_been()
        sys.path.remove(self.folder.name)
        for name in [n for n in sys.modules if n.startswith(self.library.name)]:
            del sys.modules[name]
        self.folder.cleanup()

    def note(self, module: ModuleType, *names: str, value: object) -> None:
        for name in names:
            self.shadow[id(module), name] = value

    @rule()
    def load(self) -> None:
        if self.core is None:
            self.core = self.library.load("core")
            self.note(self.core, "f", value=self.core.RAW["f"])
            self.covering = list(self.layers)

    @precondition(lambda self: self.core)
    @rule()
    def reload(self) -> None:
        importlib.reload(self.core)
        self.note(self.core, "f", value=self.core.RAW["f"])
        self.covering = list(self.layers)

    @precondition(lambda self: self.core)
    @rule()
    def forget(self) -> None:
        del sys.modules[self.core.__name__]
        self.forgotten.append(self.core)
        self.core = None

    @precondition(lambda self: self.core)
    @rule()
    def from_import(self) -> None:
        name = f"user{len(self.users)}"
        self.library.write({f"{name}.py": USER})
        importlib.invalidate_caches()
        user = self.library.load(name)
        self.note(user, "f", "Holder.held", value=self.shadow[id(self.core), "f"])
        self.users.append(user)

    @precondition(lambda self: self.core)
    @rule()
    def assign_own(self) -> None:
        self.core.f = lambda x: ("own", x)
        self.note(self.core, "f", value=self.core.f)
        self.covering.clear()

    @precondition(lambda self: self.core and self.users)
    @rule(data=st.data())
    def assign_a_copy(self, data: st.DataObject) -> None:
        user = data.draw(st.sampled_from(range(len(self.users))))
        self.core.f = self.users[user].f
        self.note(self.core, "f", value=self.shadow[id(self.users[user]), "f"])
        self.covering.clear()

    @rule(label=st.sampled_from("abc"), everywhere=st.booleans())
    def patch(self, label: str, everywhere: bool) -> None:
        rules = [WrapRule(f"{self.library.name}.core", label, everywhere=everywhere)]
        self.layers.append(self.engine.apply(rules))
        self.covering.append(self.layers[-1])

    @precondition(lambda self: self.layers)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from(range(len(self.layers))))
        undone = self.layers.pop(place)
        self.engine.undo(undone)
        self.covering = [layer for layer in self.covering if layer is not undone]

    @invariant()
    def every_place_is_what_it_would_have_been(self) -> None:
        modules = [*self.users, *self.forgotten, *([self.core] if getattr(self, "core", None) else [])]
        for module in modules:
            held = dict(places(module))
            for (owner, name), expected in self.shadow.items():
                if owner == id(module):
                    value: Any = held[name]
                    value = value.__func__ if isinstance(value, staticmethod) else value
                    assert (unwrapped(value) if self.layers else value) is expected, (module.__name__, name)

    @invariant()
    def the_target_is_replaced_while_a_layer_is_on(self) -> None:
        if getattr(self, "core", None) and self.covering:
            assert self.core.f is not unwrapped(self.core.f)


AnyOrder.TestCase.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyOrder = AnyOrder.TestCase
