"""Write drift.json: the logits that releases give whose numbers drift, without rope_compat.

    for each release of the cases:  python tests/goldens/make_drift.py

Each run fills in what the installed release gives. `--check` compares instead, and writes nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import transformers
from support.drift_cases import CASES, FILE, RELEASES, goldens, has_case, logits, make

HERE = transformers.__version__


def main() -> None:
    if HERE not in RELEASES:
        raise SystemExit(f"transformers {HERE} is none of {', '.join(RELEASES)}")
    known = goldens() if FILE.exists() else {}
    for name in CASES:
        if not has_case(name, HERE):
            continue
        # fp32 numbers in nine digits, which give them back exactly.
        found = [[float(f"{value:.9g}") for value in row.tolist()] for row in logits(make(name, HERE))]
        if "--check" in sys.argv:
            assert known[name][HERE] == found, name
        known.setdefault(name, {})[HERE] = found
    if "--check" not in sys.argv:
        stored = {name: packed(known[name]) for name in CASES if name in known}
        FILE.write_text(json.dumps(stored, separators=(",", ":")) + "\n")


def packed(by_release: dict[str, object]) -> dict[str, object]:
    """In order of the releases; one that gives what another gave is named after it."""
    kept: dict[str, object] = {}
    for release in RELEASES:
        if release in by_release:
            value = by_release[release]
            kept[release] = next((other for other in kept if kept[other] == value), value)
    return kept


if __name__ == "__main__":
    main()
