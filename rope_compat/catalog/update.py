"""Brings releases into a catalog file, and leaves on disk, at every moment, a file that can be read.

What has been read is written every quarter of a minute, so that an update that is interrupted or killed goes
on where it was when it is run again.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import InvalidVersion, Version

from rope_compat.catalog import index
from rope_compat.catalog.files import UpdateError, locked, replace_file
from rope_compat.catalog.format import CatalogError, unpack
from rope_compat.catalog.harvest import read_sources
from rope_compat.catalog.history import History, decode, encode
from rope_compat.catalog.index import Found, Problem, Progress
from rope_compat.catalog.model import ReleaseFacts
from rope_compat.catalog.sources import BadSourceError, ReleaseSource
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
        outcome, _ = _missing(History() if rebuild else read_history(catalog, create=create), source, wanted)
        return outcome
    remedy = (
        "copy it to FILE, a place of your own, run rope-compat catalog update --catalog FILE, and set "
        f"{VARIABLE}=FILE"
    )
    if catalog.exists() and not os.access(catalog, os.W_OK):
        raise UpdateError(f"{catalog} is not writable; {remedy}")
    with locked(catalog, remedy=remedy):
        # A rebuild is put in its place when it is complete: half a catalog would not do for those who use it.
        file = catalog.with_name(f"{catalog.name}.rebuild-{_reading_code():08x}") if rebuild else catalog
        history = _begun(file) if rebuild else read_history(file, create=create)
        outcome, found = _missing(history, source, wanted)
        if rebuild and set(map(Version, history.builds)) - _versions(found):
            file.unlink()  # an interrupted rebuild, of other releases than these
            history = History()
            outcome.missing = tuple(str(each) for each in sorted(_versions(found)))
        have = set(map(Version, history.builds))
        found = [each for each in found if each.version not in have or each.version.is_devrelease]
        draft = _Draft(file, catalog, _versions(found), outcome, saved)
        with index.opened(found, outcome.problems, progress, withdrawn=False) as sources:
            draft.fill(history, read_all(sources, outcome.problems, workers, progress))
        if rebuild:
            if not outcome.builds:
                raise UpdateError(f"no release could be read, so {catalog} stays as it is")
            file.replace(catalog)
            for old in catalog.parent.glob(f"{catalog.name}.rebuild-*"):
                old.unlink()
    return outcome


def _begun(file: Path) -> History:
    """What an interrupted rebuild has read."""
    try:
        return read_history(file, create=True)
    except CatalogError:
        file.unlink()
        return History()


def _missing(
    history: History, source: Path | None, wanted: set[Version] | None
) -> tuple[Outcome, list[Found]]:
    """What is not in a catalog, and everything that can be had of what is wanted."""
    found, problems = index.find(source)
    if wanted is not None:
        absent = wanted - _versions(found)
        if absent:
            raise ArgumentError(
                f"{', '.join(map(str, sorted(absent)))}: not among the releases that can be had here"
            )
        found = [each for each in found if each.version in wanted]
    missing = _versions(found) - set(map(Version, history.builds))
    missing_first = tuple(str(version) for version in sorted(missing))
    return Outcome(missing=missing_first, problems=problems, builds=tuple(history.builds)), found


def _versions(found: Iterable[Found]) -> set[Version]:
    return {each.version for each in found}


class _Draft:
    """The file that is being filled.

    What has been read is kept aside until it is written, and then merged with what the file has: merging
    takes several steps, and an interrupt between them would leave a history that is half done.
    """

    def __init__(
        self,
        file: Path,
        like: Path,
        given: Collection[Version],
        outcome: Outcome,
        saved: Callable[[Sequence[str]], None] | None,
    ) -> None:
        self._file, self._like, self._outcome, self._saved = file, like, outcome, saved
        self._given = {version for version in given if version.is_devrelease}
        self._pending: list[ReleaseFacts] = []

    def fill(self, history: History, facts: Iterable[ReleaseFacts]) -> None:
        """Add builds to the file, which has the history; what has been read is saved whatever happens."""
        next_write = time.monotonic() + _SECONDS_BETWEEN_WRITES
        try:
            for each in facts:
                if each.version not in history.builds or history.at(each.version) != each:
                    self._pending.append(each)
                if time.monotonic() >= next_write:
                    self._save()
                    next_write = time.monotonic() + _SECONDS_BETWEEN_WRITES
            self._save()
        except BaseException:
            self._save()
            raise

    def _save(self) -> None:
        if not self._pending:
            return
        history = read_history(self._file, create=True)
        for facts in self._pending:
            history.add(facts)
        dropped = _replaced(history.builds, self._given)
        for build in dropped:
            history.remove(build)
        replace_file(self._file, encode(history), like=self._like)
        versions = [facts.version for facts in self._pending]
        self._pending = []
        self._outcome.added += versions
        self._outcome.dropped += dropped
        self._outcome.builds = tuple(history.builds)
        if self._saved is not None:
            self._saved(versions)


def _replaced(builds: Sequence[str], given: Collection[Version]) -> list[str]:
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
    package = Path(__file__).parents[1]
    files = [*package.glob("catalog/**/*.py"), package / "_facts" / "rope_names.py"]
    # rope_compat may be in a zip file, where there are no such files.
    return zlib.crc32(b"".join(file.read_bytes() for file in sorted(files) if file.is_file()))


def read_all(
    sources: Iterable[ReleaseSource],
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
