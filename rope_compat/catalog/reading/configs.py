"""Fields of configuration classes that describe a rotary embedding, with their defaults.

Where a field comes from has changed: a parameter of ``__init__`` (to 5.3), an annotated class attribute (the
dataclasses since), an attribute that ``__init__`` sets, or a property.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from rope_compat.catalog.reading.facts import Definition
from rope_compat.catalog.reading.statements import top_level
from rope_compat.catalog.reading.words import is_field_name

__all__ = ["fields_of"]

#: Stand where a default would: the caller has to give a value; the class works it out; it is a property.
REQUIRED, COMPUTED, PROPERTY = "<required>", "<computed>", "<property>"


def fields_of(tree: ast.Module, module: str) -> dict[str, Definition]:
    """RoPE fields of the configuration classes of a module, as ``Class.field``."""
    in_configuration = module.rpartition(".")[2].startswith("configuration_")
    found: dict[str, Definition] = {}
    for statement in top_level(tree.body):
        if not isinstance(statement, ast.ClassDef):
            continue
        if in_configuration or statement.name.endswith("Config"):
            for field, default in _fields(statement):
                # What a parameter or an annotation says comes before what the code does with it.
                found.setdefault(f"{statement.name}.{field}", Definition("field", default))
    return found


def _fields(statement: ast.ClassDef) -> Iterator[tuple[str, str]]:
    methods = [node for node in statement.body if isinstance(node, ast.FunctionDef)]
    for node in statement.body:
        name, value = _class_attribute(node)
        if is_field_name(name):
            yield name, ast.unparse(value) if value else REQUIRED
    for method in methods:
        if method.name == "__init__":
            yield from _parameters(method.args)
            yield from _assigned(method)
    for method in methods:
        if is_field_name(method.name) and "property" in map(ast.unparse, method.decorator_list):
            yield method.name, PROPERTY


def _class_attribute(node: ast.stmt) -> tuple[str, ast.expr | None]:
    """Name and value of an attribute that a class body sets or annotates; an empty name where it does not."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    return "", None


def _parameters(arguments: ast.arguments) -> Iterator[tuple[str, str]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    without = len(positional) - len(arguments.defaults)
    defaults = [*([None] * without), *arguments.defaults]
    pairs = [*zip(positional, defaults, strict=True)]
    pairs += [*zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    for argument, default in pairs:
        if is_field_name(argument.arg):
            yield argument.arg, ast.unparse(default) if default is not None else REQUIRED


def _assigned(method: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    for node in ast.walk(method):
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.AnnAssign):
            target = node.target
        if (
            isinstance(target, ast.Attribute)
            and isinstance(target.value, ast.Name)
            and target.value.id == "self"
            and is_field_name(target.attr)
        ):
            value = getattr(node, "value", None)
            yield target.attr, ast.unparse(value) if isinstance(value, ast.Constant) else COMPUTED
