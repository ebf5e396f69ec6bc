"""rope-compat catalog: releases from the package index through pip, verify, show, and what is printed."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from packaging.version import Version
from support.tiny_releases import MODULE, catalog_of, make_sdist, make_tree, make_wheel, make_wheels

from rope_compat._cli import progress as progress_bytes
from rope_compat._cli.main import main
from rope_compat.catalog import index, store
from rope_compat.catalog.index import PipError
from rope_compat.catalog.sources import BadSourceError
from rope_compat.catalog.update import read_history
from rope_compat.catalog.verification import verify
from rope_compat.errors import ArgumentError

VERSIONS = ("4.98.0", "4.99.0", "5.0.0", "5.0.1", "5.1.0")
needs_pip = pytest.mark.only(
    importlib.util.find_spec("pip") is not None, reason="environments that uv has made have no pip"
)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_wheels(tmp_path_factory.mktemp("wheels"), VERSIONS)


@pytest.fixture(scope="module")
def complete(wheels: Path) -> bytes:
    return catalog_of(wheels.iterdir())


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the catalog in use, which is not there yet."""
    path = tmp_path / "my.catalog"
    monkeypatch.setenv(store.VARIABLE, str(path))
    return path


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is all that pip knows of; wheels are kept below the test's own directory."""
    path = make_wheels(tmp_path / "offered", VERSIONS)
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(path)), ("CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(f"PIP_{name}", value)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    return path


def kept(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "rope_compat" / "wheels").iterdir())


# The package index.


@needs_pip
def test_what_is_missing_comes_from_the_index(
    file: Path,
    offered: Path,
    complete: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_wheel(offered, "4.27.4")
    make_wheel(offered, "5.2.0rc1")
    constraint = tmp_path / "constraints.txt"
    constraint.write_text("transformers==4.99.0\n")
    monkeypatch.setenv(
        "PIP_CONSTRAINT", str(constraint)
    )  # of what is to be installed, not of what is to be read
    file.write_bytes(
        catalog_of(offered / f"transformers-{version}-py3-none-any.whl" for version in VERSIONS[1:4])
    )
    before = file.read_bytes()
    assert main(["catalog", "update", "--dry-run", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["missing"] == ["4.98.0", "5.1.0"]
    assert file.read_bytes() == before
    assert main(["catalog", "update"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Added 4.98.0, 5.1.0.\n")
    assert "rope-compat: fetching: 2 of 2 releases" in err.splitlines()
    assert file.read_bytes() == complete
    assert kept(tmp_path) == []
    assert main(["catalog", "update"]) == 0
    assert capsys.readouterr().out.startswith("Up to date.\n")


@needs_pip
def test_what_an_interrupted_update_has_fetched_is_not_fetched_again(
    file: Path, offered: Path, complete: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(
        catalog_of(offered / f"transformers-{version}-py3-none-any.whl" for version in VERSIONS[:3])
    )
    downloads = tmp_path / "cache" / "rope_compat" / "wheels"
    (downloads / ".partial-1").mkdir(parents=True)
    make_wheel(downloads / ".partial-1", "5.1.0")
    make_wheel(downloads, "5.0.1")
    fetched: list[str] = []
    fetch = index.fetch

    def recorded(versions: list[Version], directory: Path) -> object:
        fetched.extend(map(str, versions))
        return fetch(versions, directory)

    monkeypatch.setattr(index, "fetch", recorded)
    assert main(["catalog", "update"]) == 0
    assert fetched == ["5.1.0"]
    assert file.read_bytes() == complete
    assert kept(tmp_path) == []


@needs_pip
def test_a_release_without_a_wheel_is_not_built(
    file: Path, offered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sdist(offered, "5.2.0")
    words = ["catalog", "update", "--catalog", str(file), "--release", "5.2.0", "5.1.0"]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "rope-compat: error: transformers 5.2.0: it has no wheel" in err
    assert "an sdist was run" not in err
    assert read_history(file).builds == ["5.1.0"]
    assert kept(tmp_path) == []


@needs_pip
def test_what_pip_says_of_a_failure_is_told(
    file: Path,
    offered: Path,
    complete: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file.write_bytes(complete)
    monkeypatch.setenv("PIP_FIND_LINKS", str(offered / "nothing"))
    assert main(["catalog", "update"]) == 2
    err = capsys.readouterr().err
    assert "pip could not list the releases of transformers (exit status 1)" in err
    assert "No matching distribution found for transformers" in err
    assert "--source" in err


class Pip:
    """Stands in for the process of pip."""

    out, err, returncode = "", "", 0
    commands: ClassVar[list[list[str]]] = []

    def __init__(self, command: list[str], **options: object) -> None:
        self.commands.append(command)

    def communicate(self) -> tuple[str, str]:
        return self.out, self.err

    def terminate(self) -> None: ...


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> type[Pip]:
    class FakePip(Pip):
        commands: ClassVar[list[list[str]]] = []

    monkeypatch.setattr(subprocess, "Popen", FakePip)
    return FakePip


def test_final_releases_are_listed_that_are_not_withdrawn(pip: type[Pip]) -> None:
    pip.err = "WARNING: pip index is currently an experimental command.\nDEPRECATION: Python 3.10\n"
    pip.out = (
        "transformers (5.10.1)\n"
        "Available versions: 5.10.1, 5.10.0, 5.2.0rc1, 4.46.1, 4.46.0,\n  4.28.0, 4.27.4, 3.0.0\n"
        "  INSTALLED: 4.57.6\n  LATEST:    5.10.1\n"
    )
    assert list(map(str, index.available())) == ["4.28.0", "4.46.1", "5.10.1"]
    assert pip.commands[0][:3] == [sys.executable, "-m", "pip"]
    assert "--ignore-requires-python" in pip.commands[0]


def test_an_answer_that_has_no_list_is_an_error(pip: type[Pip]) -> None:
    pip.out = "transformers (5.10.1)\n"
    with pytest.raises(PipError, match="could not list the releases"):
        index.available()


def test_without_pip_an_error_says_where_to_get_it(pip: type[Pip]) -> None:
    pip.returncode, pip.err = 1, f"{sys.executable}: No module named pip\n"
    with pytest.raises(
        PipError, match=r"has no pip.* -m ensurepip, or give a directory of wheels with --source"
    ):
        index.available()


def test_a_failure_that_is_not_about_one_release_ends_fetching(pip: type[Pip], tmp_path: Path) -> None:
    pip.returncode = 1
    pip.err = "".join(f"line {number}\n" for number in range(20)) + "ERROR: Connection refused\n"
    with pytest.raises(PipError, match=r"(?s)fetch transformers==.*Connection refused") as caught:
        list(index.fetch([Version(version) for version in VERSIONS], tmp_path))
    assert "line 19" in str(caught.value)
    assert "line 1\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# Verify.


def test_what_was_read_is_equal(
    file: Path, wheels: Path, complete: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(complete)
    assert main(["catalog", "verify", "--source", str(wheels)]) == 0
    assert capsys.readouterr().out.startswith("The catalog says of 5 builds what the source says.\n")


@needs_pip
def test_verify_takes_from_the_index(
    file: Path, offered: Path, complete: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(complete)
    assert main(["catalog", "verify", "--json", "--sample", "2"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["checked"]) == 2
    assert sorted(document["checked"] + document["unchecked"]) == sorted(VERSIONS)
    assert kept(tmp_path) == []
    again = verify(file, offered, sample=2, seed=document["seed"])
    assert again.checked == document["checked"]


def test_every_difference_is_told(
    file: Path, tmp_path: Path, complete: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(complete)
    tree = make_tree(tmp_path / "tree", "5.1.0")
    modeling = tree / "transformers" / "models" / "tiny" / "modeling_tiny.py"
    text = modeling.read_text()
    modeling.write_text(
        text.replace("def rotate_half(x)", "def rotate_half(y)")
        .replace("def forward(self, hidden_states, ", "def forward(self, states, ")
        .replace("return apply_rotary_pos_emb(hidden_states, hidden_states, cos, sin)", "return None")
    )
    (tree / "transformers" / "utils" / "logging.py").write_text("def get_a_logger(name): ...\n")
    (tree / "transformers" / "models" / "new.py").write_text("x = 1\n")
    words = ["catalog", "verify", "--source", str(tmp_path / "tree")]
    assert main([*words, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    found = {
        (each["kind"], each["what"]): (each["catalog"], each["source"]) for each in document["differences"]
    }
    assert set(found) == {
        ("module", "transformers.models.new"),
        ("target", f"{MODULE}:rotate_half"),
        ("target", f"{MODULE}:TinyAttention.forward"),
        ("use", f"{MODULE} uses {MODULE}:apply_rotary_pos_emb"),
        ("name", "transformers.utils.logging:get_logger"),
        ("name", "transformers.utils.logging:get_a_logger"),
    }
    assert found["module", "transformers.models.new"] == ("absent", "there")
    assert found["name", "transformers.utils.logging:get_logger"] == ("function", "absent")
    old, new = found["target", f"{MODULE}:rotate_half"]
    assert old.startswith("function (x); body ")
    assert new.startswith("function (y); body ")
    assert document["checked"] == ["5.1.0"]
    assert not document["ok"]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert out.startswith("6 differences in 1 of 1 builds.\n")
    assert f"X target {MODULE}:rotate_half" in out


def test_of_many_differences_some_are_printed(
    file: Path, tmp_path: Path, complete: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(complete)
    many = "".join(f"name_{number} = {number}\n" for number in range(50))
    make_wheel(tmp_path, "5.1.0", more={"transformers/utils/logging.py": many.encode()})
    assert main(["catalog", "verify", "--source", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert out.count("X name ") == 20
    assert "and 31 more; --json has all" in out  # 50 names, and the one that is gone


def test_a_sample_can_be_taken_again(file: Path, wheels: Path, complete: bytes) -> None:
    file.write_bytes(complete)
    first = verify(file, wheels, sample=2)
    assert first.seed is not None
    assert verify(file, wheels, sample=2, seed=first.seed).checked == first.checked
    assert len({tuple(verify(file, wheels, sample=2, seed=seed).checked) for seed in range(20)}) > 5
    assert verify(file, wheels, sample=9).seed is None


def test_what_cannot_be_verified_is_an_error(
    file: Path, wheels: Path, tmp_path: Path, complete: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(complete)
    with pytest.raises(ArgumentError, match=r"^6\.0: not in the catalog"):
        verify(file, wheels, releases=["6.0"])
    with pytest.raises(ArgumentError, match=r"^5\.1: not in .*--source"):
        verify(file, make_wheel(tmp_path, "5.0.1"), releases=["5.1", "5.0.1"])
    with pytest.raises(ArgumentError, match="sample of 0"):
        verify(file, wheels, sample=0)
    with pytest.raises(BadSourceError, match="no release that is in the catalog"):
        verify(file, make_wheel(tmp_path, "6.0.0"))
    bad = make_wheel(tmp_path, "5.1.0")
    bad.write_bytes(b"")
    assert main(["catalog", "verify", "--source", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("The catalog says of 1 build what the source says; 1 could not be read.\n")
    assert str(bad) in err


# Show, and the command line.


def test_show_says_what_there_is(
    file: Path, wheels: Path, complete: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(complete)
    assert main(["catalog", "show"]) == 0
    text = capsys.readouterr().out
    assert "5, from 4.98.0 to 5.1.0" in text
    assert main(["catalog", "show", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["catalog"] == str(file)
    assert document["builds"] == list(VERSIONS)
    assert document["newest_release"] == "5.1.0"
    assert document["bytes"] == len(complete) > sum(document["sections"].values())
    assert document["targets"] == {
        "carrier": 1,
        "class": 1,
        "function": 2,
        "mapping": 1,
        "method": 2,
        "reexport": 1,
    }
    assert document["modules"] == 8


def test_json_may_stand_before_the_word(
    file: Path, complete: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(complete)
    for words in (["--json", "show"], ["show", "--json"]):
        assert main(["catalog", *words]) == 0
        assert json.loads(capsys.readouterr().out)["newest_release"] == "5.1.0"


@pytest.mark.parametrize("words", [[], ["forget"], ["update", "--jobs", "-1"], ["show", "--source", "x"]])
def test_wrong_words_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog", *words]) == 2
    assert "usage: rope-compat" in capsys.readouterr().err


def test_without_a_catalog_the_error_says_how_to_make_it(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for word in ("show", "verify", "update"):
        assert main(["catalog", word]) == 2
        assert (
            f"there is no catalog {file}; rope-compat catalog update --rebuild makes it"
            in capsys.readouterr().err
        )


@pytest.mark.parametrize("with_rich", [True, False])
def test_progress_is_shown_on_a_terminal_and_is_gone_at_the_end(
    with_rich: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    if not with_rich:
        monkeypatch.setitem(sys.modules, "rich.progress", None)
    with progress_bytes.shown() as progress:
        progress("fetching", 1, 2)
        progress("fetching", 2, 2)
        progress("reading", 3_000_000, 12_000_000)
    text = terminal.getvalue()
    assert ("fetching: 2 of 2 releases" in text) is not with_rich
    assert "3 of 12 MB" in text
    assert text.endswith("\033[2K" if with_rich else "\r\033[K")


def test_an_interrupted_command_says_what_is_saved(
    file: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, saved: object, **options: object) -> None:
        assert callable(saved)
        saved(["5.0.0", "5.0.1"])
        raise KeyboardInterrupt

    monkeypatch.setattr("rope_compat._cli.catalog.update", interrupted)
    assert main(["catalog", "update", "--source", str(wheels)]) == 130
    assert "2 builds saved so far; run the same command again to go on" in capsys.readouterr().err
