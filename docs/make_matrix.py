"""Make the table of lanes in ``docs/matrix.md`` from `tox.ini` and `tests/support/lanes.py`.

``python docs/make_matrix.py`` writes it, ``--check`` fails if it is not current.
"""

from __future__ import annotations

import configparser
import runpy
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "matrix.md"
BEGIN, END = "<!-- lanes: made by docs/make_matrix.py -->", "<!-- end of lanes -->"


def environments() -> list[str]:
    """The environments that run tests, in the order of ``tox.ini``."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "tox.ini", "utf-8")
    labels = settings["tox"]["labels"]
    names = [name.strip() for name in labels.partition("ci =")[2].split("\n")[0].split(",")]
    return [name for name in names if name not in ("lint", "types", "docs", "package")]


def table() -> str:
    """The lanes with their reasons, and which environment runs which."""
    lanes: dict[str, Any] = runpy.run_path(str(ROOT / "tests" / "support" / "lanes.py"))
    lines = ["| lane | what it holds |", "| --- | --- |"]
    lines += [f"| {lane} | {reason} |" for lane, reason in lanes["LANES"].items()]
    columns = list(lanes["LANES"])
    lines += [
        "",
        f"| environment | {' | '.join(columns)} | because |",
        "| --- |" + " --- |" * (len(columns) + 1),
    ]
    reasons: dict[str, str] = {}
    for run in reversed(lanes["ENVIRONMENTS"].values()):
        reasons |= run
    plain = []
    for name in environments():
        run = lanes["lanes_of"](name)
        if run == ("contract",):
            plain.append(f"`{name}`")
            continue
        cells = ["x" if lane in run else "" for lane in columns]
        lines.append(f"| `{name}` | {' | '.join(cells)} | {reasons[name]} |")
    lines.append(f"| {', '.join(plain)} | x |" + " |" * len(columns))
    lines += ["", "| not in the contract | lane |", "| --- | --- |"]
    lines += [f"| `tests/{path}` | {lane} |" for path, lane in sorted(lanes["FILES"].items())]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` say whether it is current."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    made = f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"
    if "--check" in arguments:
        if made != text:
            print("docs/matrix.md: the table of lanes is not current; run python docs/make_matrix.py")
        return int(made != text)
    PAGE.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
