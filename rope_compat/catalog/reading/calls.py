"""How a module's own code uses RoPE targets: the shape of calls, and attributes read from rotary modules.

A shape is a short text. Of a call, ``call POSITIONAL KEYWORDS RESULT``: the number of positional arguments
(with ``+`` after it if ``*args`` follows), the keywords in alphabetical order (``**`` for ``**kwargs``;
``-`` for none), and what happens to the result: the number of names that it is unpacked into, ``1`` for a
single name, ``return``, or ``use`` for anything else. Of an attribute, ``read NAME``.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from rope_compat._facts.rope_names import is_rotary_name, words
from rope_compat.catalog.model import Definition, Use
from rope_compat.catalog.reading.facts import Binding
from rope_compat.catalog.reading.names import top_level

__all__ = ["call_shape", "uses_of"]

UNKNOWN = "?"
_FORWARD = "forward"
_EMBEDDING = frozenset({"emb", "embed", "embedding", "embeddings"})


def uses_of(
    tree: ast.Module, module: str, names: Mapping[str, Binding], targets: Mapping[str, Definition]
) -> tuple[Use, ...]:
    """Every use of a target by the module's own code, sorted."""
    homes = _homes(module, names, targets)
    counted: Counter[tuple[str, str]] = Counter()
    for statement in top_level(tree.body):
        nodes = list(ast.walk(statement))  # walking takes most of the time: once for all that is looked for
        held: dict[str, set[str]] = {}
        for attribute, home in _held(nodes, homes):
            held.setdefault(attribute, set()).add(home)
        results = dict(_results(nodes))
        for node in nodes:
            if isinstance(node, ast.Call):
                shape = call_shape(node, results.get(id(node), "use"))
                for target in _called(node.func, homes, held):
                    counted[target, shape] += 1
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                for owner in _rotary_owners(node.value, held) if node.attr != _FORWARD else ():
                    counted[owner, f"read {node.attr}"] += 1
    return tuple(sorted(Use(target, shape, count) for (target, shape), count in counted.items()))


def call_shape(call: ast.Call, result: str) -> str:
    """The shape of one call."""
    positional = sum(not isinstance(each, ast.Starred) for each in call.args)
    starred = "+" if any(isinstance(each, ast.Starred) for each in call.args) else ""
    keywords = sorted(each.arg or "**" for each in call.keywords)
    return f"call {positional}{starred} {','.join(keywords) or '-'} {result}"


def _homes(
    module: str, names: Mapping[str, Binding], targets: Mapping[str, Definition]
) -> dict[str, tuple[str, bool]]:
    """Local name to target, and whether it is a class."""
    homes: dict[str, tuple[str, bool]] = {}
    for name, definition in targets.items():
        if definition.kind in {"function", "class"} and "." not in name:
            if definition.kind == "function" or is_rotary_name(name):
                homes[name] = (f"{module}:{name}", definition.kind == "class")
        elif definition.kind == "reexport":
            original = definition.signature.rpartition(":")[2]
            homes[name] = (definition.signature, original[:1].isupper() and not original.isupper())
    return homes


def _held(nodes: list[ast.AST], homes: Mapping[str, tuple[str, bool]]) -> Iterator[tuple[str, str]]:
    """Attributes of ``self`` that a class sets to rotary modules: name and class."""
    if not isinstance(nodes[0], ast.ClassDef):
        return
    for node in nodes:
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        target, function = node.targets[0], node.value.func
        if isinstance(function, ast.Name) and isinstance(target, ast.Attribute) and _is_self(target.value):
            home, is_class = homes.get(function.id, ("", False))
            if is_class:
                yield target.attr, home


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _results(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """What becomes of each call's result, by the call's identity."""
    for node in nodes:
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
            yield id(node.value), "return"
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            target = node.targets[0]
            unpacked = isinstance(target, (ast.Tuple, ast.List))
            yield id(node.value), str(len(target.elts)) if unpacked else "1"  # type: ignore[attr-defined]


def _called(
    function: ast.expr, homes: Mapping[str, tuple[str, bool]], held: Mapping[str, set[str]]
) -> Iterator[str]:
    if isinstance(function, ast.Name):
        if function.id in homes:
            yield homes[function.id][0]
    elif isinstance(function, ast.Attribute):
        for owner in _rotary_owners(function.value if function.attr == _FORWARD else function, held):
            yield owner if owner.startswith(UNKNOWN) else f"{owner}.{_FORWARD}"


def _rotary_owners(node: ast.expr, held: Mapping[str, set[str]]) -> Iterable[str]:
    """The classes that the rotary module of an expression may have, as far as they can be told."""
    if not isinstance(node, ast.Attribute):
        return ()
    if _is_self(node.value) and node.attr in held:
        return held[node.attr]
    found = words(node.attr)
    if is_rotary_name(node.attr) and not _EMBEDDING.isdisjoint(found) and "pos" not in found:
        return (f"{UNKNOWN}:{node.attr}",)
    return ()
