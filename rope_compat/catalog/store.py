"""The catalog that is in use: the shipped one, or the one that ``ROPE_COMPAT_CATALOG`` names.

The facts come from the source of the releases (see `rope_compat.catalog.harvest`), not from running them.
They explain, predict and warn; what a live function takes is asked of the function itself.

Reading is lazy: opening the file parses its first line; a module's facts are parsed when they are asked for.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from rope_compat.catalog.model import Caller, Generation, NameSpan, Target
from rope_compat.catalog.storage.container import CatalogError, Container, unpack
from rope_compat.catalog.storage.layout import KINDS, NAME_KINDS, NO_DETAIL, lines_of, tables_of

__all__ = ["DATA_FILE", "VARIABLE", "Catalog", "catalog", "data_path", "open_catalog"]

DATA_FILE = "transformers.catalog"
VARIABLE = "ROPE_COMPAT_CATALOG"


class Catalog:
    """The facts of all builds, read from one file.

    Attributes:
        builds: every build, in the order of versions: releases, and development builds that a user has added.
        releases: the builds that are final releases. Withdrawn ones (4.46.0, 5.10.0) are not among them.
    """

    def __init__(self, container: Container) -> None:
        self.builds = container.builds
        self.releases = tuple(build for build in container.builds if _is_release(build))
        self.order = {build: place for place, build in enumerate(container.builds)}
        self._container = container
        self._entries: dict[str, dict[str, list[Any]]] = {}

    def modules(self) -> tuple[str, ...]:
        """Every module that ever had a target, sorted."""
        return tuple(self._all_entries())

    def names(self, module: str) -> tuple[str, ...]:
        """The qualified name of every target that a module ever had, sorted."""
        return tuple(self._entry(module))

    def kinds(self, module: str) -> Iterator[tuple[str, str]]:
        """The qualified name of every target of a module, with the kind that it had last."""
        for name, entry in self._entry(module).items():
            yield name, self.kind_of(entry)

    def targets(self) -> Iterator[tuple[Target, str]]:
        """Every target, with the kind that it had last."""
        for module, names in self._all_entries().items():
            for name, entry in names.items():
                yield Target(module, name), self.kind_of(entry)

    def generations(self, module: str, name: str) -> tuple[Generation, ...]:
        """What a target has been, oldest first; empty where no build has it."""
        return tuple(self._generations(self._entry(module).get(name, ())))

    @staticmethod
    def kind_of(entry: list[Any]) -> str:
        """The kind that a target had last; ``carrier`` and ``reexport`` only where no build defines it."""
        letters = [each for each in reversed(entry) if isinstance(each, str)]
        return KINDS[min(letters, key="kr".find)]

    def _generations(self, entry: Any) -> Iterator[Generation]:
        kind = ""
        for each in entry:
            if isinstance(each, str):
                kind = KINDS[each]
                continue
            decorators, bases, condition = self._tables["details"][each[4]] if len(each) > 4 else NO_DETAIL
            yield Generation(
                self.builds[each[0]],
                self.builds[each[1]],
                kind,
                self._tables["signatures"][each[2]],
                each[3],
                tuple(decorators),
                tuple(bases),
                condition,
            )

    # A module's line is parsed on its own: patch() asks for a few modules, and has no time for nine hundred.

    @functools.cached_property
    def _section(self) -> bytes:
        return self._container.section("targets")

    @functools.cached_property
    def _tables(self) -> Any:
        return tables_of(self._section)

    @functools.cached_property
    def _lines(self) -> dict[str, bytes]:
        return lines_of(self._section)

    def _entry(self, module: str) -> dict[str, list[Any]]:
        if module not in self._entries:
            line = self._lines.get(module)
            self._entries[module] = json.loads(line) if line is not None else {}
        return self._entries[module]

    def _all_entries(self) -> dict[str, dict[str, list[Any]]]:
        if "" not in self._entries:
            document = json.loads(self._section)
            self._entries = {**document["modules"], "": {}}
        return {module: entry for module, entry in self._entries.items() if module and entry}

    def callers(self, target: Target, build: str) -> tuple[Caller, ...]:
        """How the code of a build uses a target, by module."""
        return tuple(caller for used, caller in self._uses_at(build) if used == str(target))

    def call_counts(self, build: str) -> dict[str, int]:
        """At how many places the code of a build calls each target, by ``module:qualname``."""
        counts: dict[str, int] = {}
        for target, caller in self._uses_at(build):
            if caller.shape.startswith("call"):
                counts[target] = counts.get(target, 0) + caller.places
        return counts

    def _uses_at(self, build: str) -> Iterator[tuple[str, Caller]]:
        place = self.order[build]
        shapes = self._uses["shapes"]
        for module, targets in self._uses["modules"].items():
            for key, rows in targets.items():
                target = module + key if key[0] == ":" else key
                for first, last, shape, places in rows:
                    if first <= place <= last:
                        yield target, Caller(module, shapes[shape], places)

    @functools.cached_property
    def _uses(self) -> Any:
        return json.loads(self._container.section("uses"))

    def name_spans(self, module: str, name: str) -> tuple[NameSpan, ...]:
        """In which builds a name could be imported from a module, RoPE's or not; submodules included."""
        found: list[list[Any]] = []
        for first, last, names in self._name_runs(module):
            if name in names:
                _extend(found, first, last, *names[name])
        # A submodule can be imported from its package whether or not the package names it.
        submodule = f"{module}.{name}" if name else module
        taken = {place for first, last, *_ in found for place in range(first, last + 1)}
        for first, last, *_ in self._names["modules"].get(submodule, ()):
            for place in range(first, last + 1):
                if place not in taken:
                    _extend(found, place, place, "module", "")
        found.sort()
        return tuple(
            NameSpan(self.builds[a], self.builds[b], kind, condition) for a, b, kind, condition in found
        )

    def modules_with(self, name: str) -> tuple[str, ...]:
        """Every module from which a name could ever be imported, sorted."""
        return tuple(
            module
            for module, rows in self._names["modules"].items()
            if any(name in f" {names} ".split(" ") for row in rows for names in row[2].values())
        )

    def names_in(self, module: str, build: str) -> frozenset[str]:
        """Every name that could be imported from a module in a build; empty where there was none."""
        place = self.order[build]
        for first, last, names in self._name_runs(module):
            if first <= place <= last:
                return frozenset(names)
        return frozenset()

    def _name_runs(self, module: str) -> Iterator[tuple[int, int, dict[str, tuple[str, str]]]]:
        """Runs of builds, with kind and condition of each name; the file has what is different."""
        now: dict[str, tuple[str, str]] = {}
        for first, last, groups, *gone in self._names["modules"].get(module, ()):
            for name in gone[0].split() if gone else ():
                del now[name]
            for key, names in groups.items():
                condition = self._names["conditions"][int(key[1:])] if len(key) > 1 else ""
                now.update(dict.fromkeys(names.split(), (NAME_KINDS[key[0]], condition)))
            yield first, last, dict(now)

    @functools.cached_property
    def _names(self) -> Mapping[str, Any]:
        import bz2

        content: Mapping[str, Any] = json.loads(bz2.decompress(self._container.section("names")))
        return content

    def to_container(self) -> Container:
        """The file as it was read, for those who write a new one."""
        return self._container


def _extend(found: list[list[Any]], first: int, last: int, *what: str) -> None:
    if found and found[-1][1] == first - 1 and found[-1][2:] == list(what):
        found[-1][1] = last
    else:
        found.append([first, last, *what])


def _is_release(version: str) -> bool:
    return all(part.isdigit() for part in version.split("."))


def data_path() -> str:
    """The file that is in use."""
    return os.environ.get(VARIABLE) or os.path.join(os.path.dirname(__file__), "data", DATA_FILE)


@functools.lru_cache(maxsize=1)
def catalog() -> Catalog:
    """The catalog in use, opened at the first call. Raises `CatalogError` when it is missing or damaged."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        try:
            return open_catalog(chosen)
        except CatalogError as error:
            raise CatalogError(
                f"{error}. {VARIABLE} names this file: unset it, or make the file anew with "
                f"rope-compat catalog update --rebuild --catalog {chosen}"
            ) from error
    path = data_path()
    try:
        # The loader reads from a zip file as well, and importlib.resources takes long to import.
        data = __spec__.loader.get_data(path)  # type: ignore[union-attr]
    except OSError as error:
        raise CatalogError(
            f"{path} cannot be read ({error}); install rope_compat again "
            "(pip install --force-reinstall --no-deps rope_compat)"
        ) from error
    return Catalog(unpack(data, path))


def open_catalog(path: str) -> Catalog:
    """The catalog in a file. Raises `CatalogError` when it is missing, damaged, or not a catalog."""
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except OSError as error:
        raise CatalogError(f"the catalog {path} cannot be read ({error.strerror or error})") from error
    return Catalog(unpack(data, path))
