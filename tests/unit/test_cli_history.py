"""rope-compat history, on the catalog that is shipped."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from io import StringIO
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

import rope_compat
from rope_compat import catalog
from rope_compat._cli import history
from rope_compat.catalog.store import VARIABLE
from rope_compat.catalog.store import catalog as stored
from rope_compat.errors import ArgumentError

MODULE = "transformers.models.llama.modeling_llama"
LLAMA = f"{MODULE}:apply_rotary_pos_emb"
ROPE_FUNCTIONS = "transformers.modeling_rope_utils:ROPE_INIT_FUNCTIONS"
SCALING = [f"{MODULE}:Llama{each}ScalingRotaryEmbedding" for each in ("DynamicNTK", "Linear")]
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")

Ask = Callable[..., str]


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    assert VARIABLE not in os.environ, "these tests are of the catalog that is shipped"


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    history.configure(parser)
    return parser.parse_args(arguments)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """What the command prints."""

    def ask(*arguments: str) -> str:
        assert history.run(parse(*arguments)) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return ask


def test_json_of_one_target(ask: Ask) -> None:
    (found,) = json.loads(ask(LLAMA, "--json"))
    assert list(found) == ["target", "kind", "spans", "body_changed"]
    assert (found["target"], found["kind"]) == (LLAMA, "function")
    assert found["spans"][:2] == [
        {"first": "4.28.0", "last": "4.34.1", "signature": "(q, k, cos, sin, position_ids)"},
        {"first": "4.35.0", "last": "4.37.2", "signature": "(q, k, cos, sin, position_ids, unsqueeze_dim=1)"},
    ]
    # 5.15.0 changed a decorator, 4.35.0 the signature too: neither is a change of nothing but the body.
    assert found["body_changed"] == ["4.29.0"]


def test_json_of_all_targets_is_what_the_catalog_says(ask: Ask) -> None:
    document = json.loads(ask("*", "--json"))
    targets = catalog.targets("*")
    assert [each["target"] for each in document] == [str(target) for target in targets]
    assert len(document) > 1900
    for target, found in zip(targets, document, strict=True):
        assert found["spans"] == [span._asdict() for span in catalog.spans(*target)]
        assert found["body_changed"] == body_changes(target)
    assert sum(len(found["body_changed"]) for found in document) > 1000


def body_changes(target: catalog.Target) -> list[str]:
    order = stored().order
    known = catalog.generations(*target)
    return [
        after.first
        for before, after in pairwise(known)
        if before.signature == after.signature
        and before.body != after.body
        and order[before.last] + 1 == order[after.first]
    ]


def test_json_always_has_all_releases(ask: Ask) -> None:
    assert ask(LLAMA, "--json", "--from", "5.0") == ask(LLAMA, "--format", "json")


@pytest.mark.parametrize(
    ("pattern", "kinds", "expected"),
    [
        ("LlamaRotaryEmbedding.forward", [], [f"{MODULE}:LlamaRotaryEmbedding.forward"]),
        (f"{MODULE}:Llama*ScalingRotaryEmbedding", [], SCALING),
        ("transformers.modeling_rope_utils:ROPE_I*", ["--kind", "mapping"], [ROPE_FUNCTIONS]),
        # No function, class or method: the field.
        (
            "LlamaConfig.rope_theta",
            [],
            ["transformers.models.llama.configuration_llama:LlamaConfig.rope_theta"],
        ),
    ],
)
def test_what_a_pattern_finds(ask: Ask, pattern: str, kinds: list[str], expected: list[str]) -> None:
    document = json.loads(ask(pattern, *kinds, "--json"))
    assert [each["target"] for each in document] == expected


def test_reexports_say_where_they_lead(ask: Ask) -> None:
    document = json.loads(ask("dynamic_rope_update", "--kind", "reexport", "--json"))
    leads = {span["signature"] for each in document for span in each["spans"]}
    assert {each["kind"] for each in document} == {"reexport"}
    assert leads == {"transformers.modeling_rope_utils:dynamic_rope_update"}
    said = f"{len(document)} more modules only re-exported it; --kind reexport shows where from."
    assert said in " ".join(ask("dynamic_rope_update").split())


def test_any_importable_name(ask: Ask) -> None:
    (found,) = json.loads(ask(f"{MODULE}:flash_attn_func", "--json"))
    assert found == {
        "target": f"{MODULE}:flash_attn_func",
        "kind": "import",
        "spans": [
            {
                "first": "4.34.0",
                "last": "4.34.1",
                "signature": None,
                "condition": "is_flash_attn_available()",
            },
            {
                "first": "4.35.0",
                "last": "4.42.4",
                "signature": None,
                "condition": "is_flash_attn_2_available()",
            },
        ],
        "body_changed": [],
    }
    text = ask(f"{MODULE}:flash_attn_func")
    assert "import, only if is_flash_attn_2_available()" in text
    assert text.endswith("Gone from 4.43.0 on (last in 4.42.4).\n")


def test_a_bare_name_is_looked_for_in_every_module(ask: Ask) -> None:
    targets = [each["target"] for each in json.loads(ask("flash_attn_func", "--json"))]
    assert targets == [f"{module}:flash_attn_func" for module in stored().modules_with("flash_attn_func")]
    some = json.loads(ask("*.modeling_m*:flash_attn_func", "--json"))
    assert 0 < len(some) < len(targets)
    assert "40 modules" in ask("flash_attn_func")


def test_a_module_is_a_name_too(ask: Ask) -> None:
    (found,) = json.loads(ask("transformers.utils.import_utils", "--json"))
    assert (found["target"], found["kind"]) == ("transformers.utils.import_utils", "module")
    assert "condition" not in found["spans"][0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["apply_rotary_pos_em"],
            r"nothing fits 'apply_rotary_pos_em' in .* close to it: apply_rotary_pos_emb,",
        ),
        ([f"{MODULE}:rotate_hal"], "close to it: rotate_half$"),
        (["transformers.models.lama.modeling_llama:rotate_half"], f"close to it: {MODULE}:rotate_half,"),
        (["LlamaRotaryEmbeding.forward"], "close to it: LlamaRotaryEmbedding.forward,"),
        (["qqqqqqqq"], r"try \*PART\*"),
        (
            ["rotate_half", "--kind", "class"],
            "no class fits 'rotate_half'.* leave out --kind: it fits a function",
        ),
        (["rotate_half", "--from", "5.1", "--to", "5.0"], "--from 5.1 --to 5.0 leaves none of the releases"),
        (["rotate_half", "--to", "soon"], "--to 'soon' is not a version"),
        (["rotate_half", "--json", "--format", "svg"], "--json and --format svg contradict each other"),
        (["rotate_half", "-o", "/no/such/directory/file"], "cannot write /no/such/directory/file: No such"),
    ],
)
def test_what_cannot_be_answered(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ArgumentError, match=said):
        history.run(parse(*arguments))
    assert capsys.readouterr().out == ""


def test_text_of_one_target(ask: Ask) -> None:
    text = ask(LLAMA)
    assert text.startswith(f"{LLAMA}\nfunction, transformers 4.28.0 - ")
    assert "\n   AAAAAAABBBCCCCCCCCCCCCCCCCCCCCDDD" in text
    assert "\nA  4.28.0 - 4.34.1\n   (q, k, cos, sin, position_ids)\n   4.29.0: body changed\n" in text
    assert "\n   adds unsqueeze_dim=1\n" in text
    assert "\n   position_ids becomes position_ids=None\n" in text
    assert "\n   5.15.0: decorated with use_kernel_forward_from_hub('rotary_pos_emb')\n" in text
    assert text.endswith(f"\nThere in {catalog.newest_known()}, the newest release.\n")


def test_text_says_what_is_gone_and_what_was_not_there(ask: Ask) -> None:
    text = ask("LlamaLinearScalingRotaryEmbedding")
    assert text.endswith("Gone from 4.48.0 on (last in 4.47.1).\n")
    later = ask("LlamaLinearScalingRotaryEmbedding", "--from", "5")
    assert "not there in transformers 5.0.0 - " in later.replace("\n", " ")
    assert later.endswith("Gone from 4.48.0 on (last in 4.47.1).\n")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl:apply_rotary_pos_emb_flashatt",
            "In 4.52.4, transformers' own code calls it with 4 positional arguments and unpacks 2 results "
            "(1 place).",
        ),
        (
            "LlamaLinearScalingRotaryEmbedding.forward",
            "In 4.42.4, transformers' own code calls it with 2 positional arguments and unpacks 2 results "
            "(1 place).",
        ),
        ("LlamaRotaryEmbedding.compute_default_rope_parameters", ""),
    ],
)
def test_text_says_how_transformers_itself_calls_a_target(ask: Ask, target: str, said: str) -> None:
    text = ask(target).replace("\n", " ")
    assert said in text
    assert said or "own code" not in text


def test_attention_is_found_by_its_methods_and_its_name(ask: Ask) -> None:
    forward = ask("LlamaAttention.forward")
    assert "carrier, transformers" in forward
    assert "position_embeddings" in forward
    document = json.loads(ask("LlamaFlashAttention2", "--json"))
    (defined,) = [each for each in document if each["kind"] == "class"]
    assert defined["target"] == "transformers.models.llama.modeling_llama:LlamaFlashAttention2"
    assert [(span["first"], span["last"]) for span in defined["spans"]] == [("4.34.0", "4.47.1")]


def test_from_and_to_take_whole_minor_releases(ask: Ask) -> None:
    text = ask(f"{MODULE}:LlamaRotaryEmbedding", "--from", "4.40", "--to", "4.45")
    assert "class, transformers 4.40.0 - 4.45.2\n" in text
    assert "A  4.40.0 - 4.42.4\n" in text
    assert "4.48.0" not in text


def test_modules_with_the_same_changes_share_a_block(ask: Ask) -> None:
    text = ask("apply_rotary_pos_emb")
    sizes = [int(each) for each in re.findall(r"^(\d+) modules?, since", text, re.MULTILINE)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 80
    total = len(catalog.targets("apply_rotary_pos_emb"))
    rest = re.search(r"and (\d+) modules? more with", text)
    assert sum(sizes) + (int(rest[1]) if rest else 0) == total
    # qwen2's block has those that had its three signatures from and to the same releases.
    (block,) = (each for each in text.split("\n\n") if " qwen2," in each)
    assert block.startswith("6 modules, since 4.36.0 at the earliest, 4.40.0 at the latest\n")
    assert "in falcon, phi, qwen2, qwen2_moe, stablelm, starcoder2" in block
    # From 4.36 on some of them, from 4.40 on all.
    assert re.search(r"^   \.{8}([a-z])\1{3}([A-Z])\2{4}", block, re.MULTILINE)


def test_long_lists_of_modules_are_cut_and_counted(ask: Ask) -> None:
    block = ask("apply_rotary_pos_emb").split("\n\n")[1]
    named = re.search(r"   in (.*),\n +and (\d+) more; --json lists all$", block, re.DOTALL)
    assert named is not None
    assert len(re.split(r",\s+", named[1])) + int(named[2]) == int(block.partition(" ")[0])


@pytest.mark.parametrize("columns", [20, 40, 80, 100])
@pytest.mark.parametrize("pattern", ["LlamaRotaryEmbedding", "apply_rotary_pos_emb", "FalconH1*", "torch"])
def test_no_line_is_wider_than_the_terminal(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, columns: int, pattern: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    widths = [len(line) for line in ask(pattern).splitlines()]
    assert max(widths) <= columns
    assert max(widths) > columns // 2


class Terminal(StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Ask:
    def on_terminal(*arguments: str) -> str:
        stream = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            patch.setenv("TERM", "xterm-256color")
            history.run(parse(*arguments))
        return stream.getvalue()

    return on_terminal


def test_without_rich_a_terminal_gets_the_plain_page(
    on_terminal: Ask, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert on_terminal(LLAMA) == ask(LLAMA)


# Not collected where rich, which is an extra, is not installed: there is nothing to test then.
if find_spec("rich") is not None:

    def test_rich_adds_colours_and_nothing_else(on_terminal: Ask, ask: Ask) -> None:
        coloured = on_terminal("apply_rotary_pos_emb")
        assert "48;" in coloured
        assert ESCAPES.sub("", coloured) == ask("apply_rotary_pos_emb")

    def test_no_color_is_respected(on_terminal: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        text = on_terminal(LLAMA)
        assert "AAAA" in text
        assert not re.search(r"\x1b\[[0-9;]*[349][0-8]", text)


@pytest.mark.parametrize("form", ["text", "json", "svg", "html"])
def test_output_goes_to_a_file(ask: Ask, tmp_path: Path, form: str) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    assert ask(LLAMA, "--format", form, "--output", str(path)) == ""
    assert path.read_text(encoding="utf-8") == ask(LLAMA, "--format", form)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_what_was_there(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    path.write_text("old")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("rope_compat._cli.history.os.replace", refuse)
    with pytest.raises(ArgumentError, match="Permission denied"):
        ask(LLAMA, "-o", str(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(ask: Ask, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    try:
        link.symlink_to(target)
    except OSError:  # Windows lets only some users
        return
    ask(LLAMA, "--json", "-o", str(link))
    assert link.is_symlink()
    assert json.loads(target.read_text())


def test_svg_and_html_are_whole_documents(ask: Ask) -> None:
    ElementTree.fromstring(ask(LLAMA, "--format", "svg"))
    page = ask(LLAMA, "--format", "html")
    assert page.startswith("<!DOCTYPE html>\n")
    assert "(q, k, cos, sin, position_ids=None, unsqueeze_dim=1)</code>" in page


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import argparse, sys\nfrom rope_compat._cli import history\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--json', action='store_true')\nhistory.configure(parser)\n"
        "history.run(parser.parse_args(['apply_rotary_pos_emb']))\n"
        "heavy = {'torch', 'transformers', 'rich', 'difflib', 'tempfile'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    home = str(Path(rope_compat.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": home},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
