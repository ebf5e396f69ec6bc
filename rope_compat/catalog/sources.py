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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from rope_compat.errors import RopeCompatError

__all__ = ["BadSourceError", "Member", "ReleaseSource", "open_source", "sources_in", "version_in_name"]

PACKAGE = "transformers"
#: The largest file of any release has 0.7 MB, the largest release 60 MB in 3,000 files.
MAX_FILE, MAX_TOTAL, MAX_FILES = 8 << 20, 512 << 20, 50_000
_FIRST = f"{PACKAGE}/__init__.py"
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

Info = TypeVar("Info", zipfile.ZipInfo, tarfile.TarInfo)


class BadSourceError(RopeCompatError, ValueError):
    """A file or directory is not a transformers that can be read; the message names it and says why."""


class Member(NamedTuple):
    """One Python file of a source: its path (``transformers/models/...``), and how the source finds it again.

    ``key`` is equal for equal files of different sources.
    """

    path: str
    checksum: int
    size: int
    where: str

    @property
    def key(self) -> tuple[str, int, int]:
        """Path, CRC-32 and size."""
        return self[:3]


@dataclass(frozen=True)
class ReleaseSource:
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
                # A gzip stream has no index: it is read once from front to back, not once for each member.
                wanted = {member.where for member in members}
                with tarfile.open(self.path, "r:gz") as stream:
                    contents = {info.name: _read(stream, info) for info in stream if info.name in wanted}
                yield from (contents[member.where] for member in members)
        except (*_UNREADABLE, KeyError) as error:
            raise BadSourceError(f"{self.path} cannot be read: {error}") from error


def open_source(path: Path) -> ReleaseSource:
    """The transformers in a wheel, an sdist, or a directory.

    A directory may hold the package (``site-packages``, an unpacked wheel), ``src/transformers`` (a
    checkout, an unpacked sdist), or be the package itself. A development version of a git checkout gets the
    commit as its local version, ``5.25.0.dev0+g1a2b3c4d5e6f``, as two builds of one development version may
    differ. Raises `BadSourceError`: it is none of these, is damaged, or holds what no transformers holds.
    """
    if path.is_dir():
        return _open_directory(path)
    if not path.is_file():
        raise BadSourceError(f"{path} does not exist; give a wheel, an sdist or a directory of {PACKAGE}")
    version = version_in_name(path)
    try:
        members, first = _members_of_wheel(path) if path.suffix == ".whl" else _members_of_sdist(path)
    except _UNREADABLE as error:
        raise BadSourceError(
            f"{path} is damaged or truncated ({error}); delete it and fetch it again"
        ) from error
    if first is None:
        raise BadSourceError(f"{path} holds no {_FIRST}")
    says = _version_in(first, path)
    if says != version:
        raise BadSourceError(f"{path} is named {version}, but its code says {says}")
    return ReleaseSource(path, version, tuple(sorted(members)))


def version_in_name(path: Path) -> Version:
    """The version that the name of a wheel or sdist states. Raises `BadSourceError`."""
    kind = "a wheel" if path.suffix == ".whl" else "an sdist"
    try:
        if path.suffix == ".whl":
            name, version, _, _ = parse_wheel_filename(path.name)
        elif path.name.endswith(".tar.gz"):
            name, version = parse_sdist_filename(path.name)
        else:
            raise BadSourceError(f"{path} is neither a wheel (.whl), an sdist (.tar.gz) nor a directory")
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion) as error:
        raise BadSourceError(f"{path} is not named as {kind} is: {error}") from error
    if name != PACKAGE:
        raise BadSourceError(f"{path} is {name}, not {PACKAGE}")
    return version


def sources_in(directory: Path) -> list[Path]:
    """What `open_source` may take in a directory: itself, or the archives and unpacked releases in it."""
    if _package_in(directory) is not None:
        return [directory]
    return [
        path
        for path in sorted(directory.iterdir())
        if (
            _package_in(path) is not None
            if path.is_dir()
            else path.name.startswith(f"{PACKAGE}-") and path.name.endswith((".whl", ".tar.gz"))
        )
    ]


def _package_in(directory: Path) -> Path | None:
    candidates = [directory / PACKAGE, directory / "src" / PACKAGE]
    if directory.name == PACKAGE:
        candidates.insert(0, directory)
    return next((each for each in candidates if (each / "__init__.py").is_file()), None)


def _open_directory(path: Path) -> ReleaseSource:
    package = _package_in(path)
    if package is None:
        raise BadSourceError(f"{path} holds no {PACKAGE}: neither {PACKAGE}/ nor src/{PACKAGE}/ is there")
    members = []
    for directory, _, names in os.walk(package):
        for file in (Path(directory, name) for name in names if name.endswith(".py")):
            content = file.read_bytes()
            relative = PurePosixPath(PACKAGE, *file.relative_to(package).parts)
            members.append(Member(str(relative), zlib.crc32(content), len(content), str(file)))
    version = _version_in((package / "__init__.py").read_bytes(), path)
    commit = _commit(package) if version.is_devrelease and version.local is None else ""
    return ReleaseSource(path, Version(f"{version}+g{commit}") if commit else version, tuple(sorted(members)))


def _commit(package: Path) -> str:
    command = ["git", "-C", str(package), "rev-parse", "--short=12", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return result.stdout.strip()


def _members_of_wheel(path: Path) -> tuple[list[Member], bytes | None]:
    """The Python files of a wheel, and the contents of the first, which states the version."""
    with zipfile.ZipFile(path) as archive:
        members = [
            Member(info.filename, info.CRC, info.file_size, info.filename)
            for info in _checked(path, archive.infolist(), lambda info: (info.filename, info.file_size))
            if _is_module(info.filename)
        ]
        has_first = any(member.path == _FIRST for member in members)
        return members, archive.read(_FIRST) if has_first else None


def _members_of_sdist(path: Path) -> tuple[list[Member], bytes | None]:
    members, first = [], None
    with tarfile.open(path, "r:gz") as archive:
        for info in _checked(path, archive, lambda info: (info.name, info.size)):
            relative = "/".join(PurePosixPath(info.name).parts[1:]).removeprefix("src/")
            if info.isfile() and _is_module(relative):
                content = _read(archive, info)
                members.append(Member(relative, zlib.crc32(content), len(content), info.name))
                first = content if relative == _FIRST else first
    return members, first


def _read(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(info)
    return stream.read() if stream is not None else b""


def _is_module(name: str) -> bool:
    return name.startswith(f"{PACKAGE}/") and name.endswith(".py")


def _checked(path: Path, infos: Iterable[Info], of: Callable[[Info], tuple[str, int]]) -> Iterator[Info]:
    """The members of an archive while they are what a transformers may have; ``of``: name and size."""
    total = 0
    for number, info in enumerate(infos, start=1):
        name, size = of(info)
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or name.startswith(("/", "\\")) or (parts and parts[0].endswith(":")):
            raise BadSourceError(
                f"{path} is refused: its member {name!r} leads out of the archive (path traversal)"
            )
        if name.endswith(".py") and size > MAX_FILE:
            raise BadSourceError(
                f"{path} is refused: its member {name} would have {size:,} bytes (a zip bomb?)"
            )
        total += size
        if total > MAX_TOTAL:
            raise BadSourceError(
                f"{path} is refused: it would unpack to more than {MAX_TOTAL:,} bytes (a zip bomb?)"
            )
        if number > MAX_FILES:
            raise BadSourceError(f"{path} is refused: it has more than {MAX_FILES:,} members (a zip bomb?)")
        yield info


def _version_in(content: bytes, path: Path) -> Version:
    match = _VERSION.search(content)
    if match is None:
        raise BadSourceError(f"{path} states no __version__ in {_FIRST}")
    try:
        return Version(match[1].decode("utf-8", "replace"))
    except InvalidVersion as error:
        raise BadSourceError(f"{path} states a version that is none: {error}") from error
