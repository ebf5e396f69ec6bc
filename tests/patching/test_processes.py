"""Forked and spawned workers."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patching_support import CORE, Library, WrapRule

from rope_compat._patching.engine import Engine

MakeLibrary = Callable[..., Library]


def in_child(task: Callable[[], bool]) -> bool:
    """What `task` says in a forked child; False also where it raises or hangs."""
    child = os.fork()
    if child == 0:
        done = False
        try:
            done = task()
        finally:
            os._exit(0 if done else 1)
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@needs_fork
def test_a_forked_worker_inherits_the_layers_and_can_undo_them(engine: Engine, library: MakeLibrary) -> None:
    made = library({"core.py": CORE, "later.py": CORE})
    core = made.load("core")
    layer = engine.apply([WrapRule(made.name)])

    def task() -> bool:
        inherited = core.f(1) == made.load("later").f(1) == ("wrapped", "f", 1)
        engine.undo(layer)
        return inherited and core.f is core.RAW["f"]

    assert in_child(task)
    assert layer.active
    assert core.f(1) == ("wrapped", "f", 1)
    assert f"{made.name}.later" not in sys.modules


@needs_fork
def test_fork_while_another_thread_never_gives_up_the_lock(engine: Engine, library: MakeLibrary) -> None:
    made = library()
    core = made.load("core")
    inside, leave = threading.Event(), threading.Event()

    class Slow(WrapRule):
        def propose(self, *args: Any) -> Any:
            inside.set()
            assert leave.wait(60)
            return super().propose(*args)

    thread = threading.Thread(target=engine.apply, args=([Slow(core.__name__, "slow")],))
    thread.start()
    try:
        assert inside.wait(60)
        assert in_child(lambda: bool(engine.apply([WrapRule(core.__name__)]).journal))
    finally:
        leave.set()
        thread.join(60)
    assert core.f(1) == ("slow", "f", 1)


@needs_fork
def test_a_fork_sees_no_half_done_change(engine: Engine, library: MakeLibrary) -> None:
    """Each forked child sees either all functions replaced or none, and undoes what is there."""
    names = [f"core{i}" for i in range(30)]
    made = library({f"{name}.py": CORE for name in names})
    cores = [made.load(name) for name in names]
    stop = threading.Event()

    def flicker() -> None:
        while not stop.is_set():
            engine.undo(engine.apply([WrapRule(made.name)]))

    def task() -> bool:
        seen = {core.f is core.RAW["f"] for core in cores}
        for layer in engine.layers:
            engine.undo(layer)
        return len(seen) == 1 and all(core.f is core.RAW["f"] for core in cores)

    thread = threading.Thread(target=flicker)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        assert [in_child(task) for _ in range(8)] == [True] * 8
    finally:
        stop.set()
        thread.join(60)
        sys.setswitchinterval(interval)


def spawned(folder: str, name: str, answers: Any) -> None:
    """The worker: what it sees without patching, with it, and after undoing."""
    sys.path.insert(0, folder)
    core = Library(Path(folder), name).load("core")
    engine = Engine()
    seen = [core.f(1)]
    layer = engine.apply([WrapRule(name)])
    seen.append(core.f(1))
    engine.undo(layer)
    seen.append(core.f(1))
    answers.put(seen)


def test_a_spawned_worker_starts_afresh(engine: Engine, library: MakeLibrary) -> None:
    made = library()
    made.load("core")
    engine.apply([WrapRule(made.name)])
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    worker = context.Process(target=spawned, args=(str(made.folder), made.name, answers))
    worker.start()
    worker.join(60)
    assert worker.exitcode == 0
    assert answers.get() == [("f", 1), ("wrapped", "f", 1), ("f", 1)]
