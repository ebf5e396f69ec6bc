"""What changed between two releases: griffe's vocabulary, and the page that says it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rope_compat import catalog
from rope_compat._cli.main import main
from rope_compat._report import changes as pages
from rope_compat._report.page import page_text
from rope_compat.catalog.compare import KINDS, Change, Side, changes_between
from rope_compat.catalog.model import Definition

LLAMA = "transformers.models.llama.modeling_llama"
QWEN2_5_VL = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"


def side(version: str, **definitions: Definition) -> Side:
    entries = [(name.replace("__", "."), definition) for name, definition in definitions.items()]
    return Side(version, {"transformers.a": entries})


def compared(before: str, after: str, kind: str = "function") -> list[tuple[str, str]]:
    found = changes_between(
        side("1", f=Definition(kind, before, "b")), side("2", f=Definition(kind, after, "b"))
    )
    return [(change.kind, change.detail) for change in found]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("(q, k)", "(q, k)", []),
        ("(q, k)", "(q)", [("parameter removed", "k")]),
        ("(q)", "(q, k)", [("parameter added as required", "k")]),
        ("(q)", "(q, k=1)", [("parameter added", "k")]),
        (
            "(q, k)",
            "(k, q)",
            [("parameter moved", "k: place 2 to 1"), ("parameter moved", "q: place 1 to 2")],
        ),
        ("(q, k=1)", "(q, k)", [("parameter made required", "k")]),
        ("(q, k)", "(q, k=1)", [("parameter made optional", "k=1")]),
        ("(q, k=1)", "(q, k=2)", [("default changed", "k: 1 to 2")]),
        ("(q, k=1)", "(q, *, k=1)", [("parameter kind changed", "k: positional to keyword only")]),
        ("(q)", "(q, /)", [("parameter kind changed", "q: positional to positional only")]),
        ("(q)", "(q, **kwargs)", [("parameter added", "**kwargs")]),
        ("(q, *args)", "(q)", [("parameter removed", "*args")]),
        ("(q, *, k)", "(q, *, k=1)", [("parameter made optional", "k=1")]),
    ],
)
def test_parameters(before: str, after: str, expected: list[tuple[str, str]]) -> None:
    assert sorted(compared(before, after)) == sorted(expected)


def test_keys_of_mappings() -> None:
    assert compared("{'a', 'b'}", "{'b', 'c'}", "mapping") == [("keys removed", "'a'"), ("keys added", "'c'")]


def test_objects() -> None:
    function = Definition("function", "(q)", "b")
    both = [side("1", f=function), side("2", g=function)]
    assert [(c.target.name, c.kind) for c in changes_between(*both)] == [
        ("f", "object removed"),
        ("g", "object added"),
    ]
    changed = changes_between(side("1", f=function), side("2", f=function._replace(kind="class")))
    assert [c.kind for c in changed] == ["object kind changed"]
    body = changes_between(side("1", f=function), side("2", f=function._replace(body="c")))
    assert [c.kind for c in body] == ["body changed"]
    other = function._replace(decorators=("no_grad()",), condition="ok()")
    assert [(c.kind, c.detail) for c in changes_between(side("1", f=function), side("2", f=other))] == [
        ("decorators changed", "none to no_grad()"),
        ("condition changed", "none to ok()"),
    ]


def test_methods_that_go_with_their_class_are_not_told_apart() -> None:
    cls, method = Definition("class", "(dim)", "b"), Definition("method", "(self, x)", "b")
    gone = changes_between(side("1", C=cls, C__forward=method), side("2"))
    assert [(c.target.name, c.kind) for c in gone] == [("C", "object removed")]
    alone = changes_between(side("1", C=cls, C__forward=method), side("2", C=cls))
    assert [(c.target.name, c.kind) for c in alone] == [("C.forward", "object removed")]


def test_of_attention_only_what_concerns_rope_is_told() -> None:
    before = Definition("carrier", "(self, x, position_embeddings=None, layer_idx=1)")
    after = Definition("carrier", "(self, x, position_embeddings, other=1)")
    found = changes_between(side("1", A__forward=before), side("2", A__forward=after))
    assert [(c.kind, c.detail) for c in found] == [("parameter made required", "position_embeddings")]
    assert changes_between(side("1"), side("2", A__forward=after)) == []


def test_attention_classes_are_told_when_they_are_gone_and_not_when_they_stop_carrying() -> None:
    before = side(
        "1", A__forward=Definition("carrier", "(self, x)"), f=Definition("carrier", "(x, rotary_emb)")
    )
    assert changes_between(before, side("2")) == []
    gone = changes_between(before, Side("2", {}, lambda module, name: name == "f"))
    assert [(c.target.name, c.object_kind, c.kind) for c in gone] == [("A", "class", "object removed")]


def test_most_callers_first_among_changes_of_one_kind() -> None:
    old = side("1", f=Definition("function", "(q)", "b"), g=Definition("function", "(q)", "b"))
    found = changes_between(old, side("2"), calls={"transformers.a:g": 3, "transformers.a:f": 1})
    assert [(c.target.name, c.calls) for c in found] == [("g", 3), ("f", 1)]


def told(before: str, after: str, pattern: str) -> list[tuple[str, str, str]]:
    return [(str(c.target), c.kind, c.detail) for c in catalog.changes(before, after, pattern=pattern)]


def test_changes_that_are_known() -> None:
    function = f"{LLAMA}:apply_rotary_pos_emb"
    assert [each for each in told("4.57.6", "5.0.0", function) if each[1].startswith("parameter")] == [
        (function, "parameter removed", "position_ids"),
        (function, "parameter moved", "unsqueeze_dim: place 6 to 5"),
    ]
    flashatt = f"{QWEN2_5_VL}:apply_rotary_pos_emb_flashatt"
    assert told("4.49.0", "4.50.0", flashatt) == [(flashatt, "body changed", "")]
    assert told("4.52.4", "4.53.0", flashatt) == [(flashatt, "object removed", "")]
    table = "transformers.modeling_rope_utils:ROPE_INIT_FUNCTIONS"
    assert told("4.57.6", "5.0.0", table) == [(table, "keys removed", "'default'")]
    assert told("5.4.0", "5.5.0", table) == [(table, "keys added", "'proportional'")]
    assert told("4.47.1", "4.48.0", f"{LLAMA}:LlamaFlashAttention2") == [
        (f"{LLAMA}:LlamaFlashAttention2", "object removed", "")
    ]


@pytest.mark.parametrize("pair", [("4.47.1", "4.48.0"), ("4.57.6", "5.0.0"), ("5.18.0", "5.19.0")])
def test_a_release_equals_itself_and_the_way_back_is_the_way_there(pair: tuple[str, str]) -> None:
    before, after = pair
    assert catalog.changes(before, before) == []
    there, back = catalog.changes(before, after), catalog.changes(after, before)
    assert {c.target for c in there if c.kind == "object removed" and not c.is_carrier} == {
        c.target for c in back if c.kind == "object added" and not c.is_carrier
    }
    assert all(change.kind in KINDS for change in there)


@pytest.mark.parametrize(
    ("before", "after"), [("4.47.1", "4.48.0"), ("4.52.4", "4.53.0"), ("4.57.6", "5.0.0")]
)
def test_the_page_fits_and_shows_the_gravest_first(before: str, after: str) -> None:
    found = catalog.changes(before, after)
    text = page_text(pages.page(before, after, found))
    assert all(len(line) <= 100 for line in text.splitlines())
    assert len(text.splitlines()) < 400
    titles = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert titles[0].startswith(f"RoPE API from {before} to {after}: ")
    assert titles[1].startswith("Gone")


def test_targets_that_changed_alike_are_one_point_of_the_page() -> None:
    text = page_text(
        pages.page("4.57.6", "5.0.0", catalog.changes("4.57.6", "5.0.0", pattern="apply_rotary_pos_emb"))
    )
    assert text.count("position_ids removed") < 8
    assert "-> (q, k, cos, sin, unsqueeze_dim=1)" in text


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "4.49.0", "4.50.0", "--target", "apply_rotary_pos_emb_flashatt"]) == 1
    assert "Other code under the same signature" in capsys.readouterr().out
    assert main(["diff", "4.49", "4.49.0"]) == 0
    assert "no change" in capsys.readouterr().out
    assert main(["diff", "--json", "4.52.4", "4.53.0", "--target", "apply_rotary_pos_emb_flashatt"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["from"], document["to"]) == ("4.52.4", "4.53.0")
    assert document["changes"] == [
        {
            "target": f"{QWEN2_5_VL}:apply_rotary_pos_emb_flashatt",
            "object": "function",
            "kind": "object removed",
            "detail": "",
            "before": "(q, k, cos, sin)",
            "after": None,
            "calls": 1,
        }
    ]
    assert main(["diff", "4.57.6", "5.0.0", "--target", "LlamaConfig.*", "--fields"]) == 1
    assert "LlamaConfig.rope_theta" in capsys.readouterr().out


def test_a_version_that_another_stands_for_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "4.46.0", "4.49.0.dev0", "--target", "*modeling_llama:rotate_half"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "rope-compat: 4.46.0 is not in the catalog; 4.46.1 stands for it",
        "rope-compat: 4.49.0.dev0 is not in the catalog; 4.49.0 stands for it",
    ]
    assert "RoPE API from 4.46.1 to 4.49.0: no change" in said.out


def test_fields_are_compared_when_they_are_asked_for() -> None:
    found = catalog.changes("4.57.6", "5.0.0", pattern="LlamaConfig.*", kinds=["field"])
    assert {(c.target.name, c.kind) for c in found} >= {
        ("LlamaConfig.rope_theta", "object removed"),
        ("LlamaConfig.rope_scaling", "object removed"),
        ("LlamaConfig.rope_parameters", "object added"),
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["4.49.0", "no version"], "'no version' is neither a release that the catalog knows (4.28.0 to "),
        (["4.49.0", "."], "holds no transformers"),
        (["4.49.0", "99.0"], "99.0 is newer than "),
        (["4.49.0", "4.50.0", "--target", "rotary_pos"], "'rotary_pos' fits no target"),
        (["4.49.0"], "the following arguments are required: B"),
    ],
)
def test_bad_arguments(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["diff", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_what_is_installed_and_what_lies_at_a_path_can_be_compared(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, parameters in (("old", "q, k, position_ids"), ("new", "q, k")):
        package = tmp_path / name / "transformers"
        (package / "models").mkdir(parents=True)
        (package / "__init__.py").write_text(f'__version__ = "9.{len(parameters)}.0"\n')
        (package / "models" / "modeling_tiny.py").write_text(f"def apply_rotary_pos_emb({parameters}): ...\n")
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "new"))
    assert main(["diff", str(tmp_path / "old"), "installed"]) == 1
    assert "position_ids removed" in capsys.readouterr().out
    assert main(["diff", "installed", str(tmp_path / "new")]) == 0


def test_changes_are_of_a_shape() -> None:
    change = catalog.changes("4.49.0", "4.50.0")[0]
    assert isinstance(change, Change)
    assert change._fields == (
        "target",
        "object_kind",
        "kind",
        "detail",
        "before",
        "after",
        "calls",
        "is_carrier",
    )
