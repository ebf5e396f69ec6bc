"""``rope-compat catalog``: bring in new releases, prove the data, show what is known."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rope_compat._cli.progress import shown
from rope_compat._report.page import Item, Page, Row, Section, Tone, counted
from rope_compat._report.terminal import show, show_json
from rope_compat.catalog import store
from rope_compat.catalog.format import FORMAT
from rope_compat.catalog.index import Problem
from rope_compat.catalog.update import Outcome, read_history, update
from rope_compat.catalog.verification import Verdict, verify

__all__ = ["configure", "run"]


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
    reading = argparse.ArgumentParser(add_help=False)
    reading.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="directory of wheels, sdists, unpacked releases or checkouts, or one of these, instead of "
        "the package index",
    )
    reading.add_argument("--release", nargs="+", metavar="V", help="only these releases, such as 4.57.1")
    reading.add_argument(
        "--jobs", type=_natural, metavar="N", help="processes to read with; 0 for none but this"
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    made = {}
    for name, (action, summary, status) in _COMMANDS.items():
        made[name] = actions.add_parser(
            name,
            parents=[common] if name == "show" else [common, reading],
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=status,
            allow_abbrev=False,
        )
        made[name].set_defaults(action=action)
    made["update"].add_argument(
        "--rebuild",
        action="store_true",
        help="read everything anew, whatever the file holds, then replace it",
    )
    made["update"].add_argument("--dry-run", action="store_true", help="only say what is missing")
    made["verify"].add_argument(
        "--sample", type=_natural, metavar="N", help="only N builds, chosen at random"
    )
    made["verify"].add_argument(
        "--seed", type=int, metavar="S", help="choose the sample that was chosen with S"
    )


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
        with shown() as progress:
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
            said = f"{counted(len(safe), 'build')} saved so far; run the same command again to go on"
            print(f"rope-compat: {said}", file=sys.stderr)
        raise
    _warn(outcome.problems)
    missing = arguments.dry_run and bool(outcome.missing)
    if arguments.json:
        show_json(
            {
                "catalog": str(catalog),
                "dry_run": arguments.dry_run,
                "missing": list(outcome.missing),
                "added": outcome.added,
                "dropped": outcome.dropped,
                "builds": list(outcome.builds),
                "problems": [problem._asdict() for problem in outcome.problems],
            }
        )
    else:
        rows = (Row("file", str(catalog)), Row("builds", _extent(outcome.builds)))
        tone: Tone = "warn" if outcome.problems or missing else "good"
        headline = _headline(outcome, dry_run=arguments.dry_run)
        show(Page(f"{headline}.", (Section("The catalog:", rows),), tone))
    return 2 if outcome.problems else int(missing)


def _warn(problems: Sequence[Problem]) -> None:
    for problem in problems:
        # Reasons name their file already, unless they come from the system.
        reason = problem.reason if problem.source in problem.reason else f"{problem.source}: {problem.reason}"
        print(f"rope-compat: error: {reason}", file=sys.stderr)


def _headline(outcome: Outcome, *, dry_run: bool) -> str:
    changes = {"Added": outcome.added, "dropped": outcome.dropped}
    said = "; ".join(f"{word} {_some(builds)}" for word, builds in changes.items() if builds) or "Up to date"
    if dry_run:
        count = len(outcome.missing)
        said = f"{count} missing: {_some(outcome.missing)}" if count else "Nothing is missing"
    return f"{said}; {len(outcome.problems)} could not be used" if outcome.problems else said


def _extent(builds: Sequence[str]) -> str:
    return f"{len(builds)}, from {builds[0]} to {builds[-1]}" if builds else "none"


def _some(builds: Sequence[str]) -> str:
    return ", ".join(builds) if len(builds) <= _SHOWN else _extent(builds)


def _verify(arguments: argparse.Namespace, catalog: Path) -> int:
    with shown() as progress:
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
        show_json(
            {
                "catalog": str(catalog),
                "ok": not verdict.differences and not verdict.problems,
                "seed": verdict.seed,
                "checked": verdict.checked,
                "unchecked": verdict.unchecked,
                "differences": [difference._asdict() for difference in verdict.differences],
                "problems": [problem._asdict() for problem in verdict.problems],
            }
        )
    else:
        show(_verify_page(catalog, verdict))
    return 2 if verdict.problems else int(bool(verdict.differences))


def _verify_page(catalog: Path, verdict: Verdict) -> Page:
    found = {
        release: list(group)
        for release, group in groupby(verdict.differences, key=lambda difference: difference.release)
    }
    headline = f"The catalog says of {counted(len(verdict.checked), 'build')} what the source says"
    if found:
        number = counted(len(verdict.differences), "difference")
        headline = f"{number} in {len(found)} of {len(verdict.checked)} builds"
    if verdict.problems:
        headline += f"; {len(verdict.problems)} could not be read"
    rows = [Row("file", str(catalog)), Row("checked", _some(verdict.checked))]
    rows += [Row("unchecked", _some(verdict.unchecked))] if verdict.unchecked else []
    rows += [Row("sample", f"--seed {verdict.seed} chooses it again")] if verdict.seed is not None else []
    sections = [Section("The catalog:", tuple(rows))]
    for release, differences in found.items():
        items = [
            Item(f"{each.kind} {each.what}", "bad", (f"catalog: {each.catalog}", f"source:  {each.source}"))
            for each in differences[:_SHOWN]
        ]
        if len(differences) > _SHOWN:
            items.append(Item(f"and {len(differences) - _SHOWN} more; --json has all", "bad"))
        sections.append(Section(f"{release}:", tuple(items)))
    return Page(f"{headline}.", tuple(sections), "bad" if found or verdict.problems else "good")


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
    about = (
        Row("file", str(catalog)),
        Row("format", str(FORMAT)),
        Row("releases", _extent(opened.releases)),
        Row("other builds", ", ".join(development) or "none"),
        Row("targets", "; ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))),
        Row("names", f"{count:,} in {len(names):,} modules"),
    )
    parts = tuple(
        Row(name, f"{size:,} bytes") for name, size in [*sizes.items(), ("file", len(container.data))]
    )
    headline = f"{kinds.total():,} targets in {len(opened.builds)} builds; newest release {newest or 'none'}."
    show(Page(headline, (Section("The catalog:", about), Section("Its sections:", parts))))
    return 0


#: What runs, its summary, and what its exit status means.
_COMMANDS = {
    "update": (
        _update,
        "add releases that are not in the catalog, from the package index or a directory",
        "exit status: 0 the catalog has everything, 1 with --dry-run when releases are missing, 2 "
        "could not (the reason is on standard error)",
    ),
    "verify": (
        _verify,
        "read releases once more, and compare them with what the catalog says",
        "exit status: 0 equal, 1 differences, 2 could not (the reason is on standard error)",
    ),
    "show": (
        _show,
        "what the catalog has: builds, targets, names, sizes",
        "exit status: 0, or 2 when the catalog cannot be read",
    ),
}
