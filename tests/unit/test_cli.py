"""The command line as a program: what it takes, what it returns, what it says when it cannot run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import packaging
import pytest

import rope_compat
from rope_compat._cli.main import main

PACKAGE_HOME = str(Path(rope_compat.__file__).parents[1])

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("ROPE_COMPAT", raising=False)
    monkeypatch.delenv("ROPE_COMPAT_WRITTEN_FOR", raising=False)

    def run(
        *arguments: str, code: str | None = None, options: Sequence[str] = (), **environ: str
    ) -> subprocess.CompletedProcess[str]:
        program = ["-c", code] if code is not None else ["-m", "rope_compat"]
        return subprocess.run(
            [sys.executable, *options, *program, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": PACKAGE_HOME, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_module_and_entry_point_are_one(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    module = run("--version")
    assert main(["--version"]) == 0
    assert module.stdout == capsys.readouterr().out == f"rope_compat {rope_compat.__version__}\n"
    assert (module.returncode, module.stderr) == (0, "")


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A directory with rope_compat and its one dependency, and nothing else."""
    home = tmp_path / "alone"
    for package in (rope_compat, packaging):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, home / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    return home


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--help"], 0, "usage: rope-compat"),
        (["doctor", "--help"], 0, "usage: rope-compat doctor"),
        (["plan", "--help"], 0, "usage: rope-compat plan"),
        (["--version"], 0, rope_compat.__version__),
        (["doctor"], 1, "NOT WORKING: transformers is not installed."),
        (["doctor", "--deep"], 1, "NOT WORKING: transformers is not installed."),
        (["doctor", "--json"], 1, '"verdict": "unsupported"'),
        (["plan"], 0, "(not installed)"),
    ],
)
def test_without_torch_transformers_and_rich(
    run: Run, alone: Path, arguments: list[str], status: int, said: str
) -> None:
    done = run(*arguments, options=["-S"], PYTHONPATH=str(alone))
    assert (done.returncode, done.stderr) == (status, "")
    assert said in done.stdout


def test_help_names_the_commands_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    listed = text.partition("commands:")[2]
    assert [
        line.split()[0] for line in listed.splitlines() if line.startswith("    ") and line[4] != " "
    ] == [
        "doctor",
        "plan",
        "verify",
        "history",
        "diff",
        "identify",
        "catalog",
    ]
    assert "exit status: 0" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage: rope-compat"),
        (["cure"], "invalid choice: 'cure'"),
        (["doctor", "--jso"], "unrecognized arguments: --jso"),
        (["plan", "--written-for", "yesterday"], "written_for='yesterday' is not a version"),
        (["plan", "--targets", "no_such_function"], "'no_such_function' is neither a package"),
        (["plan", "--targets"], "expected at least one argument"),
    ],
)
def test_bad_arguments_are_status_2_with_the_reason_on_stderr(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err


@pytest.mark.parametrize("command", ["doctor", "plan"])
@pytest.mark.parametrize(
    ("name", "value"), [("ROPE_COMPAT", "perhaps"), ("ROPE_COMPAT_WRITTEN_FOR", "yesterday")]
)
def test_nonsense_in_the_environment_is_status_2(run: Run, command: str, name: str, value: str) -> None:
    done = run(command, **{name: value})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"rope-compat: error: {name}={value!r} is not ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["doctor", "plan"])
def test_nothing_heavy_is_imported(run: Run, command: str) -> None:
    code = (
        "import sys\nfrom rope_compat._cli.main import main\nmain(sys.argv[1:])\n"
        "heavy = {'torch', 'transformers', 'rich'} & set(sys.modules)\nsys.exit(', '.join(heavy) or 0)"
    )
    done = run(command, "--json", code=code)
    assert (done.returncode, done.stderr) == (0, "")
    assert isinstance(json.loads(done.stdout), dict)


def test_a_reader_that_leaves_is_no_failure(run: Run) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "rope_compat", "plan"],
            env={**os.environ, "PYTHONPATH": PACKAGE_HOME},
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_directory_name_that_the_terminal_cannot_show(run: Run, tmp_path: Path) -> None:
    package = tmp_path / "d\u00e9p\u00f4t" / "transformers"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('__version__ = "4.49.0"\n')
    path = os.pathsep.join((str(package.parent), PACKAGE_HOME))
    done = run("doctor", PYTHONPATH=path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert r"d\xe9p\xf4t" in done.stdout
    assert done.stderr == ""


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rope_compat._cli.doctor.detect", interrupt)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "rope-compat: interrupted\n"
