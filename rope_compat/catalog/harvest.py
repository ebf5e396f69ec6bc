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
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rope_compat.catalog.reading.facts import ModuleFacts
from rope_compat.catalog.reading.module import read_module
from rope_compat.catalog.reading.release import ReleaseFacts, assemble, module_name
from rope_compat.catalog.sources import BadSourceError, Member, Source, open_source

__all__ = ["Progress", "harvest", "read_sources"]

#: Called with the number of bytes read so far, and of all that are to be read.
Progress = Callable[[int, int], None]
Key = tuple[str, int, int]
Chunk = tuple[Source, tuple[Member, ...]]

_CHUNK_BYTES = 1 << 20


def harvest(path: Path) -> ReleaseFacts:
    """The facts of one wheel, sdist or directory. Raises `BadSourceError` when it cannot be read."""
    return next(read_sources([open_source(path)]))


def read_sources(
    sources: Sequence[Source], *, workers: int | None = None, progress: Progress | None = None
) -> Iterator[ReleaseFacts]:
    """The facts of several releases, in the order of their versions, each as soon as it is read.

    ``workers``: number of processes, by default one for each core; 0 reads in this process. Raises
    `BadSourceError` when a file cannot be read or parsed. What is kept in memory is what the releases to come
    share with those already read.
    """
    ordered = sorted(sources, key=lambda source: source.version)
    last_use = {member.key: index for index, source in enumerate(ordered) for member in source.members}
    portions = _portions(ordered)
    total = sum(member.key[2] for chunks in portions for _, members in chunks for member in members)
    done = 0
    facts: dict[Key, ModuleFacts] = {}
    reading = _read_chunks([chunk for chunks in portions for chunk in chunks], _workers(workers, total))
    for index, source in enumerate(ordered):
        for members, found in itertools.islice(reading, len(portions[index])):
            facts.update(zip((member.key for member in members), found, strict=True))
            done += sum(member.key[2] for member in members)
            if progress is not None:
                progress(done, total)
        yield assemble(str(source.version), {member.path: facts[member.key] for member in source.members})
        for member in source.members:
            if last_use[member.key] == index:
                del facts[member.key]


def _workers(wanted: int | None, total: int) -> int:
    if wanted is not None:
        return wanted
    # A pool takes a tenth of a second to start, and as much to hand over what it has found.
    return 0 if total < 4 * _CHUNK_BYTES else os.cpu_count() or 1


def _portions(sources: Sequence[Source]) -> list[list[Chunk]]:
    """For each source what it has that none before it has, in portions of about a megabyte."""
    seen: set[Key] = set()
    portions: list[list[Chunk]] = []
    for source in sources:
        bare = Source(source.path, source.version, ())  # what a worker needs to know of it
        chunks: list[list[Member]] = [[]]
        size = 0
        for member in source.members:
            if member.key in seen:
                continue
            seen.add(member.key)
            if size >= _CHUNK_BYTES:
                chunks.append([])
                size = 0
            chunks[-1].append(member)
            size += member.key[2]
        portions.append([(bare, tuple(chunk)) for chunk in chunks if chunk])
    return portions


def _read_chunks(
    chunks: Sequence[Chunk], workers: int
) -> Iterator[tuple[tuple[Member, ...], list[ModuleFacts]]]:
    """What the chunks hold, in their order; some are always being read ahead."""
    if workers == 0 or not chunks:
        for chunk in chunks:
            yield chunk[1], _read_chunk(chunk)
        return
    with ProcessPoolExecutor(
        min(workers, len(chunks)), initializer=_end_with, initargs=(os.getpid(),)
    ) as pool:
        ahead = 4 * workers
        futures = deque(pool.submit(_read_chunk, chunk) for chunk in chunks[:ahead])
        try:
            for index, chunk in enumerate(chunks):
                result = futures.popleft().result()
                if index + ahead < len(chunks):
                    futures.append(pool.submit(_read_chunk, chunks[index + ahead]))
                yield chunk[1], result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


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
        return [
            _read(source, member, content)
            for member, content in zip(members, source.read(members), strict=True)
        ]
    finally:
        if enabled:
            gc.enable()


def _read(source: Source, member: Member, content: bytes) -> ModuleFacts:
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
