"""Another reading of transformers' source, short and slow, that shares no code with the catalog's."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Collection, Iterator
from pathlib import Path

__all__ = ["functions_in", "is_read", "live_names", "methods_in", "modules_in"]


def modules_in(package: Path) -> Iterator[tuple[str, Path]]:
    """Dotted name and file of each module below the directory of transformers."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def is_read(path: Path) -> bool:
    """Whether a file may have targets: PyTorch's, and not generated from another."""
    return not path.name.startswith(("modeling_tf_", "modeling_flax_", "modular_", "convert_"))


def functions_in(source: bytes | ast.Module, names: Collection[str] | None = None) -> dict[str, str]:
    """Signature text of the functions at the top level, below conditions too; the last definition stands."""
    return {
        node.name: _signature(node)
        for node in _definitions(_tree(source))
        if isinstance(node, ast.FunctionDef) and (names is None or node.name in names)
    }


def methods_in(source: bytes | ast.Module) -> dict[str, dict[str, str]]:
    """Signature text of each method, by class; of a property, its getter."""
    found: dict[str, dict[str, str]] = {}
    for node in _definitions(_tree(source)):
        if isinstance(node, ast.ClassDef):
            methods = found[node.name] = {}
            for each in _definitions(node):
                if isinstance(each, ast.FunctionDef) and not _sets_property(each):
                    methods[each.name] = _signature(each)
    return found


def _tree(source: bytes | ast.Module) -> ast.Module:
    return source if isinstance(source, ast.Module) else ast.parse(source)


def _definitions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            yield child
        elif isinstance(child, (ast.If, ast.Try, ast.ExceptHandler)):
            yield from _definitions(child)


def _sets_property(node: ast.FunctionDef) -> bool:
    return any(isinstance(each, ast.Attribute) and each.attr == "setter" for each in node.decorator_list)


def _signature(node: ast.FunctionDef) -> str:
    for each in ast.walk(node.args):
        if isinstance(each, ast.arg):
            each.annotation = None
    return f"({ast.unparse(node.args)})"


def live_names(module: object) -> set[str]:
    """The names that a loaded module has of its own, those that Python gives to every module apart."""
    if type(module).__name__ == "_LazyModule":
        listed = [*module.__all__, *module._objects]  # type: ignore[attr-defined]
        return {name for name in listed if "." not in name and _works(module, name)}
    given = {"__builtins__", "__cached__", "__doc__", "__file__", "__loader__", "__name__", "__package__"}
    given |= {"__path__", "__spec__", "__annotations__", "__warningregistry__", "__conditional_annotations__"}
    # A submodule that something else has imported is an attribute too.
    return {
        name
        for name, value in vars(module).items()
        if name not in given
        and not (inspect.ismodule(value) and value.__name__ == f"{module.__name__}.{name}")  # type: ignore[attr-defined]
    }


def _works(module: object, name: str) -> bool:
    try:
        getattr(module, name)
    except Exception:
        return False  # it needs what is not installed
    return True
