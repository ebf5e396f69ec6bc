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

from rope_compat.catalog.format import (
    KINDS,
    NAME_KINDS,
    NO_DETAIL,
    CatalogError,
    Container,
    lines_of,
    tables_of,
    unpack,
)
from rope_compat.catalog.model import Caller, Generation, NameSpan, Run, Target, Use, extend

__all__ = ["VARIABLE", "Catalog", "catalog", "data_path", "open_catalog"]

VARIABLE = "ROPE_COMPAT_CATALOG"

NameTable = dict[str, tuple[str, str]]
"""Kind and condition of each name that can be imported from a module."""


class Catalog:
    """The facts of all builds, read from one file.

    Attributes:
        builds: every build, in the order of versions: releases, and development builds that a user has added.
        releases: the builds that are final releases. Withdrawn ones (4.46.0, 5.10.0) are not among them.
        order: the place of each build in `builds`.
        container: the file as it was read.
    """

    def __init__(self, container: Container) -> None:
        self.builds = container.builds
        self.releases = tuple(build for build in container.builds if _is_release(build))
        self.order = {build: place for place, build in enumerate(container.builds)}
        self.container = container
        self._entries: dict[str, dict[str, list[Any]]] = {}

    def modules(self) -> tuple[str, ...]:
        """Every module that ever had a target, sorted."""
        return tuple(self._all_entries())

    def names(self, module: str) -> tuple[str, ...]:
        """The qualified name of every target that a module ever had, sorted."""
        return tuple(self._entry(module))

    def kinds(self, module: str) -> Iterator[tuple[str, str]]:
        """The qualified name of every target of a module, with the kind that it had last."""
        return ((name, _kind_of(entry)) for name, entry in self._entry(module).items())

    def targets(self) -> Iterator[tuple[Target, str]]:
        """Every target, with the kind that it had last."""
        for module, names in self._all_entries().items():
            for name, entry in names.items():
                yield Target(module, name), _kind_of(entry)

    def generations(self, module: str, name: str) -> tuple[Generation, ...]:
        """What a target has been, oldest first; empty where no build has it."""
        return tuple(self._generations(self._entry(module).get(name, ())))

    def _generations(self, entry: Any) -> Iterator[Generation]:
        kind = ""
        for each in entry:
            if isinstance(each, str):
                kind = KINDS[each]
                continue
            first, last, signature, body, *detail = each
            decorators, bases, condition = self._tables["details"][detail[0]] if detail else NO_DETAIL
            yield Generation(
                self.builds[first],
                self.builds[last],
                kind,
                self._tables["signatures"][signature],
                body,
                tuple(decorators),
                tuple(bases),
                condition,
            )

    # A module's line is parsed on its own: patch() asks for a few modules, and has no time for nine hundred.

    @functools.cached_property
    def _section(self) -> bytes:
        return self.container.section("targets")

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
            self._entries = {**json.loads(self._section)["modules"], "": {}}
        return {module: entry for module, entry in self._entries.items() if module and entry}

    def callers(self, target: Target, build: str) -> tuple[Caller, ...]:
        """How the code of a build uses a target, by module."""
        rows = self.use_rows(self.order[build])
        return tuple(Caller(module, *use[1:]) for module, _, _, use in rows if use.target == str(target))

    def call_counts(self, build: str) -> dict[str, int]:
        """At how many places the code of a build calls each target, by ``module:qualname``."""
        counts: dict[str, int] = {}
        for _, _, _, use in self.use_rows(self.order[build]):
            if use.shape.startswith("call"):
                counts[use.target] = counts.get(use.target, 0) + use.places
        return counts

    def use_rows(self, at: int | None = None) -> Iterator[tuple[str, int, int, Use]]:
        """Uses of all builds, or of the one at a place: module, first and last build, and the use."""
        shapes = self._uses["shapes"]
        for module, targets in self._uses["modules"].items():
            for key, rows in targets.items():
                target = module + key if key[0] == ":" else key
                for first, last, shape, places in rows:
                    if at is None or first <= at <= last:
                        yield module, first, last, Use(target, shapes[shape], places)

    @functools.cached_property
    def _uses(self) -> Any:
        return json.loads(self.container.section("uses"))

    def name_spans(self, module: str, name: str) -> tuple[NameSpan, ...]:
        """In which builds a name could be imported from a module, RoPE's or not; submodules included."""
        found: list[Run] = []
        for first, last, names in self._name_runs(module):
            if name in names:
                extend(found, first, last, names[name])
        # A submodule can be imported from its package whether or not the package names it.
        submodule = f"{module}.{name}" if name else module
        taken = {place for run in found for place in range(run.first, run.last + 1)}
        for first, last, *_ in self._names["modules"].get(submodule, ()):
            for place in range(first, last + 1):
                if place not in taken:
                    extend(found, place, place, ("module", ""))
        return tuple(
            NameSpan(self.builds[first], self.builds[last], *what) for first, last, what in sorted(found)
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
        runs = self._name_runs(module)
        return next((frozenset(names) for first, last, names in runs if first <= place <= last), frozenset())

    def name_rows(self) -> Iterator[tuple[str, int, int, NameTable]]:
        """Names of all builds: module, first and last build, and what can be imported from it in these."""
        return ((module, *run) for module in self._names["modules"] for run in self._name_runs(module))

    def _name_runs(self, module: str) -> Iterator[tuple[int, int, NameTable]]:
        now: NameTable = {}  # the file has what is different from the run before
        for first, last, groups, *gone in self._names["modules"].get(module, ()):
            for name in gone[0].split() if gone else ():
                del now[name]
            for key, names in groups.items():
                what = NAME_KINDS[key[0]], self._names["conditions"][int(key[1:])] if len(key) > 1 else ""
                now.update(dict.fromkeys(names.split(), what))
            yield first, last, dict(now)

    @functools.cached_property
    def _names(self) -> Mapping[str, Any]:
        import bz2

        content: Mapping[str, Any] = json.loads(bz2.decompress(self.container.section("names")))
        return content


def _kind_of(entry: list[Any]) -> str:
    """The kind that a target had last; ``carrier`` and ``reexport`` only where no build defines it."""
    letters = [each for each in reversed(entry) if isinstance(each, str)]
    return KINDS[min(letters, key="kr".find)]


def _is_release(version: str) -> bool:
    return all(part.isdigit() for part in version.split("."))


def data_path() -> str:
    """The file that is in use."""
    shipped = os.path.join(os.path.dirname(__file__), "data", "transformers.catalog")
    return os.environ.get(VARIABLE) or shipped


@functools.lru_cache(maxsize=1)
def catalog() -> Catalog:
    """The catalog in use, opened at the first call. Raises `CatalogError` when it is missing or damaged."""
    path = data_path()
    if os.environ.get(VARIABLE):
        try:
            return open_catalog(path)
        except CatalogError as error:
            raise CatalogError(
                f"{error}. {VARIABLE} names this file: unset it, or make the file anew with "
                f"rope-compat catalog update --rebuild --catalog {path}"
            ) from error
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
