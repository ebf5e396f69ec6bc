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
#: Old names of modules that go on working are made by these (from 5.0.0), then listed.
_ALIAS_MAKERS = ("_create_tokenization_alias", "_create_module_alias")


def lazy_of(tree: ast.Module, flow: Flow) -> Lazy | None:
    """The import structure of a package; None where it does not replace itself."""
    statements = list(top_level(tree.body))
    call = next((call for each in statements for call in _replacement(each)), None)
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
        names += [("", name, "") for name in _keys_or_strings(extra)]
    return Lazy(
        tuple(sorted(names)),
        tuple(sorted(dummies)),
        tuple(sorted({each for statement in statements for each in _scans(statement)})),
        tuple(sorted({each for statement in statements for each in _aliases(statement)})),
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


def _replacement(statement: ast.stmt) -> Iterator[ast.Call]:
    """``sys.modules[__name__] = _LazyModule(...)``."""
    match statement:
        case ast.Assign(targets=[ast.Subscript() as target, *_], value=ast.Call() as call):
            if ast.unparse(target) == "sys.modules[__name__]":
                yield call


def _scans(statement: ast.stmt) -> Iterator[str]:
    """Of ``define_import_structure(Path(__file__).parent / "models")`` the directory."""
    for node in ast.walk(statement):
        match node:
            case ast.Call(
                func=ast.Name("define_import_structure"),
                args=[ast.BinOp(right=ast.Constant(str() as below)), *_],
            ):
                yield below
            case ast.Call(func=ast.Name("define_import_structure"), args=[_, *_]):
                yield ""


def _aliases(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    match statement:
        case ast.Assign(targets=[ast.Name("_LEGACY_MODULE_ALIASES"), *_], value=ast.Dict(keys, values)):
            for pair in zip(keys, values, strict=True):
                match pair:
                    case ast.Constant(old), ast.Constant(new):
                        yield str(old), str(new)
        # _create_module_alias(f"{__name__}.tokenization_utils_fast", ".tokenization_utils_tokenizers")
        case ast.Expr(
            ast.Call(ast.Name(maker), [ast.JoinedStr([*_, ast.Constant(old)]), ast.Constant(new)])
        ) if maker in _ALIAS_MAKERS:
            yield str(old).lstrip("."), str(new).lstrip(".")
    for node in ast.walk(statement):
        # From 5.4.0 on, each ``models.x.image_processing_x`` can be had with ``_fast`` after its name.
        match node:
            case ast.Constant(str() as text) if any(part in text for part in _IMAGE_PROCESSORS):
                yield FAST_IMAGE_PROCESSORS


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
                found.update(each for table in dictionaries for each in _keys_or_strings(table))
        elif isinstance(statement, ast.FunctionDef) and statement.name == "__getattr__":
            used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
            found.update(each for name in used & set(tables) for each in _keys_or_strings(tables[name]))
    return {name for name in found if name.isidentifier()}


def _keys_or_strings(table: ast.expr) -> Iterator[str]:
    match table:
        case ast.Call(args=[inner]):  # frozenset({...})
            yield from _keys_or_strings(inner)
        case (
            ast.Dict(keys=elements)
            | ast.List(elts=elements)
            | ast.Tuple(elts=elements)
            | ast.Set(elts=elements)
        ):
            for each in elements:
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    yield each.value
