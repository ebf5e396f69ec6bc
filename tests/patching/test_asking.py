"""Rules whose answers last are not asked again while nothing has changed, and never where something has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType

import pytest
from patching_support import CORE, Library, WrapRule, assert_same, snapshot, unwrapped

from rope_compat._patching.asking import RuleSet
from rope_compat._patching.edits import Edit, Resolve
from rope_compat._patching.engine import Engine

MakeLibrary = Callable[..., Library]

USER = """
from LIB.core import f

class Holder:
    held = staticmethod(f)

    class Inner:
        held = f
"""


@dataclass
class LastingRule(WrapRule):
    """The same rule for a library, whose answers last."""

    lasting: bool = True
    asked: list[str] = field(default_factory=list)

    @property
    def packages(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.prefix.partition(".")[0],)

    def propose(self, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        self.asked.append(module.__name__.partition(".")[2])
        return list(super().propose(module, resolve))


@pytest.fixture
def made(library: MakeLibrary) -> Library:
    found = library({"core.py": CORE, "user.py": USER, "other.py": CORE})
    for name in ("core", "user", "other"):
        found.load(name)
    return found


def test_a_lasting_rule_is_asked_once_and_its_replacements_are_used_again(
    engine: Engine, made: Library
) -> None:
    core, user, renewed = made.load("core"), made.load("user"), []
    engine._renew = renewed.append
    rule = LastingRule(made.name)
    rules, before = RuleSet([rule]), snapshot(core, user)
    replacements = []
    for _ in range(3):
        layer = engine.apply(rules)
        assert user.f is core.f is user.Holder.held is vars(user.Holder.Inner)["held"] is not core.RAW["f"]
        replacements.append(core.f)
        journal = len(layer.journal)
        engine.undo(layer)
        assert_same(before, snapshot(core, user))
        assert journal == 5
    assert sorted(rule.asked) == ["", "core", "other", "user"]
    assert replacements[0] is replacements[1] is replacements[2]
    assert renewed.count(replacements[0]) == 2


def test_other_rules_are_asked_each_time(engine: Engine, made: Library) -> None:
    rule = LastingRule(made.name, lasting=False)
    rules = RuleSet([rule])
    for _ in range(2):
        engine.undo(engine.apply(rules))
    assert len(rule.asked) == 8


@pytest.mark.parametrize("place", ["module", "class", "nested class", "wrapper"])
def test_all_are_asked_again_when_one_holds_something_else(engine: Engine, made: Library, place: str) -> None:
    core, user = made.load("core"), made.load("user")
    rule = LastingRule(made.name)
    rules = RuleSet([rule])
    engine.undo(engine.apply(rules))
    del rule.asked[:]

    def mine(x: object) -> object:
        return ("mine", x)

    if place == "module":
        core.f = mine
    elif place == "class":
        user.Holder.more = 1
    elif place == "nested class":
        user.Holder.Inner.held = mine
    else:
        user.Holder.held = staticmethod(mine)
    before = snapshot(core, user)
    layer = engine.apply(rules)
    assert sorted(rule.asked) == ["", "core", "other", "user"]
    assert unwrapped(core.f) is (mine if place == "module" else core.RAW["f"])
    engine.undo(layer)
    assert_same(before, snapshot(core, user))


def test_what_was_copied_after_patching_is_moved_back(engine: Engine, made: Library) -> None:
    core, user, other = (made.load(name) for name in ("core", "user", "other"))
    rules = RuleSet([LastingRule(made.name)])
    engine.undo(engine.apply(rules))
    layer = engine.apply(rules)
    other.copied, user.Holder.copied = core.f, staticmethod(core.f)
    user.Holder.Inner.held = other.f
    engine.undo(layer)
    assert other.copied is core.f is user.Holder.copied is core.RAW["f"]
    assert vars(user.Holder.Inner)["held"] is other.f is other.RAW["f"]


def test_references_that_came_between_two_patches_are_found(engine: Engine, made: Library) -> None:
    core, user, other = (made.load(name) for name in ("core", "user", "other"))
    rules = RuleSet([LastingRule(made.name)])
    engine.undo(engine.apply(rules))
    other.copied, user.Holder.copied = core.f, core.f
    first = engine.apply(rules)
    assert other.copied is user.Holder.copied is core.f is not core.RAW["f"]
    user.late = core.RAW["f"]
    second = engine.apply([WrapRule(made.name, "second")])
    # A later layer cannot go by what was there before the first.
    assert user.late is core.f
    engine.undo(first)
    engine.undo(second)
    assert other.copied is user.Holder.copied is user.late is core.f is core.RAW["f"]


def test_modules_that_come_later_are_asked_alone(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE, "late.py": CORE})
    made.load("core")
    # The package itself holds another module by then, which is nothing to rules that ask anew anyway.
    rule = LastingRule(f"{made.name}.")
    rules = RuleSet([rule, LastingRule(made.name, attribute="none", lasting=False)])
    engine.undo(engine.apply(rules))
    late = made.load("late")
    layer = engine.apply(rules)
    assert sorted(rule.asked) == ["core", "late"]
    engine.undo(layer)
    assert late.f is late.RAW["f"]


def test_rules_by_exact_name_and_by_shared_questions_keep_their_order(library: MakeLibrary) -> None:
    made = library()
    name = f"{made.name}.core"

    class Named(LastingRule):
        modules = (name,)

    rules = [LastingRule(made.name, "a"), Named(made.name, "b"), LastingRule(made.name, "c")]
    asked = RuleSet(rules)
    assert asked.of(name) == tuple(rules)
    assert asked.of(made.name) == (rules[0], rules[2])
    assert asked.of("elsewhere") == ()
