"""Modules that are imported after the rules were applied, in all the ways that Python imports."""

from __future__ import annotations

import importlib
import importlib.resources
import importlib.util
import inspect
import runpy
import sys
import zipfile
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from patching_support import CORE, Library, ProposalRule, WrapRule, assert_same, assign, snapshot

from rope_compat._patching.edits import Edit
from rope_compat._patching.engine import Engine
from rope_compat._patching.layer import Layer

MakeLibrary = Callable[..., Library]


def test_a_module_shows_the_loader_that_it_would_have_had(engine: Engine, library: MakeLibrary) -> None:
    seen = "import sys\nDURING = (__loader__, __spec__.loader)\n"
    plain, hooked = library({"core.py": CORE + seen}), library({"core.py": CORE + seen})
    engine.apply([WrapRule(hooked.name)])
    expected, found = plain.load("core"), hooked.load("core")
    assert found.f(1) == ("wrapped", "f", 1)
    for module in (expected, found):
        assert module.__spec__ is not None
        loaders = [module.__loader__, module.__spec__.loader, *module.DURING]
        assert [type(loader) for loader in loaders] == [SourceFileLoader] * 4
        assert all(loader is loaders[0] for loader in loaders)
    assert found.__file__ == str(hooked.folder / hooked.name / "core.py")
    assert found.__spec__.origin == found.__file__
    assert found.__cached__ == found.__spec__.cached
    assert vars(found).keys() == vars(expected).keys()
    assert inspect.getsource(found) == CORE + seen
    assert inspect.getsource(found.RAW["f"]).startswith("def f(x)")


def test_packages_and_their_submodules(engine: Engine, library: MakeLibrary) -> None:
    made = library(
        {
            "sub/__init__.py": "from .core import f\nfrom . import core\n",
            "sub/core.py": CORE,
            "sub/data.txt": "text",
        }
    )
    layer = engine.apply([WrapRule(f"{made.name}.sub")])
    sub = made.load("sub")
    core = made.load("sub.core")
    assert sub.core is core
    assert sub.f is core.f is not core.RAW["f"]
    assert list(sub.__path__) == [str(made.folder / made.name / "sub")]
    assert (importlib.resources.files(sub) / "data.txt").read_text() == "text"
    engine.undo(layer)
    assert sub.f is core.f is core.RAW["f"]


def test_namespace_packages(engine: Engine, library: MakeLibrary) -> None:
    made = library({"space/core.py": CORE})
    engine.apply([WrapRule(f"{made.name}.space")])
    core = made.load("space.core")
    space = made.load("space")
    assert core.f(1) == ("wrapped", "f", 1)
    assert space.__spec__.loader is space.__loader__
    assert list(space.__path__) == [str(made.folder / made.name / "space")]


@pytest.mark.parametrize("first", ["core", "sibling"])
def test_circular_imports(engine: Engine, library: MakeLibrary, first: str) -> None:
    """A sibling that copies the function while its module is still being executed."""
    early = CORE + "import LIB.sibling\n"
    sibling = "from LIB.core import f\ndef g():\n    return f(2)\nclass C:\n    held = staticmethod(f)\n"
    made = library({"core.py": early, "sibling.py": sibling})
    layer = engine.apply([WrapRule(f"{made.name}.core")])
    made.load(first)
    core, other = made.load("core"), made.load("sibling")
    assert core.f is other.f is other.C.held is not core.RAW["f"]
    assert other.g() == ("wrapped", "f", 2)
    engine.undo(layer)
    assert core.f is other.f is other.C.held is core.RAW["f"]


def test_reload_before_and_after(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE, "user.py": "from LIB.core import f\n"})
    core, user = made.load("core"), made.load("user")
    first_f = core.f
    importlib.reload(core)
    second_f = core.f
    layer = engine.apply([WrapRule(made.name)])
    assert core.f(1) == ("wrapped", "f", 1)
    importlib.reload(core)
    third_f = core.RAW["f"]
    assert third_f is not second_f
    assert core.f(1) == ("wrapped", "f", 1)
    assert core.f.original is third_f
    assert user.f is first_f  # an older copy, that nothing tells to be the function of today's module
    importlib.reload(user)
    assert user.f is core.f
    engine.undo(layer)
    assert core.f is user.f is third_f
    importlib.reload(core)
    assert core.f is core.RAW["f"]
    assert type(core.__spec__.loader) is SourceFileLoader


def test_reload_brings_an_assigned_value_back(engine: Engine, library: MakeLibrary) -> None:
    core = library().load("core")
    rule = ProposalRule(core.__name__, lambda m: [assign(m, m, "f", "ours"), assign(m, m, "extra", 1)])
    layer = engine.apply([rule])
    importlib.reload(core)
    assert (core.f, core.extra) == ("ours", 1)
    engine.undo(layer)
    assert core.f is core.RAW["f"]
    assert not hasattr(core, "extra")


def test_an_import_that_fails_leaves_nothing_and_can_be_tried_again(
    engine: Engine, library: MakeLibrary
) -> None:
    made = library({"core.py": CORE + "raise LookupError('broken')\n"})
    layer = engine.apply([WrapRule(made.name)])
    for _ in range(2):
        with pytest.raises(LookupError, match="broken"):
            made.load("core")
        assert f"{made.name}.core" not in sys.modules
    assert layer.journal == []
    assert engine.replacements() == []
    made.write({"core.py": CORE})
    importlib.invalidate_caches()
    assert made.load("core").f(1) == ("wrapped", "f", 1)


def test_find_spec_and_run_as_a_script(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE + "ANSWER = f(42)\n"})
    engine.apply([WrapRule(made.name)])
    spec = importlib.util.find_spec(f"{made.name}.core")
    assert spec is not None
    assert f"{made.name}.core" not in sys.modules
    assert spec.loader.get_source(spec.name).startswith(CORE)
    assert spec.loader.get_filename(spec.name) == spec.origin
    assert importlib.util.find_spec(f"{made.name}.missing") is None
    assert runpy.run_module(f"{made.name}.core")["ANSWER"] == ("f", 42)
    made.load("core")
    loaded = importlib.util.find_spec(f"{made.name}.core")
    assert loaded is not None
    assert type(loaded.loader) is SourceFileLoader


def test_a_lazily_loaded_module(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE})
    name = f"{made.name}.core"
    made.load()
    layer = engine.apply([WrapRule(made.name)])
    spec = importlib.util.find_spec(name)
    assert spec is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    assert "f" not in object.__getattribute__(module, "__dict__")
    again = engine.apply([WrapRule(made.name)])
    assert "f" not in object.__getattribute__(module, "__dict__"), "patching must not wake it"
    assert module.f(1) == ("wrapped", "f", 1)
    engine.undo(again)
    engine.undo(layer)
    assert module.f is module.RAW["f"]


def test_modules_in_a_zip_archive(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "zipped.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped_package/__init__.py", "")
        file.writestr("zipped_package/core.py", CORE)
        file.writestr("zipped_package/user.py", "from .core import f\n")
    monkeypatch.syspath_prepend(archive)
    layer = engine.apply([WrapRule("zipped_package")])
    try:
        user = importlib.import_module("zipped_package.user")
        core = sys.modules["zipped_package.core"]
        assert user.f is core.f is not core.RAW["f"]
        assert type(core.__loader__).__name__ == type(user.__spec__.loader).__name__ == "zipimporter"
        assert inspect.getsource(core.RAW["f"]).startswith("def f(x)")
        engine.undo(layer)
        assert user.f is core.f is core.RAW["f"]
    finally:
        for name in [n for n in sys.modules if n.startswith("zipped_package")]:
            del sys.modules[name]


def test_a_module_that_puts_another_in_its_place(engine: Engine, library: MakeLibrary) -> None:
    text = """
import sys
from types import ModuleType
class Stand(ModuleType): pass
stand = Stand(__name__)
vars(stand).update(vars(sys.modules[__name__]))
sys.modules[__name__] = stand
"""
    made = library({"core.py": CORE + text})
    layer = engine.apply([WrapRule(made.name)])
    core = made.load("core")
    assert type(core).__name__ == "Stand"
    assert core.f(1) == ("wrapped", "f", 1)
    engine.undo(layer)
    assert core.f is core.RAW["f"]


class Guest(MetaPathFinder):
    """Another library's finder that, like ours, asks the others and wraps their loader."""

    def __init__(self) -> None:
        self.busy: set[str] = set()
        self.executed: list[str] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("throwaway") or fullname in self.busy:
            return None
        self.busy.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.busy.discard(fullname)
        if spec is not None:
            spec.loader = GuestLoader(spec.loader, self.executed)
        return spec


class GuestLoader(Loader):
    def __init__(self, loader: Loader | None, executed: list[str]) -> None:
        self.loader, self.executed = loader, executed

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        assert self.loader is not None
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert self.loader is not None
        self.loader.exec_module(module)
        self.executed.append(module.__name__)


@pytest.mark.parametrize("guest_first", [True, False])
def test_beside_another_import_hook(
    engine: Engine, library: MakeLibrary, monkeypatch: pytest.MonkeyPatch, guest_first: bool
) -> None:
    made = library()
    guest = Guest()
    finders = list(sys.meta_path)
    if not guest_first:
        monkeypatch.setattr(sys, "meta_path", [guest, *finders])
    layer = engine.apply([WrapRule(made.name)])
    if guest_first:
        sys.meta_path.insert(0, guest)
    core = made.load("core")
    assert guest.executed == [made.name, core.__name__]
    assert core.f(1) == ("wrapped", "f", 1)
    engine.undo(layer)
    assert core.f is core.RAW["f"]
    assert sys.meta_path == [guest, *finders]
    sys.meta_path.remove(guest)


def test_two_hooks_that_want_the_same_module(engine: Engine, library: MakeLibrary) -> None:
    made, other = library(), Engine()
    engine.apply([WrapRule(made.name)])
    layer = other.apply([WrapRule(made.name)])
    try:
        assert made.load("core").f(1)[0] == "wrapped"
    finally:
        other.undo(layer)


def test_a_walk_over_the_finders_is_not_disturbed_by_undo(engine: Engine, library: MakeLibrary) -> None:
    """Another thread's import may stand in the middle of ``sys.meta_path`` when the hook leaves."""
    layer = engine.apply([WrapRule("nothing")])
    expected = list(sys.meta_path)
    walk = iter(sys.meta_path)
    seen = [next(walk), next(walk)]
    engine.undo(layer)
    assert seen + list(walk) == expected


def test_reports_after_import(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE, "other.py": ""})
    told: list[int] = []
    layer = engine.apply([WrapRule(f"{made.name}.core")], lambda layer: told.append(len(layer.journal)))
    made.load("other")
    assert told == []
    core = made.load("core")
    assert told == [1]
    assert list(layer.applied) == [f"{core.__name__}:f"]


def test_a_report_that_raises_fails_the_import(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE})

    def report(layer: Layer) -> None:
        raise LookupError("told")

    layer = engine.apply([WrapRule(made.name)], report)
    with pytest.raises(LookupError, match="told"):
        made.load("core")
    assert f"{made.name}.core" not in sys.modules
    engine.undo(layer)
    assert made.load("core").f(1) == ("f", 1)


def test_patching_inside_a_module_that_is_being_imported(
    engine: Engine, library: MakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the module defines after the call is seen as soon as anything else is imported."""
    text = "def early(x):\n    return ('early', x)\nimport LIB.hooks\nLIB.hooks.patch()\n"
    made = library({"core.py": text + CORE, "hooks.py": "patch = None\n", "other.py": ""})
    rules = [WrapRule(f"{made.name}.core"), WrapRule(f"{made.name}.core", attribute="early")]
    layers: list[Layer] = []
    made.load("hooks").patch = lambda: layers.append(engine.apply(rules))
    core = made.load("core")
    assert len(layers) == 1
    assert core.early(1) == ("wrapped", "early", 1)
    made.load("other")
    assert core.f(1) == ("wrapped", "f", 1)
    engine.undo(layers[0])
    assert core.f is core.RAW["f"]
    assert core.early(1) == ("early", 1)


def test_patching_inside_a_module_that_a_hook_watches(engine: Engine, library: MakeLibrary) -> None:
    text = "import LIB.hooks\nLIB.hooks.patch()\n"
    made = library({"core.py": text + CORE, "hooks.py": "patch = None\n"})
    layers = [engine.apply([WrapRule(f"{made.name}.core", "outer")])]
    made.load("hooks").patch = lambda: layers.append(engine.apply([WrapRule(f"{made.name}.core", "inner")]))
    core = made.load("core")
    assert core.f(1) == ("inner", "f", 1)
    engine.undo(layers[1])
    assert core.f(1) == ("outer", "f", 1)
    engine.undo(layers[0])
    assert core.f is core.RAW["f"]


def test_undo_inside_a_module_that_is_being_imported(engine: Engine, library: MakeLibrary) -> None:
    text = "import LIB.hooks\nLIB.hooks.undo()\n"
    made = library({"core.py": CORE + text, "hooks.py": "undo = None\n"})
    layer = engine.apply([WrapRule(f"{made.name}.core")])
    made.load("hooks").undo = lambda: engine.undo(layer)
    core = made.load("core")
    assert core.f is core.RAW["f"]


def test_a_module_executed_without_the_import_system(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE, "user.py": ""})
    layer = engine.apply([WrapRule(made.name)])
    user = made.load("user")
    name = f"{made.name}.by_hand"
    path = made.folder / made.name / "core.py"
    module = ModuleType(name)
    sys.modules[name] = module
    exec(compile(path.read_text(), str(path), "exec"), vars(module))
    user.copy = module.f
    engine.adapt_now(module)
    assert module.f is user.copy is not module.RAW["f"]
    before = snapshot(module, user)
    engine.adapt_now(module)
    assert_same(before, snapshot(module, user))
    engine.undo(layer)
    assert module.f is user.copy is module.RAW["f"]


def test_rules_that_raise_on_import_fail_the_import_and_leave_nothing(
    engine: Engine, library: MakeLibrary
) -> None:
    made = library({"core.py": CORE, "other.py": "kept = None\n"})
    other = made.load("other")

    def edits(module: ModuleType) -> list[Edit]:
        other.kept = module.f
        raise LookupError("rule")

    layer = engine.apply([WrapRule(f"{made.name}.core"), ProposalRule(f"{made.name}.core", edits)])
    with pytest.raises(LookupError, match="rule"):
        made.load("core")
    assert f"{made.name}.core" not in sys.modules
    engine.undo(layer)
    assert other.kept(1) == ("f", 1)
