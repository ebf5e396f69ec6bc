"""Brings releases into a catalog file, and leaves on disk, at every moment, a file that can be read.

What has been read is written every quarter of a minute, so that an update that is interrupted or killed goes
on where it was when it is run again.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import InvalidVersion, Version

from rope_compat.catalog import index
from rope_compat.catalog.files import UpdateError, locked, replace_file
from rope_compat.catalog.harvest import read_sources
from rope_compat.catalog.index import Found, Problem, Progress
from rope_compat.catalog.reading.release import ReleaseFacts
from rope_compat.catalog.sources import BadSourceError, Source
from rope_compat.catalog.storage.container import CatalogError, unpack
from rope_compat.catalog.storage.encode import decode, encode
from rope_compat.catalog.storage.history import History
from rope_compat.catalog.store import VARIABLE
from rope_compat.errors import ArgumentError

__all__ = ["Outcome", "UpdateError", "parse_releases", "read_all", "read_history", "update"]

_SECONDS_BETWEEN_WRITES = 15.0


@dataclass
class Outcome:
    """What an update did, or would do.

    Attributes:
        missing: releases and development builds that were to be added when it began.
        added: what was added, in order; written in the catalog unless an exception says otherwise.
        dropped: development builds that newer ones have replaced.
        problems: what could not be used.
        builds: everything that the catalog has now.
    """

    missing: tuple[str, ...] = ()
    added: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    builds: tuple[str, ...] = ()


def update(
    catalog: Path,
    source: Path | None = None,
    *,
    releases: Sequence[str] | None = None,
    rebuild: bool = False,
    create: bool = False,
    dry_run: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
    saved: Callable[[Sequence[str]], None] | None = None,
) -> Outcome:
    """Bring what is missing into a catalog file.

    Args:
        catalog: the file.
        source: a directory of wheels, sdists and checkouts, or one of these; None takes the package index.
            Development builds in it are read anew each time, as equal versions may have different code.
        releases: take only these versions.
        rebuild: read everything anew, and replace the file, whatever it holds, when all has been read.
        create: begin a file where there is none.
        dry_run: only find out what is missing.
        workers: processes to read with, by default one for each core; 0 reads in this process.
        progress: see `rope_compat.catalog.index.Progress`.
        saved: called with versions as soon as they are safe on disk.

    Raises:
        ArgumentError: one of ``releases`` is no version, or cannot be had.
        BadSourceError: ``source`` has no transformers.
        CatalogError: the file cannot be read.
        PipError: the index cannot be asked.
        UpdateError: the file cannot be written, or is being updated by another process.
    """
    wanted = parse_releases(releases)
    catalog = Path(os.path.realpath(catalog))  # a link stays a link
    if dry_run:
        history = History() if rebuild else read_history(catalog, create=create)
        return _missing(history, source, wanted)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_write_lock(catalog))
        draft = _Draft(catalog, rebuild=rebuild, create=create, saved=saved)
        problems = draft.outcome.problems
        found = _take(source, wanted, draft, rebuild=rebuild)
        if source is None and found:
            found = _fetch([each.version for each in found], draft, stack, progress)
        with draft.saving():
            for facts in read_all(index.open_found(found, problems), problems, workers, progress):
                draft.add(facts)
        draft.finish()
    return draft.outcome


def _write_lock(catalog: Path) -> contextlib.AbstractContextManager[None]:
    remedy = (
        "copy it to FILE, a place of your own, run rope-compat catalog update --catalog FILE, and set "
        f"{VARIABLE}=FILE"
    )
    if catalog.exists() and not os.access(catalog, os.W_OK):
        raise UpdateError(f"{catalog} is not writable; {remedy}")
    return locked(catalog, remedy=remedy)


def _missing(history: History, source: Path | None, wanted: set[Version] | None) -> Outcome:
    outcome = Outcome(builds=tuple(history.builds))
    have = {Version(build) for build in history.builds}
    found, outcome.problems = _all(source)
    missing = {each.version for each in _chosen(found, wanted)} - have
    outcome.missing = tuple(str(version) for version in sorted(missing))
    return outcome


def _all(source: Path | None) -> tuple[list[Found], list[Problem]]:
    if source is not None:
        return index.find_sources(source)
    return [Found(Path(), version, None) for version in index.available()], []


def _chosen(found: Sequence[Found], wanted: set[Version] | None) -> list[Found]:
    if wanted is None:
        return list(found)
    absent = wanted - {each.version for each in found}
    if absent:
        raise ArgumentError(
            f"{', '.join(map(str, sorted(absent)))}: not among the releases that can be had here"
        )
    return [each for each in found if each.version in wanted]


def _take(source: Path | None, wanted: set[Version] | None, draft: _Draft, *, rebuild: bool) -> list[Found]:
    """What is to be read."""
    found, problems = _all(source)
    found = _chosen(found, wanted)
    draft.outcome.problems += problems
    if rebuild:
        draft.keep({each.version for each in found})
    have = draft.versions()
    found = [each for each in found if each.version not in have or each.version.is_devrelease]
    draft.outcome.missing = tuple(
        dict.fromkeys(str(each.version) for each in found if each.version not in have)
    )
    draft.builds_given = {each.version for each in found if each.version.is_devrelease}
    return found


def _fetch(
    versions: Sequence[Version], draft: _Draft, stack: contextlib.ExitStack, progress: Progress | None
) -> list[Found]:
    directory = index.download_directory()
    stack.enter_context(index.downloads(directory))
    wheels, withdrawn = index.fetch_missing(versions, directory, draft.outcome.problems, progress)
    for version in withdrawn:
        wheels.pop(version).unlink()
    draft.wheels = wheels
    return [Found(path, version, None) for version, path in sorted(wheels.items())]


def read_all(
    sources: Iterable[Source],
    problems: list[Problem],
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[ReleaseFacts]:
    """The facts of sources in order of version; those that turn out to be bad are added to ``problems``."""

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress("reading", done, total)

    left = sorted(sources, key=lambda source: source.version)
    while left:
        try:
            for facts in read_sources(left, workers=workers, progress=report):
                del left[0]
                yield facts
        except BadSourceError as error:
            # What is read of all sources is in their order, so it is the first that is left.
            problems.append(Problem(str(left.pop(0).path), str(error)))
        except BrokenProcessPool as error:
            raise UpdateError(
                "a process that read sources has been ended from outside, perhaps for want of memory; run "
                "this again with fewer --jobs, it goes on where it was"
            ) from error


def parse_releases(releases: Sequence[str] | None) -> set[Version] | None:
    """Versions as given on a command line. Raises `ArgumentError`."""
    try:
        return {Version(release) for release in releases} if releases else None
    except InvalidVersion as error:
        raise ArgumentError(f"{error}; a release is given as 4.57.1") from error


def read_history(catalog: Path, *, create: bool = False) -> History:
    """Everything that a file has; nothing where ``create`` and there is no file. Raises `CatalogError`."""
    try:
        data = catalog.read_bytes()
    except FileNotFoundError as error:
        if create:
            return History()
        raise CatalogError(
            f"there is no catalog {catalog}; rope-compat catalog update --rebuild makes it"
        ) from error
    except OSError as error:
        raise CatalogError(f"the catalog {catalog} cannot be read ({error.strerror or error})") from error
    try:
        return decode(unpack(data, str(catalog)))
    except CatalogError as error:
        raise CatalogError(f"{error}; or make it anew: rope-compat catalog update --rebuild") from error
    except (ValueError, KeyError, TypeError, IndexError, OSError, EOFError) as error:
        raise CatalogError(
            f"{catalog} is not what rope_compat writes ({error!r}); make it anew: "
            "rope-compat catalog update --rebuild"
        ) from error


class _Draft:
    """The catalog that is being made.

    What is added is kept aside until it is written: merging it takes several steps, and an interrupt may come
    between them. Whoever finds the merge half done begins it anew from the file.
    """

    def __init__(
        self, target: Path, *, rebuild: bool, create: bool, saved: Callable[[Sequence[str]], None] | None
    ) -> None:
        self.outcome = Outcome()
        self.wheels: dict[Version, Path] = {}
        self.builds_given: set[Version] = set()
        self._target = target
        # A rebuild is put in its place when it is complete: half a catalog would not do for those who use it.
        self._file = target.with_name(f"{target.name}.rebuild-{_reading_code():08x}") if rebuild else target
        self._rebuild = rebuild
        self._create = create
        self._saved = saved
        self._pending: list[ReleaseFacts] = []
        self._next_write = time.monotonic() + _SECONDS_BETWEEN_WRITES
        self._history = self._read()

    def _read(self) -> History:
        if not self._rebuild:
            return read_history(self._target, create=self._create)
        try:
            return read_history(self._file, create=True)
        except CatalogError:
            return History()

    def versions(self) -> set[Version]:
        """What the catalog has."""
        return {Version(build) for build in self._history.builds}

    def keep(self, versions: set[Version]) -> None:
        """Forget what an interrupted rebuild had read, other than these."""
        for build in list(self._history.builds):
            if Version(build) not in versions:
                self._history.remove(build)
        if self._history.builds:
            replace_file(self._file, encode(self._history), like=self._target)
        else:
            self._file.unlink(missing_ok=True)

    def add(self, facts: ReleaseFacts) -> None:
        """Add a build; it is on disk within a quarter of a minute."""
        is_there = facts.version in self._history.builds
        if is_there and self._history.at(facts.version) == facts:
            return
        self._pending.append(facts)
        if time.monotonic() >= self._next_write:
            self._save()

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """What has been added is saved at the end, whatever the end is."""
        try:
            yield
            self._save()
        except BaseException:
            if self._pending:
                self._history = self._read()
                self._save()
            raise

    def _save(self) -> None:
        if self._pending:
            for facts in self._pending:
                self._history.add(facts)
            versions = [facts.version for facts in self._pending]
            dropped = _replaced(self._history.builds, self.builds_given)
            for build in dropped:
                self._history.remove(build)
            replace_file(self._file, encode(self._history), like=self._target)
            self._pending.clear()
            self.outcome.added += versions
            self.outcome.dropped += dropped
            if self._saved is not None:
                self._saved(versions)
        self.outcome.builds = tuple(self._history.builds)
        for version in self.versions() & self.wheels.keys():
            self.wheels.pop(version).unlink(missing_ok=True)
        self._next_write = time.monotonic() + _SECONDS_BETWEEN_WRITES

    def finish(self) -> None:
        """Put a rebuilt catalog in its place; throw away wheels that could not be read."""
        bad = {problem.source for problem in self.outcome.problems}
        for wheel in self.wheels.values():
            if str(wheel) in bad:
                wheel.unlink(missing_ok=True)
        if self._rebuild:
            if not self._history.builds:
                raise UpdateError(f"no release could be read, so {self._target} stays as it is")
            os.replace(self._file, self._target)
            for old in self._target.parent.glob(f"{self._target.name}.rebuild-*"):
                old.unlink()


def _replaced(builds: Sequence[str], given: Set[Version]) -> list[str]:
    """The development builds that those given now make obsolete.

    Those of the same number, and those that a release has overtaken.
    """
    versions = {Version(build): build for build in builds}
    added = {version.base_version for version in versions.keys() & given}
    newest = max((version for version in versions if not version.is_prerelease), default=None)
    return [
        build
        for version, build in versions.items()
        if added and version.is_devrelease and version not in given
        if version.base_version in added or (newest is not None and version <= newest)
    ]


def _reading_code() -> int:
    """A number for the code that reads releases; what other code has read is not to be mixed with it."""
    here = Path(__file__).parent
    files = sorted([*here.glob("reading/*.py"), here / "signature.py", here / "sources.py"])
    checksum = 0
    for file in files:
        with contextlib.suppress(OSError):  # rope_compat may be in a zip file
            checksum = zlib.crc32(file.read_bytes(), checksum)
    return checksum
