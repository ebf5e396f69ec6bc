"""``rope-compat catalog``: bring in new releases, prove the data, show what is known."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rope_compat._cli import progress_bytes
from rope_compat._report.json import show_json
from rope_compat._report.page import Entry, Item, Page, Row, Section
from rope_compat._report.terminal import show
from rope_compat.catalog import store
from rope_compat.catalog.format import FORMAT
from rope_compat.catalog.index import Problem
from rope_compat.catalog.update import Outcome, read_history, update
from rope_compat.catalog.verification import Difference, Verdict, verify

__all__ = ["configure", "run"]


_STATUS = {
    "update": "exit status: 0 the catalog has everything, 1 with --dry-run when releases are missing, 2 "
    "could not (the reason is on standard error)",
    "verify": "exit status: 0 equal, 1 differences, 2 could not (the reason is on standard error)",
    "show": "exit status: 0, or 2 when the catalog cannot be read",
}
#: Of each build so many differences are printed; JSON has all.
_SHOWN = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the commands below this one, with their own arguments."""
    common = argparse.ArgumentParser(add_help=False)
    # Suppressed, so that the default here does not undo a --json before the word.
    common.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print JSON, for other programs to read",
    )
    common.add_argument(
        "--catalog",
        type=Path,
        metavar="FILE",
        help="the catalog's file; by default the one in use, which ROPE_COMPAT_CATALOG can name",
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            name,
            parents=[common],
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=_STATUS[name],
            allow_abbrev=False,
        )

    updating = add(
        "update", "add releases that are not in the catalog, from the package index or a directory"
    )
    updating.set_defaults(action=_update)
    verifying = add("verify", "read releases once more, and compare them with what the catalog says")
    verifying.set_defaults(action=_verify)
    add("show", "what the catalog has: builds, targets, names, sizes").set_defaults(action=_show)
    for each in (updating, verifying):
        each.add_argument(
            "--source",
            type=Path,
            metavar="DIR",
            help="directory of wheels, sdists, unpacked releases or checkouts, or one of these, instead of "
            "the package index",
        )
        each.add_argument("--release", nargs="+", metavar="V", help="only these releases, such as 4.57.1")
        each.add_argument(
            "--jobs", type=_natural, metavar="N", help="processes to read with; 0 for none but this"
        )
    updating.add_argument(
        "--rebuild",
        action="store_true",
        help="read everything anew, whatever the file holds, then replace it",
    )
    updating.add_argument("--dry-run", action="store_true", help="only say what is missing")
    verifying.add_argument("--sample", type=_natural, metavar="N", help="only N builds, chosen at random")
    verifying.add_argument("--seed", type=int, metavar="S", help="choose the sample that was chosen with S")


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 0 or more")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Run ``update``, ``verify`` or ``show``; return 0, 1 for findings, 2 when some source could not be used.

    Raises:
        ArgumentError: a release is none, or cannot be had.
        BadSourceError: ``--source`` has no transformers.
        CatalogError: the catalog cannot be read.
        PipError: the package index cannot be asked.
        UpdateError: the catalog cannot be written.
    """
    status: int = arguments.action(arguments, arguments.catalog or Path(store.data_path()))
    return status


def _update(arguments: argparse.Namespace, catalog: Path) -> int:
    safe: list[str] = []
    try:
        with progress_bytes.shown() as progress:
            outcome = update(
                catalog,
                arguments.source,
                releases=arguments.release,
                rebuild=arguments.rebuild,
                create=arguments.catalog is not None,
                dry_run=arguments.dry_run,
                workers=arguments.jobs,
                progress=progress,
                saved=safe.extend,
            )
    except BaseException:
        if safe:
            print(
                f"rope-compat: {_count(safe, 'build')} saved so far; run the same command again to go on",
                file=sys.stderr,
            )
        raise
    _warn(outcome.problems)
    if arguments.json:
        show_json(_update_document(catalog, outcome, dry_run=arguments.dry_run))
    else:
        show(_update_page(catalog, outcome, dry_run=arguments.dry_run))
    if outcome.problems:
        return 2
    return 1 if arguments.dry_run and outcome.missing else 0


def _warn(problems: Sequence[Problem]) -> None:
    for problem in problems:
        # Reasons name their file already, unless they come from the system.
        reason = problem.reason if problem.source in problem.reason else f"{problem.source}: {problem.reason}"
        print(f"rope-compat: error: {reason}", file=sys.stderr)


def _update_document(catalog: Path, outcome: Outcome, *, dry_run: bool) -> dict[str, object]:
    return {
        "catalog": str(catalog),
        "dry_run": dry_run,
        "missing": list(outcome.missing),
        "added": outcome.added,
        "dropped": outcome.dropped,
        "builds": list(outcome.builds),
        "problems": [problem._asdict() for problem in outcome.problems],
    }


def _update_page(catalog: Path, outcome: Outcome, *, dry_run: bool) -> Page:
    if dry_run:
        count = len(outcome.missing)
        headline = f"{count} missing: {_some(outcome.missing)}" if count else "Nothing is missing"
    else:
        changes = [
            f"{word} {_some(builds)}"
            for word, builds in (("Added", outcome.added), ("dropped", outcome.dropped))
            if builds
        ]
        headline = "; ".join(changes) or "Up to date"
    if outcome.problems:
        headline += f"; {len(outcome.problems)} could not be used"
    rows = (Row("file", str(catalog)), Row("builds", _extent(outcome.builds)))
    bad = bool(outcome.problems) or (dry_run and bool(outcome.missing))
    return Page(f"{headline}.", (Section("The catalog:", rows),), "warn" if bad else "good")


def _extent(builds: Sequence[str]) -> str:
    return f"{len(builds)}, from {builds[0]} to {builds[-1]}" if builds else "none"


def _verify(arguments: argparse.Namespace, catalog: Path) -> int:
    with progress_bytes.shown() as progress:
        verdict = verify(
            catalog,
            arguments.source,
            sample=arguments.sample,
            seed=arguments.seed,
            releases=arguments.release,
            workers=arguments.jobs,
            progress=progress,
        )
    _warn(verdict.problems)
    if arguments.json:
        show_json(_verify_document(catalog, verdict))
    else:
        show(_verify_page(catalog, verdict))
    if verdict.problems:
        return 2
    return 1 if verdict.differences else 0


def _verify_document(catalog: Path, verdict: Verdict) -> dict[str, object]:
    return {
        "catalog": str(catalog),
        "ok": not verdict.differences and not verdict.problems,
        "seed": verdict.seed,
        "checked": verdict.checked,
        "unchecked": verdict.unchecked,
        "differences": [difference._asdict() for difference in verdict.differences],
        "problems": [problem._asdict() for problem in verdict.problems],
    }


def _verify_page(catalog: Path, verdict: Verdict) -> Page:
    differing = {difference.release for difference in verdict.differences}
    headline = (
        f"{_count(verdict.differences, 'difference')} in {len(differing)} of {len(verdict.checked)} builds"
        if differing
        else f"The catalog says of {_count(verdict.checked, 'build')} what the source says"
    )
    if verdict.problems:
        headline += f"; {len(verdict.problems)} could not be read"
    rows = [Row("file", str(catalog)), Row("checked", _some(verdict.checked))]
    rows += [Row("unchecked", _some(verdict.unchecked))] if verdict.unchecked else []
    rows += [Row("sample", f"--seed {verdict.seed} chooses it again")] if verdict.seed is not None else []
    sections = [Section("The catalog:", tuple(rows))]
    for release, found in groupby(verdict.differences, key=lambda difference: difference.release):
        sections.append(_differences(release, list(found)))
    return Page(f"{headline}.", tuple(sections), "bad" if differing or verdict.problems else "good")


def _count(things: Sequence[object], word: str) -> str:
    return f"{len(things)} {word}" if len(things) == 1 else f"{len(things)} {word}s"


def _some(builds: Sequence[str]) -> str:
    return ", ".join(builds) if len(builds) <= _SHOWN else _extent(builds)


def _differences(release: str, found: Sequence[Difference]) -> Section:
    entries: list[Entry] = [
        Item(f"{each.kind} {each.what}", "bad", (f"catalog: {each.catalog}", f"source:  {each.source}"))
        for each in found[:_SHOWN]
    ]
    if len(found) > _SHOWN:
        entries.append(Item(f"and {len(found) - _SHOWN} more; --json has all", "bad"))
    return Section(f"{release}:", tuple(entries))


def _show(arguments: argparse.Namespace, catalog: Path) -> int:
    read_history(catalog)  # says what is wrong with a file that cannot be read
    opened = store.open_catalog(str(catalog))
    container = opened.container
    sizes = {name: size for name, (_, size, _) in container.sections.items()}
    kinds = Counter(kind for _, kind in opened.targets())
    names: dict[str, set[str]] = {}
    for module, _, _, found in opened.name_rows():
        names.setdefault(module, set()).update(found)
    count = sum(map(len, names.values()))
    newest = opened.releases[-1] if opened.releases else None
    if arguments.json:
        show_json(
            {
                "catalog": str(catalog),
                "format": FORMAT,
                "bytes": len(container.data),
                "sections": sizes,
                "builds": list(opened.builds),
                "newest_release": newest,
                "targets": dict(sorted(kinds.items())),
                "modules": len(names),
                "names": count,
            }
        )
        return 0
    development = [build for build in opened.builds if build not in opened.releases]
    about = [
        Row("file", str(catalog)),
        Row("format", str(FORMAT)),
        Row("releases", _extent(opened.releases)),
        Row("other builds", ", ".join(development) or "none"),
        Row("targets", "; ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))),
        Row("names", f"{count:,} in {len(names):,} modules"),
    ]
    parts = [Row(name, f"{size:,} bytes") for name, size in sizes.items()]
    show(
        Page(
            f"{kinds.total():,} targets in {len(opened.builds)} builds; newest release {newest or 'none'}.",
            (
                Section("The catalog:", tuple(about)),
                Section("Its sections:", (*parts, Row("file", f"{len(container.data):,} bytes"))),
            ),
        )
    )
    return 0
