"""rope-compat plan, on what is installed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

import rope_compat
from rope_compat._cli.installed_functions import Imported
from rope_compat._cli.main import main
from rope_compat._plan import Step, page, unexpected
from rope_compat._report.page import page_text

LLAMA = "transformers.models.llama.modeling_llama:apply_rotary_pos_emb"


@pytest.fixture(autouse=True)
def _default_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROPE_COMPAT", raising=False)
    monkeypatch.delenv("ROPE_COMPAT_WRITTEN_FOR", raising=False)


def test_json_is_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--json", "--written-for", "4.37", "--targets", "transformers"]) == 0
    document = json.loads(capsys.readouterr().out)
    expected = rope_compat.plan(written_for="4.37", targets=["transformers"])
    assert document == json.loads(json.dumps(expected.to_dict()))
    assert document["options"] == {"written_for": "4.37", "targets": "transformers"}
    assert {"target", "action", "state", "shim", "detail", "surprising"} == set(document["steps"][0])


def test_every_argument_of_the_plan_that_changes_calls_or_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--written-for", "4.37", "--numbers", "written_for", "--strict"]
    assert main(["plan", "--json", *asked]) == 0
    expected = rope_compat.plan(written_for="4.37", numbers="written_for", strict=True)
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(expected.to_dict()))
    assert dict(expected.options)["strict"] == "on"
    assert main(["plan", "--numbers", "written_for"]) == 2
    assert "pass written_for as well" in capsys.readouterr().err


def test_text_gives_each_shim_its_reason_on_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan"]) == 0
    text = capsys.readouterr().out
    plan = rope_compat.plan()
    assert text == f"{plan}\n" == f"{page_text(page(plan))}\n"
    assert text.startswith(f"Plan {plan.digest} for transformers {plan.transformers}")
    assert max(map(len, text.splitlines())) <= 100
    flat = " ".join(text.split())
    for shim in plan.shims:
        assert shim.name in text
        if any(step.shim == shim.name for step in plan.steps):
            assert shim.why in flat


def test_switched_off(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ROPE_COMPAT", "off")
    assert main(["plan"]) == 0
    assert capsys.readouterr().out == "rope_compat does nothing here: ROPE_COMPAT=off.\n"
    assert main(["plan", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["steps"], document["shims"]) == ([], [])


def _with_steps(*steps: Step) -> rope_compat.Plan:
    return replace(rope_compat.plan(), steps=steps)


SKIPPED = Step(
    LLAMA, "adapt", "skip", "apply-rotary-pos-emb", "its signature (a, b) is not one that it has had", True
)
REMOTE = Step(
    "transformers_modules.x:apply_rotary_pos_emb", "adapt", "skip", "remote-apply-rotary-pos-emb", "(a)"
)


def test_a_target_left_alone_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = _with_steps(SKIPPED, REMOTE)
    monkeypatch.setattr("rope_compat._api.plan", lambda **_: plan)
    assert main(["plan"]) == 1
    text = capsys.readouterr().out
    assert "1 left alone" in " ".join(text.split("\n\n")[0].split())
    assert f"! skip: {LLAMA}: {SKIPPED.detail}" in " ".join(text.split())
    assert main(["plan", "--json"]) == 1


def test_remote_code_may_hold_anything() -> None:
    plan = _with_steps(REMOTE)
    assert unexpected(plan) == []
    assert "left alone" not in page_text(page(plan)).partition("\n")[0]


def test_deep_plans_with_the_live_function(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--deep", "--json", "--targets", LLAMA]) == 0
    captured = capsys.readouterr()
    steps = [step for step in json.loads(captured.out)["steps"] if step["target"] == LLAMA]
    assert [step["state"] for step in steps] == ["now"]
    assert steps[0]["detail"].startswith("native form (q, k, cos, sin")
    assert captured.err.startswith("rope-compat: importing 1 module of transformers ")


def test_deep_names_what_it_could_not_import(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "rope_compat._cli.plan.installed_functions.import_modules",
        lambda names, about: Imported({"m": sys}, (("transformers.models.x", "ImportError: no y"),)),
    )
    assert main(["plan", "--deep"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Plan ")
    assert "cannot be imported: transformers.models.x: ImportError: no y" in captured.err


def test_deep_without_transformers_cannot_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rope_compat.detect()
    absent = replace(found.transformers, present=False, location=None)
    monkeypatch.setattr("rope_compat._cli.plan.detect", lambda: replace(found, transformers=absent))
    assert main(["plan", "--deep"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("rope-compat: error: --deep cannot import transformers: ")
