"""rope-compat doctor: verdicts in words, JSON that others read, and what it sees in odd installations."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from support.reading import functions_in

import rope_compat
from rope_compat import catalog
from rope_compat._cli import doctor
from rope_compat._cli import doctor_page as pages
from rope_compat._cli.doctor_page import Examination
from rope_compat._cli.installed_functions import Drift, Functions
from rope_compat._cli.main import main
from rope_compat._environment.model import DirectUrl, Environment, PackageInfo, Problem
from rope_compat._facts.function_names import NAMES
from rope_compat._plan import Plan, Step
from rope_compat._report.page import page_text

PACKAGE_HOME = str(Path(rope_compat.__file__).parents[1])
QWEN2_5_VL = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"
FLASHATT = f"{QWEN2_5_VL}:apply_rotary_pos_emb_flashatt"


@pytest.fixture(autouse=True)
def _default_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROPE_COMPAT", raising=False)
    monkeypatch.delenv("ROPE_COMPAT_WRITTEN_FOR", raising=False)


def environment(version: str = "4.49.0", verdict: Any = "supported", *problems: Problem) -> Environment:
    def absent(name: str) -> PackageInfo:
        return PackageInfo(name, present=False)

    return Environment(
        python="3.11.7",
        transformers=PackageInfo("transformers", True, version, "release", location="/site/transformers"),
        torch=PackageInfo("torch", True, "2.7.0", "release", build="cuda 12.6"),
        accelerate=absent("accelerate"),
        kernels=absent("kernels"),
        flash_attn=absent("flash-attn"),
        verdict=verdict,
        problems=problems,
    )


def plan(*steps: Step) -> Plan:
    return replace(rope_compat.plan(), steps=steps)


def text_of(found: Examination) -> str:
    text = page_text(pages.page(found))
    assert max(map(len, text.splitlines())) <= 100
    return text


WARNING = Problem("a", "warning", "transformers 4.49.0 forgets its weights", "pip install another")
NOTE = Problem("b", "note", "yarn ignores a key", "nothing to do")
FATAL = Problem("c", "fatal", "transformers is not installed", "pip install transformers")
DEVELOPMENT = Problem("development-build", "warning", "transformers 4.49.0.dev0 is a build", "be careful")
NEWER = Problem("newer-than-known", "warning", "transformers 9.0 is newer than 5.23.0", "upgrade")
DRIFT = Drift(FLASHATT, f"this says 4.49.0.dev0 but {FLASHATT} takes (tensor, freqs); 4.49.0 had (q, k)")
SKIP = Step(FLASHATT, "adapt", "skip", "apply-rotary-pos-emb-flashatt", "its signature (a) is unknown", True)


@pytest.mark.parametrize(
    ("found", "first", "worst"),
    [
        (environment(), "OK: transformers 4.49.0 is supported.", None),
        (environment("4.49.0", "supported", NOTE), "OK: transformers 4.49.0 is supported.", "note"),
        (
            environment("4.49.0", "supported", WARNING, NOTE),
            "TAKE CARE: transformers 4.49.0 is supported, but there is one problem.",
            "warning",
        ),
        (
            environment("4.49.0", "unsupported", FATAL, WARNING),
            "NOT WORKING: transformers is not installed.",
            "fatal",
        ),
        (
            environment("9.0", "untested", NEWER),
            "UNTESTED: transformers 9.0 is newer than 5.23.0.",
            "warning",
        ),
        (
            environment("4.49.0.dev0", "development", DEVELOPMENT),
            "DEVELOPMENT BUILD: transformers 4.49.0.dev0 is no release.",
            "warning",
        ),
    ],
)
def test_the_first_line_is_the_verdict(found: Environment, first: str, worst: str | None) -> None:
    examination = Examination(found, plan())
    assert text_of(examination).splitlines()[0] == first
    assert (examination.problems[0].severity if examination.problems else None) == worst


def test_every_problem_is_shown_with_its_remedy() -> None:
    text = text_of(Examination(environment("4.49.0", "supported", WARNING, NOTE), plan()))
    problems, notes = text.index("Problems\n"), text.index("Good to know\n")
    assert problems < text.index(f"  ! {WARNING.message}\n      -> {WARNING.remedy}\n") < notes
    assert notes < text.index(f"  - {NOTE.message}\n      -> {NOTE.remedy}\n")


def test_what_is_installed() -> None:
    url = DirectUrl(
        "https://example.org/t.git", vcs="git", commit="0123456789abcdef", requested_revision="main"
    )
    found = environment("4.49.0.dev0", "development", DEVELOPMENT)
    info = replace(found.transformers, kind="development", direct_url=url)
    flat = " ".join(text_of(Examination(replace(found, transformers=info), plan())).split())
    assert "(commit 0123456789ab)" in flat
    assert (
        "transformers 4.49.0.dev0, development build, from https://example.org/t.git at 0123456789ab (main), "
        "in /site/transformers torch 2.7.0, built for cuda 12.6 accelerate not installed" in flat
    )
    assert f"rope_compat {rope_compat.__version__} Python 3.11.7" in flat


def test_functions_that_differ_alike_share_a_line() -> None:
    targets = [f"transformers.models.m{n}.modeling_m{n}:apply_rotary_pos_emb" for n in range(5)]
    drift = tuple(Drift(t, f"this says 5.0.0 but {t} takes (a); 5.0.0 had (b)") for t in targets)
    functions = Functions("imported", "5.0.0", (*targets, "transformers.models.n:x"), (*drift, DRIFT))
    found = Examination(environment("5.0.0"), plan(), deep=True, functions=functions)
    text = text_of(found)
    assert "\n  ! this says 5.0.0 but each of 5 takes (a); 5.0.0 had (b)\n" in text
    assert f"{targets[2]} and 2 more" in " ".join(text.split())
    assert "takes (tensor, freqs)" in " ".join(text.split())
    assert text.splitlines()[0].startswith("TAKE CARE: transformers 5.0.0 is supported, but not as released")
    assert "Of its 6 rotary functions, 6 differ from 5.0.0. patch() adapts all of them." in " ".join(
        text.split()
    )
    assert [problem.code for problem in found.problems] == ["signature-drift"] * 6


def test_a_function_that_is_left_alone() -> None:
    functions = Functions("imported", "4.49.0", (FLASHATT,))
    found = Examination(environment(), plan(SKIP), deep=True, functions=functions)
    flat = " ".join(text_of(found).split())
    assert "patch() adapts all but 1 of them." in flat
    assert f"leave alone {FLASHATT}: its signature (a) is unknown" in flat
    assert [(problem.code, problem.severity) for problem in found.problems] == [
        ("unexpected-function", "warning")
    ]


def test_the_source_is_not_the_last_word() -> None:
    functions = Functions("read", "4.49.0", (FLASHATT,), (DRIFT,))
    found = Examination(environment("4.49.0.dev0", "development", DEVELOPMENT), plan(), functions=functions)
    flat = " ".join(text_of(found).split())
    assert (
        "Of its 1 rotary functions, 1 differs from 4.49.0. To be sure, run rope-compat doctor --deep." in flat
    )
    assert "Rotary functions, in the source" in flat


def test_modules_that_cannot_be_imported() -> None:
    failed = (("transformers.models.a", "ImportError: no b"), ("transformers.models.c", "OSError: d"))
    some = Examination(
        environment(), plan(), functions=Functions("imported", "4.49.0", ("x:y",), (), (), failed)
    )
    assert [problem.severity for problem in some.problems] == ["note"]
    assert "(and 1 more module) cannot be imported: ImportError: no b" in some.problems[0].message
    none = Examination(environment(), plan(), functions=Functions("imported", "4.49.0", (), (), (), failed))
    assert text_of(none).startswith(
        "NOT WORKING: none of 2 modules can be imported; transformers.models.a: ImportError: no b."
    )


def test_switched_off(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ROPE_COMPAT", "off")
    main(["doctor"])
    text = capsys.readouterr().out
    assert "ROPE_COMPAT=off: patch() does nothing." in " ".join(text.split("\n\n")[0].split())
    main(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["off"] is True
    assert document["plan"] == []


def test_written_for_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ROPE_COMPAT_WRITTEN_FOR", "4.37")
    main(["doctor"])
    assert "code written for transformers 4.37" in " ".join(capsys.readouterr().out.split())


def test_json_of_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {
        "rope_compat",
        "environment",
        "verdict",
        "problems",
        "plan",
        "off",
        "functions",
        "neighbours",
        "drift",
    }
    assert document["drift"] is None
    found = rope_compat.detect()
    assert document["verdict"] == found.verdict
    assert document["environment"]["transformers"]["version"] == found.transformers.version
    assert set(document["environment"]) == {
        "python", "transformers", "torch", "accelerate", "kernels", "flash_attn", "x_transformers"
    }  # fmt: skip
    for problem in document["problems"]:
        assert set(problem) == {"code", "severity", "message", "remedy"}
    assert [each for each in map(asdict, found.problems) if each not in document["problems"]] == []
    assert {step["action"] for step in document["plan"]} >= {"adapt", "watch"}
    assert status == (1 if {p["severity"] for p in document["problems"]} & {"warning", "fatal"} else 0)


YARN = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "max_position_embeddings": 4096,
    "rope_theta": 10000.0,
    "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024},
}
WITHOUT_YARN = Version("4.43.0") > Version(str(rope_compat.detect().transformers.version))


def test_a_model_whose_numbers_drift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(YARN))
    main(["doctor", "--model", str(tmp_path)])
    text = capsys.readouterr().out
    flat = " ".join(text.split())
    assert "on other releases" in flat
    if WITHOUT_YARN:
        assert "the same on every release, as far as is known" in flat
        return
    assert "yarn-original-length: transformers" in flat
    assert re.search(r"phase error [0-9.]+ rad at position 4095", flat)
    assert 'numbers="written_for") before the model is made' in flat
    main(["doctor", "--json", "--model", str(tmp_path)])
    (item,) = json.loads(capsys.readouterr().out)["drift"]["items"]
    assert (item["fault"], item["status"], item["position"]) == ("yarn-original-length", "note", 4095)
    assert item["max_error"] > 1


@pytest.mark.parametrize(("text", "why"), [(None, "No such file"), ("{", "Expecting"), ("[]", "is list")])
def test_a_model_without_a_config(
    text: str | None, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert main(["doctor", "--model", str(tmp_path)]) == 2
    assert why in capsys.readouterr().err


def test_text_of_what_is_installed_fits() -> None:
    # In a process of its own, as users run it: a row is added for what is imported and skipped.
    command = [sys.executable, "-m", "rope_compat", "doctor"]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "transformers" in text
    assert max(map(len, text.splitlines())) <= 100
    assert len(text.splitlines()) <= 66  # a page


# Other installations, as files: a package is what an import finds.

Examine = Callable[..., tuple[int, dict[str, Any], str]]
INSTALLED = "def apply_rotary_pos_emb_flashatt(tensor, freqs):\n    return tensor * freqs.cos()\n"


@pytest.fixture
def examine(tmp_path: Path) -> Examine:
    """Run doctor where transformers is a package with these files; status, JSON and standard error."""

    def examine(files: dict[str, str], *arguments: str) -> tuple[int, dict[str, Any], str]:
        for name, text in files.items():
            file = tmp_path / "site" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "rope_compat", "doctor", "--json", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path / "site"), PACKAGE_HOME))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout), done.stderr

    return examine


def package(version: str, modeling: str, init: str = "") -> dict[str, str]:
    return {
        "transformers/__init__.py": f'__version__ = "{version}"\n{init}',
        "transformers/models/__init__.py": "",
        "transformers/models/qwen2_5_vl/__init__.py": "",
        "transformers/models/qwen2_5_vl/modeling_qwen2_5_vl.py": modeling,
    }


def codes(document: dict[str, Any]) -> dict[str, str]:
    return {problem["code"]: problem["message"] for problem in document["problems"]}


def test_a_development_build_is_read_and_nothing_of_it_is_run(examine: Examine) -> None:
    status, document, _ = examine(package("4.49.0.dev0", INSTALLED, "raise RuntimeError('imported')\n"))
    assert (status, document["verdict"]) == (1, "development")
    functions = document["functions"]
    assert (functions["how"], functions["release"], functions["targets"]) == ("read", "4.49.0", [FLASHATT])
    drift = {each["target"]: each["message"] for each in functions["drift"]}
    assert f"{FLASHATT} takes (tensor, freqs); 4.49.0 had (q, k, cos, sin)" in drift[FLASHATT]
    # What 4.49.0 had and this package, being a stump, has not.
    llama = "transformers.models.llama.modeling_llama:apply_rotary_pos_emb"
    assert drift[llama].startswith(f"this says 4.49.0.dev0 but {llama} is not there; 4.49.0 had (q, k, ")


def test_deep_looks_at_the_live_function_and_at_the_plan(examine: Examine) -> None:
    wrong = INSTALLED + (
        "def apply_rotary_pos_emb_vision(q, k, cos, sin):\n    return q, k\n"
        "print('noise')\n"
        "def apply_rotary_pos_emb_vision(one, two, three, four, five, six):\n    return one\n"
    )
    status, document, noise = examine(package("4.49.0.dev0", wrong), "--deep")
    assert status == 1
    assert "importing 1 module of transformers 4.49.0.dev0" in noise
    steps = {(step["target"], step["state"]) for step in document["plan"]}
    assert (FLASHATT, "now") in steps
    assert (f"{QWEN2_5_VL}:apply_rotary_pos_emb_vision", "skip") in steps
    assert "apply_rotary_pos_emb_vision is left alone" in codes(document)["unexpected-function"]
    assert document["functions"]["how"] == "imported"
    assert "noise" not in noise


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            package("4.49.0", INSTALLED, "import no_such_module_anywhere\n"),
            "transformers cannot be imported: ModuleNotFoundError: No module named 'no_such_module_anywhere'",
        ),
        (
            package("4.49.0", INSTALLED + "raise SystemExit(7)\n"),
            f"{QWEN2_5_VL} cannot be imported: SystemExit",
        ),
    ],
)
def test_what_cannot_be_imported_is_a_finding(examine: Examine, files: dict[str, str], message: str) -> None:
    status, document, noise = examine(files, "--deep")
    assert status == 1
    assert codes(document)["import-fails"].startswith(message)
    assert document["problems"][0]["severity"] == "fatal"
    assert "Traceback" not in noise


def test_a_file_in_the_way(examine: Examine) -> None:
    status, document, noise = examine({"transformers.py": "print('hello')\n"}, "--deep")
    assert (status, document["verdict"], document["functions"]) == (1, "unsupported", None)
    assert "shadowed" in codes(document)
    assert noise == ""


def test_a_release_is_not_read_without_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "detect", lambda: environment(catalog.newest_known()))
    assert doctor.examine(deep=False).functions is None


def test_the_reading_of_the_source_equals_parsing_it() -> None:
    from rope_compat._cli.installed_functions import read

    location = Path(str(rope_compat.detect().transformers.location))
    parsed = {}
    for file in location.glob("models/**/modeling_*.py"):
        text = file.read_bytes()
        if b"rotary_pos_emb" in text and not re.match("modeling_(tf|flax)_", file.name):
            module = ".".join(("transformers", *file.relative_to(location).with_suffix("").parts))
            parsed.update(
                {(module, name): signature for name, signature in functions_in(text, NAMES).items()}
            )
    assert parsed
    assert read(str(location)) == parsed
