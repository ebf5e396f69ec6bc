"""What is read of one source file: plain tuples, so that they hash, compare and pickle."""

from __future__ import annotations

from typing import NamedTuple

from rope_compat.catalog.model import Definition, Use

__all__ = ["Binding", "Constructor", "Lazy", "ModuleFacts"]


class Binding(NamedTuple):
    """How a module comes to have a name.

    Attributes:
        kind: ``function``, ``class``, ``mapping`` (a dictionary display), ``value``, ``module`` (an import of
            a module), or ``import`` (taken from another module).
        condition: when the name is there; empty where it always is.
        origin: ``module:name`` where `kind` is ``import`` and the import names it, else empty.
    """

    kind: str
    condition: str = ""
    origin: str = ""


class Constructor(NamedTuple):
    """What is needed to find out how a class is constructed: its own signature, or where it inherits one.

    `bases` are ``module:name``, or ``name`` where the class is defined in the same module.
    """

    signature: str | None
    bases: tuple[str, ...]


class Lazy(NamedTuple):
    """What a package hands to ``_LazyModule``, which then stands in its place.

    Attributes:
        names: module below the package, name and condition of each object in the import structure; no module
            where it is an object of the package itself.
        dummies: module and condition of each module whose names stand in for objects that cannot be had.
        scanned: directories, relative to the package, that ``define_import_structure`` scans; "" is its own.
        aliases: former names of modules and their present ones, where old names go on working.
    """

    names: tuple[tuple[str, str, str], ...] = ()
    dummies: tuple[tuple[str, str], ...] = ()
    scanned: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()


class ModuleFacts(NamedTuple):
    """Everything that is kept of one source file.

    Attributes:
        names: what the module binds at its top level.
        stars: module and condition of each ``from module import *``.
        exports: ``__all__``; None where there is none or it cannot be read.
        offered: names that ``define_import_structure`` finds here: ``__all__`` and decorated objects.
        lazy: the import structure, where the module replaces itself by a ``_LazyModule``.
        targets: RoPE targets by qualified name.
        constructors: by class name, of all classes; empty in modules that have no targets by their nature.
        uses: how the module's own code uses targets.
    """

    names: dict[str, Binding]
    stars: tuple[tuple[str, str], ...]
    exports: tuple[str, ...] | None
    offered: tuple[str, ...]
    lazy: Lazy | None
    targets: dict[str, Definition]
    constructors: dict[str, Constructor]
    uses: tuple[Use, ...]
