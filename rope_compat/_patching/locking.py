"""A lock that a forked process can go on using."""

from __future__ import annotations

import os
import threading
from typing import Any
from weakref import WeakSet

__all__ = ["ForkSafeLock"]

#: Seconds that a fork waits for a change in another thread: what is protected takes far less.
_PATIENCE = 2.0

_locks: WeakSet[ForkSafeLock] = WeakSet()
_forking = threading.local()


class ForkSafeLock:
    """A re-entrant lock. A fork waits until it is free, so that the child sees no half-done change.

    Where another thread does not give it up in time, the child gets a new one: the thread
    that held the old one does not exist there, and would hold it for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; False if the lock is not free by then."""
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        """Give it up once."""
        self._lock.release()

    def renew(self) -> None:
        """Forget who holds it."""
        self._lock = threading.RLock()


def _before_fork() -> None:
    _forking.held = [lock for lock in list(_locks) if lock.acquire(_PATIENCE)]


def _after_fork_in_parent() -> None:
    for lock in _forking.__dict__.pop("held", ()):
        lock.release()


def _after_fork_in_child() -> None:
    held: list[Any] = _forking.__dict__.pop("held", [])
    for lock in list(_locks):
        if lock in held:
            lock.release()
        else:
            lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
