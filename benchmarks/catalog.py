"""What the catalog costs: opening it, asking it, the commands from a cold process, reading releases anew.

    python benchmarks/catalog.py [--source DIR] [--rounds N] [--json]

Needs neither torch nor transformers. With ``--source DIR``, a directory of wheels or unpacked releases,
adding the newest of them to a catalog without it, and a whole build, are measured too (minutes). Times stand
beside that of ``python -c pass`` in the same run, which tells a busy machine from a slow program.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rope_compat.catalog.format import unpack
from rope_compat.catalog.history import decode, encode
from rope_compat.catalog.model import Target
from rope_compat.catalog.sources import open_source, sources_in
from rope_compat.catalog.store import Catalog, data_path, open_catalog
from rope_compat.catalog.update import update

LLAMA = "transformers.models.llama.modeling_llama"
COMMANDS = (
    ("history apply_rotary_pos_emb", 0.3),
    ("history * --json", None),
    ("history is_torch_fx_available", None),
    ("diff 4.57.6 5.0.0", None),
)


def median(samples: Sequence[float]) -> float:
    return statistics.median(samples)


def timed(call: Callable[[], object], rounds: int) -> float:
    """Median seconds of a call."""
    samples = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        samples.append(time.perf_counter() - begin)
    return median(samples)


def process(arguments: Sequence[str]) -> Callable[[], object]:
    return lambda: subprocess.run(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )


def asking(rounds: int) -> list[dict[str, Any]]:
    path = data_path()

    def opened(ask: Callable[[Catalog], object]) -> Callable[[], object]:
        return lambda: ask(open_catalog(path))

    rows = [
        ("open: the list of releases", opened(lambda known: known.releases), None),
        ("open, and one module's targets", opened(lambda known: known.names(LLAMA)), None),
        ("open, and all targets", opened(lambda known: list(known.targets())), 0.030),
        ("open, and any name", opened(lambda known: known.name_spans("transformers", "AdamW")), None),
        (
            "open, and callers of a function",
            opened(lambda known: known.callers(Target(LLAMA, "apply_rotary_pos_emb"), "4.57.6")),
            None,
        ),
    ]
    return [{"what": what, "seconds": timed(call, rounds), "goal": goal} for what, call, goal in rows]


def commands(rounds: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"what": "python -c pass", "seconds": timed(process(["-c", "pass"]), rounds), "goal": None}
    ]
    for command, goal in COMMANDS:
        call = process(["-m", "rope_compat", *command.split()])
        rows.append({"what": f"rope-compat {command}", "seconds": timed(call, rounds), "goal": goal})
    return rows


def building(source: Path) -> list[dict[str, Any]]:
    newest = max((open_source(path) for path in sources_in(source)), key=lambda each: each.version)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "transformers.catalog")
        history = decode(unpack(Path(data_path()).read_bytes(), data_path()))
        history.remove(str(newest.version))
        file.write_bytes(encode(history))
        one = timed(lambda: update(file, newest.path), 1)
        same = file.read_bytes() == Path(data_path()).read_bytes()
        whole = timed(lambda: update(file, source, rebuild=True), 1)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return [
        {"what": f"add {newest.version} to the others", "seconds": one, "goal": 10.0, "same bytes": same},
        {"what": "build from all releases", "seconds": whole, "goal": 360.0, "peak MB": peak / 1024},
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--source", type=Path, metavar="DIR", help="wheels or unpacked releases")
    parser.add_argument("--rounds", type=int, default=9, metavar="N")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows = asking(options.rounds) + commands(options.rounds)
    if options.source is not None:
        rows += building(options.source)
    if options.json:
        print(
            json.dumps(
                {"rows": rows, "cores": os.cpu_count(), "bytes": os.path.getsize(data_path())}, indent=2
            )
        )
        return 0
    width = max(len(row["what"]) for row in rows)
    for row in rows:
        seconds = f"{row['seconds'] * 1000:9.1f} ms"
        goal = f"  goal {row['goal'] * 1000:,.0f} ms" if row["goal"] else ""
        rest = "".join(
            f"  {key} {value}" for key, value in row.items() if key not in {"what", "seconds", "goal"}
        )
        print(f"{row['what']:<{width}}  {seconds}{goal}{rest}")
    print(f"{'the file':<{width}}  {os.path.getsize(data_path()):9,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
