"""The table of docs/troubleshooting/other-patches.md, from what `run.py --json` said on several releases.

python tests/third_party/table.py results/*.json           print it
python tests/third_party/table.py results/*.json --write   put it between the markers of the page
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    sys.path.append(str(Path(__file__).resolve().parent.parent.parent))

from packaging.version import Version

from third_party.run import best

PAGE = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting" / "other-patches.md"
BEGIN, END = "<!-- table of runs: begin -->\n", "<!-- table of runs: end -->\n"
WORDS = {"works": "ok", "runs": "ok", "other numbers": "other", "not used": "unused"}


def cell(trials: Sequence[Mapping[str, Any]]) -> str:
    """Without rope_compat, and with it where that makes a difference; "-" where the model is not there."""
    words = {mode: _word(best(trials, mode)) for mode in dict.fromkeys(each["mode"] for each in trials)}
    without, first = words["without"], words["first"]
    for mode, note in (("written_for", " (w)"), ("by_hand", " (a)")):
        if "ok" not in first and words.get(mode) == "ok":
            first = "ok" + note
    return without if without == first else f"{without}, {first}"


def _word(trial: Mapping[str, Any]) -> str:
    if trial["stage"] == "needs":
        return "-"
    if trial["verdict"] == "not used" and any("without effect" in message for message in trial["said"]):
        return "told"
    return WORDS.get(trial["verdict"], "no")


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """One row a patch, one column a release."""
    runs = sorted(runs, key=lambda run: Version(run["transformers"]))
    names = list(dict.fromkeys(name for run in runs for name in run["patches"]))
    lines = [
        f"| patch | {' | '.join(run['transformers'] for run in runs)} |",
        "| --- " * (len(runs) + 1) + "|",
    ]
    for name in names:
        cells = [cell(run["patches"][name]) if name in run["patches"] else "" for run in runs]
        if set(cells) != {"-"}:
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+", help="files that run.py --json has written")
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    made = table([json.loads(path.read_text()) for path in options.results])
    if not options.write:
        print(made, end="")
        return 0
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
