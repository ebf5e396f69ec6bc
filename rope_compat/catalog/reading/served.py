"""Names that a module serves by its own ``__getattr__`` (PEP 562), as far as they stand in the source.

transformers does so for pipelines that are loaded when asked for, and for names that have moved or are
deprecated.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["served_by"]

_FUNCTION = "__getattr__"


def served_by(tree: ast.Module) -> set[str]:
    """Strings that ``__getattr__`` looks names up in: of the collections it refers to, or that made it."""
    found: set[str] = set()
    tables: dict[str, ast.expr] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            tables[name] = statement.value
            if name == _FUNCTION:
                dictionaries = (node for node in ast.walk(statement.value) if isinstance(node, ast.Dict))
                found.update(each for table in dictionaries for each in _strings(table))
        elif isinstance(statement, ast.FunctionDef) and statement.name == _FUNCTION:
            used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
            found.update(each for name in used & set(tables) for each in _strings(tables[name]))
    return {name for name in found if name.isidentifier()}


def _strings(table: ast.expr) -> Iterator[str]:
    if isinstance(table, ast.Call) and len(table.args) == 1:  # frozenset({...})
        table = table.args[0]
    if isinstance(table, ast.Dict):
        elements = [key for key in table.keys if key is not None]
    elif isinstance(table, (ast.List, ast.Tuple, ast.Set)):
        elements = table.elts
    else:
        return
    yield from (
        each.value for each in elements if isinstance(each, ast.Constant) and isinstance(each.value, str)
    )
