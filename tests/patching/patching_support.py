"""Throw-away packages, and the simplest rules that replace something in them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from rope_compat._patching.edits import MISSING, Assign, Edit, Replace, Resolve, Skip
from rope_compat._patching.references import name_of, namespace

_numbers = itertools.count()

#: Raw references that the engine does not search for: the tests' own way to the originals.
CORE = """
def f(x):
    return ("f", x)

RAW = {"f": f}
"""


@dataclass
class Library:
    """A package in a folder of its own, imported for real."""

    folder: Path
    name: str

    def write(self, files: dict[str, str]) -> Library:
        for path, text in files.items():
            target = self.folder / self.name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text.replace("LIB", self.name))
        return self

    def load(self, name: str = "") -> ModuleType:
        full = f"{self.name}.{name}" if name else self.name
        __import__(full)
        return sys.modules[full]


def new_name() -> str:
    return f"throwaway_{next(_numbers)}"


def wrap(original: Callable[..., Any], label: object = "") -> Callable[..., Any]:
    """A replacement that does what the original does, and says who replaced it."""

    def replacement(*args: Any) -> Any:
        return (label, *original(*args))

    replacement.original = original  # type: ignore[attr-defined]
    return replacement


def unwrapped(value: Any) -> Any:
    """What stands behind any number of replacements."""
    while hasattr(value, "original"):
        value = value.original
    return value


@dataclass
class WrapRule:
    """Replaces function `attribute` in all modules below `prefix`."""

    prefix: str
    label: object = "wrapped"
    attribute: str = "f"
    everywhere: bool = True
    made: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "wrap"

    @property
    def packages(self) -> None:
        return None

    def matches(self, module_name: str) -> bool:
        return module_name.startswith(self.prefix)

    def propose(self, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        original = resolve(namespace(module).get(self.attribute, MISSING))
        if not isinstance(original, FunctionType):
            return
        home = name_of(module)
        is_own = original.__module__ == home
        if not is_own and original.__module__.startswith(self.prefix):
            return

        def make() -> object:
            self.made.append(home)
            return wrap(original, self.label)

        target = f"{home}:{self.attribute}"
        everywhere = self.everywhere and is_own
        yield Replace(
            target, module, self.attribute, original, make, self.label, everywhere, self.name, "wrapped"
        )


@dataclass
class ProposalRule:
    """Yields whatever `edits(module)` says, for one module."""

    module: str
    edits: Callable[[ModuleType], Iterable[Edit]]

    @property
    def name(self) -> str:
        return "proposal"

    @property
    def packages(self) -> None:
        return None

    def matches(self, module_name: str) -> bool:
        return module_name == self.module

    def propose(self, module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        return self.edits(module)


def assign(module: ModuleType, owner: Any, attribute: str, value: object, *, copies: bool = False) -> Assign:
    target = f"{module.__name__}:{attribute}"
    return Assign(target, owner, attribute, lambda: value, "key", "proposal", "", copies=copies)


def skip(module: ModuleType, reason: str) -> Skip:
    return Skip(f"{module.__name__}:f", "proposal", reason)


def places(owner: Any) -> Iterator[tuple[str, object]]:
    """Every attribute of a module or a class, and of the classes in it that it defines."""
    home = owner.__module__ if isinstance(owner, type) else owner.__name__
    for name, value in list(vars(owner).items()):
        yield name, value
        if isinstance(value, type) and value.__module__ == home:
            for inner, held in places(value):
                yield f"{name}.{inner}", held


def snapshot(*modules: ModuleType) -> dict[str, object]:
    """What every attribute of the modules and their classes holds."""
    return {f"{module.__name__}:{name}": value for module in modules for name, value in places(module)}


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    """The same attributes hold the same objects."""
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] is not after[name]] == []
