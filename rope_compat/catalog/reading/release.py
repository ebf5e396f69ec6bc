"""One source file, read once into all facts; and from the facts of files those of a release.

Star imports, ``_LazyModule`` packages, and constructors that are inherited need more than one file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from rope_compat._facts.rope_names import HINT, is_rope_module
from rope_compat.catalog.model import Definition, Name, ReleaseFacts
from rope_compat.catalog.reading.calls import uses_of
from rope_compat.catalog.reading.facts import Binding, Constructor, Lazy, ModuleFacts
from rope_compat.catalog.reading.lazy import FAST_IMAGE_PROCESSORS, lazy_of, offered_by, served_by
from rope_compat.catalog.reading.names import EXPORTED, IMPORT_STRUCTURE, both, either, flow_of
from rope_compat.catalog.reading.targets import constructors_of, fields_of, is_target_file, targets_of

__all__ = ["assemble", "module_name", "read_module"]

#: What ``define_import_structure`` passes over.
_NOT_SCANNED = ("convert_", "modular_", "__init__")
_PLAIN_BASES = frozenset({"Module", "object", "Protocol", "ABC", "Function", "Enum"})
_NOTHING: Mapping[str, Binding] = {}


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


def module_name(path: str) -> str:
    """The dotted name by which a file of the package is imported."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def assemble(version: str, files: Mapping[str, ModuleFacts]) -> ReleaseFacts:
    """The facts of a release from those of its files, which are given by path."""
    release = _Release({module_name(path): facts for path, facts in files.items()})
    names = {module: release.importable(module) for module in release.modules}
    names.update(release.aliased())
    return ReleaseFacts(
        version,
        {
            module: tuple(sorted(Name(name, each.kind, each.condition) for name, each in found.items()))
            for module, found in names.items()
        },
        {
            module: tuple(sorted(release.targets(module, facts)))
            for module, facts in release.modules.items()
            if facts.targets
        },
        {module: facts.uses for module, facts in release.modules.items() if facts.uses},
    )


class _Release:
    def __init__(self, modules: dict[str, ModuleFacts]) -> None:
        self.modules = modules
        self._importable: dict[str, Mapping[str, Binding]] = {}

    def importable(self, module: str) -> Mapping[str, Binding]:
        """Every name that can be imported from a module, submodules apart."""
        if module not in self._importable:
            self._importable[module] = _NOTHING  # what a circle of star imports sees
            facts = self.modules[module]
            found = dict(self._lazy(module, facts.lazy)) if facts.lazy else dict(self._plain(facts))
            self._importable[module] = found
        return self._importable[module]

    def _plain(self, facts: ModuleFacts) -> Iterator[tuple[str, Binding]]:
        for module, condition in facts.stars:
            for name, binding in self._starred(module):
                if name not in facts.names:
                    yield name, Binding(binding.kind, both(condition, binding.condition))
        yield from facts.names.items()

    def _starred(self, module: str) -> Iterator[tuple[str, Binding]]:
        if module not in self.modules:
            return
        exports = self.modules[module].exports
        found = self.importable(module)
        for name in found if exports is None else exports:
            if exports is not None or not name.startswith("_"):
                yield name, found.get(name, Binding("value"))

    def _lazy(self, package: str, lazy: Lazy) -> Iterator[tuple[str, Binding]]:
        found: dict[str, Binding] = {}
        for module, name, condition in self._entries(package, lazy):
            kind = "value"
            if module != package and module in self.modules:
                home = self.importable(module)
                if f"{module}.{name}" in self.modules:
                    home = {name: Binding("module")}
                if name not in home and "__getattr__" not in home:
                    continue  # listed, but its module has lost it: importing it fails
                kind = home[name].kind if name in home else kind
            before = found.get(name)
            if before is not None:
                kind = before.kind if kind == "value" else kind
                condition = either(before.condition, condition) if before.condition and condition else ""
            found[name] = Binding(kind, condition)
        return iter(found.items())

    def _entries(self, package: str, lazy: Lazy) -> Iterator[tuple[str, str, str]]:
        for below, name, condition in lazy.names:
            yield (f"{package}.{below}" if below else package), name, condition
        for below, condition in lazy.dummies:
            module = f"{package}.{below}"
            for name in self.modules[module].names if module in self.modules else ():
                if not name.startswith("_"):
                    yield module, name, condition
        for below in lazy.scanned:
            start = f"{package}.{below}." if below else f"{package}."
            for module, facts in self.modules.items():
                if module.startswith(start) and not module.rpartition(".")[2].startswith(_NOT_SCANNED):
                    yield from ((module, name, "") for name in facts.offered)

    def aliased(self) -> Iterator[tuple[str, Mapping[str, Binding]]]:
        """Modules that exist under a former name only while the package runs (5.0.0 and later)."""
        for package, facts in list(self.modules.items()):
            for old, new in facts.lazy.aliases if facts.lazy else ():
                if (old, new) == FAST_IMAGE_PROCESSORS:
                    yield from self._fast_image_processors(f"{package}.models.*")
                elif f"{package}.{new}" in self.modules:
                    found = self.importable(f"{package}.{new}")
                    yield f"{package}.{old}", {**found, "__getattr__": Binding("function")}

    def _fast_image_processors(self, below: str) -> Iterator[tuple[str, Mapping[str, Binding]]]:
        for module in list(self.modules):
            last = module.rpartition(".")[2]
            if (
                fnmatchcase(module, below)
                and last.startswith("image_processing_")
                and not last.endswith("_fast")
            ):
                found = self.importable(module)
                fast = {f"{name}Fast": found[name] for name in found if name.endswith("ImageProcessor")}
                yield f"{module}_fast", {**found, **fast, "__getattr__": Binding("function")}

    def targets(self, module: str, facts: ModuleFacts) -> Iterator[tuple[str, Definition]]:
        """The targets of a module, classes with the constructors that they inherit."""
        for name, definition in facts.targets.items():
            if definition.kind == "class" and not definition.signature:
                definition = definition._replace(signature=self._constructor(module, name, set()))
            yield name, definition

    def _constructor(self, module: str, name: str, seen: set[tuple[str, str]]) -> str:
        if (module, name) in seen or module not in self.modules:
            return "()" if name in _PLAIN_BASES else "(*args, **kwargs)"
        seen.add((module, name))
        facts = self.modules[module]
        known = facts.constructors.get(name)
        if known is not None:
            return known.signature or self._inherited(module, known, seen)
        binding = facts.names.get(name)
        if binding is not None and binding.origin:
            origin, _, original = binding.origin.rpartition(":")
            return self._constructor(origin, original, seen)
        return "()" if name in _PLAIN_BASES else "(*args, **kwargs)"

    def _inherited(self, module: str, known: Constructor, seen: set[tuple[str, str]]) -> str:
        signatures: Iterable[str] = (
            self._constructor(base.rpartition(":")[0] or module, base.rpartition(":")[2], seen)
            for base in known.bases
        )
        # The first base that has one; a base that takes nothing is what object and nn.Module are.
        return next((each for each in signatures if each != "()"), "()")
