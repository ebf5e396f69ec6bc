"""``rope-compat history``: how the API of one target, or of a family of them, changed over all releases."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from rope_compat._report import history as pages
from rope_compat._report.page import counted
from rope_compat._report.timeline import History, Timeline, of_name, of_target
from rope_compat.catalog.model import DEFAULT_KINDS, OTHER_KINDS, Target
from rope_compat.catalog.query import targets
from rope_compat.catalog.store import catalog
from rope_compat.errors import ArgumentError

__all__ = ["configure", "run"]


_SUGGESTIONS = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="module:qualname, qualname, its last part (apply_rotary_pos_emb), or a module; * and ? stand "
        "for anything. Where no RoPE target fits, any name that a module of transformers has",
    )
    parser.add_argument(
        "--kind",
        action="append",
        choices=(*DEFAULT_KINDS, *OTHER_KINDS),
        help=f"what to look for; may be repeated (default: {', '.join(DEFAULT_KINDS)}; "
        "if none fits, the others)",
    )
    parser.add_argument(
        "--format",
        choices=("text", "json", "svg", "html"),
        help="text (default), json (the same as --json), or a picture of the timeline, alone or in a page",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write to this file rather than to standard output"
    )
    parser.add_argument(
        "--from",
        dest="since",
        metavar="V",
        help="show releases from V on (4.40: from the first 4.40); JSON always has all releases",
    )
    parser.add_argument("--to", metavar="V", help="show releases up to V (4.40: up to the last 4.40)")


def run(arguments: argparse.Namespace) -> int:
    """Print, or write to a file, what was found; return 0.

    Raises:
        ArgumentError: nothing fits TARGET, ``--from`` and ``--to`` leave no release, formats contradict each
            other, or the file cannot be written.
    """
    form = arguments.format or ("json" if arguments.json else "text")
    if arguments.json and form != "json":
        raise ArgumentError(f"--json and --format {form} contradict each other; give one of them")
    first, last = _window(arguments.since, arguments.to)
    found, are_names = _find(arguments.target, arguments.kind)
    note = "" if are_names or arguments.kind else _left_out(arguments.target, found)
    if len(found) == 1 and not are_names:
        note = " ".join(filter(None, [_called(found[0]), note]))
    timeline = Timeline(arguments.target, tuple(found), catalog().builds, first, last, are_names, note)
    if form == "text" and arguments.output is None:
        pages.show(timeline)
    else:
        _write(_document(timeline, form), arguments.output)
    return 0


def _document(timeline: Timeline, form: str) -> str:
    if form == "json":
        import json

        return json.dumps(pages.to_dicts(timeline.found, timeline.builds), indent=2) + "\n"
    if form == "svg":
        from rope_compat._report.svg import picture

        return picture(timeline)
    if form == "html":
        from rope_compat._report.html import document

        return document(timeline)
    return pages.page_text(timeline)


def _find(pattern: str, kinds: Sequence[str] | None) -> tuple[list[History], bool]:
    """What fits, sorted, and whether it is but importable names. Raises `ArgumentError` where nothing is."""
    for wanted in [kinds] if kinds else [DEFAULT_KINDS, OTHER_KINDS]:
        found = targets(pattern, kinds=wanted)
        if found:
            return [of_target(each) for each in found], False
    names = [history for each in _names(pattern) if (history := of_name(each))] if not kinds else []
    if names:
        return names, True
    raise ArgumentError(_nothing(pattern, kinds))


def _left_out(pattern: str, found: Sequence[History]) -> str:
    """That other modules, which define nothing, have it too."""
    others = {each.module for each in targets(pattern, kinds=["reexport"])}
    others -= {each.target.module for each in found}
    if not others or found[0].kind in OTHER_KINDS:
        return ""
    return f"{counted(len(others), 'more module')} only re-exported it; --kind reexport shows where from."


def _called(found: History) -> str:
    """How transformers' own code called a target in the last release that had it; empty where it did not."""
    if not found.stretches:
        return ""
    build = catalog().builds[found.stretches[-1].last]
    shapes: Counter[str] = Counter()
    for caller in catalog().callers(found.target, build):
        verb, _, rest = caller.shape.partition(" ")
        if verb == "call":
            shapes[rest] += caller.places
    if not shapes:
        return ""
    told = [f"{_shape(shape)} ({counted(places, 'place')})" for shape, places in shapes.most_common()]
    return f"In {build}, transformers' own code calls it with {'; '.join(told)}."


def _shape(shape: str) -> str:
    """``4 unsqueeze_dim 2``: see `rope_compat.catalog.reading.calls`."""
    positional, keywords, result = shape.split(" ")
    parts = [f"{positional.replace('+', ' or more')} positional arguments"]
    if keywords != "-":
        parts.append(f"and {keywords.replace(',', ', ')}")
    if result.isdecimal() and result != "1":
        parts.append(f"and unpacks {result} results")
    return " ".join(parts)


def _names(pattern: str) -> list[Target]:
    """Where to look for a name of the wide part of the catalog: any name, of any module."""
    module, colon, name = pattern.rpartition(":")
    if any(sign in name for sign in "*?["):
        return []
    if colon and not any(sign in module for sign in "*?["):
        return [Target(module, name)]
    found = [Target(each, name) for each in catalog().modules_with(name) if fnmatchcase(each, module or "*")]
    return found or ([Target(name, "")] if not colon else [])


def _nothing(pattern: str, kinds: Sequence[str] | None) -> str:
    """What was asked for, that there is no such thing, and what comes close."""
    releases = catalog().releases
    text = f"nothing fits {pattern!r} in transformers {releases[0]} to {releases[-1]}"
    if kinds:
        text = f"no {' or '.join(kinds)} fits {pattern!r} in transformers {releases[0]} to {releases[-1]}"
        others = {kind for kind in (*DEFAULT_KINDS, *OTHER_KINDS) if targets(pattern, kinds=[kind])}
        if others:
            return f"{text}; leave out --kind: it fits a {' and a '.join(sorted(others))}"
    close = _close(pattern)
    return f"{text}; close to it: {', '.join(close)}" if close else f"{text}; try *PART*"


def _close(pattern: str) -> list[str]:
    import difflib

    module, _, name = pattern.rpartition(":")
    every = [target for target, _ in catalog().targets()]
    modules = {target.module for target in every}

    def matches(word: str, words: Iterable[str]) -> list[str]:
        return difflib.get_close_matches(word, sorted(set(words)), _SUGGESTIONS)

    if module in modules:
        return matches(name, (target.name for target in every if target.module == module))
    if module:
        return [f"{each}:{name}" for each in matches(module, modules)]
    if name.startswith("transformers."):
        return matches(name, modules)
    if "." in name:
        return matches(name, (target.name for target in every))
    return matches(name, (target.name.rpartition(".")[2] for target in every))


def _window(since: str | None, to: str | None) -> tuple[int, int]:
    """The columns from the first release that ``--from`` admits to the last that ``--to`` admits."""
    builds = catalog().builds
    if since is None and to is None:
        return 0, len(builds) - 1
    from packaging.version import Version

    numbers = [Version(build).release for build in builds]
    low, high = _release("--from", since), _release("--to", to)
    kept = [
        column
        for column, number in enumerate(numbers)
        if (low is None or number[: len(low)] >= low) and (high is None or number[: len(high)] <= high)
    ]
    if not kept:
        asked = " ".join(f"{option} {value}" for option, value in (("--from", since), ("--to", to)) if value)
        raise ArgumentError(
            f"{asked} leaves none of the releases that are known, {builds[0]} to {builds[-1]}"
        )
    return kept[0], kept[-1]


def _release(option: str, value: str | None) -> tuple[int, ...] | None:
    from packaging.version import InvalidVersion, Version

    if value is None:
        return None
    try:
        return Version(value).release
    except InvalidVersion as error:
        raise ArgumentError(f"{option} {value!r} is not a version, such as 4.37 or 4.37.2") from error


def _write(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    path = os.path.realpath(output)  # a link stays a link
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "w", encoding="utf-8") as stream:  # /dev/stdout, a pipe
                stream.write(text)
        else:
            _replace(path, text)
    except OSError as error:
        raise ArgumentError(f"cannot write {output}: {error.strerror or error}") from error


def _replace(path: str, text: str) -> None:
    """Write the whole file or leave what was there."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        # Not by tempfile: the file should have the permissions that any new file has.
        with open(temporary, "x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
