"""One text form for signatures, so that signatures from different sources can be compared.

The form is ``(q, k, cos, sin, position_ids=None, unsqueeze_dim=1)``: names, defaults as source, ``*`` and
``/`` as written, no annotations. transformers changes its annotations (``Optional[torch.Tensor]``,
``torch.Tensor | None``) without changing what may be passed, hence they are left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["arguments_of", "normalize", "parameters_of", "split_parameters", "text_of"]


def text_of(arguments: ast.arguments, *, without_first: bool = False) -> str:
    """The signature text of a parsed function's arguments, or of those after the first (``self``)."""
    only, named = ([ast.arg(each.arg) for each in group] for group in (arguments.posonlyargs, arguments.args))
    if without_first:
        del (only or named)[:1]
    bare = ast.arguments(
        posonlyargs=only,
        args=named,
        vararg=ast.arg(arguments.vararg.arg) if arguments.vararg else None,
        kwonlyargs=[ast.arg(each.arg) for each in arguments.kwonlyargs],
        kw_defaults=arguments.kw_defaults,
        kwarg=ast.arg(arguments.kwarg.arg) if arguments.kwarg else None,
        defaults=arguments.defaults[-len(only + named) :] if only or named else [],
    )
    return f"({ast.unparse(bare)})"


def parameters_of(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr | None]]:
    """Each parameter that has one value, with its default."""
    named = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(named) - len(arguments.defaults)), *arguments.defaults, *arguments.kw_defaults]
    for argument, default in zip([*named, *arguments.kwonlyargs], defaults, strict=True):
        yield argument.arg, default


def normalize(signature: str) -> str:
    """The signature text in the catalog's form.

    ``signature`` is written as in a ``def`` statement or as ``str(inspect.signature(function))`` gives it;
    annotations (also of the result) and spacing are dropped. A text that is not Python, as when a default's
    ``repr`` is ``<object ...>``, is returned stripped and otherwise as it was: it then equals no signature of
    the catalog.
    """
    try:
        return text_of(arguments_of(signature))
    except ValueError:
        return signature.strip()


def arguments_of(signature: str) -> ast.arguments:
    """The parsed parameters of a signature text. Raises `ValueError` where it is not Python."""
    try:
        statement = ast.parse(f"def f{signature.strip()}: ...").body[0]
    except (SyntaxError, ValueError) as error:  # ValueError: null bytes
        raise ValueError(f"{signature!r} is not a signature") from error
    if not isinstance(statement, ast.FunctionDef):
        raise ValueError(f"{signature!r} is not a signature")
    return statement.args


def split_parameters(signature: str) -> list[str]:
    """The parameters of a signature text, with their defaults; commas inside defaults do not count."""
    parts, depth, start = [], 0, 1
    text = signature.strip()
    for place, letter in enumerate(text[:-1]):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 1:
            parts.append(text[start:place].strip())
            start = place + 1
    parts.append(text[start:-1].strip())
    return [part for part in parts if part]
