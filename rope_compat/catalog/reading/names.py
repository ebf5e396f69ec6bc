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
    "strings_in",
    "top_level",
]

#: Prefixes of names that stand for entries of lists, not for bindings: no identifier contains a colon.
EXPORTED = "__all__:"
IMPORT_STRUCTURE = "_import_structure:"
_TRY: tuple[type[ast.Try], ...] = (ast.Try, *filter(None, [getattr(ast, "TryStar", None)]))  # Python 3.11


def top_level(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run on import; those below ``if``, ``try`` and ``with`` are among them."""
    for statement in body:
        match statement:
            case ast.If():
                yield from top_level([*statement.body, *statement.orelse])
            case ast.Try():
                handlers = [each for handler in statement.handlers for each in handler.body]
                yield from top_level([*statement.body, *handlers, *statement.orelse, *statement.finalbody])
            case ast.With() | ast.AsyncWith():
                yield from top_level(statement.body)
            case _:
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
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            flow.bind(name, Binding("function"))
        case ast.ClassDef(name=name):
            flow.bind(name, Binding("class"))
        case ast.Import(names=names):
            for alias in names:
                flow.bind(alias.asname or alias.name.partition(".")[0], Binding("module"))
        case ast.ImportFrom(names=names):
            module = _resolve(package, statement.level, statement.module)
            for alias in names:
                if alias.name == "*":
                    flow.stars.append((module, ""))
                else:
                    flow.bind(alias.asname or alias.name, Binding("import", "", f"{module}:{alias.name}"))
        case ast.Assign(targets=targets, value=value):
            _assign(targets, value, flow)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            _assign([target], value, flow)
        case ast.AugAssign(target=target, value=value):
            _assign([target], value, flow, anew=False)
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=owner, attr=method), args=[value])):
            _call(owner, method, value, flow)
        case ast.Delete(targets=targets):
            for target in targets:
                if isinstance(target, ast.Name):
                    flow.names.pop(target.id, None)
        case ast.If():
            flow.then(_branches(statement, package))
        case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
            flow.then(_bindings(item.optional_vars for item in items))
            flow.then(flow_of(body, package))
        case ast.For(target=target, body=body) | ast.AsyncFor(target=target, body=body):
            inner = flow_of(body, package)
            inner.then(_bindings([target]))
            flow.then(_conditional(inner, "the loop runs"))
        case ast.While(body=body):
            flow.then(_conditional(flow_of(body, package), "the loop runs"))
        case ast.Raise():
            flow.ends = True
        case _ if isinstance(statement, _TRY):
            flow.then(_attempt(statement, package))


def _assign(targets: Sequence[ast.expr], value: ast.expr, flow: Flow, *, anew: bool = True) -> None:
    kind = "mapping" if isinstance(value, ast.Dict) else "value"
    for target in targets:
        for name in _bound(target):
            if name == "__all__":
                _export(value, flow, anew=anew)
            elif name == "_import_structure" and isinstance(value, ast.Dict):
                for key, names in zip(value.keys, value.values, strict=True):
                    _structure(key, names, flow)
            flow.bind(name, Binding(kind))
        match target:
            case ast.Subscript(value=ast.Name(id="_import_structure"), slice=key):
                _structure(key, value, flow)


def _bindings(targets: Iterable[ast.expr | None]) -> Flow:
    return Flow({name: Binding("value") for target in targets for name in _bound(target)})


def _bound(target: ast.expr | None) -> Iterator[str]:
    match target:
        case ast.Name(id=name):
            yield name
        case ast.Starred(value=value):
            yield from _bound(value)
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            for each in elements:
                yield from _bound(each)


def _call(owner: ast.expr, method: str, value: ast.expr, flow: Flow) -> None:
    """``__all__.extend([...])`` and ``_import_structure["x"].append("y")``."""
    if method == "append":
        value = ast.List(elts=[value], ctx=ast.Load())
    elif method != "extend":
        return
    match owner:
        case ast.Name(id="__all__"):
            _export(value, flow, anew=False)
        case ast.Subscript(value=ast.Name(id="_import_structure"), slice=key):
            _structure(key, value, flow)


def _export(value: ast.expr, flow: Flow, *, anew: bool) -> None:
    names = strings_in(value)
    if anew:
        for name in [name for name in flow.names if name.startswith(EXPORTED)]:
            del flow.names[name]
    flow.unreadable = names is None or (flow.unreadable and not anew)
    for name in names or ():
        flow.bind(EXPORTED + name, Binding("value"))


def _structure(key: ast.expr | None, value: ast.expr, flow: Flow) -> None:
    """An entry of an import structure: names, or the names of a module of dummies."""
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        names = strings_in(value) or (["*"] if isinstance(value, ast.ListComp) else [])
        for name in names:
            flow.bind(f"{IMPORT_STRUCTURE}{key.value}:{name}", Binding("value"))


def strings_in(value: ast.expr) -> list[str] | None:
    """The strings of a list, tuple or set, or a sum of them; None where it holds anything else."""
    match value:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            first, second = strings_in(left), strings_in(right)
            return None if first is None or second is None else first + second
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            found = [each.value for each in elements if isinstance(each, ast.Constant)]
            strings = [each for each in found if isinstance(each, str)]
            return strings if len(strings) == len(elements) else None
    return None


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
