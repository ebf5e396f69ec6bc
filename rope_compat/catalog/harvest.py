"""Reads releases of transformers into facts, on all cores, each distinct file once.

From release to release most files stay as they are: 141 releases have 250,000 files, of which 34,000 differ.
Nothing is imported or executed; see `rope_compat.catalog.reading`.
"""

from __future__ import annotations

import gc
import itertools
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rope_compat.catalog.model import ReleaseFacts
from rope_compat.catalog.reading.facts import ModuleFacts
from rope_compat.catalog.reading.release import assemble, module_name, read_module
from rope_compat.catalog.sources import BadSourceError, Member, ReleaseSource, open_source

__all__ = ["harvest", "read_sources"]

Chunk = tuple[ReleaseSource, tuple[Member, ...]]

_CHUNK_BYTES = 1 << 20


def harvest(path: Path) -> ReleaseFacts:
    """The facts of one wheel, sdist or directory. Raises `BadSourceError` when it cannot be read."""
    return next(read_sources([open_source(path)]))


def read_sources(
    sources: Sequence[ReleaseSource],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[ReleaseFacts]:
    """The facts of several releases, in the order of their versions, each as soon as it is read.

    ``workers``: number of processes, by default one for each core; 0 reads in this process. ``progress`` is
    told how many bytes have been read, and of how many. Raises `BadSourceError` when a file cannot be read or
    parsed. What is kept in memory is what the releases to come share with those already read.
    """
    ordered = sorted(sources, key=lambda source: source.version)
    last_use = {member.key: place for place, source in enumerate(ordered) for member in source.members}
    seen: set[tuple[str, int, int]] = set()
    chunks = [list(_chunks(source, seen)) for source in ordered]
    total = sum(size for _, _, size in seen)
    if workers is None:
        # A pool takes a tenth of a second to start, and as much to hand over what it has found.
        workers = 0 if total < 4 * _CHUNK_BYTES else os.cpu_count() or 1
    done = 0
    facts: dict[tuple[str, int, int], ModuleFacts] = {}
    reading = _read_all([chunk for each in chunks for chunk in each], workers)
    for place, source in enumerate(ordered):
        for (_, members), found in zip(
            chunks[place], itertools.islice(reading, len(chunks[place])), strict=True
        ):
            facts.update(zip((member.key for member in members), found, strict=True))
            done += sum(member.size for member in members)
            if progress is not None:
                progress(done, total)
        yield assemble(str(source.version), {member.path: facts[member.key] for member in source.members})
        for member in source.members:
            if last_use[member.key] == place:
                del facts[member.key]


def _chunks(source: ReleaseSource, seen: set[tuple[str, int, int]]) -> Iterator[Chunk]:
    """What a source has that none before it has, in portions of about a megabyte."""
    new = [member for member in source.members if member.key not in seen]
    seen.update(member.key for member in new)
    ends = itertools.accumulate(member.size for member in new)
    portions = itertools.groupby(zip(ends, new, strict=True), key=lambda each: each[0] // _CHUNK_BYTES)
    for _, portion in portions:
        # A worker has to know where the members are, not what else there is.
        yield ReleaseSource(source.path, source.version, ()), tuple(member for _, member in portion)


def _read_all(chunks: Sequence[Chunk], workers: int) -> Iterator[list[ModuleFacts]]:
    if workers == 0 or not chunks:
        yield from map(_read_chunk, chunks)
        return
    with ProcessPoolExecutor(
        min(workers, len(chunks)), initializer=_end_with, initargs=(os.getpid(),)
    ) as pool:
        yield from pool.map(_read_chunk, chunks)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: one that is killed cannot tell its workers."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _read_chunk(chunk: Chunk) -> list[ModuleFacts]:
    source, members = chunk
    enabled = gc.isenabled()
    gc.disable()  # syntax trees are many objects and no garbage: looking for it takes a tenth of the time
    try:
        contents = source.read(members)
        return [_read(source, *each) for each in zip(members, contents, strict=True)]
    finally:
        if enabled:
            gc.enable()


def _read(source: ReleaseSource, member: Member, content: bytes) -> ModuleFacts:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escape sequences, of which old releases have many
            return read_module(
                content, module_name(member.path), is_package=member.path.endswith("/__init__.py")
            )
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadSourceError(
            f"{source.path}: {member.path} cannot be parsed ({error}); releases may need a newer Python than "
            "the one that runs this"
        ) from error
