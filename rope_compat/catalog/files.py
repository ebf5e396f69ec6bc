"""One writer at a time, and never half a file: how catalogs are written."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rope_compat.errors import RopeCompatError

__all__ = ["UpdateError", "locked", "replace_file"]

#: Between creating its lock and writing into it a process needs less than a millisecond.
_SECONDS_FOR_ONE_LINE = 1.0
#: Locks of this process. Its number alone says nothing: a process before the last start may have had it too.
_held: set[Path] = set()


class UpdateError(RopeCompatError, RuntimeError):
    """A catalog cannot be written; the message says why, and what to do. What it held is still there."""


@contextlib.contextmanager
def locked(path: Path, *, remedy: str) -> Iterator[None]:
    """Hold the lock of a file: ``path`` with ``.lock`` after it, which says whose it is.

    The lock of a process that is no more is taken over. Raises `UpdateError` when another process holds the
    lock, or when it cannot be made; ``remedy`` says what to do then.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        if not _make(lock):
            _take_over(lock, path)
    except OSError as error:
        raise UpdateError(f"{path} cannot be written ({error.strerror or error}); {remedy}") from error
    _held.add(lock)
    try:
        yield
    finally:
        _held.discard(lock)
        with contextlib.suppress(OSError):
            lock.unlink()


def _make(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(f"{os.getpid()} {socket.gethostname()}\n")
    return True


def _take_over(lock: Path, path: Path) -> None:
    holder = _holder(lock)
    if lock in _held or _lives(holder):
        raise UpdateError(
            f"{path} is being written by another process ({holder.strip()}); wait for it to end, or, if "
            f"there is no such process, delete {lock}"
        )
    # Of several processes that find the same old lock only one can move it away.
    aside = lock.with_name(f"{lock.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        os.replace(lock, aside)
        taken = aside.read_text(encoding="utf-8", errors="replace")
        if taken != holder:
            os.replace(aside, lock)  # another process has taken it over in the meantime
        else:
            aside.unlink()
    if not _make(lock):
        raise UpdateError(
            f"{path} is being written by another process; wait for it to end, and run this again"
        )


def _holder(lock: Path) -> str:
    """What the lock says: a line, or less if its process was ended while it wrote; nothing without a lock."""
    until = time.monotonic() + _SECONDS_FOR_ONE_LINE
    while True:
        try:
            text = lock.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        if text.endswith("\n") or time.monotonic() > until:
            return text
        time.sleep(0.02)


def _lives(holder: str) -> bool:
    if not holder.endswith("\n"):
        return False
    number, _, host = holder.strip().partition(" ")
    if host != socket.gethostname():
        return True  # on a shared disk: not to be known from here
    if not number.isdigit() or int(number) == os.getpid():
        return False
    return _is_process(int(number))


def _is_process(number: int) -> bool:
    if sys.platform == "win32":
        # os.kill(number, 0) would send Ctrl-C.
        import ctypes

        query_limited_information, still_active = 0x1000, 259
        handle = ctypes.windll.kernel32.OpenProcess(query_limited_information, 0, number)
        if not handle:
            return False
        status = ctypes.c_ulong()
        ctypes.windll.kernel32.GetExitCodeProcess(handle, ctypes.byref(status))
        ctypes.windll.kernel32.CloseHandle(handle)
        return status.value == still_active
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def replace_file(file: Path, data: bytes, *, like: Path) -> None:
    """Replace a file at once, even when the machine goes down meanwhile; the mode is that of the file
    ``like``.

    The caller holds a lock. Raises `UpdateError`; the file is as it was then.
    """
    temporary = file.with_name(f"{file.name}.new")
    try:
        with open(temporary, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(OSError):
            os.chmod(temporary, stat.S_IMODE(like.stat().st_mode))
        os.replace(temporary, file)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UpdateError(
            f"{file} cannot be written ({error.strerror or error}); what it held is still there"
        ) from error
