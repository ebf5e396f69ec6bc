"""Where transformers' files come from: wheel, sdist, unpacked directory, or git checkout.

Archives are not unpacked: members are read one by one, none larger than a source file can be, so that a path
that leads out of a directory is of no consequence. It is refused all the same, as is everything else that no
archive of transformers has.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from rope_compat.errors import RopeCompatError

__all__ = ["BadSourceError", "Member", "Source", "open_source", "sources_in"]

PACKAGE = "transformers"
#: The largest file of any release has 0.7 MB, the largest release 60 MB in 3,000 files.
MAX_FILE, MAX_TOTAL, MAX_FILES = 8 << 20, 512 << 20, 50_000
#: RuntimeError: an encrypted member; NotImplementedError: a compression that Python does not have.
_UNREADABLE = (
    OSError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
)
_VERSION = re.compile(rb"^__version__ = [\"']([^\"']+)[\"']", re.MULTILINE)


class BadSourceError(RopeCompatError, ValueError):
    """A file or directory is not a transformers that can be read; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Member:
    """One Python file of a source.

    ``key`` (path, CRC-32 and size) is equal for equal files of different sources. ``where`` is how the source
    finds it again.
    """

    key: tuple[str, int, int]
    where: str

    @property
    def path(self) -> str:
        """Path below the directory that holds the package: ``transformers/models/...``."""
        return self.key[0]


@dataclass(frozen=True)
class Source:
    """One transformers: its version, and its Python files in order of their paths."""

    path: Path
    version: Version
    members: tuple[Member, ...]

    def read(self, members: tuple[Member, ...]) -> Iterator[bytes]:
        """The contents of some members, in order. Raises `BadSourceError` when one cannot be read."""
        try:
            if self.path.is_dir():
                yield from (Path(member.where).read_bytes() for member in members)
            elif zipfile.is_zipfile(self.path):
                with zipfile.ZipFile(self.path) as archive:
                    yield from (archive.read(member.where) for member in members)
            else:
                yield from _read_tar(self.path, members)
        except (*_UNREADABLE, KeyError) as error:
            raise BadSourceError(f"{self.path} cannot be read: {error}") from error


def open_source(path: Path) -> Source:
    """The transformers in a wheel, an sdist, or a directory.

    A directory may hold the package (``site-packages``, an unpacked wheel), ``src/transformers`` (a
    checkout, an unpacked sdist), or be the package itself. A development version of a git checkout gets the
    commit as its local version, ``5.25.0.dev0+g1a2b3c4d5e6f``, as two builds of one development version may
    differ.

    Raises:
        BadSourceError: it is none of these, it is damaged, or it holds what no transformers holds.
    """
    if path.is_dir():
        return _open_tree(path)
    if not path.is_file():
        raise BadSourceError(f"{path} does not exist; give a wheel, an sdist or a directory of {PACKAGE}")
    try:
        if path.suffix == ".whl":
            return _open_wheel(path)
        if path.name.endswith(".tar.gz"):
            return _open_sdist(path)
    except _UNREADABLE as error:
        raise BadSourceError(
            f"{path} is damaged or truncated ({error}); delete it and fetch it again"
        ) from error
    raise BadSourceError(f"{path} is neither a wheel (.whl), an sdist (.tar.gz) nor a directory")


def sources_in(directory: Path) -> list[Path]:
    """What `open_source` may take in a directory: itself, or the archives and unpacked releases in it."""
    if _package_in(directory) is not None:
        return [directory]
    found = []
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            if _package_in(path) is not None:
                found.append(path)
        elif path.name.startswith(f"{PACKAGE}-") and path.name.endswith((".whl", ".tar.gz")):
            found.append(path)
    return found


def _package_in(directory: Path) -> Path | None:
    if directory.name == PACKAGE and (directory / "__init__.py").is_file():
        return directory
    for candidate in (directory / PACKAGE, directory / "src" / PACKAGE):
        if (candidate / "__init__.py").is_file():
            return candidate
    return None


def _open_tree(path: Path) -> Source:
    package = _package_in(path)
    if package is None:
        raise BadSourceError(f"{path} holds no {PACKAGE}: neither {PACKAGE}/ nor src/{PACKAGE}/ is there")
    members = []
    for file in _python_files(package):
        relative = PurePosixPath(PACKAGE, *file.relative_to(package).parts)
        content = file.read_bytes()
        members.append(Member((str(relative), zlib.crc32(content), len(content)), str(file)))
    version = _version_in((package / "__init__.py").read_bytes(), path)
    if version.is_devrelease and version.local is None:
        commit = _commit(package)
        version = Version(f"{version}+g{commit}") if commit else version
    return Source(path, version, tuple(sorted(members, key=lambda member: member.path)))


def _python_files(package: Path) -> Iterator[Path]:
    for directory, below, files in os.walk(package):
        below[:] = sorted(name for name in below if name != "__pycache__")
        yield from (Path(directory, name) for name in sorted(files) if name.endswith(".py"))


def _commit(package: Path) -> str:
    command = ["git", "-C", str(package), "rev-parse", "--short=12", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()


def _open_wheel(path: Path) -> Source:
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
    except (InvalidWheelFilename, InvalidVersion) as error:
        raise BadSourceError(f"{path} is not named as a wheel is: {error}") from error
    _check_name(path, name)
    with zipfile.ZipFile(path) as archive:
        sizes = [(info.filename, info.file_size) for info in archive.infolist()]
        _check_contents(path, sizes)
        members = [
            Member((info.filename, info.CRC, info.file_size), info.filename)
            for info in archive.infolist()
            if _is_module(info.filename)
        ]
        _check_version(path, version, members, lambda member: archive.read(member.where))
    return Source(path, version, tuple(sorted(members, key=lambda member: member.path)))


def _open_sdist(path: Path) -> Source:
    try:
        name, version = parse_sdist_filename(path.name)
    except (InvalidSdistFilename, InvalidVersion) as error:
        raise BadSourceError(f"{path} is not named as an sdist is: {error}") from error
    _check_name(path, name)
    members, first = [], b""
    sizes: list[tuple[str, int]] = []
    with tarfile.open(path, "r:gz") as archive:
        for info in archive:
            sizes.append((info.name, info.size))
            _check_contents(path, sizes[-1:], total=sum(size for _, size in sizes), files=len(sizes))
            relative = "/".join(PurePosixPath(info.name).parts[1:]).removeprefix("src/")
            if not (info.isfile() and _is_module(relative)):
                continue
            stream = archive.extractfile(info)
            content = stream.read() if stream is not None else b""
            members.append(Member((relative, zlib.crc32(content), len(content)), info.name))
            if relative == f"{PACKAGE}/__init__.py":
                first = content
    _check_version(path, version, members, lambda member: first)
    return Source(path, version, tuple(sorted(members, key=lambda member: member.path)))


def _read_tar(path: Path, members: tuple[Member, ...]) -> Iterator[bytes]:
    # A gzip stream has no index: read it once from front to back, not once for each member.
    wanted = {member.where for member in members}
    contents: dict[str, bytes] = {}
    with tarfile.open(path, "r:gz") as archive:
        for info in archive:
            if info.name in wanted:
                stream = archive.extractfile(info)
                contents[info.name] = stream.read() if stream is not None else b""
    yield from (contents[member.where] for member in members)


def _is_module(name: str) -> bool:
    return name.startswith(f"{PACKAGE}/") and name.endswith(".py")


def _check_name(path: Path, name: str) -> None:
    if name != PACKAGE:
        raise BadSourceError(f"{path} is {name}, not {PACKAGE}")


def _check_contents(
    path: Path, sizes: list[tuple[str, int]], *, total: int | None = None, files: int | None = None
) -> None:
    for name, size in sizes:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or name.startswith(("/", "\\")) or (parts and parts[0].endswith(":")):
            raise BadSourceError(
                f"{path} is refused: its member {name!r} leads out of the archive (path traversal)"
            )
        if name.endswith(".py") and size > MAX_FILE:
            raise BadSourceError(
                f"{path} is refused: its member {name} would have {size:,} bytes (a zip bomb?)"
            )
    total = sum(size for _, size in sizes) if total is None else total
    if total > MAX_TOTAL:
        raise BadSourceError(f"{path} is refused: it would unpack to {total:,} bytes (a zip bomb?)")
    if (len(sizes) if files is None else files) > MAX_FILES:
        raise BadSourceError(f"{path} is refused: it has more than {MAX_FILES:,} members (a zip bomb?)")


def _check_version(path: Path, version: Version, members: list[Member], read: object) -> None:
    first = next((member for member in members if member.path == f"{PACKAGE}/__init__.py"), None)
    if first is None or not callable(read):
        raise BadSourceError(f"{path} holds no {PACKAGE}/__init__.py")
    says = _version_in(read(first), path)
    if says != version:
        raise BadSourceError(f"{path} is named {version}, but its code says {says}")


def _version_in(content: bytes, path: Path) -> Version:
    match = _VERSION.search(content)
    if match is None:
        raise BadSourceError(f"{path} states no __version__ in {PACKAGE}/__init__.py")
    try:
        return Version(match.group(1).decode("utf-8", "replace"))
    except InvalidVersion as error:
        raise BadSourceError(f"{path} states a version that is none: {error}") from error
