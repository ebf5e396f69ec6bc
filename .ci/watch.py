"""Has the RoPE API of transformers moved? Looks at the package index, and at a checkout of the main branch.

``python .ci/watch.py [--main CHECKOUT] [--summary FILE] [--catalog FILE]`` brings the catalog up to date, and
compares each new release with the one before it, and the checkout with the newest release. Exit status: 0
nothing has moved, 1 something has, with the differences in the summary (Markdown), 2 could not look.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rope_compat._cli import progress as progress_display
from rope_compat._report import changes as pages
from rope_compat._report.page import page_text
from rope_compat.catalog import store
from rope_compat.catalog.compare import Change, Side, compare, side_at, side_of
from rope_compat.catalog.update import update
from rope_compat.errors import RopeCompatError

#: These say nothing of what callers can do.
_HARMLESS = frozenset({"object added", "decorators changed", "condition changed"})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--main", type=Path, metavar="CHECKOUT", help="a checkout of transformers' main branch"
    )
    parser.add_argument("--source", type=Path, metavar="DIR", help="wheels, instead of the package index")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="append the summary to FILE")
    parser.add_argument("--catalog", type=Path, metavar="FILE", default=Path(store.data_path()))
    options = parser.parse_args(arguments)
    try:
        sections = list(_sections(options))
    except (RopeCompatError, ValueError) as error:
        print(f"watch: {error}", file=sys.stderr)
        return 2
    text = "\n\n".join(section for section, _ in sections) + "\n"
    print(text)
    if options.summary is not None:
        with options.summary.open("a", encoding="utf-8") as stream:
            stream.write(text)
    return 1 if any(moved for _, moved in sections) else 0


def _sections(options: argparse.Namespace) -> Iterator[tuple[str, bool]]:
    """Each part of the summary, and whether the API has moved there."""
    with progress_display.shown() as progress:
        outcome = update(options.catalog, options.source, progress=progress)
    known = store.open_catalog(str(options.catalog))
    for problem in outcome.problems:
        yield f"Could not be read: {problem.source}: {problem.reason}", True
    added = [build for build in outcome.added if build in known.releases]
    if not added:
        yield f"The package index has nothing newer than {known.releases[-1]}.", False
    for release in added:
        before = known.releases[known.releases.index(release) - 1]
        yield _section(side_at(known, before), side_at(known, release))
    if options.main is not None:
        newest = known.releases[-1]
        yield _section(side_at(known, newest), side_of(str(options.main)))


def _section(before: Side, after: Side) -> tuple[str, bool]:
    found: list[Change] = compare(before, after)
    text = page_text(pages.page(before.version, after.version, found))
    moved = any(change.kind not in _HARMLESS for change in found)
    return f"### {before.version} to {after.version}\n\n```text\n{text}\n```", moved


if __name__ == "__main__":
    sys.exit(main())
