"""RoPE targets of one module: functions, classes with their methods, mappings, and what is only re-exported.

What counts, in modules that are not of TensorFlow or Flax, not weight conversion scripts, and not
``modular_*`` sources (the ``modeling_*`` files are generated from these, and nothing imports them):

- functions whose name belongs to RoPE;
- classes whose name belongs to RoPE, with every method that they define themselves;
- methods of other classes whose name does, such as ``get_rope_index``;
- dictionaries whose name belongs to RoPE, with their keys;
- everything in ``modeling_rope_utils``;
- names of the above that a module imports from another module of the package.

Names decide, and nothing else, so that a target is one in every release that has it, and its spans are those
in which it exists. What code does is kept apart, as *carriers*: other functions and methods, in the releases
in which they take or compute something of RoPE, such as attention's ``forward(..., position_embeddings)``.

Fields of configuration classes that describe a rotary embedding come from parameters of ``__init__`` (to
5.3), annotated class attributes (the dataclasses since), attributes that ``__init__`` sets, or properties.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from rope_compat._facts.rope_names import (
    NOT_TORCH,
    OTHER_TARGETS,
    is_field_name,
    is_function_name,
    is_parameter_name,
    is_rope_module,
    is_rotary_name,
)
from rope_compat.catalog.model import Definition
from rope_compat.catalog.reading.facts import Binding, Constructor
from rope_compat.catalog.reading.fingerprint import fingerprint
from rope_compat.catalog.reading.names import top_level
from rope_compat.catalog.signature import parameters_of, text_of

__all__ = ["constructors_of", "fields_of", "is_target_file", "targets_of"]

#: Stand where a field's default would: the caller has to give a value; the class works it out; a property.
_REQUIRED, _COMPUTED, _PROPERTY = "<required>", "<computed>", "<property>"
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_target_file(module: str) -> bool:
    """Whether a module may define targets; what is left out is listed above."""
    return not module.rpartition(".")[2].startswith(NOT_TORCH)


def targets_of(
    tree: ast.Module, module: str, names: Mapping[str, Binding], package: str
) -> dict[str, Definition]:
    """Every target of a module, by qualified name; where a name is defined twice, the last one stands."""
    everything = is_rope_module(module)
    found: dict[str, Definition] = {}
    others: list[Function | ast.ClassDef] = []
    for statement in top_level(tree.body):
        if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
            is_class = isinstance(statement, ast.ClassDef)
            named = is_rotary_name(statement.name) if is_class else is_function_name(statement.name)
            if not (everything or named or f"{module}:{statement.name}" in OTHER_TARGETS):
                others.append(statement)
            elif isinstance(statement, ast.ClassDef):
                found.update(_rotary_class(statement))
            else:
                found[statement.name] = _function(statement, "function")
        else:
            found.update(_mapping(statement))
    for name, binding in names.items():
        if binding.kind == "import" and binding.origin.startswith(package + "."):
            origin, _, original = binding.origin.rpartition(":")
            if name not in found and (is_function_name(original) or is_rope_module(origin)):
                found[name] = Definition("reexport", binding.origin)
    # Constructors of configurations take RoPE's fields, which are read apart from targets.
    concerned = bool(found) and not module.rpartition(".")[2].startswith("configuration_")
    for each in others:
        found.update(_other(each, concerned=concerned))
    return {name: _conditioned(definition, names, name) for name, definition in found.items()}


def constructors_of(tree: ast.Module, names: Mapping[str, Binding]) -> dict[str, Constructor]:
    """How each class of a module is constructed, as far as the module says."""
    return {
        statement.name: Constructor(_own_constructor(statement), tuple(_named_bases(statement, names)))
        for statement in top_level(tree.body)
        if isinstance(statement, ast.ClassDef)
    }


def _named_bases(statement: ast.ClassDef, names: Mapping[str, Binding]) -> Iterator[str]:
    for base in statement.bases:
        if isinstance(base, ast.Name):
            binding = names.get(base.id)
            yield binding.origin if binding is not None and binding.origin else base.id
        elif isinstance(base, ast.Attribute):
            yield base.attr


def _conditioned(definition: Definition, names: Mapping[str, Binding], qualname: str) -> Definition:
    binding = names.get(qualname.partition(".")[0])
    return definition._replace(condition=binding.condition) if binding and binding.condition else definition


def _function(node: Function, kind: str) -> Definition:
    return Definition(kind, text_of(node.args), fingerprint(node.body), _sources(node.decorator_list))


def _sources(nodes: list[ast.expr]) -> tuple[str, ...]:
    return tuple(map(ast.unparse, nodes))


def _has_rotary_parameter(node: Function) -> bool:
    every = {name for name, _ in parameters_of(node.args)}
    return {"cos", "sin"} <= every or any(map(is_parameter_name, every))


def _methods(statement: ast.ClassDef) -> Iterator[Function]:
    """The methods of a class; of a property, the getter."""
    for node in top_level(statement.body):
        if isinstance(node, _FUNCTIONS):
            decorators = _sources(node.decorator_list)
            if not any(each.endswith((".setter", ".deleter", "overload")) for each in decorators):
                yield node


def _rotary_class(statement: ast.ClassDef) -> Iterator[tuple[str, Definition]]:
    yield statement.name, _class(statement)
    for method in _methods(statement):
        yield f"{statement.name}.{method.name}", _function(method, "method")


def _other(node: Function | ast.ClassDef, *, concerned: bool) -> Iterator[tuple[str, Definition]]:
    """Of what is not RoPE's own: methods that are, by their names, and what carries something of RoPE."""
    if not isinstance(node, ast.ClassDef):
        if _has_rotary_parameter(node):
            yield node.name, _carrier(node)
        return
    for method in _methods(node):
        name = f"{node.name}.{method.name}"
        if is_rotary_name(method.name):
            yield name, _function(method, "method")
        elif (
            concerned
            and method.name != "__init__"
            and (_has_rotary_parameter(method) or _speaks_of_rope(method))
        ):
            yield name, _carrier(method)


def _carrier(node: Function) -> Definition:
    """What else such code does is not RoPE's: only the signature is kept."""
    return Definition("carrier", text_of(node.args))


def _speaks_of_rope(method: Function) -> bool:
    for node in ast.walk(method):
        if isinstance(node, ast.Attribute) and is_rotary_name(node.attr):
            return True
        if isinstance(node, ast.Name) and is_function_name(node.id):
            return True
    return False


def _class(statement: ast.ClassDef) -> Definition:
    own = [node for node in statement.body if not isinstance(node, _FUNCTIONS)]
    return Definition(
        "class",
        _own_constructor(statement) or "",
        fingerprint(own),
        _sources(statement.decorator_list),
        _sources(statement.bases),
    )


def _own_constructor(statement: ast.ClassDef) -> str | None:
    """The constructor's signature without ``self``; None where the class inherits it."""
    for method in _methods(statement):
        if method.name == "__init__":
            return text_of(method.args, without_first=True)
    bases = {each.rpartition(".")[2] for each in _sources(statement.bases)}
    decorators = {each.partition("(")[0].rpartition(".")[2] for each in _sources(statement.decorator_list)}
    if "TypedDict" in bases or "dataclass" in decorators:
        return _annotated(statement, keywords_only="TypedDict" in bases)
    return None


def _annotated(statement: ast.ClassDef, *, keywords_only: bool) -> str:
    """The constructor of a dataclass or TypedDict, from its annotated fields."""
    fields = [
        (node.target.id, ast.unparse(node.value) if node.value else "")
        for node in statement.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    parts = [f"{name}={default}" if default else name for name, default in fields]
    return f"({', '.join(['*', *parts] if keywords_only and parts else parts)})"


def _mapping(statement: ast.stmt) -> Iterator[tuple[str, Definition]]:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, value = statement.targets[0], statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, value = statement.target, statement.value
    else:
        return
    if isinstance(target, ast.Name) and isinstance(value, ast.Dict) and is_rotary_name(target.id):
        keys = ", ".join(
            f"**{ast.unparse(v)}" if k is None else ast.unparse(k)
            for k, v in zip(value.keys, value.values, strict=True)
        )
        yield target.id, Definition("mapping", f"{{{keys}}}", fingerprint([statement]))


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
            yield name, ast.unparse(value) if value else _REQUIRED
    for method in methods:
        if method.name == "__init__":
            for name, default in parameters_of(method.args):
                if is_field_name(name):
                    yield name, ast.unparse(default) if default is not None else _REQUIRED
            yield from _assigned(method)
    for method in methods:
        if is_field_name(method.name) and "property" in map(ast.unparse, method.decorator_list):
            yield method.name, _PROPERTY


def _class_attribute(node: ast.stmt) -> tuple[str, ast.expr | None]:
    """Name and value of an attribute that a class body sets or annotates; an empty name where it does not."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    return "", None


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
            yield target.attr, ast.unparse(value) if isinstance(value, ast.Constant) else _COMPUTED
