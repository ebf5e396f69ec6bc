"""One source file, read once into all facts."""

from __future__ import annotations

import ast

from rope_compat.catalog.reading.calls import uses_of
from rope_compat.catalog.reading.configs import fields_of
from rope_compat.catalog.reading.facts import Binding, ModuleFacts
from rope_compat.catalog.reading.lazy import lazy_of, offered_by
from rope_compat.catalog.reading.names import EXPORTED, IMPORT_STRUCTURE, flow_of
from rope_compat.catalog.reading.served import served_by
from rope_compat.catalog.reading.targets import constructors_of, is_target_file, targets_of
from rope_compat.catalog.reading.words import HINT, is_rope_module

__all__ = ["read_module"]


def read_module(source: bytes, module: str, *, is_package: bool) -> ModuleFacts:
    """The facts of one file.

    ``module`` is the dotted name that the file is imported by, ``is_package`` whether it is an
    ``__init__.py``. Raises `SyntaxError` where the source is not Python of the version that runs this, and
    `ValueError` where it holds null bytes.
    """
    tree = ast.parse(source)
    package = module if is_package else module.rpartition(".")[0]
    flow = flow_of(tree.body, package)
    names = {
        name: binding
        for name, binding in flow.names.items()
        if not name.startswith((EXPORTED, IMPORT_STRUCTURE))
    }
    if "__getattr__" in names:
        names = {**{name: Binding("value") for name in served_by(tree)}, **names}
    listed = "__all__" in names and not flow.unreadable
    exports = (
        tuple(name.removeprefix(EXPORTED) for name in flow.names if name.startswith(EXPORTED))
        if listed
        else None
    )
    facts = ModuleFacts(
        names=names,
        stars=tuple(flow.stars),
        exports=exports,
        offered=offered_by(tree, exports),
        lazy=lazy_of(tree, flow) if is_package else None,
        targets={},
        constructors=constructors_of(tree, names) if is_target_file(module) else {},
        uses=(),
    )
    if not (is_target_file(module) and (HINT.search(source) or is_rope_module(module))):
        return facts
    targets = targets_of(tree, module, names, module.partition(".")[0])
    uses = uses_of(tree, module, names, targets) if targets else ()
    return facts._replace(targets=targets | fields_of(tree, module), uses=uses)
