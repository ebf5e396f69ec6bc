"""The rooms of `docs/architecture.md`: imports run one way, and none of them goes round."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "rope_compat"


def _modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _imports(name: str) -> Iterator[str]:
    """Modules of this package that a module imports anywhere, but for type checkers alone."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text("utf-8"))
    unseen = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    ]
    hidden = {id(inner) for node in unseen for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in hidden:
            continue
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, node.module] if node.module else above) if node.level else str(node.module)
        for alias in node.names:
            target = f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base
            if target in MODULES and target != name:
                yield target


def _rooms() -> dict[str, int]:
    """Each room with its height: the table of the document, from top to bottom."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[^|]+) \|", text.partition("## Rooms")[2].partition("\n## ")[0], re.MULTILINE)
    return {room: -place for place, row in enumerate(rows) for room in re.findall(r"`(\w+)`", row)}


ROOMS = _rooms()


def _room(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


def test_every_room_stands_in_the_table() -> None:
    assert {_room(name) for name in MODULES} == set(ROOMS)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_down(name: str) -> None:
    here = _room(name)
    up = [other for other in _imports(name) if _room(other) != here and ROOMS[_room(other)] >= ROOMS[here]]
    assert up == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {
        name: {other for other in _imports(name) if MODULES[other].name != "__init__.py"} for name in MODULES
    }
    tuple(TopologicalSorter(graph).static_order())
