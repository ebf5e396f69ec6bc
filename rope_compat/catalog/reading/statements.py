"""The statements of a module or class that run when it is imported, whatever conditions they stand under."""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["top_level"]


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
