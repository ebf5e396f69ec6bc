"""Which names a module binds at its top level, and under which conditions.

A small flow analysis: what both branches of an ``if`` bind is there in any case, what one of them binds is
conditional, with the source of the condition as its description. ``if TYPE_CHECKING:`` never runs. What code
does by calls (`setattr`, `globals`) is not followed, except ``_import_structure`` and ``__all__``, which are
lists that are built step by step; see `rope_compat.catalog.reading.lazy`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rope_compat.catalog.reading.facts import Binding

__all__ = [
    "EXPORTED",
    "IMPORT_STRUCTURE",
    "Flow",
    "both",
    "either",
    "flow_of",
    "negated",
    "top_level",
]

#: Prefixes of names that stand for entries of lists, not for bindings: no identifier contains a colon.
EXPORTED = "__all__:"
IMPORT_STRUCTURE = "_import_structure:"
_OTHER_FLOWS = (ast.For, ast.AsyncFor, ast.While)
_TRY: tuple[type[ast.Try], ...] = (ast.Try, *filter(None, [getattr(ast, "TryStar", None)]))  # Python 3.11


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


@dataclass
class Flow:
    """What a list of statements does to a module's names.

    Attributes:
        names: bindings, with conditions relative to the statements' own.
        stars: module and condition of star imports.
        ends: the statements never reach their end (they raise).
        unreadable: ``__all__`` is set to what cannot be read.
    """

    names: dict[str, Binding] = field(default_factory=dict)
    stars: list[tuple[str, str]] = field(default_factory=list)
    ends: bool = False
    unreadable: bool = False

    def bind(self, name: str, binding: Binding) -> None:
        """Add a binding; one that is always there is not made conditional by a later one."""
        before = self.names.get(name)
        if before is not None and binding.condition:
            if not before.condition:
                return
            if binding.condition != before.condition:
                condition = either(before.condition, binding.condition)
                binding = Binding(before.kind, condition, before.origin)
        self.names[name] = binding

    def then(self, other: Flow) -> None:
        """Add what comes after."""
        for name, binding in other.names.items():
            self.bind(name, binding)
        self.stars += other.stars
        self.unreadable |= other.unreadable
        self.ends |= other.ends


def flow_of(body: Iterable[ast.stmt], package: str) -> Flow:
    """The flow of a module's statements; ``package`` is what relative imports start from."""
    flow = Flow()
    for statement in body:
        _step(statement, flow, package)
    return flow


def _resolve(package: str, level: int, module: str | None) -> str:
    """The absolute name of the module that an import statement names."""
    if level == 0:
        return module or ""
    base = package.split(".")
    base = base[: len(base) - (level - 1)] if level > 1 else base
    return ".".join([*base, *([module] if module else [])])


def negated(condition: str) -> str:
    """The opposite of a condition."""
    if condition.startswith("not ") and not _is_compound(condition):
        inner = condition[4:]
        wrapped = inner.startswith("(") and inner.endswith(")") and _is_compound(inner[1:-1])
        return inner[1:-1] if wrapped else inner
    return f"not ({condition})" if _is_compound(condition) else f"not {condition}"


def _is_compound(condition: str) -> bool:
    depth = 0
    for index, letter in enumerate(condition):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0 and condition.startswith((" and ", " or "), index):
            return True
    return False


def both(first: str, second: str) -> str:
    """The condition that both conditions hold; empty stands for one that always does."""
    if not first or not second or first == second:
        return first or second
    return " and ".join(f"({each})" if " or " in each else each for each in (first, second))


def either(first: str, second: str) -> str:
    """The condition that one of two conditions holds; empty where one of them always does."""
    if negated(first) == second or negated(second) == first:
        return ""
    parts = first.split(" or ")
    return first if second in parts else f"{first} or {second}"


def _step(statement: ast.stmt, flow: Flow, package: str) -> None:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        flow.bind(statement.name, Binding("function"))
    elif isinstance(statement, ast.ClassDef):
        flow.bind(statement.name, Binding("class"))
    elif isinstance(statement, ast.Import):
        for alias in statement.names:
            flow.bind(alias.asname or alias.name.partition(".")[0], Binding("module"))
    elif isinstance(statement, ast.ImportFrom):
        _import_from(statement, flow, package)
    elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        _assign(statement, flow)
    elif isinstance(statement, ast.Expr):
        _call(statement.value, flow)
    elif isinstance(statement, ast.Delete):
        for target in statement.targets:
            if isinstance(target, ast.Name):
                flow.names.pop(target.id, None)
    elif isinstance(statement, ast.If):
        flow.then(_branches(statement, package))
    elif isinstance(statement, _TRY):
        flow.then(_attempt(statement, package))
    elif isinstance(statement, (ast.With, ast.AsyncWith)):
        for item in statement.items:
            for name in _bound(item.optional_vars) if item.optional_vars else ():
                flow.bind(name, Binding("value"))
        flow.then(flow_of(statement.body, package))
    elif isinstance(statement, _OTHER_FLOWS):
        inner = flow_of(statement.body, package)
        if not isinstance(statement, ast.While):
            for name in _bound(statement.target):
                inner.bind(name, Binding("value"))
        flow.then(_conditional(inner, "the loop runs"))
    elif isinstance(statement, ast.Raise):
        flow.ends = True


def _import_from(statement: ast.ImportFrom, flow: Flow, package: str) -> None:
    module = _resolve(package, statement.level, statement.module)
    for alias in statement.names:
        if alias.name == "*":
            flow.stars.append((module, ""))
        else:
            flow.bind(alias.asname or alias.name, Binding("import", "", f"{module}:{alias.name}"))


def _assign(statement: ast.Assign | ast.AnnAssign | ast.AugAssign, flow: Flow) -> None:
    if statement.value is None:  # only an annotation
        return
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    kind = "mapping" if isinstance(statement.value, ast.Dict) else "value"
    for target in targets:
        for name in _bound(target):
            if name == "__all__":
                _export(statement.value, flow, anew=not isinstance(statement, ast.AugAssign))
            elif name == "_import_structure" and isinstance(statement.value, ast.Dict):
                for key, value in zip(statement.value.keys, statement.value.values, strict=True):
                    _structure(key, value, flow)
            flow.bind(name, Binding(kind))
        if isinstance(target, ast.Subscript) and _is_name(target.value, "_import_structure"):
            _structure(target.slice, statement.value, flow)


def _bound(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Starred):
        yield from _bound(target.value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        for each in target.elts:
            yield from _bound(each)


def _call(call: ast.expr, flow: Flow) -> None:
    """``__all__.extend([...])`` and ``_import_structure["x"].append("y")``."""
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and len(call.args) == 1):
        return
    owner, method, value = call.func.value, call.func.attr, call.args[0]
    if method not in {"append", "extend"}:
        return
    if method == "append":
        value = ast.List(elts=[value], ctx=ast.Load())
    if _is_name(owner, "__all__"):
        _export(value, flow, anew=False)
    elif isinstance(owner, ast.Subscript) and _is_name(owner.value, "_import_structure"):
        _structure(owner.slice, value, flow)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _export(value: ast.expr, flow: Flow, *, anew: bool) -> None:
    names = _strings(value)
    if anew:
        for name in [name for name in flow.names if name.startswith(EXPORTED)]:
            del flow.names[name]
        flow.unreadable = False
    if names is None:
        flow.unreadable = True
        return
    for name in names:
        flow.bind(EXPORTED + name, Binding("value"))


def _structure(key: ast.expr | None, value: ast.expr, flow: Flow) -> None:
    """An entry of an import structure: names, or the names of a module of dummies."""
    if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
        return
    names = _strings(value)
    if names is None and isinstance(value, ast.ListComp):
        flow.bind(f"{IMPORT_STRUCTURE}{key.value}:*", Binding("value"))
    for name in names or ():
        flow.bind(f"{IMPORT_STRUCTURE}{key.value}:{name}", Binding("value"))


def _strings(value: ast.expr) -> list[str] | None:
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        left, right = _strings(value.left), _strings(value.right)
        return None if left is None or right is None else left + right
    if not isinstance(value, (ast.List, ast.Tuple, ast.Set)):
        return None
    found = [
        each.value for each in value.elts if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]
    return found if len(found) == len(value.elts) else None


def _branches(statement: ast.If, package: str) -> Flow:
    test = ast.unparse(statement.test)
    if test.rpartition(".")[2] == "TYPE_CHECKING":
        return flow_of(statement.orelse, package)
    yes, no = flow_of(statement.body, package), flow_of(statement.orelse, package)
    return _merged([(yes, test), (no, negated(test))])


def _attempt(statement: ast.Try, package: str) -> Flow:
    body = flow_of(statement.body, package)
    caught = " or ".join(ast.unparse(each.type) if each.type else "any error" for each in statement.handlers)
    works, fails = f"no {caught}", caught
    guard = statement.body[0]
    if len(statement.body) == 1 and isinstance(guard, ast.If) and body.ends is False and _raises(guard):
        # transformers' way to say "if": try: if not is_torch_available(): raise
        # OptionalDependencyNotAvailable()
        fails = ast.unparse(guard.test)
        works = negated(fails)
        body = Flow()
    body.then(flow_of(statement.orelse, package))
    handlers = [flow_of(each.body, package) for each in statement.handlers]
    merged = _merged([(body, works), *((each, fails) for each in handlers)]) if handlers else body
    merged.then(flow_of(statement.finalbody, package))
    return merged


def _raises(guard: ast.If) -> bool:
    return len(guard.body) == 1 and isinstance(guard.body[0], ast.Raise) and not guard.orelse


def _merged(branches: Sequence[tuple[Flow, str]]) -> Flow:
    """Several ways that code may take: what all of them bind that go on is bound in any case."""
    open_ways = [(flow, condition) for flow, condition in branches if not flow.ends]
    merged = Flow(ends=not open_ways)
    merged.unreadable = any(flow.unreadable for flow, _ in open_ways)
    for name in dict.fromkeys(name for flow, _ in open_ways for name in flow.names):
        found = [(flow.names[name], condition) for flow, condition in open_ways if name in flow.names]
        first = found[0][0]
        if len(found) == len(open_ways) and not any(binding.condition for binding, _ in found):
            merged.names[name] = Binding(first.kind, "", first.origin)
            continue
        for binding, condition in found:
            one_way = len(open_ways) == 1
            relative = binding.condition if one_way else both(condition, binding.condition)
            merged.bind(name, Binding(binding.kind, relative, binding.origin))
    for flow, condition in open_ways:
        merged.stars += [
            (module, own if len(open_ways) == 1 else both(condition, own)) for module, own in flow.stars
        ]
    return merged


def _conditional(flow: Flow, condition: str) -> Flow:
    return _merged([(flow, condition), (Flow(), negated(condition))])
