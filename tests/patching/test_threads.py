"""Threads that patch, undo and import at the same time."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from patching_support import CORE, Library, WrapRule, unwrapped

from rope_compat._patching import progress
from rope_compat._patching.engine import Engine
from rope_compat._patching.layer import Layer

MakeLibrary = Callable[..., Library]

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _threads_switch_all_the_time() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def run_together(*tasks: Callable[[], object]) -> None:
    """Run each task in a thread of its own; raise what the first of them raised."""
    failures: list[BaseException] = []
    start = threading.Barrier(len(tasks))

    def guarded(task: Callable[[], object]) -> None:
        try:
            start.wait(PATIENCE)
            task()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [thread for thread in threads if thread.is_alive()] == [], "deadlock"
    if failures:
        raise failures[0]


def test_patching_undoing_and_importing_at_the_same_time(engine: Engine, library: MakeLibrary) -> None:
    count = 8
    files = {f"core{i}.py": CORE for i in range(count)}
    files |= {f"user{i}.py": f"from LIB.core{i} import f\nHELD = [f]\n" for i in range(count)}
    made = library(files)

    def patch_and_undo(label: str) -> Callable[[], None]:
        def task() -> None:
            for _ in range(12):
                engine.undo(engine.apply([WrapRule(f"{made.name}.core", label)]))

        return task

    def load(prefix: str) -> Callable[[], None]:
        return lambda: [made.load(f"{prefix}{i}") for i in range(count)] and None

    def reload() -> None:
        for i in range(count):
            importlib.reload(made.load(f"core{i}"))

    run_together(patch_and_undo("a"), patch_and_undo("b"), load("core"), load("user"), reload)
    assert engine.layers == ()
    for i in range(count):
        core, user = made.load(f"core{i}"), made.load(f"user{i}")
        assert core.f is core.RAW["f"]
        assert user.f is unwrapped(user.HELD[0])


def test_a_layer_that_stays_covers_every_concurrent_import(engine: Engine, library: MakeLibrary) -> None:
    """However an import and `apply` meet, the module is replaced once both are done."""
    count = 40
    made = library({f"core{i}.py": CORE for i in range(count)})
    made.load()
    layers: list[Layer] = []

    def patch() -> None:
        layers.append(engine.apply([WrapRule(f"{made.name}.core")]))

    def load() -> None:
        for i in range(count):
            made.load(f"core{i}")

    run_together(load, patch)
    cores = [made.load(f"core{i}") for i in range(count)]
    assert [core.__name__ for core in cores if core.f is core.RAW["f"]] == []
    engine.undo(layers[0])
    assert [core.__name__ for core in cores if core.f is not core.RAW["f"]] == []


WAITING = """
import LIB.gate
LIB.gate.reached.set()
assert LIB.gate.go_on.wait(60)
"""
GATE = "import threading\nreached = threading.Event()\ngo_on = threading.Event()\n"


@pytest.mark.parametrize("text", [WAITING + CORE, CORE + WAITING], ids=["before the function", "after it"])
@pytest.mark.parametrize("locks_are_known", [True, False])
def test_apply_waits_for_a_module_that_another_thread_is_importing(
    engine: Engine,
    library: MakeLibrary,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    locks_are_known: bool,
) -> None:
    if not locks_are_known:
        # As on a Python that has renamed what is private there.
        monkeypatch.setattr(progress, "_module_locks", {})
    made = library({"core.py": text, "gate.py": GATE})
    gate = made.load("gate")
    layers: list[Layer] = []

    def patch() -> None:
        assert gate.reached.wait(PATIENCE)
        threading.Timer(0.05, gate.go_on.set).start()
        layers.append(engine.apply([WrapRule(f"{made.name}.core")]))
        assert sys.modules[f"{made.name}.core"].f(1) == ("wrapped", "f", 1)

    run_together(lambda: made.load("core"), patch)
    core = made.load("core")
    engine.undo(layers[0])
    assert core.f is core.RAW["f"]


def test_apply_waits_for_a_module_that_another_thread_is_looking_for(
    engine: Engine, library: MakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search began before the hook came, and the module is not in `sys.modules` yet."""
    made = library()
    made.load()
    name = f"{made.name}.core"
    reached, go_on = threading.Event(), threading.Event()

    class SlowFinder:
        def find_spec(self, fullname: str, path: object, target: object = None) -> None:
            if fullname == name:
                reached.set()
                assert go_on.wait(PATIENCE)

    monkeypatch.setattr(sys, "meta_path", [SlowFinder(), *sys.meta_path])
    layers: list[Layer] = []

    def patch() -> None:
        assert reached.wait(PATIENCE)
        threading.Timer(0.05, go_on.set).start()
        layers.append(engine.apply([WrapRule(name)]))
        assert sys.modules[name].f(1) == ("wrapped", "f", 1)

    run_together(lambda: made.load("core"), patch)
    engine.undo(layers[0])
    assert made.load("core").f is made.load("core").RAW["f"]


def test_an_import_that_fails_meanwhile_does_not_fail_apply(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE + WAITING + "raise LookupError('broken')\n", "gate.py": GATE})
    gate = made.load("gate")
    layers: list[Layer] = []

    def load() -> None:
        with pytest.raises(LookupError, match="broken"):
            made.load("core")

    def patch() -> None:
        assert gate.reached.wait(PATIENCE)
        threading.Timer(0.05, gate.go_on.set).start()
        layers.append(engine.apply([WrapRule(f"{made.name}.core")]))

    run_together(load, patch)
    assert layers[0].active
    assert f"{made.name}.core" not in sys.modules


def test_patching_while_two_imports_wait_for_each_other(engine: Engine, library: MakeLibrary) -> None:
    """One thread imports a module that patches, the other a matched module that imports that one."""
    patching = "import LIB.gate\nassert LIB.gate.reached.wait(60)\nLIB.gate.patch()\n"
    core = CORE + "import LIB.gate\nLIB.gate.reached.set()\nimport LIB.patching\n"
    made = library({"core.py": core, "patching.py": patching, "gate.py": GATE + "patch = None\n"})
    layers: list[Layer] = []
    made.load("gate").patch = lambda: layers.append(engine.apply([WrapRule(f"{made.name}.core")]))
    run_together(lambda: made.load("patching"), lambda: made.load("core"))
    loaded = made.load("core")
    assert loaded.f(1) == ("wrapped", "f", 1)
    engine.undo(layers[0])
    assert loaded.f is loaded.RAW["f"]


def test_undo_in_another_thread_while_an_import_runs(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE + WAITING, "gate.py": GATE})
    gate = made.load("gate")
    layer = engine.apply([WrapRule(f"{made.name}.core")])

    def undo() -> None:
        assert gate.reached.wait(PATIENCE)
        engine.undo(layer)
        gate.go_on.set()

    run_together(lambda: made.load("core"), undo)
    core: Any = made.load("core")
    assert core.f is core.RAW["f"]
