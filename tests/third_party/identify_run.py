"""Identify rotary functions of other projects, and compare with what was read from their sources.

    python tests/third_party/identify_run.py --store FOLDER --download     fetch what is missing, and run
    python tests/third_party/identify_run.py --store FOLDER --table        print the table of docs/identify.md

Only the named functions and classes of the files are run, as they are; einops is needed for some of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from third_party.identify_sources import Known, load
from third_party.sources import MissingSourceError

COMPARED = ("verdict", "pairing", "tables", "kind")


def differences(known: Known, identity: Any) -> list[str]:
    """Where the answer is another than the source says."""
    pairs = [(field, getattr(known, field), getattr(identity, field)) for field in COMPARED]
    pairs.append(("direction", known.direction, identity.direction if known.direction else 0))
    layouts = {identity.layout, *(call.layout for call in identity.calls)}
    pairs.append(("layout", known.layout, known.layout if known.layout in layouts else identity.layout))
    theta = identity.frequencies.theta if known.theta and identity.frequencies else None
    pairs.append(("theta", known.theta, theta))
    if known.verdict == "unknown":
        pairs = pairs[:1]
    return [f"{field} {found!r}, expected {wanted!r}" for field, wanted, found in pairs if found != wanted]


def row(known: Known, identity: Any, wrong: list[str]) -> str:
    """A line of the table."""
    commit = known.commit if known.repository.startswith("pypi/") else known.commit[:8]
    said = identity.mistake or identity.verdict
    cells = [
        f"{known.repository.removeprefix('pypi/')} {commit}",
        f"`{known.path.rpartition('/')[2]}`, `{known.title.partition(': ')[2]}`",
        said,
        f"{identity.pairing}{', backward' if identity.direction == -1 else ''}" or "-",
        identity.layout or "-",
        identity.kind.replace("|", r"\|") or "-",
        identity.tables or "-",
        "; ".join(wrong) or "yes",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True, help="where the files are, or come to")
    parser.add_argument("--download", action="store_true", help="fetch what is not there")
    parser.add_argument("--only", default="", help="run the records whose title contains this")
    parser.add_argument("--table", action="store_true", help="print a table for the documents")
    options = parser.parse_args()

    import rope_compat
    from third_party.records.functions import RECORDS

    failed = 0
    if options.table:
        print("| project | function | verdict | pairing | layout | takes | columns | as its source says |")
        print("| --- " * 8 + "|")
    for known in RECORDS:
        if options.only not in known.title:
            continue
        try:
            function = load(known, options.store, download=options.download)
        except (MissingSourceError, ImportError, NameError) as error:
            failed += 1
            print(f"{known.title}: not run: {error}", file=sys.stderr)
            continue
        started = time.perf_counter()
        identity = rope_compat.identify(function, name=known.title)
        wrong = differences(known, identity)
        failed += bool(wrong)
        if options.table:
            print(row(known, identity, wrong))
        else:
            print(f"{known.title}: {'; '.join(wrong) or 'right'} ({time.perf_counter() - started:.2f} s)")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
