"""Run unmodified third-party patches with the installed transformers, with and without rope_compat.

    python tests/third_party/run.py --store FOLDER --download        fetch what is missing, and run
    python tests/third_party/run.py --store FOLDER --only FastChat --json
    python tests/third_party/run.py --store FOLDER --records mine.py     patches of your own

The files of a patch are at FOLDER/owner/name/commit/path. They are run as they are: only run what you trust.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import runpy
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from third_party.record import Record
from third_party.sources import MissingSourceError, prepare


def results_of(record: Record, store: Path) -> list[dict[str, Any]]:
    """All trials of one record with the installed release, as plain data."""
    from third_party import trial

    lacking = _lacking(record)
    found = []
    for attention in record.attention:
        expected = None if lacking else trial.reference(record, attention)
        for mode in trial.MODES:
            if mode == "by_hand" and record.by_hand is None:
                continue
            if isinstance(expected, trial.Values):
                one = trial.run(record, mode, attention, store, expected)
            else:
                why = lacking or f"the model itself: {expected}"
                one = trial.Result(record.name, mode, attention, "needs", why)
            found.append({**asdict(one), "verdict": one.verdict(record.equal)})
    return found


def _lacking(record: Record) -> str:
    import importlib.util

    absent = [name for name in record.needs if importlib.util.find_spec(name) is None]
    return f"needs {', '.join(absent)}" if absent else ""


def best(trials: Sequence[dict[str, Any]], mode: str) -> dict[str, Any]:
    """Of a mode's trials in several attention implementations, the one that came furthest.

    A model that runs because it does not use the patch has not come further than one that fails in it.
    """
    order = ("import", "apply", "not used", "build", "run", "backward", "other numbers", "runs", "works")

    def rank(one: dict[str, Any]) -> int:
        reached = one["verdict"].removeprefix("fails: ")
        return order.index(reached) if reached in order else -1

    return max((one for one in trials if one["mode"] == mode), key=rank)


def run(records: Sequence[Record], store: Path, download: bool) -> dict[str, Any]:
    """All records with the installed release."""
    import transformers
    import transformers.modeling_utils

    found: dict[str, Any] = {"transformers": transformers.__version__, "patches": {}}
    # Those that change what transformers imports come first, while no model has been imported.
    for record in sorted(records, key=lambda record: "flash_attn_in_transformers" not in record.stand_ins):
        try:
            prepare(record, store, download)
        except MissingSourceError as error:
            print(f"{record.name}: {error}", file=sys.stderr)
            continue
        if "flash_attn_in_transformers" not in record.stand_ins:
            _import_once(record.model)
        found["patches"][record.name] = results_of(record, store)
    found["patches"] = {
        each.name: found["patches"][each.name] for each in records if each.name in found["patches"]
    }
    return found


def _import_once(model: str) -> None:
    """Import a model's module before the forks that need it; a release may not have it."""
    folder = model.removesuffix("_mha")
    with contextlib.suppress(ImportError):
        importlib.import_module(f"transformers.models.{folder}.modeling_{folder}")


def _records(path: Path | None) -> tuple[Record, ...]:
    if path is None:
        from third_party.records import RECORDS

        return RECORDS
    records: tuple[Record, ...] = runpy.run_path(str(path))["RECORDS"]
    return records


def show(found: dict[str, Any]) -> None:
    """Each patch in each mode, with the reason where it does not work."""
    print(f"transformers {found['transformers']}")
    for name, trials in found["patches"].items():
        print(name)
        for mode in dict.fromkeys(one["mode"] for one in trials):
            one = best(trials, mode)
            print(f"  {mode:12} {one['verdict']:14} {one['attention']:6} {one['error']}")
            for message in one["said"]:
                print(f"  {'':12} said: {message}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, default=Path("third_party"), help="folder of the fetched files")
    parser.add_argument("--download", action="store_true", help="fetch missing files from GitHub, by commit")
    parser.add_argument("--records", type=Path, help="a Python file with RECORDS of your own")
    parser.add_argument("--only", help="run the records whose name contains this")
    parser.add_argument("--json", action="store_true", help="print all trials as JSON")
    options = parser.parse_args()

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    logging.disable(logging.WARNING)
    records = [
        record for record in _records(options.records) if not options.only or options.only in record.name
    ]
    found = run(records, options.store.resolve(), options.download)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)
    return 0 if found["patches"] else 2


if __name__ == "__main__":
    raise SystemExit(main())
