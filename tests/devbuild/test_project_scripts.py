"""The scripts that run the project's checks: where packages come from, results, documents."""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path
from typing import Any

import pytest
from support.lanes import FILES, LANES, lane_of, lanes_of

ROOT = Path(__file__).resolve().parents[2]


def load(path: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    # toxfile.py sets variables when tox reads it; here it must not.
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return runpy.run_path(str(ROOT / path), run_name="loaded")


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", {"UV_TORCH_BACKEND": "cpu"}),
        ({}, "darwin", {}),
        ({"UV_TORCH_BACKEND": "auto"}, "linux", {}),
        ({"UV_FIND_LINKS": "mine", "PIP_FIND_LINKS": "pips"}, "linux", {}),
        ({"PIP_FIND_LINKS": "one two"}, "linux", {"UV_FIND_LINKS": "one,two"}),
        ({"PIP_INDEX_URL": "https://index"}, "linux", {"UV_DEFAULT_INDEX": "https://index"}),
        ({"PIP_INDEX_URL": "https://index", "UV_INDEX_URL": "https://mine"}, "linux", {}),
        ({"PIP_CONSTRAINT": "c.txt"}, "darwin", {"UV_CONSTRAINT": "c.txt"}),
        ({"PIP_CERT": "ca.crt"}, "darwin", {"SSL_CERT_FILE": "ca.crt"}),
        ({"PIP_CERT": "ca.crt", "SSL_CERT_FILE": "mine.crt"}, "darwin", {}),
        ({"PIP_CONSTRAINT": "", "PIP_FIND_LINKS": "", "UV_FIND_LINKS": ""}, "darwin", {}),
    ],
)
def test_uv_is_told_what_pip_knows(
    environ: dict[str, str], platform: str, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uv_settings = load("toxfile.py", monkeypatch)["uv_settings"]
    assert uv_settings({"PIP_CONFIG_FILE": os.devnull, **environ}, platform) == expected


def test_pip_configuration_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nfind-links = one\n    two\n[install]\nconstraint = c.txt\n")
    pip_setting = load("toxfile.py", monkeypatch)["pip_setting"]
    environ = {"PIP_CONFIG_FILE": str(config)}
    assert pip_setting("find-links", environ).split() == ["one", "two"]
    assert pip_setting("constraint", environ) == "c.txt"
    assert pip_setting("constraint", {**environ, "PIP_CONSTRAINT": "d.txt"}) == "d.txt"


def test_unreadable_pip_configuration_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("no section\n")
    assert (
        load("toxfile.py", monkeypatch)["pip_setting"]("find-links", {"PIP_CONFIG_FILE": str(config)}) == ""
    )
    assert "cannot be read" in capsys.readouterr().err


def test_results_are_counted_and_a_missing_file_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, attributes in (
        ("good", 'tests="5" failures="0" errors="0" skipped="2" time="1.6"'),
        ("bad", 'tests="5" failures="1" errors="1" skipped="0" time="3"'),
        ("idle", 'tests="2" failures="0" errors="0" skipped="2" time="0"'),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "junit.xml").write_text(f"<testsuites><testsuite {attributes}/></testsuites>")
    main = load(".ci/results.py", monkeypatch)["main"]
    assert main([str(tmp_path), "good"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "| good | passed | 3 | 0 | 2 | 2 |"
    for name, last in (
        ("bad", "| bad | failed | 3 | 2 | 0 | 3 |"),
        ("idle", "| idle | failed | 0 | 0 | 2 | 0 |"),
        ("absent", "| absent | no result |  |  |  | 0 |"),
    ):
        assert main([str(tmp_path), "good", name]) == 1
        assert capsys.readouterr().out.splitlines()[-1] == last


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](other.md) [b](other.md#a-heading-2) [c](#top) [d](https://x.y/z)\n# Top\n", ""),
        ("`[a](gone.md)`\n```text\n[a](gone.md)\n```\n", ""),
        ("\n[a](gone.md)\n", ":2: no file gone.md"),
        ("[a]: gone.md\n", ":1: no file gone.md"),
        ("[a](other.md#elsewhere)\n", ":1: no heading for other.md#elsewhere"),
        ("```python\nx = 1\n```\n```python\n>>> y = 2\n2\n```\n", ""),
        ("text\n```python\nx = 1\ny =\n```\n", ":4: invalid syntax"),
    ],
)
def test_documents_are_checked(
    text: str,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "other.md").write_text("# `A` heading, 2\n")
    document = tmp_path / "document.md"
    document.write_text(text)
    assert load("docs/check_docs.py", monkeypatch)["main"]([str(document)]) == (1 if problem else 0)
    assert problem in capsys.readouterr().out


def test_a_test_that_no_environment_runs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, run, left in (("one", ["a", "b"], ["c", "d"]), ("two", ["c"], ["a", "d"])):
        (tmp_path / name / "log").mkdir(parents=True)
        text = json.dumps({"run": run, "not run": left})
        (tmp_path / name / "log" / "collected.json").write_text(text)
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    idle = load(".ci/matrix.py", monkeypatch)["tests_that_ran_nowhere"]
    assert idle(tmp_path, ["one", "two"]) == ["d"]
    assert idle(tmp_path, ["one"]) == ["c", "d"]


def test_lanes_name_files_that_are_there() -> None:
    assert [path for path in FILES if not (ROOT / "tests" / path).exists()] == []
    assert set(FILES.values()) <= set(LANES)
    assert lane_of("patching/test_new.py") == "once"
    assert lane_of("user/test_new.py") == "contract"
    assert lanes_of("tf4.37.2") == ("contract",)
    assert lanes_of("tfnewest") == ("contract", "generation", "once")
    assert lanes_of("tfany") == tuple(LANES)
    assert lanes_of("xt") == ("peers",)
