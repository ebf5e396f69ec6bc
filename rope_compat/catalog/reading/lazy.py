"""Names that are looked up when they are asked for: by ``_LazyModule``, or by a module's ``__getattr__``.

A package that replaces itself by transformers' ``_LazyModule`` says in one of two ways what it offers. To
4.47 (and still for single packages later) ``_import_structure`` lists modules and names. From 4.48 on,
``define_import_structure`` scans a directory for ``__all__`` and for decorated objects. The root package of
5.x does both.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from rope_compat.catalog.reading.facts import Lazy
from rope_compat.catalog.reading.names import IMPORT_STRUCTURE, Flow, top_level

__all__ = ["FAST_IMAGE_PROCESSORS", "lazy_of", "offered_by", "served_by"]

#: Stands for a whole rule among the aliases.
FAST_IMAGE_PROCESSORS = ("image_processing_*_fast", "image_processing_*")
_IMAGE_PROCESSORS = ("image_processing_*.py", "image_processing_(?!pil_)")

_DECORATORS = ("requires", "export")  # export to 4.50, requires since; both from utils/import_utils.py
#: Old names of modules that go on working are made by calls (from 5.0.0), then listed (`_LEGACY_ALIASES`).
_ALIAS_MAKERS = ("_create_tokenization_alias", "_create_module_alias")
_LEGACY_ALIASES = "_LEGACY_MODULE_ALIASES"


def lazy_of(tree: ast.Module, flow: Flow) -> Lazy | None:
    """The import structure of a package; None where it does not replace itself."""
    call = next((call for call in _replacements(tree)), None)
    if call is None:
        return None
    names: list[tuple[str, str, str]] = []
    dummies: list[tuple[str, str]] = []
    for name, binding in flow.names.items():
        if name.startswith(IMPORT_STRUCTURE):
            module, _, value = name.removeprefix(IMPORT_STRUCTURE).rpartition(":")
            if value == "*":
                dummies.append((module, binding.condition))
            else:
                names.append((module, value, binding.condition))
    for extra in (keyword.value for keyword in call.keywords if keyword.arg == "extra_objects"):
        if isinstance(extra, ast.Dict):
            names += [("", str(key.value), "") for key in extra.keys if isinstance(key, ast.Constant)]
    return Lazy(
        tuple(sorted(names)),
        tuple(sorted(dummies)),
        tuple(sorted(set(_scans(tree)))),
        tuple(sorted(set(_aliases(tree)))),
    )


def offered_by(tree: ast.Module, exports: tuple[str, ...] | None) -> tuple[str, ...]:
    """What ``define_import_structure`` finds in a module: ``__all__``, and objects that are decorated."""
    decorated = [
        statement.name
        for statement in tree.body
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef))
        and any(_called_name(each) in _DECORATORS for each in statement.decorator_list)
    ]
    return tuple(sorted({*(exports or ()), *decorated}))


def _called_name(node: ast.expr) -> str:
    function = node.func if isinstance(node, ast.Call) else node
    return function.id if isinstance(function, ast.Name) else ""


def _replacements(tree: ast.Module) -> Iterator[ast.Call]:
    """``sys.modules[__name__] = _LazyModule(...)`` at the top level, below conditions too."""
    for node in top_level(tree.body):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Subscript)
            and ast.unparse(node.targets[0]) == "sys.modules[__name__]"
            and isinstance(node.value, ast.Call)
        ):
            yield node.value


def _scans(tree: ast.Module) -> Iterator[str]:
    for statement in top_level(tree.body):
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and _called_name(node) == "define_import_structure" and node.args:
                where = node.args[0]
                below = (
                    where.right if isinstance(where, ast.BinOp) else None
                )  # Path(__file__).parent / "models"
                yield below.value if isinstance(below, ast.Constant) and isinstance(below.value, str) else ""


def _aliases(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in top_level(tree.body):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == _LEGACY_ALIASES:
            if isinstance(node.value, ast.Dict):
                pairs = zip(node.value.keys, node.value.values, strict=True)
                yield from (
                    (str(old.value), str(new.value))
                    for old, new in pairs
                    if isinstance(old, ast.Constant) and isinstance(new, ast.Constant)
                )
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from _created_alias(node.value)
        if any(_names_image_processors(each) for each in ast.walk(node)):
            yield FAST_IMAGE_PROCESSORS


def _names_image_processors(node: ast.AST) -> bool:
    """From 5.4.0 on, each ``models.x.image_processing_x`` can be had with ``_fast`` after its name."""
    value = node.value if isinstance(node, ast.Constant) else None
    return isinstance(value, str) and any(part in value for part in _IMAGE_PROCESSORS)


def _created_alias(call: ast.Call) -> Iterator[tuple[str, str]]:
    """``_create_module_alias(f"{__name__}.tokenization_utils_fast", ".tokenization_utils_tokenizers")``."""
    if _called_name(call) not in _ALIAS_MAKERS or len(call.args) != 2:
        return
    old, new = call.args
    if isinstance(old, ast.JoinedStr) and isinstance(new, ast.Constant):
        tail = old.values[-1]
        if isinstance(tail, ast.Constant):
            yield str(tail.value).lstrip("."), str(new.value).lstrip(".")


def served_by(tree: ast.Module) -> set[str]:
    """Names that a module serves by its own ``__getattr__`` (PEP 562), as far as they stand in the source.

    transformers does so for pipelines that are loaded when asked for, and for names that have moved or are
    deprecated. The names are the strings of the collections that the function refers to, or that made it.
    """
    found: set[str] = set()
    tables: dict[str, ast.expr] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            tables[name] = statement.value
            if name == "__getattr__":
                dictionaries = (node for node in ast.walk(statement.value) if isinstance(node, ast.Dict))
                found.update(each for table in dictionaries for each in _strings(table))
        elif isinstance(statement, ast.FunctionDef) and statement.name == "__getattr__":
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
