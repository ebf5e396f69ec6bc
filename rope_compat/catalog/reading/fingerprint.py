"""A fingerprint of code that stays while its meaning stays.

Formatting and comments are not part of the syntax tree; docstrings and annotations are left out. `ast.dump`
and `ast.unparse` are not used: what they write has changed between versions of Python (3.12 writes f-strings
differently, 3.13 omits empty fields), and the catalog has to be the same whichever Python builds it.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import itertools
from collections.abc import Iterable, Iterator

__all__ = ["fingerprint"]

#: Contexts and type comments say nothing that the rest does not; annotations, and type parameters (Python
#: 3.12), do not change what runs.
_IGNORED = frozenset({"annotation", "returns", "ctx", "type_comment", "type_params", "kind", "type_ignores"})


def fingerprint(statements: Iterable[ast.stmt]) -> str:
    """Eight URL-safe characters (48 bits) that stand for what the statements do.

    Equal for two pieces of code that differ in formatting, comments, docstrings and annotations only.
    """
    parts: list[str] = []
    for statement in _code(statements):
        _write(statement, parts)
    text = "".join(parts).encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(hashlib.blake2b(text, digest_size=6).digest()).decode("ascii")


def _write(value: object, parts: list[str]) -> None:
    if isinstance(value, ast.AnnAssign):
        assert value.value is not None  # see _code
        value = ast.Assign(targets=[value.target], value=value.value)
    if isinstance(value, ast.JoinedStr):
        value = ast.JoinedStr(values=list(_pieces(value.values)))
    if isinstance(value, ast.AST):
        parts += type(value).__name__, "("
        for name in value._fields:
            field = getattr(value, name, None)
            if name in _IGNORED or field is None or field == []:
                continue
            parts += name, "="
            _write(_code(field) if isinstance(field, list) else field, parts)
            parts.append(",")
        parts.append(")")
    elif isinstance(value, (list, tuple, Iterator)):
        parts.append("[")
        for each in value:
            _write(each, parts)
            parts.append(",")
        parts.append("]")
    else:
        parts.append(ascii(value))  # repr leaves as they are what this Python's Unicode tables call printable


def _pieces(values: Iterable[ast.expr]) -> Iterator[ast.expr]:
    """The pieces of an f-string as most versions of Python have them: early 3.12 adds empty texts."""
    for is_text, pieces in itertools.groupby(values, key=lambda value: isinstance(value, ast.Constant)):
        if not is_text:
            yield from pieces
        elif text := "".join(str(each.value) for each in pieces if isinstance(each, ast.Constant)):
            yield ast.Constant(text)


def _code(body: Iterable[ast.stmt]) -> list[ast.stmt]:
    """A body without what only documents it: strings that stand alone, annotations without a value."""
    return [
        each
        for each in body
        if not (
            (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
            or (isinstance(each, ast.AnnAssign) and each.value is None)
        )
    ]
