"""Write docs/api-history.md and its pictures from the catalog: ``python docs/make_api_history.py [--check]``.

With ``--check`` nothing is written, and the exit status is 1 if what is there differs.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import pairwise
from pathlib import Path

from rope_compat import catalog
from rope_compat._cli.main import main as rope_compat
from rope_compat.catalog.compare import BREAKING, Change, compare, side_at
from rope_compat.catalog.store import catalog as opened

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "api-history.md"
PICTURES = DOCS / "pictures"
#: Pattern, file, and what it shows.
DRAWN = (
    (
        "transformers.models.llama.modeling_llama:apply_rotary_pos_emb",
        "llama-function.svg",
        "Llama's function",
    ),
    ("*.modeling_llama:LlamaRotaryEmbedding*", "llama-class.svg", "Llama's rotary class and its methods"),
    ("apply_rotary_pos_emb_vision", "vision.svg", "the vision function, in every model"),
    ("apply_multimodal_rotary_pos_emb", "multimodal.svg", "the multimodal function, in every model"),
)
INTRODUCTION = """\
# The RoPE API of transformers, release by release

Generated from the [catalog](catalog.md) by `python docs/make_api_history.py`; not written by hand.

## How to read a timeline

One column is a release, one row a target, or several targets with the same history. A colour is a signature:
where it changes, calls written for the release before may fail or mean something else. A small mark inside a
colour is a release in which the code changed under the same signature. Where nothing is drawn, the target is
not there, and importing it fails.

{pictures}

`rope-compat history TARGET` prints the timeline of any target, and `--format svg` or `html` draws it;
`rope-compat diff A B` lists what changed between two releases.
"""


def pages() -> Iterator[tuple[Path, str]]:
    """Every file, with what belongs into it."""
    pictures = []
    for pattern, name, title in DRAWN:
        yield PICTURES / name, drawn(pattern)
        pictures.append(f"![Timeline of {title}](pictures/{name})")
    parts = [INTRODUCTION.format(pictures="\n\n".join(pictures)), releases_table(), functions_table()]
    yield PAGE, "\n".join(parts)


def drawn(pattern: str) -> str:
    """The picture that the command draws."""
    with redirect_stdout(StringIO()) as printed:
        if rope_compat(["history", pattern, "--format", "svg"]) != 0:
            raise SystemExit(f"no picture of {pattern}")
    return printed.getvalue()


def releases_table() -> str:
    """The releases that changed something, with how much of it breaks callers."""
    known = opened()
    lines = [
        "## Releases at which it changed",
        "",
        "Targets of RoPE's own, without those of new models. *Breaking*: the target is gone, or a parameter",
        "is gone, has moved or has become required. *Code*: the code changed under the same signature.",
        "",
        "| release | breaking | code | other | what most of them are |",
        "| --- | --- | --- | --- | --- |",
    ]
    quiet = 0
    for before, after in pairwise(known.releases):
        found = compare(side_at(known, before), side_at(known, after))
        own = [change for change in found if not change.is_carrier and change.kind != "object added"]
        if not own:
            quiet += 1
            continue
        breaking = {change.target for change in own if change.kind in BREAKING}
        code = {change.target for change in own if change.kind == "body changed"} - breaking
        other = {change.target for change in own} - breaking - code
        lines.append(f"| {after} | {len(breaking)} | {len(code)} | {len(other)} | {gist(own)} |")
    lines += ["", f"The other {quiet} releases changed nothing.", ""]
    return "\n".join(lines)


def gist(found: Sequence[Change]) -> str:
    """What most of the changes are, those that break callers before others: names, and how many."""
    gravest = [change for change in found if change.kind in BREAKING] or list(found)
    counted: Counter[str] = Counter()
    for target, kind in {(change.target, change.object_kind) for change in gravest}:
        owner, _, last = target.name.rpartition(".")
        counted["classes" if kind == "class" else f"`{last}` of classes" if owner else f"`{last}`"] += 1
    most = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:3]
    return ", ".join(f"{name} ({count})" for name, count in most)


def functions_table() -> str:
    """Every function name, with its signatures and where they are in the newest release."""
    newest = catalog.newest_known()
    by_name: dict[str, dict[str, list[catalog.Span]]] = {}
    for module, name in catalog.targets(kinds=["function"]):
        if ".models." in module:
            for span in catalog.spans(module, name):
                by_name.setdefault(name, {}).setdefault(span.signature, []).append(span)
    order = {release: place for place, release in enumerate(catalog.builds())}
    lines = [
        "## Functions, and the signatures that they have had",
        "",
        f"Of all models together; *modules* are those that have it, in {newest} and ever.",
        "",
        "| function | signature | first | last | modules |",
        "| --- | --- | --- | --- | --- |",
    ]
    names = sorted(by_name, key=lambda name: (-sum(map(len, by_name[name].values())), name))
    for name in names:
        rows = sorted(by_name[name].items(), key=lambda item: min(order[span.first] for span in item[1]))
        for place, (signature, spans) in enumerate(rows):
            first = min((span.first for span in spans), key=order.__getitem__)
            last = max((span.last for span in spans), key=order.__getitem__)
            now = sum(span.last == newest for span in spans)
            shown = f"`{name}`" if place == 0 else ""
            lines.append(f"| {shown} | `{signature}` | {first} | {last} | {now} of {len(spans)} |")
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file differs")
    options = parser.parse_args(arguments)
    differing = []
    for path, text in pages():
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        differing.append(path.name)
        if not options.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    if differing:
        print(f"{'to be written anew' if options.check else 'written'}: {', '.join(differing)}")
    return 1 if differing and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
