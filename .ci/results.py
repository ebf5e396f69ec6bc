"""What test environments did, read from pytest's JUnit files, as a table for a log or for a GitHub page.

``python .ci/results.py DIRECTORY ENV [ENV ...]`` prints a Markdown table of the environments named, whose
files are ``DIRECTORY/<env>/junit*.xml``, and exits with 1 if one of them failed or left no file.
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HEADINGS = ("environment", "result", "passed", "failed", "skipped", "seconds")


@dataclass(frozen=True)
class Counts:
    """How many tests did what; errors in fixtures and collection count as failed."""

    passed: int
    failed: int
    skipped: int
    seconds: float


@dataclass(frozen=True)
class Row:
    """One environment; ``counts`` is None where no tests ran, as in ``lint``."""

    environment: str
    result: str
    counts: Counts | None
    seconds: float

    def cells(self) -> tuple[str, ...]:
        """Return the texts under `HEADINGS`."""
        counts = self.counts
        numbers = ("", "", "") if counts is None else (counts.passed, counts.failed, counts.skipped)
        return (self.environment, self.result, *map(str, numbers), f"{self.seconds:.0f}")


def read_counts(folder: Path) -> Counts | None:
    """Return what the JUnit files of a folder say, or None if there is none or one is not whole."""
    suites: list[ElementTree.Element] = []
    for path in sorted(folder.glob("junit*.xml")):
        try:
            suites += ElementTree.parse(path).getroot().iter("testsuite")
        except (OSError, ElementTree.ParseError):
            return None
    if not suites:
        return None

    def total(name: str) -> float:
        return sum(float(suite.get(name, 0)) for suite in suites)

    failed = int(total("failures") + total("errors"))
    skipped = int(total("skipped"))
    return Counts(int(total("tests")) - failed - skipped, failed, skipped, total("time"))


def text_table(rows: Iterable[Row]) -> str:
    """Return the rows as columns that line up; numbers to the right."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    texts = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([texts[0], "  ".join("-" * width for width in widths), *texts[1:]])


def markdown_table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [HEADINGS, ("---", "---", "---:", "---:", "---:", "---:"), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def row_from_folder(environment: str, folder: Path) -> Row:
    """Return the row of an environment of which only the JUnit files are known."""
    counts = read_counts(folder)
    if counts is None:
        return Row(environment, "no result", None, 0.0)
    good = counts.failed == 0 and counts.passed > 0
    return Row(environment, "passed" if good else "failed", counts, counts.seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("environments", nargs="+", metavar="ENV")
    options = parser.parse_args(arguments)
    rows = [
        row_from_folder(environment, options.directory / environment) for environment in options.environments
    ]
    print(markdown_table(rows))
    return 0 if all(row.result == "passed" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
