"""One text form for signatures, so that signatures from different sources can be compared.

The form is ``(q, k, cos, sin, position_ids=None, unsqueeze_dim=1)``: names, defaults as source, ``*`` and
``/`` as written, no annotations. transformers changes its annotations (``Optional[torch.Tensor]``,
``torch.Tensor | None``) without changing what may be passed, hence they are left out.
"""

from __future__ import annotations

import ast

__all__ = ["normalize", "text_of"]


def text_of(arguments: ast.arguments) -> str:
    """The signature text of a parsed function's arguments, in parentheses and without annotations."""
    bare = ast.arguments(
        posonlyargs=[ast.arg(arg=each.arg) for each in arguments.posonlyargs],
        args=[ast.arg(arg=each.arg) for each in arguments.args],
        vararg=ast.arg(arg=arguments.vararg.arg) if arguments.vararg else None,
        kwonlyargs=[ast.arg(arg=each.arg) for each in arguments.kwonlyargs],
        kw_defaults=arguments.kw_defaults,
        kwarg=ast.arg(arg=arguments.kwarg.arg) if arguments.kwarg else None,
        defaults=arguments.defaults,
    )
    return f"({ast.unparse(bare)})"


def normalize(signature: str) -> str:
    """The signature text in the catalog's form.

    ``signature`` is written as in a ``def`` statement or as ``str(inspect.signature(function))`` gives it;
    annotations (also of the result) and spacing are dropped. A text that is not Python, as when a default's
    ``repr`` is ``<object ...>``, is returned stripped and otherwise as it was: it then equals no signature of
    the catalog.
    """
    try:
        statement = ast.parse(f"def f{signature.strip()}: ...").body[0]
    except (SyntaxError, ValueError):  # ValueError: null bytes
        return signature.strip()
    if not isinstance(statement, ast.FunctionDef):
        return signature.strip()
    return text_of(statement.args)
