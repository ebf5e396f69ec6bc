"""Which releases there are, in a directory or on the package index, and fetching wheels from the index.

The index is asked through pip, in a process of its own, so that a user's index, proxy, certificates and cache
are those of every other installation. pip is never made to build anything: it would run a release's code.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.version import InvalidVersion, Version

from rope_compat._facts.releases import OLDEST_IN_CATALOG, WITHDRAWN
from rope_compat.catalog.files import locked
from rope_compat.catalog.sources import (
    PACKAGE,
    BadSourceError,
    ReleaseSource,
    open_source,
    sources_in,
    version_in_name,
)
from rope_compat.errors import RopeCompatError

__all__ = [
    "Fetched",
    "Found",
    "PipError",
    "Problem",
    "Progress",
    "available",
    "find",
    "find_sources",
    "opened",
]

#: Called with what is being done, how much of it is done, and of how much: releases to fetch, bytes to read.
Progress = Callable[[Literal["fetching", "reading"], int, int], None]

#: Why a release without a wheel is not fetched.
_NO_WHEEL = (
    "it has no wheel, and pip would run its setup.py; fetch its sdist by hand, and give it with --source"
)

_AT_A_TIME = 4
_PARTIAL = ".partial-"
_LAST_LINES = 6


class PipError(RopeCompatError, RuntimeError):
    """pip is missing or has failed; the message has what it said, and what to do."""


class Problem(NamedTuple):
    """A source that could not be used: its path, or the release that it should have been, and why."""

    source: str
    reason: str


class Found(NamedTuple):
    """A release that can be had: from a path, or, without one, from the index.

    It is opened already where nothing but its contents says which version it is.
    """

    path: Path | None
    version: Version
    source: ReleaseSource | None = None


class Fetched(NamedTuple):
    """A release that has been fetched; without a wheel where the index has none.

    ``withdrawn``: it is on the index, but its maintainers say not to use it.
    """

    version: Version
    wheel: Path | None
    withdrawn: bool = False


def find(source: Path | None) -> tuple[list[Found], list[Problem]]:
    """What can be had from a directory or file, or without one from the index, and what cannot be used.

    Raises `BadSourceError` or `PipError` where there is nothing.
    """
    return find_sources(source) if source is not None else ([Found(None, each) for each in available()], [])


def find_sources(path: Path) -> tuple[list[Found], list[Problem]]:
    """Every wheel, sdist, unpacked release and checkout in a directory, or the one that ``path`` itself is.

    Archives are taken at their names, which `open_source` proves. Raises `BadSourceError` when there is none.
    """
    if not path.exists():
        raise BadSourceError(
            f"{path} does not exist; give a directory of wheels, sdists or checkouts of {PACKAGE}"
        )
    paths = sources_in(path) if path.is_dir() else [path]
    if not paths:
        raise BadSourceError(
            f"{path} holds no {PACKAGE}: neither {PACKAGE}-*.whl, {PACKAGE}-*.tar.gz, nor a directory with "
            f"{PACKAGE}/ or src/{PACKAGE}/"
        )
    found: list[Found] = []
    problems: list[Problem] = []
    for each in paths:
        try:
            source = open_source(each) if each.is_dir() else None
            found.append(Found(each, source.version if source else version_in_name(each), source))
        except (BadSourceError, OSError) as error:
            problems.append(Problem(str(each), str(error)))
    return sorted(found, key=lambda each: (each.version, str(each.path))), problems


@contextlib.contextmanager
def opened(
    found: Sequence[Found], problems: list[Problem], progress: Progress | None, *, withdrawn: bool
) -> Iterator[list[ReleaseSource]]:
    """Sources, one for each version, fetched where need be; what cannot be had is added to ``problems``.

    Releases that their maintainers have withdrawn are left out unless ``withdrawn``. What is fetched is
    deleted at the end, but stays for the next time if something is raised. Raises `PipError`, `UpdateError`.
    """
    with contextlib.ExitStack() as stack:
        missing = [each.version for each in found if each.path is None]
        if missing:
            directory = _download_directory()
            remedy = "set XDG_CACHE_HOME to a directory that can be written"
            stack.enter_context(locked(directory / "downloads", remedy=remedy))
            found = [*found, *_fetch_missing(missing, directory, problems, progress, withdrawn=withdrawn)]
        sources: dict[Version, ReleaseSource] = {}
        for path, version, source in found:
            try:
                if path is not None and version not in sources:
                    sources[version] = source or open_source(path)
            except (BadSourceError, OSError) as error:
                problems.append(Problem(str(path), str(error)))
        yield list(sources.values())
        for wheel in directory.glob("*.whl") if missing else ():
            wheel.unlink()


def _download_directory() -> Path:
    """Where wheels are kept until their releases are in a catalog: below the user's directory for caches."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    directory = Path(base) / "rope_compat" / "wheels"
    with contextlib.suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
    return directory


def _fetch_missing(
    versions: Sequence[Version],
    directory: Path,
    problems: list[Problem],
    progress: Progress | None,
    *,
    withdrawn: bool,
) -> list[Found]:
    """The wheels of releases: those that an interrupted run has left, and all others from the index."""
    for rest in directory.glob(f"{_PARTIAL}*"):
        shutil.rmtree(rest, ignore_errors=True)
    left = {version_in_name(path): path for path in directory.glob(f"{PACKAGE}-*.whl")}
    for version in left.keys() - versions:
        left.pop(version).unlink()
    found = [Found(path, version) for version, path in left.items()]
    wanted = [version for version in versions if version not in left]
    for done, each in enumerate(fetch(wanted, directory), start=1):
        if each.wheel is None:
            problems.append(Problem(f"{PACKAGE} {each.version}", _NO_WHEEL))
        elif withdrawn or not each.withdrawn:
            found.append(Found(each.wheel, each.version))
        if progress is not None:
            progress("fetching", done, len(wanted))
    return found


def available() -> list[Version]:
    """The final releases on the index from 4.28.0 on, oldest first. Raises `PipError`."""
    done = _pip("index", "versions", PACKAGE, "--ignore-requires-python")
    listed = re.search(r"^Available versions:(.*)", done.stdout, re.MULTILINE | re.DOTALL)
    if done.returncode != 0 or listed is None:
        raise PipError(_failure(f"list the releases of {PACKAGE}", done))
    versions = set()
    for word in re.split(r"[,\s]+", listed[1].strip()):
        try:
            version = Version(word)
        except InvalidVersion:
            break  # a label, such as "INSTALLED:", after the list
        if version >= Version(OLDEST_IN_CATALOG) and not version.is_prerelease:
            versions.add(version)
    return sorted(versions - set(map(Version, WITHDRAWN)))


def fetch(versions: Sequence[Version], directory: Path) -> Iterator[Fetched]:
    """Fetch the wheels of releases into a directory, several at a time, in the order in which they arrive.

    A wheel has its name only once it is complete. Raises `PipError` at the first failure that is not about
    one release; what has been fetched by then stays.
    """
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        try:
            for future in as_completed([pool.submit(_fetch_one, each, directory) for each in versions]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch_one(version: Version, directory: Path) -> Fetched:
    requirement = f"{PACKAGE}=={version}"
    with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=directory, ignore_cleanup_errors=True) as place:
        options = ("--no-deps", "--ignore-requires-python", "--only-binary=:all:", "--dest", place)
        done = _pip("download", *options, requirement)
        if done.returncode != 0:
            # "none": pip has not seen the index at all, which says nothing of this release.
            if "No matching distribution found" in done.stderr and "from versions: none" not in done.stderr:
                return Fetched(version, None)
            raise PipError(_failure(f"fetch {requirement}", done))
        wheels = list(Path(place).glob("*.whl"))
        if len(wheels) != 1:
            raise PipError(f"pip was to fetch one wheel for {requirement}, but fetched {len(wheels)}")
        wheel = wheels[0].replace(directory / wheels[0].name)
    return Fetched(version, wheel, withdrawn="is a yanked version" in done.stderr)


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pip to its end. Raises `PipError` when this Python has none."""
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        # A constraint is about what is installed, and quiet pip does not print what it is asked for.
        env={**os.environ, "PIP_CONSTRAINT": os.devnull, "PIP_QUIET": "0"},
    )
    out, err = process.communicate()
    if process.returncode != 0 and "No module named pip" in err:
        raise PipError(
            f"{sys.executable} has no pip, which fetches releases: run {sys.executable} -m ensurepip, or "
            "give a directory of wheels with --source"
        )
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _failure(what: str, done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    said = "\n  ".join(["", *lines[-_LAST_LINES:]]) if lines else " nothing"
    return (
        f"pip could not {what} (exit status {done.returncode}); check pip's index and proxy, or give a "
        f"directory of wheels with --source. pip said:{said}"
    )
