"""RoPE targets of one module: functions, classes with their methods, mappings, and what is only re-exported.

What counts, in modules that are not of TensorFlow or Flax, not weight conversion scripts, and not
``modular_*`` sources (the ``modeling_*`` files are generated from these, and nothing imports them):

- functions whose name belongs to RoPE, or that take cos and sin, rotary angles or a rotary module, and
  ``create_sinusoidal_positions`` where it stands beside such functions (GPT-J, CodeGen);
- classes whose name belongs to RoPE, and `IdeficsEmbedding` and the like, which make ``inv_freq`` beside such
  functions, with every method that they define themselves;
- methods of other classes by the same criteria, such as ``get_rope_index`` and, in modules that define or
  import
  something of RoPE, attention's ``forward(..., position_embeddings)``; with ``__init__`` and ``forward`` of
  the classes around them;
- dictionaries whose name belongs to RoPE, with their keys;
- everything in ``modeling_rope_utils``;
- names of the above that a module imports from another module of the package.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from rope_compat.catalog.reading.facts import Binding, Constructor, Definition
from rope_compat.catalog.reading.fingerprint import fingerprint
from rope_compat.catalog.reading.words import (
    is_function_name,
    is_parameter_name,
    is_rope_module,
    is_rotary_name,
    words,
)
from rope_compat.catalog.signature import text_of

__all__ = ["constructors_of", "is_target_file", "targets_of", "top_level"]

_NOT_TORCH = ("modeling_tf_", "modeling_flax_", "modular_", "convert_", "diff_")
_CONTRACT = ("__init__", "forward")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_target_file(module: str) -> bool:
    """Whether a module may define targets; what is left out is listed above."""
    return not module.rpartition(".")[2].startswith(_NOT_TORCH)


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a body, those below ``if`` and ``try`` included: these bind names too."""
    for statement in body:
        if isinstance(statement, ast.If):
            yield from top_level([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            handlers = [each for handler in statement.handlers for each in handler.body]
            yield from top_level([*statement.body, *handlers, *statement.orelse, *statement.finalbody])
        elif isinstance(statement, (ast.With, ast.AsyncWith)):
            yield from top_level(statement.body)
        else:
            yield statement


def targets_of(
    tree: ast.Module, module: str, names: Mapping[str, Binding], package: str
) -> dict[str, Definition]:
    """Every target of a module, by qualified name; where a name is defined twice, the last one stands."""
    everything = is_rope_module(module)
    found: dict[str, Definition] = {}
    others: list[Function | ast.ClassDef] = []
    for statement in top_level(tree.body):
        if isinstance(statement, _FUNCTIONS):
            if everything or is_function_name(statement.name) or _has_rotary_parameter(statement):
                found[statement.name] = _function(statement, "function")
            else:
                others.append(statement)
        elif isinstance(statement, ast.ClassDef):
            if everything or is_rotary_name(statement.name):
                found.update(_rotary_class(statement))
            else:
                others.append(statement)
        else:
            found.update(_mapping(statement))
    beside_functions = any(each.kind == "function" for each in found.values())
    for name, binding in names.items():
        if binding.kind == "import" and binding.origin.startswith(package + "."):
            origin, _, original = binding.origin.rpartition(":")
            if name not in found and (is_function_name(original) or is_rope_module(origin)):
                found[name] = Definition("reexport", binding.origin)
    # Constructors of configurations take RoPE's fields, which are read apart from targets.
    concerned = bool(found) and not module.rpartition(".")[2].startswith("configuration_")
    for each in others:
        if isinstance(each, ast.ClassDef):
            rotary = beside_functions and _makes_inv_freq(each)
            found.update(_rotary_class(each) if rotary else _contract_class(each, concerned=concerned))
        elif beside_functions and "sinusoidal" in words(each.name):
            found[each.name] = _function(each, "function")
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


def _function(node: Function, kind: str, *, body: bool = True) -> Definition:
    return Definition(
        kind, text_of(node.args), fingerprint(node.body) if body else "", _sources(node.decorator_list)
    )


def _sources(nodes: list[ast.expr]) -> tuple[str, ...]:
    return tuple(map(ast.unparse, nodes))


def _has_rotary_parameter(node: Function) -> bool:
    every = {each.arg for each in _arguments(node)}
    return {"cos", "sin"} <= every or any(map(is_parameter_name, every))


def _arguments(node: Function) -> list[ast.arg]:
    arguments = node.args
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


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


def _makes_inv_freq(statement: ast.ClassDef) -> bool:
    """Whether a class sets or registers ``inv_freq`` when it is made, like `IdeficsEmbedding`."""
    for method in _methods(statement):
        if method.name != "__init__":
            continue
        for node in ast.walk(method):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                if node.func.attr == "register_buffer" and isinstance(first, ast.Constant):
                    return first.value == "inv_freq"
            elif (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and node.attr == "inv_freq"
            ):
                return True
    return False


def _contract_class(statement: ast.ClassDef, *, concerned: bool) -> Iterator[tuple[str, Definition]]:
    """A class that is not RoPE's own: its methods that are, and those that carry rotary tensors."""
    methods = list(_methods(statement))
    own = {method.name for method in methods if is_rotary_name(method.name)}
    touched: set[str] = set()
    if concerned:
        touched = {
            method.name for method in methods if _has_rotary_parameter(method) or _speaks_of_rope(method)
        }
    if not own and not touched:
        return
    # What else attention does is not RoPE's: only signatures are kept, and the bodies of its methods for
    # RoPE.
    yield statement.name, _class(statement)._replace(body="")
    for method in methods:
        if method.name in own:
            yield f"{statement.name}.{method.name}", _function(method, "method")
        elif method.name in touched or (touched and method.name in _CONTRACT):
            yield f"{statement.name}.{method.name}", _function(method, "method", body=False)


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
            return without_first(method.args)
    bases = {each.rpartition(".")[2] for each in _sources(statement.bases)}
    decorators = {each.partition("(")[0].rpartition(".")[2] for each in _sources(statement.decorator_list)}
    if "TypedDict" in bases or "dataclass" in decorators:
        return _fields(statement, keywords_only="TypedDict" in bases)
    return None


def without_first(arguments: ast.arguments) -> str:
    """The signature text without the first positional parameter."""
    positional = [*arguments.posonlyargs, *arguments.args]
    if not positional:
        return text_of(arguments)
    rest = ast.arguments(
        posonlyargs=arguments.posonlyargs[1:],
        args=arguments.args if arguments.posonlyargs else arguments.args[1:],
        vararg=arguments.vararg,
        kwonlyargs=arguments.kwonlyargs,
        kw_defaults=arguments.kw_defaults,
        kwarg=arguments.kwarg,
        defaults=arguments.defaults[-(len(positional) - 1) :] if len(positional) > 1 else [],
    )
    return text_of(rest)


def _fields(statement: ast.ClassDef, *, keywords_only: bool) -> str:
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
