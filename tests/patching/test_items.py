"""One key of one dict: set in place, seen by every holder, taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType

import pytest
from patching_support import Library, ProposalRule

from rope_compat._patching.edits import MISSING, Edit, SetItem
from rope_compat._patching.engine import Engine

MakeLibrary = Callable[..., Library]
TABLE = 'TABLE = {"first": "one", "second": "two"}\n'


def item(
    module: ModuleType,
    key: str,
    value: object,
    *,
    label: str = "key",
    make: Callable[[], object] | None = None,
) -> SetItem:
    return SetItem(
        f"{module.__name__}:TABLE[{key!r}]", module.TABLE, key, make or (lambda: value), label, "proposal", ""
    )


def setting(module: str, *items: tuple[str, object], label: str = "key") -> ProposalRule:
    return ProposalRule(module, lambda m: [item(m, key, value, label=label) for key, value in items])


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_key_is_set_in_the_dict_that_all_hold_and_taken_back(
    engine: Engine, library: MakeLibrary, order: str
) -> None:
    made = library({"core.py": TABLE, "user.py": "from LIB.core import TABLE\n"})
    rule = setting(f"{made.name}.core", ("first", "ours"), ("new", "added"))
    if order == "before":
        layer = engine.apply([rule])
    core, user = made.load("core"), made.load("user")
    table = core.TABLE
    if order == "after":
        layer = engine.apply([rule])
    assert core.TABLE is user.TABLE is table
    assert table == {"first": "ours", "second": "two", "new": "added"}
    assert sorted(engine.replacements(), key=str) == ["added", "ours"]
    assert [(entry.before, entry.after) for entry in layer.journal] == [("one", "ours"), (MISSING, "added")]
    engine.undo(layer)
    assert core.TABLE is table
    assert list(table.items()) == [("first", "one"), ("second", "two")]


def test_what_others_add_stays(engine: Engine, library: MakeLibrary) -> None:
    core = library({"core.py": TABLE}).load("core")
    layer = engine.apply([setting(core.__name__, ("new", "added"))])
    core.TABLE["theirs"] = "kept"
    engine.undo(layer)
    assert core.TABLE == {"first": "one", "second": "two", "theirs": "kept"}


@pytest.mark.parametrize("key", ["first", "new"])
def test_what_others_put_over_it_is_never_dropped(engine: Engine, library: MakeLibrary, key: str) -> None:
    core = library({"core.py": TABLE}).load("core")
    layer = engine.apply([setting(core.__name__, (key, "ours"))])
    core.TABLE[key] = "theirs"
    later = engine.apply([setting(core.__name__, (key, "later"), label="later")])
    assert core.TABLE[key] == "later"
    engine.undo(layer)
    assert core.TABLE[key] == "later"
    engine.undo(later)
    assert core.TABLE[key] == "theirs"


def test_what_others_have_deleted_does_not_come_back(engine: Engine, library: MakeLibrary) -> None:
    core = library({"core.py": TABLE}).load("core")
    layer = engine.apply([setting(core.__name__, ("first", "ours"), ("new", "added"))])
    core.TABLE.clear()
    engine.undo(layer)
    assert core.TABLE == {}


@pytest.mark.parametrize("first_undone", ["older", "newer"])
def test_layers_go_in_any_order(engine: Engine, library: MakeLibrary, first_undone: str) -> None:
    core = library({"core.py": TABLE}).load("core")
    older = engine.apply([setting(core.__name__, ("first", "older"), label="older")])
    newer = engine.apply([setting(core.__name__, ("first", "newer"), label="newer")])
    assert core.TABLE["first"] == "newer"
    engine.undo(older if first_undone == "older" else newer)
    assert core.TABLE["first"] == ("newer" if first_undone == "older" else "older")
    engine.undo(newer if first_undone == "older" else older)
    assert core.TABLE["first"] == "one"


def test_equal_keys_share_one_value(engine: Engine, library: MakeLibrary) -> None:
    core = library({"core.py": TABLE}).load("core")
    made: list[object] = []

    def propose(module: ModuleType) -> Iterable[Edit]:
        def make() -> object:
            made.append(object())
            return made[-1]

        yield item(module, "new", None, make=make)

    first = engine.apply([ProposalRule(core.__name__, propose)])
    second = engine.apply([ProposalRule(core.__name__, propose)])
    assert core.TABLE["new"] is made[0]
    assert len(made) == 1
    engine.undo(first)
    assert core.TABLE["new"] is made[0]
    engine.undo(second)
    assert "new" not in core.TABLE


def test_a_failure_half_way_takes_keys_back(engine: Engine, library: MakeLibrary) -> None:
    core = library({"core.py": TABLE}).load("core")

    def failing() -> object:
        raise LookupError("make")

    rule = ProposalRule(
        core.__name__, lambda m: [item(m, "first", "ours"), item(m, "new", None, make=failing)]
    )
    with pytest.raises(LookupError, match="make"):
        engine.apply([rule])
    assert core.TABLE == {"first": "one", "second": "two"}


def test_preview_changes_nothing(engine: Engine, library: MakeLibrary) -> None:
    core = library({"core.py": TABLE}).load("core")
    (edit,) = engine.preview([setting(core.__name__, ("new", "added"))])
    assert isinstance(edit, SetItem)
    assert "new" not in core.TABLE
