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
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from rope_compat.catalog.files import locked
from rope_compat.catalog.sources import PACKAGE, BadSourceError, Source, open_source, sources_in
from rope_compat.errors import RopeCompatError

__all__ = [
    "Fetched",
    "Found",
    "PipError",
    "Problem",
    "Progress",
    "available",
    "download_directory",
    "downloads",
    "fetch_missing",
    "find_sources",
    "open_found",
]

#: Called with what is being done, how much of it is done, and of how much: releases to fetch, bytes to read.
Progress = Callable[[Literal["fetching", "reading"], int, int], None]

OLDEST = Version("4.28.0")
#: Withdrawn from the index by its maintainers within hours; pip lists withdrawn releases nevertheless.
WITHDRAWN = frozenset({Version("4.46.0"), Version("5.10.0")})

#: Why a release without a wheel is not fetched.
_NO_WHEEL = (
    "it has no wheel, and pip would run its setup.py; fetch its sdist by hand, and give it with --source"
)

_AT_A_TIME = 4
_PARTIAL = ".partial-"
_LAST_LINES = 6
_NOTHING_FOUND = "No matching distribution found"
_YANKED = "is a yanked version"


class PipError(RopeCompatError, RuntimeError):
    """pip is missing or has failed; the message has what it said, and what to do."""


class Problem(NamedTuple):
    """A source that could not be used: its path, or the release that it should have been, and why."""

    source: str
    reason: str


class Found(NamedTuple):
    """A source in a directory; opened already where nothing but its contents says which version it is."""

    path: Path
    version: Version
    source: Source | None


class Fetched(NamedTuple):
    """What came of fetching a release.

    Attributes:
        wheel: the file; None where the release has no wheel.
        withdrawn: the release is on the index, but its maintainers say not to use it.
    """

    version: Version
    wheel: Path | None
    withdrawn: bool = False


def find_sources(path: Path) -> tuple[list[Found], list[Problem]]:
    """Every wheel, sdist, unpacked release and checkout in a directory, or the one that ``path`` itself is.

    Archives are taken at their names, which `open_found` proves. Raises `BadSourceError` when there is none.
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
        version = _version_in_name(each)
        if version is not None:
            found.append(Found(each, version, None))
            continue
        try:
            source = open_source(each)
        except (BadSourceError, OSError) as error:
            problems.append(Problem(str(each), str(error)))
        else:
            found.append(Found(each, source.version, source))
    return sorted(found, key=lambda each: (each.version, each.path)), problems


def _version_in_name(path: Path) -> Version | None:
    if path.is_dir():
        return None
    try:
        if path.suffix == ".whl":
            name, version, _, _ = parse_wheel_filename(path.name)
        else:
            name, version = parse_sdist_filename(path.name)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
    return version if name == PACKAGE else None


def open_found(found: Iterable[Found], problems: list[Problem]) -> list[Source]:
    """Open sources, one for each version; those that cannot be opened are added to ``problems``."""
    opened: dict[Version, Source] = {}
    for each in found:
        if each.version in opened:
            continue
        try:
            opened[each.version] = each.source or open_source(each.path)
        except (BadSourceError, OSError) as error:
            problems.append(Problem(str(each.path), str(error)))
    return list(opened.values())


def download_directory() -> Path:
    """Where wheels are kept until their releases are in a catalog: below the user's directory for caches."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rope_compat" / "wheels"


@contextlib.contextmanager
def downloads(directory: Path) -> Iterator[None]:
    """Use the directory for downloads, which is made where there is none, alone. Raises `UpdateError`."""
    with contextlib.suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
    with locked(directory / "downloads", remedy="set XDG_CACHE_HOME to a directory that can be written"):
        yield


def available() -> list[Version]:
    """The final releases on the index from 4.28.0 on, oldest first. Raises `PipError`."""
    pips = _Pips()
    done = pips.run("index", "versions", PACKAGE, "--ignore-requires-python")
    listed = re.search(r"^Available versions:(.*)", done.stdout, re.MULTILINE | re.DOTALL)
    if done.returncode != 0 or listed is None:
        raise PipError(_failure(f"list the releases of {PACKAGE}", done))
    versions = set()
    for word in re.split(r"[,\s]+", listed[1].strip()):
        try:
            version = Version(word)
        except InvalidVersion:
            break  # a label, such as "INSTALLED:", after the list
        if version >= OLDEST and not version.is_prerelease and version not in WITHDRAWN:
            versions.add(version)
    return sorted(versions)


def fetched_before(directory: Path) -> dict[Version, Path]:
    """The wheels that an interrupted run has left; what it had not fetched completely is thrown away."""
    for rest in directory.glob(f"{_PARTIAL}*"):
        shutil.rmtree(rest, ignore_errors=True)
    found = {path: _version_in_name(path) for path in sorted(directory.glob(f"{PACKAGE}-*.whl"))}
    return {version: path for path, version in found.items() if version is not None}


def fetch_missing(
    versions: Iterable[Version], directory: Path, problems: list[Problem], progress: Progress | None
) -> tuple[dict[Version, Path], set[Version]]:
    """The wheels of releases: those that an interrupted run has left, and all others from the index.

    Returns the wheels by version, and the versions that their maintainers have withdrawn. Releases without a
    wheel are added to ``problems``. The caller uses the directory alone, see `downloads`. Raises `PipError`
    at the first failure that is not about one release; what has been fetched by then stays.
    """
    before = fetched_before(directory)
    wheels = {version: before[version] for version in versions if version in before}
    left = [version for version in versions if version not in before]
    withdrawn = set()
    for done, each in enumerate(fetch(left, directory), start=1):
        if each.wheel is None:
            problems.append(Problem(f"{PACKAGE} {each.version}", _NO_WHEEL))
        else:
            wheels[each.version] = each.wheel
        if each.withdrawn:
            withdrawn.add(each.version)
        if progress is not None:
            progress("fetching", done, len(left))
    return wheels, withdrawn


def fetch(versions: Sequence[Version], directory: Path) -> Iterator[Fetched]:
    """Fetch the wheels of releases into a directory, several at a time, in the order in which they arrive.

    A wheel has its name only once it is complete. Raises `PipError`, see `fetch_missing`.
    """
    pips = _Pips()
    pool = ThreadPoolExecutor(_AT_A_TIME)
    try:
        futures = [pool.submit(_fetch_one, pips, version, directory) for version in versions]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pips.end()
        pool.shutdown(cancel_futures=True)


def _fetch_one(pips: _Pips, version: Version, directory: Path) -> Fetched:
    requirement = f"{PACKAGE}=={version}"
    with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=directory, ignore_cleanup_errors=True) as place:
        options = ("--no-deps", "--ignore-requires-python", "--only-binary=:all:", "--dest", place)
        done = pips.run("download", *options, requirement)
        if done.returncode != 0:
            # "none": pip has not seen the index at all, which says nothing of this release.
            if _NOTHING_FOUND in done.stderr and "from versions: none" not in done.stderr:
                return Fetched(version, None)
            raise PipError(_failure(f"fetch {requirement}", done))
        wheels = list(Path(place).glob("*.whl"))
        if len(wheels) != 1:
            raise PipError(f"pip was to fetch one wheel for {requirement}, but fetched {len(wheels)}")
        wheel = directory / wheels[0].name
        os.replace(wheels[0], wheel)
    return Fetched(version, wheel, withdrawn=_YANKED in done.stderr)


class _Pips:
    """Runs pip, and ends what still runs when it is no longer wanted."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._ended = False

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pip to its end. Raises `PipError` when this Python has none."""
        command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
        # A constraint is about what is installed, and quiet pip does not print what it is asked for.
        environment = {**os.environ, "PIP_CONSTRAINT": os.devnull, "PIP_QUIET": "0"}
        with self._lock:
            if self._ended:
                raise PipError("pip was not started: another fetch has failed")
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env=environment,
            )
            self._running.add(process)
        try:
            out, err = process.communicate()
        finally:
            with self._lock:
                self._running.discard(process)
        if process.returncode != 0 and "No module named pip" in err:
            raise PipError(
                f"{sys.executable} has no pip, which fetches releases: run {sys.executable} -m ensurepip, or "
                "give a directory of wheels with --source"
            )
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def end(self) -> None:
        """End every process that still runs; start none any more."""
        with self._lock:
            self._ended = True
            for process in self._running:
                process.terminate()


def _failure(what: str, done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    said = "\n  ".join(["", *lines[-_LAST_LINES:]]) if lines else " nothing"
    return (
        f"pip could not {what} (exit status {done.returncode}); check pip's index and proxy, or give a "
        f"directory of wheels with --source. pip said:{said}"
    )
