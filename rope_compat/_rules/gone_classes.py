"""The rule for rotary classes that are gone, or that a release has under another name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from types import ModuleType
from typing import Any

from .. import catalog
from .._facts.classes import OTHERS, PREFIX, RENAMED, SCALED
from .._patching.edits import MISSING, Assign, Edit, Resolve, Rule
from .._patching.references import namespace
from .options import Options
from .rule import ModuleRule, is_modeling
from .shim import Shim

__all__ = ["SHIMS", "rules", "source_of"]

GONE = Shim(
    name="gone-rotary-classes",
    kind="restore",
    targets=("transformers.models.*:*LinearScalingRotaryEmbedding",),
    why="classes for scaled embeddings went in 4.48.0, others were renamed in 4.45.0, 5.6.0 and 5.17.0",
    since="4.36.0",
    until=None,
    upstream="src/transformers/models/llama/modeling_llama.py at 4.48.0, models/qwen2_vl at 5.17.0",
    helps="code that imports, constructs or subclasses a rotary class of an older release",
)

SHIMS = (GONE,)


def rules(options: Options) -> list[Rule]:
    """The rule, for every modeling module."""
    return [ModuleRule(GONE, is_modeling, partial(_edits, options), lasting=True)]


def _edits(options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    for name, base_name, builder in _gone(module.__name__):
        held = namespace(module)
        known = resolve(held.get(name, MISSING))
        base = None if base_name is None else held.get(base_name)
        is_ours = getattr(known, "__rope_compat_gone__", None) == name or (base is not None and known is base)
        if (known is not MISSING and not is_ours) or (base_name is not None and not isinstance(base, type)):
            continue
        if not options.selection.selects(module.__name__, name):
            continue
        target = f"{module.__name__}:{name}"
        removed = catalog.removed_in(module.__name__, name)
        how = f"removed in {removed}" if removed else "this release has it under another name"
        detail = f"restored, {how}" + (f"; built on {base_name}" if base_name else "")
        make = partial(_build, builder, module.__name__, name, base)
        yield Assign(target, module, name, make, GONE.name, GONE.name, detail)


def _build(builder: str, module: str, name: str, base: Any) -> type:
    from .._adapters.classes import removed as gone

    kind = SCALED.get(builder)
    make = gone.scaled(kind) if kind is not None else getattr(gone, builder)
    cls: type = make(module, name, base)
    if cls is not base:
        cls.__rope_compat_gone__ = name  # type: ignore[attr-defined]
    return cls


@cache
def _table() -> dict[str, list[tuple[str, str | None, str]]]:
    """For each module the names that it once had or will have, with the class to build on, and how."""
    found: dict[str, list[tuple[str, str | None, str]]] = {}

    def add(model: str, name: str, base: str | None, builder: str) -> None:
        found.setdefault(f"{PREFIX}{model}.modeling_{model}", []).append((name, base, builder))

    for model, old, new in RENAMED:
        add(model, old, new, "alias")
        add(model, new, old, "alias")
    for model, name, other, builder in OTHERS:
        add(model, name, other, builder)
    return found


def _gone(module: str) -> list[tuple[str, str | None, str]]:
    """The names of one module, with those of scaled classes, which the catalog lists."""
    scaled = [
        (name, name.replace(infix, ""), infix)
        for name in catalog.names_in(module, kinds=["class"])
        if name.endswith("ScalingRotaryEmbedding")
        for infix in SCALED
        if infix in name
    ]
    return [*_table().get(module, ()), *scaled]


def source_of(module: str, name: str) -> str | None:
    """How a class that is gone is restored, for the coverage of the catalog; None where it is not."""
    return next((how for each, _, how in _gone(module) if each == name), None)
