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
            holder = _holder(lock)
            if lock in _held or _lives(holder):
                raise UpdateError(
                    f"{path} is being written by another process ({holder.strip()}); wait for it to end, or, "
                    f"if there is no such process, delete {lock}"
                )
            lock.unlink(missing_ok=True)
            if not _make(lock):
                raise UpdateError(
                    f"{path} is being written by another process; wait for it to end, and run this again"
                )
    except OSError as error:
        raise UpdateError(f"{path} cannot be written ({error.strerror or error}); {remedy}") from error
    _held.add(lock)
    try:
        yield
    finally:
        _held.discard(lock)
        lock.unlink(missing_ok=True)


def _make(lock: Path) -> bool:
    try:
        with open(lock, "x", encoding="utf-8") as stream:
            stream.write(f"{os.getpid()} {socket.gethostname()}\n")
    except FileExistsError:
        return False
    return True


def _holder(lock: Path) -> str:
    """What the lock says: a line, or less if its process was ended while it wrote; nothing without a lock."""
    until = time.monotonic() + _SECONDS_FOR_ONE_LINE
    text = ""
    while not text.endswith("\n") and time.monotonic() < until and lock.exists():
        time.sleep(0.01)
        with contextlib.suppress(FileNotFoundError):
            text = lock.read_text(encoding="utf-8", errors="replace")
    return text


def _lives(holder: str) -> bool:
    number, _, host = holder.strip().partition(" ")
    if not holder.endswith("\n") or not number.isdecimal():
        return False
    if host != socket.gethostname():
        return True  # on a shared disk: not to be known from here
    return int(number) != os.getpid() and _is_process(int(number))


def _is_process(number: int) -> bool:
    if sys.platform == "win32":
        # os.kill(number, 0) would send Ctrl-C.
        import ctypes

        query_limited_information, still_active = 0x1000, 259
        handle = ctypes.windll.kernel32.OpenProcess(query_limited_information, 0, number)
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
