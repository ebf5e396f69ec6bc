"""The files of a patch: from a folder ``owner/name/commit/path`` or GitHub, checked by SHA-256."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

from .record import Record

RAW = "https://raw.githubusercontent.com/{repository}/{commit}/{path}"


class MissingSourceError(Exception):
    """A file is not there, or is not the one that was looked at."""


def prepare(record: Record, store: Path, download: bool) -> None:
    """Make sure that all files of a record are below `store`, unmodified; fetch those that are not there.

    Raises:
        MissingSourceError: a file cannot be had, or has another content.
    """
    for path, digest in record.files.items():
        target = record.folder(store) / path
        if not target.exists():
            if not download:
                raise MissingSourceError(f"{target} is not there (give --download to fetch it)")
            _fetch(RAW.format(repository=record.repository, commit=record.commit, path=path), target)
        found = hashlib.sha256(target.read_bytes()).hexdigest()
        if found != digest:
            raise MissingSourceError(
                f"{target} has SHA-256 {found}, expected {digest}: not the unmodified file"
            )


def _fetch(address: str, target: Path) -> None:
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            content = answer.read()
    except (urllib.error.URLError, TimeoutError) as error:
        raise MissingSourceError(f"{address}: {error}") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
