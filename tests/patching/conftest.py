"""An engine of each test's own, and packages to use it on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patching_support import CORE, Library, new_name

from rope_compat._patching.engine import Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine that has nothing left when the test is over."""
    finders = list(sys.meta_path)
    made = Engine()
    yield made
    for layer in made.layers:
        made.undo(layer)
    assert sys.meta_path == finders
    assert made.replacements() == []


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Library]]:
    """Makes packages: `library({"core.py": ...})`; without files, ``core.py`` with a function ``f``."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names: list[str] = []

    def make(files: dict[str, str] | None = None) -> Library:
        names.append(new_name())
        made = Library(tmp_path, names[-1]).write({"__init__.py": "", **(files or {"core.py": CORE})})
        importlib.invalidate_caches()
        return made

    yield make
    for loaded in [n for n in sys.modules if n.partition(".")[0] in names]:
        del sys.modules[loaded]
