"""What is replaced, in which places, and that undoing puts the very same objects back."""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from patching_support import (
    CORE,
    Library,
    ProposalRule,
    WrapRule,
    assert_same,
    assign,
    skip,
    snapshot,
    unwrapped,
)

from rope_compat._patching.edits import MISSING
from rope_compat._patching.engine import Engine

MakeLibrary = Callable[..., Library]

USER = """
from LIB.core import f
from LIB.core import f as renamed
import LIB.core

class Holder:
    method = f
    static = staticmethod(f)
    of_class = classmethod(f)

    class Inner:
        static = staticmethod(f)

class Heir(Holder):
    pass
"""


@pytest.mark.parametrize("order", ["before", "after"])
def test_every_module_and_class_attribute_is_replaced_and_restored(
    engine: Engine, library: MakeLibrary, order: str
) -> None:
    made = library({"core.py": CORE, "user.py": USER})
    rule = WrapRule(f"{made.name}.core")
    if order == "before":
        layer = engine.apply([rule])
    core, user = made.load("core"), made.load("user")
    original = core.RAW["f"]
    if order == "after":
        before = snapshot(core, user)
        layer = engine.apply([rule])

    assert rule.made == [core.__name__]
    replaced = core.f
    assert replaced(1) == ("wrapped", "f", 1)
    held = [user.f, user.renamed, user.Holder.method, user.Holder.static, user.Holder.of_class.__func__]
    held += [user.Holder.Inner.static, user.Heir.static]
    assert all(value is replaced for value in held)
    assert core.RAW["f"] is original

    engine.undo(layer)
    held = [core.f, user.f, user.renamed, user.Holder.method, user.Holder.static]
    held += [user.Holder.of_class.__func__, user.Holder.Inner.static, user.Heir.static]
    assert all(value is original for value in held)
    if order == "after":
        # Also the staticmethod and classmethod objects are those that were there.
        assert_same(before, snapshot(core, user))


def test_from_imports_before_between_and_after(engine: Engine, library: MakeLibrary) -> None:
    copy = "from LIB.core import f\n"
    made = library({"core.py": CORE, "early.py": copy, "between.py": copy, "late.py": copy})
    early = made.load("early")
    first = engine.apply([WrapRule(made.name, "first")])
    between = made.load("between")
    second = engine.apply([WrapRule(made.name, "second")])
    core = made.load("core")
    assert early.f is between.f is core.f
    assert core.f(0) == ("second", "f", 0)
    engine.undo(second)
    assert early.f is between.f is core.f
    assert core.f(0) == ("first", "f", 0)
    engine.undo(first)
    late = made.load("late")
    assert early.f is between.f is core.f is late.f is core.RAW["f"]


def test_one_replacement_for_equal_keys(engine: Engine, library: MakeLibrary) -> None:
    core = library().load("core")
    rules = [WrapRule(core.__name__, "same"), WrapRule(core.__name__, "same")]
    first = engine.apply([rules[0]])
    replaced = core.f
    second = engine.apply([rules[1]])
    assert core.f is replaced
    assert rules[1].made == []
    engine.undo(first)
    assert core.f is replaced
    engine.undo(second)
    assert core.f is core.RAW["f"]


def test_not_everywhere_leaves_other_holders_alone(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE, "user.py": "from LIB.core import f\n"})
    core, user = made.load("core"), made.load("user")
    layer = engine.apply([WrapRule(core.__name__, everywhere=False)])
    assert unwrapped(core.f) is user.f is core.RAW["f"]
    assert core.f is not user.f
    user.copy = core.f
    engine.undo(layer)
    assert core.f is user.f is user.copy is core.RAW["f"]


def test_places_that_are_gone_from_sys_modules_are_restored(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE, "user.py": USER})
    core, user = made.load("core"), made.load("user")
    holder = user.Holder
    before = snapshot(core, user)
    layer = engine.apply([WrapRule(core.__name__)])
    del sys.modules[core.__name__], sys.modules[user.__name__]
    del user.Holder
    engine.undo(layer)
    user.Holder = holder
    assert_same(before, snapshot(core, user))


def test_a_class_that_refuses_keeps_what_it_has(engine: Engine, library: MakeLibrary) -> None:
    text = """
        class Stubborn(type):
            def __setattr__(cls, name, value):
                raise LookupError(name)
        class Closed(metaclass=Stubborn):
            held = staticmethod(f)
        class Open:
            held = staticmethod(f)
    """
    core = library({"core.py": CORE + inspect.cleandoc(text)}).load("core")
    before = snapshot(core)
    layer = engine.apply([WrapRule(core.__name__)])
    assert core.Closed.held is core.RAW["f"]
    assert core.Open.held is core.f is not core.RAW["f"]
    engine.undo(layer)
    assert_same(before, snapshot(core))


def test_odd_classes_and_modules_are_searched_without_harm(engine: Engine, library: MakeLibrary) -> None:
    core = library().load("core")

    class Unhashable(type):
        def __eq__(cls, other: object) -> bool:
            raise AssertionError("compared")

        __hash__ = None  # type: ignore[assignment]

    core.Odd = Unhashable("Odd", (), {"__module__": core.__name__, "held": staticmethod(core.f)})
    core.Odd.Itself = core.Odd
    core.Colour = enum.Enum("Colour", {"RED": 1}, module=core.__name__)

    class Lazy(ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"woken by {name}")

    sys.modules[f"{core.__name__}_lazy"] = Lazy("lazy")
    sys.modules[f"{core.__name__}_object"] = object()  # type: ignore[assignment]
    try:
        layer = engine.apply([WrapRule(core.__name__)])
        assert core.Odd.held is core.f is not core.RAW["f"]
        engine.undo(layer)
        assert core.Odd.held is core.f is core.RAW["f"]
    finally:
        del sys.modules[f"{core.__name__}_lazy"], sys.modules[f"{core.__name__}_object"]


def test_assign_restores_what_was_there_and_what_was_not(engine: Engine, library: MakeLibrary) -> None:
    core = library().load("core")
    before = snapshot(core)
    rule = ProposalRule(core.__name__, lambda m: [assign(m, m, "f", "new"), assign(m, m, "extra", 7)])
    layer = engine.apply([rule])
    assert (core.f, core.extra) == ("new", 7)
    assert [(entry.before, entry.after) for entry in layer.journal] == [(core.RAW["f"], "new"), (MISSING, 7)]
    engine.undo(layer)
    assert_same(before, snapshot(core))


def test_assign_in_a_class_uncovers_what_is_inherited(engine: Engine, library: MakeLibrary) -> None:
    text = "class Base:\n    def __call__(self): return 'base'\nclass Heir(Base): pass\n"
    core = library({"core.py": text}).load("core")
    rule = ProposalRule(core.__name__, lambda m: [assign(m, m.Heir, "__call__", lambda self: "new")])
    layer = engine.apply([rule])
    assert core.Heir()() == "new"
    engine.undo(layer)
    assert core.Heir()() == "base"
    assert "__call__" not in vars(core.Heir)


def test_copies_of_an_assigned_value_go_back_too(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE, "user.py": "from LIB.core import f\n"})
    core = made.load("core")
    replacement = object()
    rule = ProposalRule(core.__name__, lambda m: [assign(m, m, "f", replacement, copies=True)])
    layer = engine.apply([rule])
    user = made.load("user")
    assert user.f is replacement
    engine.undo(layer)
    assert user.f is core.f is core.RAW["f"]


def test_values_that_others_have_too_are_not_moved(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": "number = 1\n", "user.py": "two = 2\n"})
    core, user = made.load("core"), made.load("user")
    layer = engine.apply([ProposalRule(core.__name__, lambda m: [assign(m, m, "number", 2)])])
    assert core.number == 2
    engine.undo(layer)
    assert (core.number, user.two) == (1, 2)


def test_what_others_assign_over_an_assigned_value_is_never_dropped(
    engine: Engine, library: MakeLibrary
) -> None:
    core = library().load("core")
    rule = ProposalRule(core.__name__, lambda m: [assign(m, m, "f", "ours")])
    first = engine.apply([rule])
    core.f = "theirs"
    second = engine.apply([rule])
    assert core.f == "ours"
    engine.undo(second)
    assert core.f == "theirs"
    engine.undo(first)
    assert core.f == "theirs"


def test_what_others_assign_over_a_replacement_is_never_dropped(engine: Engine, library: MakeLibrary) -> None:
    core = library().load("core")
    first = engine.apply([WrapRule(core.__name__, "first")])

    def theirs(x: int) -> tuple[Any, ...]:
        return ("theirs", x)

    core.f = theirs
    second = engine.apply([WrapRule(core.__name__, "second")])
    assert core.f(1) == ("second", "theirs", 1)
    engine.undo(first)
    assert core.f(1) == ("second", "theirs", 1)
    engine.undo(second)
    assert core.f is theirs


def test_a_target_that_is_skipped_is_noted_once(engine: Engine, library: MakeLibrary) -> None:
    core = library().load("core")
    before = snapshot(core)
    layer = engine.apply([ProposalRule(core.__name__, lambda m: [skip(m, "strange"), skip(m, "again")])])
    assert [(s.target, s.reason) for s in layer.surprises] == [(f"{core.__name__}:f", "strange")]
    assert list(layer.skipped) == [f"{core.__name__}:f"]
    assert layer.journal == []
    assert_same(before, snapshot(core))


def test_preview_changes_nothing(engine: Engine, library: MakeLibrary) -> None:
    core = library().load("core")
    before, finders = snapshot(core), list(sys.meta_path)
    rule = WrapRule(core.__name__)
    edits = engine.preview([rule])
    assert [edit.target for edit in edits] == [f"{core.__name__}:f"]
    assert rule.made == []
    assert_same(before, snapshot(core))
    assert sys.meta_path == finders


def test_undo_twice_does_nothing(engine: Engine, library: MakeLibrary) -> None:
    core = library().load("core")
    layer = engine.apply([WrapRule(core.__name__)])
    engine.undo(layer)
    again = engine.apply([WrapRule(core.__name__, "again")])
    engine.undo(layer)
    assert core.f(1) == ("again", "f", 1)
    engine.undo(again)
    assert core.f is core.RAW["f"]
