"""Check the Markdown documents: links between files lead somewhere, Python blocks compile.

``python docs/check_docs.py [FILE ...]``; all of the repository's documents if none is named. Blocks that are
not meant to compile are marked as something else than ``python``: ``text``, ``console``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(
    r"^[ \t]*(```+|~~~+)[ \t]*([\w+-]*)[^\n]*\n(.*?)^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL
)
CODE_SPAN = re.compile(r"(`+).+?\1", re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
DEFINITION = re.compile(r"^\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*\s*$", re.MULTILINE)
REMOTE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def documents() -> list[Path]:
    """Return the documents that git knows or would add; all of them where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    try:
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        names = result.stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        names = [
            str(path.relative_to(ROOT))
            for path in ROOT.rglob("*.md")
            if not any(part.startswith(".") or part == "venv" for part in path.relative_to(ROOT).parts)
        ]
    return sorted(ROOT / name for name in names if (ROOT / name).is_file())


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to a document's headings."""
    found: set[str] = set()
    for title in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
        base = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 1
        anchor = base
        while anchor in found:
            anchor, number = f"{base}-{number}", number + 1
        found.add(anchor)
    return found


def line_of(text: str, offset: int) -> int:
    """Return the line, from 1, of an offset."""
    return text.count("\n", 0, offset) + 1


def blank(match: re.Match[str]) -> str:
    """Return as many lines as were matched, so that line numbers stay."""
    return "\n" * match.group().count("\n")


def check_links(path: Path, text: str) -> Iterator[str]:
    """Yield what is wrong with a document's links to files and headings."""
    prose = CODE_SPAN.sub(blank, FENCE.sub(blank, text))
    for match in [*LINK.finditer(prose), *DEFINITION.finditer(prose)]:
        link = match.group(1)
        if REMOTE.match(link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists():
            yield f"{line_of(prose, match.start())}: no file {link}"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text("utf-8")):
            yield f"{line_of(prose, match.start())}: no heading for {link}"


def check_code(text: str) -> Iterator[str]:
    """Yield what is wrong with a document's Python blocks; doctest prompts are taken off."""
    for match in FENCE.finditer(text):
        if match.group(2) not in {"py", "python"}:
            continue
        code = textwrap.dedent(match.group(3))
        if re.search(r"^>>> ", code, re.MULTILINE):
            lines = [line[4:] for line in code.splitlines() if line.startswith((">>> ", "... "))]
            code = "\n".join(lines)
        try:
            compile(code, "block", "exec", dont_inherit=True)
        except SyntaxError as error:
            line = line_of(text, match.start()) + (error.lineno or 0)
            yield f"{line}: {error.msg}; if this is no Python, mark the block as text"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the documents named, or all; print what is wrong."""
    names = sys.argv[1:] if arguments is None else list(arguments)
    paths = [Path(name).resolve() for name in names] or documents()
    if not paths:
        print("docs/check_docs.py: no documents found", file=sys.stderr)
        return 2
    found = 0
    for path in paths:
        text = path.read_text("utf-8")
        for problem in [*check_links(path, text), *check_code(text)]:
            print(f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}:{problem}")
            found += 1
    print(f"{len(paths)} documents, {found} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
