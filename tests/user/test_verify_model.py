"""`verify(model)`: every planted mistake is found and named, and nothing is said about healthy models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from support import custom
from support.custom_cases import CASES
from support.lanes import ONCE
from support.seeded_faults import PLANTED, SEEDS, Seed, planted
from support.verified_models import HERE, MODELS

import rope_compat
from rope_compat._cli.main import main
from rope_compat._verify.model.frequency_faults import advice_for

#: On every release each mistake in one model, and in the others where time is not scarce.
_FIRST = {seed.name: next(name for one, name in PLANTED if one is seed) for seed, _ in PLANTED}
EVERYWHERE = [(seed, name) for seed, name in PLANTED if _FIRST[seed.name] == name]
MORE = [(seed, name) for seed, name in PLANTED if _FIRST[seed.name] != name]
CUSTOM = [name for name, case in CASES.items() if Version(case.since) <= HERE]


def _title(value: Any) -> str:
    return value.name if isinstance(value, Seed) else str(value)


def _assert_named(seed: Seed, name: str) -> None:
    with planted(seed, name) as model:
        report = rope_compat.verify(model)
    assert {item.fault for item in report.wrong} == set(seed.faults), str(report)
    modules = dict(model.named_modules())
    for item in report.wrong:
        path = item.name.partition("[")[0]
        assert path in modules or path.rpartition(".")[0] in modules
        assert item.reason
        assert item.advice == advice_for(item.fault) != ""


@pytest.mark.parametrize(("seed", "name"), EVERYWHERE, ids=_title)
def test_a_planted_mistake_is_named(seed: Seed, name: str) -> None:
    _assert_named(seed, name)


@pytest.mark.lane(ONCE)
@pytest.mark.parametrize(("seed", "name"), MORE, ids=_title)
def test_a_planted_mistake_is_named_in_other_architectures(seed: Seed, name: str) -> None:
    _assert_named(seed, name)


def test_there_are_thirty_mistakes_and_eight_architectures() -> None:
    assert len({seed.name for seed, _ in PLANTED}) >= 30
    assert len({name.partition("_l")[0] for _, name in PLANTED}) >= 8
    assert len({seed.name for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_said_about_a_healthy_model(name: str) -> None:
    model = MODELS[name]()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = rope_compat.verify(model)
    assert report.ok, str(report)
    found = [item for item in report if item.kind != "known drift"]
    assert not any(item.fault for item in found), str(report)
    text = [item for item in found if "visual" not in item.name]
    assert {item.status for item in text} == {"ok"}, str(report)
    assert {item.kind for item in text} == {"rotary embedding", "attention"}
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", CUSTOM)
def test_custom_code_is_judged_rightly(name: str, tmp_path: Path) -> None:
    patch = rope_compat.patch()
    custom.write_code(CASES[name], tmp_path / name)
    model = custom.construct(CASES[name], tmp_path / name)
    report = rope_compat.verify(model)
    patch.undo()
    assert report.ok, str(report)
    attention = {item.status for item in report if item.kind == "attention"}
    # Its config has its rotary fields in a dictionary of its own: nothing to hold attention against.
    assert attention == {"skipped"} if name.startswith("intern1") else attention & {"ok", "note"}, str(report)
    # Its yarn has no attention factor, nor does its config declare one: told, and not called wrong.
    noted = {"attention-factor"} if name in ("late_stretched", "late_saved") else set()
    assert {item.fault for item in report if item.fault and item.kind != "known drift"} == noted


def test_custom_code_whose_frequencies_were_overwritten(tmp_path: Path) -> None:
    case = CASES["plain"]
    custom.write_code(case, tmp_path / "plain")
    model = custom.construct(case, tmp_path / "plain")
    for module in model.modules():
        if "inv_freq" in module._buffers:
            module.inv_freq.fill_(1e22)
    report = rope_compat.verify(model)
    assert {item.fault for item in report.wrong} == {"garbage"}
    rope_compat.repair(model)
    assert rope_compat.verify(model).ok


def test_the_error_is_told_in_radians_with_its_position() -> None:
    seed = next(seed for seed in SEEDS if seed.name == "all frequencies too large")
    with planted(seed, "llama") as model:
        wrong = rope_compat.verify(model).wrong[0]
    # The fastest pair turns by one radian a position, 1.02 here: most at the end of the context of 64.
    assert wrong.position == 63
    assert wrong.max_error == pytest.approx(0.02 * 63, rel=1e-4)
    assert wrong.name.endswith("inv_freq")


def test_a_model_in_training_stays_as_it_is() -> None:
    model = MODELS["llama"]().train()
    state = torch.get_rng_state()
    assert rope_compat.verify(model).ok
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_it_takes_less_than_two_seconds() -> None:
    model = MODELS["llama"]()
    rope_compat.verify(model)  # the first forward of some releases imports a compiler
    started = time.process_time()
    rope_compat.verify(model)
    assert time.process_time() - started < 2


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(rope_compat.ArgumentError, match="takes a loaded model, not dict"):
        rope_compat.verify({})  # type: ignore[arg-type]


def _directory(name: str, place: Path, **fields: Any) -> Path:
    model = MODELS[name]()
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(place)
    if fields:
        file = place / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
    return place


@pytest.mark.parametrize("name", ["llama", "gptj", "falcon"])
def test_a_directory_without_weights(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--model", str(_directory(name, tmp_path)), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"]
    assert {item["kind"] for item in report["items"]} == {"rotary embedding", "attention"}
    assert {item["status"] for item in report["items"]} == {"ok"}


def test_a_directory_with_code_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    custom.write_code(CASES["partial"], tmp_path / "partial")
    assert main(["verify", "--model", str(tmp_path / "partial")]) == 2
    assert "pass --trust-remote-code" in " ".join(capsys.readouterr().err.split())


@pytest.mark.lane(ONCE)
def test_a_directory_with_trusted_code(tmp_path: Path) -> None:
    custom.write_code(CASES["partial"], tmp_path / "partial")
    command = [sys.executable, "-m", "rope_compat", "verify", "--json", "--trust-remote-code"]
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path / "home"),
        "HF_MODULES_CACHE": str(tmp_path / "code"),
    }
    done = subprocess.run(
        [*command, "--model", str(tmp_path / "partial")],
        capture_output=True, text=True, check=False, env=environment, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    items = json.loads(done.stdout)["items"]
    assert {item["status"] for item in items} == {"ok"}
    assert {item["kind"] for item in items} == {"rotary embedding", "attention"}


def test_a_directory_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--model", str(tmp_path)]) == 2
    assert "has no config.json" in capsys.readouterr().err


def test_a_plot_is_about_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--plot", "errors.png"]) == 2
    assert "pass --model DIR too" in capsys.readouterr().err


@pytest.mark.only(find_spec("matplotlib") is None, reason="matplotlib is installed")
def test_a_plot_without_matplotlib(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--model", str(tmp_path), "--plot", "errors.png"]) == 2
    assert "pip install 'rope_compat[plot]'" in capsys.readouterr().err


@pytest.mark.only(find_spec("matplotlib") is not None, reason="matplotlib is not installed")
def test_a_plot(tmp_path: Path) -> None:
    picture = tmp_path / "errors.svg"
    assert main(["verify", "--model", str(_directory("llama", tmp_path)), "--plot", str(picture)]) == 0
    assert "phase error" in picture.read_text() or picture.stat().st_size > 5000
