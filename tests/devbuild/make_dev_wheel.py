"""Make a development build of transformers out of a release: the wheel of 4.49.0, re-labelled 4.49.0.dev0.

Before 4.49.0 was released, some builds of transformers' main branch called 4.49.0.dev0 had a two-argument
`apply_rotary_pos_emb_flashatt(tensor, freqs)` in Qwen2.5-VL. No index carries them, so this script puts that
form back into the release's wheel, in its own words, and gives the wheel the version of such a build.
The text is edited at places that `ast` finds; where one is not as expected, `AnchorError` is raised.

    python make_dev_wheel.py DIRECTORY [--wheel transformers-4.49.0-py3-none-any.whl]
"""

from __future__ import annotations

import argparse
import ast
import base64
import csv
import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

RELEASE = "4.49.0"
BUILD = "4.49.0.dev0"
INIT = "transformers/__init__.py"
MODELING = "transformers/models/qwen2_5_vl/modeling_qwen2_5_vl.py"
RELEASE_INFO = f"transformers-{RELEASE}.dist-info"
BUILD_INFO = f"transformers-{BUILD}.dist-info"

FUNCTION = """\
def apply_rotary_pos_emb_flashatt(tensor: torch.Tensor, freqs: torch.Tensor) -> torch.Tensor:
    rotated = apply_rotary_emb(tensor.float(), freqs.cos(), freqs.sin())
    return rotated.type_as(tensor)
"""
CALLS = """\
        q = apply_rotary_pos_emb_flashatt(q.unsqueeze(0), rotary_pos_emb).squeeze(0)
        k = apply_rotary_pos_emb_flashatt(k.unsqueeze(0), rotary_pos_emb).squeeze(0)
"""


class AnchorError(ValueError):
    """The wheel's text is not that of transformers 4.49.0 at a place to be edited."""


Edit = tuple[int, int, str]
"""Offsets of the first character replaced and of the first kept, and the new text."""


class Source:
    """Python source whose parts `ast` finds and whose edits are applied together."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a place as `ast` counts it: lines from 1, columns in UTF-8 bytes."""
        start = self._starts[line - 1]
        return start + len(self.text[start : self._starts[line]].encode()[:column].decode())

    def lines(self, first: ast.stmt, last: ast.stmt, text: str) -> Edit:
        """Replace whole lines, from those of ``first`` to those of ``last``."""
        if first.end_lineno is None or last.end_lineno is None:
            raise AnchorError("statements without an end")
        return self._starts[first.lineno - 1], self._starts[last.end_lineno], text

    def expression(self, node: ast.expr, text: str) -> Edit:
        """Replace one expression."""
        if node.end_lineno is None or node.end_col_offset is None:
            raise AnchorError("an expression without an end")
        begin = self.offset(node.lineno, node.col_offset)
        return begin, self.offset(node.end_lineno, node.end_col_offset), text

    def edited(self, edits: Sequence[Edit]) -> str:
        """Return the text with all edits made; they must not overlap."""
        text = self.text
        end = len(text)
        for begin, stop, new in sorted(edits, reverse=True):
            if stop > end:
                raise AnchorError("two edits overlap")
            text = text[:begin] + new + text[stop:]
            end = begin
        return text


def one(found: Sequence[ast.AST], what: str) -> ast.AST:
    """Return the only element, or say how many there are."""
    if len(found) != 1:
        raise AnchorError(f"expected {what} exactly once, found it {len(found)} times: is this {RELEASE}?")
    return found[0]


def definition(body: Sequence[ast.stmt], kind: type[ast.stmt], name: str) -> ast.AST:
    """Return the function or class called ``name`` in ``body``."""
    return one([node for node in body if isinstance(node, kind) and getattr(node, "name", "") == name], name)


def method(source: Source, class_name: str, name: str) -> ast.FunctionDef:
    """Return a method of a top-level class."""
    owner = definition(source.tree.body, ast.ClassDef, class_name)
    assert isinstance(owner, ast.ClassDef)
    found = definition(owner.body, ast.FunctionDef, name)
    assert isinstance(found, ast.FunctionDef)
    return found


def function_edit(source: Source) -> Edit:
    """Replace the four-argument function by the two-argument one."""
    function = definition(source.tree.body, ast.FunctionDef, "apply_rotary_pos_emb_flashatt")
    assert isinstance(function, ast.FunctionDef)
    parameters = ast.unparse(function.args)
    expected = "q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor"
    if parameters != expected:
        raise AnchorError(f"apply_rotary_pos_emb_flashatt takes ({parameters}), expected ({expected})")
    return source.lines(function, function, FUNCTION)


def attention_edit(source: Source) -> Edit:
    """Let the attention class rotate by its angles, whatever ``position_embeddings`` is."""
    body = method(source, "Qwen2_5_VLVisionFlashAttention2", "forward").body
    texts = [ast.unparse(statement).partition("\n")[0] for statement in body]
    expected = [
        "if position_embeddings is None:",
        "q, k = apply_rotary_pos_emb_flashatt(q.unsqueeze(0), k.unsqueeze(0), cos, sin)",
        "q = q.squeeze(0)",
        "k = k.squeeze(0)",
    ]
    places = [place for place in range(len(texts)) if texts[place : place + 4] == expected]
    if len(places) != 1:
        raise AnchorError(f"Qwen2_5_VLVisionFlashAttention2.forward has no run of statements {expected}")
    return source.lines(body[places[0]], body[places[0] + 3], CALLS)


def model_edits(source: Source) -> list[Edit]:
    """Hand the angles on to the blocks, which in the release get cos and sin alone."""
    forward = method(source, "Qwen2_5_VisionTransformerPretrainedModel", "forward")
    calls = [node for node in ast.walk(forward) if isinstance(node, ast.Call)]
    direct = one([call for call in calls if ast.unparse(call.func) == "blk"], "a call of blk")
    saved = one(
        [call for call in calls if call.args and ast.unparse(call.args[0]) == "blk.__call__"],
        "a call of blk under gradient checkpointing",
    )
    assert isinstance(direct, ast.Call)
    assert isinstance(saved, ast.Call)
    if [keyword.arg for keyword in direct.keywords] != ["cu_seqlens", "position_embeddings"]:
        raise AnchorError(f"blk is called as {ast.unparse(direct)}")
    if len(saved.args) != 5 or ast.unparse(saved.args[3]) != "None":
        raise AnchorError(f"blk is checkpointed as {ast.unparse(saved)}")
    value = direct.keywords[0].value
    return [
        source.expression(value, f"{ast.unparse(value)}, rotary_pos_emb=rotary_pos_emb"),
        source.expression(saved.args[3], "rotary_pos_emb"),
    ]


def edit_modeling(text: str) -> str:
    """Return Qwen2.5-VL's module with the two-argument function and callers that fit it."""
    source = Source(text)
    edited = source.edited([function_edit(source), attention_edit(source), *model_edits(source)])
    ast.parse(edited)
    return edited


def replace_once(text: str, old: str, new: str) -> str:
    """Replace a line that must be there exactly once."""
    if text.count(old) != 1:
        raise AnchorError(f"expected {old!r} exactly once, found it {text.count(old)} times")
    return text.replace(old, new)


def edit_init(text: str) -> str:
    """Return the package's ``__init__`` with the build's version."""
    return replace_once(text, f'\n__version__ = "{RELEASE}"\n', f'\n__version__ = "{BUILD}"\n')


def edit_metadata(text: str) -> str:
    """Return METADATA with the build's version."""
    return replace_once(text, f"\nVersion: {RELEASE}\n", f"\nVersion: {BUILD}\n")


EDITS: Mapping[str, Callable[[str], str]] = {
    INIT: edit_init,
    MODELING: edit_modeling,
    f"{RELEASE_INFO}/METADATA": edit_metadata,
}


def record_row(name: str, content: bytes) -> tuple[str, str, str]:
    """Return a file's row in RECORD (PyPA specification "Recording installed projects")."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return name, f"sha256={digest}", str(len(content))


def make_wheel(release: Path, directory: Path) -> Path:
    """Write the development build of the wheel ``release`` into ``directory`` and return its path."""
    target = directory / f"transformers-{BUILD}-py3-none-any.whl"
    rows = []
    with zipfile.ZipFile(release) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        missing = sorted(EDITS.keys() - set(old.namelist()))
        if missing:
            raise AnchorError(f"{release.name} lacks {', '.join(missing)}: a wheel of {RELEASE} is needed")
        record = f"{BUILD_INFO}/RECORD"
        for info in old.infolist():
            name = info.filename.replace(f"{RELEASE_INFO}/", f"{BUILD_INFO}/", 1)
            if name == record:
                continue
            content = old.read(info)
            if info.filename in EDITS:
                content = EDITS[info.filename](content.decode()).encode()
            entry = zipfile.ZipInfo(name, info.date_time)
            entry.external_attr = info.external_attr
            new.writestr(entry, content, zipfile.ZIP_DEFLATED, 1)
            rows.append(record_row(name, content))
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows([*rows, (record, "", "")])
        new.writestr(record, lines.getvalue())
    return target


def download(directory: Path) -> Path:
    """Fetch the release's wheel with pip, so that the user's index settings hold."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--dest", str(directory), f"transformers=={RELEASE}"], check=True)
    return directory / f"transformers-{RELEASE}-py3-none-any.whl"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {RELEASE}; downloaded if not given")
    options = parser.parse_args(arguments)
    print(make_wheel(options.wheel or download(options.directory), options.directory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
