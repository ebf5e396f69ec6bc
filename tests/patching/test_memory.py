"""Nothing is kept alive once it is undone."""

from __future__ import annotations

import gc
import importlib
import sys
import weakref
from collections.abc import Callable, Iterable
from types import ModuleType

import pytest
from patching_support import CORE, Library, ProposalRule, WrapRule, assign

from rope_compat._patching.edits import Edit
from rope_compat._patching.engine import Engine

MakeLibrary = Callable[..., Library]

USER = "from LIB.core import f\nclass Holder:\n    held = staticmethod(f)\n"


def forget(made: Library) -> None:
    for name in [n for n in sys.modules if n.startswith(made.name)]:
        del sys.modules[name]
    gc.collect()


def test_replacements_rules_and_modules_can_be_collected(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE, "user.py": USER})
    core, user = made.load("core"), made.load("user")
    first = engine.apply([WrapRule(made.name, "first")])
    importlib.reload(core)
    rules = [WrapRule(made.name, "second"), ProposalRule(core.__name__, lambda m: [assign(m, m, "new", m)])]
    second = engine.apply(rules)
    watched = [weakref.ref(o) for o in (core.f, user.f, core.f.original, rules[0], core, user, user.Holder)]
    assert len(engine.replacements()) == 3
    engine.undo(first)
    engine.undo(second)
    del core, user, first, second, rules
    forget(made)
    assert [reference() for reference in watched if reference() is not None] == []


def test_engines_can_be_collected(library: MakeLibrary) -> None:
    made = library()
    core = made.load("core")
    engine = Engine()
    engine.undo(engine.apply([WrapRule(core.__name__)]))
    watched = weakref.ref(engine)
    del engine
    gc.collect()
    assert watched() is None


def test_a_failed_layer_keeps_nothing(engine: Engine, library: MakeLibrary) -> None:
    made = library()
    core = made.load("core")
    watched = weakref.ref(core.f)

    def edits(module: ModuleType) -> Iterable[Edit]:
        yield assign(module, module, "extra", 1)
        raise LookupError("rule")

    with pytest.raises(LookupError, match="rule"):
        engine.apply([WrapRule(core.__name__), ProposalRule(core.__name__, edits)])
    del core
    forget(made)
    assert watched() is None
