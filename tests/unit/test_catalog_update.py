"""rope-compat catalog update, verify and show, on tiny releases."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tiny_releases import catalog_of, make_checkout, make_sdist, make_wheel, make_wheels

from rope_compat._cli.main import main
from rope_compat.catalog import files
from rope_compat.catalog import update as updating
from rope_compat.catalog.files import UpdateError, locked
from rope_compat.catalog.format import CatalogError
from rope_compat.catalog.harvest import read_sources
from rope_compat.catalog.history import History
from rope_compat.catalog.model import ReleaseFacts
from rope_compat.catalog.update import read_history, update
from rope_compat.errors import ArgumentError

VERSIONS = ("4.98.0", "4.99.0", "5.0.0", "5.0.1", "5.1.0")
needs_git = pytest.mark.only(shutil.which("git") is not None, reason="git is not installed")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_wheels(tmp_path_factory.mktemp("wheels"), VERSIONS)


@pytest.fixture(scope="module")
def complete(wheels: Path) -> bytes:
    return catalog_of(wheels.iterdir())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my.catalog"


def bring(file: Path, source: Path, *releases: str, **options: object) -> updating.Outcome:
    return update(file, source, releases=releases or None, create=True, workers=0, **options)  # type: ignore[arg-type]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every release is written as soon as it has been read."""
    monkeypatch.setattr(updating, "_SECONDS_BETWEEN_WRITES", 0.0)


# What is added, and in which order.


def test_everything_in_a_directory_is_added_once(file: Path, wheels: Path, complete: bytes) -> None:
    first = bring(file, wheels)
    assert first.added == list(first.missing) == list(first.builds) == list(VERSIONS)
    assert file.read_bytes() == complete
    before = file.stat().st_mtime_ns
    again = bring(file, wheels)
    assert (again.added, again.missing, list(again.builds)) == ([], (), list(VERSIONS))
    assert file.stat().st_mtime_ns == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(VERSIONS), cut=st.integers(0, len(VERSIONS)))
def test_any_order_gives_the_bytes_of_a_rebuild(
    order: Sequence[str], cut: int, wheels: Path, complete: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("order") / "my.catalog"
    if order[:cut]:
        bring(file, wheels, *order[:cut])
    for release in order[cut:]:
        assert bring(file, wheels, release).added == [release]
    assert file.read_bytes() == complete
    bring(file, wheels, rebuild=True)
    assert file.read_bytes() == complete


def test_what_is_asked_for_must_be_there(file: Path, wheels: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^6\.0: not among the releases that can be had"):
        bring(file, wheels, "6.0", "5.0")
    with pytest.raises(ArgumentError, match="given as"):
        bring(file, wheels, "newest")
    assert not file.exists()
    assert bring(file, wheels, "5.0").added == ["5.0.0"]


def test_without_a_file_only_a_named_one_is_begun(file: Path, wheels: Path) -> None:
    with pytest.raises(CatalogError, match=r"there is no catalog .*my\.catalog; .*--rebuild"):
        update(file, wheels, workers=0)
    assert update(file, wheels, workers=0, rebuild=True).added == list(VERSIONS)


def test_mode_and_link_stay(file: Path, wheels: Path, tmp_path: Path) -> None:
    bring(file, wheels, "5.0.0")
    file.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(file)
    bring(link, wheels, "5.1.0")
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert read_history(file).builds == ["5.0.0", "5.1.0"]


@needs_git
def test_development_builds_replace_older_ones(file: Path, wheels: Path, tmp_path: Path) -> None:
    builds = {}
    for name, version in (("a", "5.0.0.dev0"), ("b", "5.2.0.dev0"), ("c", "5.2.0.dev0"), ("d", "5.3.0.dev0")):
        if name == "c":
            path, commit = make_checkout(tmp_path / name, "5.2.0.dev0+local")
            builds[name] = (path, "5.2.0.dev0+local")
        else:
            path, commit = make_checkout(tmp_path / name, version)
            builds[name] = (path, f"{version}+g{commit}")
    bring(file, wheels, "4.98.0")
    assert bring(file, builds["a"][0]).added == [builds["a"][1]]
    assert bring(file, builds["a"][0]).added == []  # read anew, and the same
    bring(file, builds["d"][0])
    assert read_history(file).builds == ["4.98.0", builds["a"][1], builds["d"][1]]
    bring(file, wheels, "5.0.0")
    outcome = bring(file, builds["b"][0])
    assert outcome.dropped == [builds["a"][1]]  # overtaken by 5.0.0
    outcome = bring(file, builds["c"][0])
    assert outcome.dropped == [builds["b"][1]]  # of the same number
    assert read_history(file).builds == ["4.98.0", "5.0.0", builds["c"][1], builds["d"][1]]
    (tmp_path / "c" / "src/transformers/models/tiny/modeling_tiny.py").write_text("def rotate_half(y): ...\n")
    assert bring(file, builds["c"][0]).added == [builds["c"][1]]  # read anew, and not the same


# Bad sources.


def test_other_releases_are_done_when_some_are_bad(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheels = make_wheels(tmp_path / "wheels", VERSIONS)
    truncated = wheels / "transformers-4.99.0-py3-none-any.whl"
    truncated.write_bytes(truncated.read_bytes()[:-100])
    broken = make_wheel(wheels, "5.0.1", more={"transformers/models/tiny/modeling_tiny.py": b"def f(:"})
    other = (wheels / "transformers-5.0.0-py3-none-any.whl").rename(
        wheels / "transformers-5.2.0-py3-none-any.whl"
    )
    words = ["catalog", "update", "--source", str(wheels), "--catalog", str(file), "--jobs", "0", "--json"]
    assert main(words) == 2
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["added"] == document["builds"] == ["4.98.0", "5.1.0"]
    assert {each["source"] for each in document["problems"]} == {str(truncated), str(broken), str(other)}
    for path, reason in (
        (truncated, "damaged"),
        (broken, "cannot be parsed"),
        (other, "its code says 5.0.0"),
    ):
        assert any(str(path) in line and reason in line for line in err.splitlines())
    make_wheel(wheels, "4.99.0")
    assert main(words) == 2  # the others are still bad
    assert json.loads(capsys.readouterr().out)["added"] == ["4.99.0"]


def test_an_sdist_serves_where_the_wheel_is_bad(file: Path, tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    wheel = make_wheel(tmp_path / "both", "5.0.0")
    wheel.write_bytes(b"PK")
    make_sdist(tmp_path / "both", "5.0.0")
    outcome = bring(file, tmp_path / "both")
    assert outcome.added == ["5.0.0"]
    assert [problem.source for problem in outcome.problems] == [str(wheel)]


FOREIGN = {
    "empty": (b"", "not a catalog of rope_compat"),
    "foreign": (b'{"kind": "other"}\n', "not a catalog of rope_compat"),
    "text": (b"hello\n" * 100, "not a catalog of rope_compat"),
    "format": (
        b'{"kind":"rope_compat catalog","format":1,"builds":["4.28.0"],"sections":{}}\n',
        "has format 1",
    ),
}


@pytest.mark.parametrize(("content", "reason"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file_is_left_alone_unless_it_is_to_be_rebuilt(
    content: bytes, reason: str, file: Path, wheels: Path, complete: bytes
) -> None:
    file.write_bytes(content)
    with pytest.raises(CatalogError, match=rf"{reason}.*rope-compat catalog update --rebuild"):
        bring(file, wheels)
    assert file.read_bytes() == content
    bring(file, wheels, rebuild=True)
    assert file.read_bytes() == complete


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.999])
def test_a_damaged_file_is_found(place: float, file: Path, wheels: Path, complete: bytes) -> None:
    damaged = bytearray(complete)
    damaged[int(place * len(damaged))] ^= 0xFF
    for content in (bytes(damaged), complete[: int(place * len(complete))], complete + b"x"):
        file.write_bytes(content)
        with pytest.raises(CatalogError, match="--rebuild"):
            bring(file, wheels)


# Interrupted, killed, locked, not writable.


def stopping_after(count: int, error: BaseException) -> Callable[..., Iterator[ReleaseFacts]]:
    read = read_sources

    def read_some(*arguments: object, **options: object) -> Iterator[ReleaseFacts]:
        for number, facts in enumerate(read(*arguments, **options)):  # type: ignore[arg-type]
            if number == count:
                raise error
            yield facts

    return read_some


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("rebuild", [False, True])
def test_an_interrupted_update_keeps_what_it_has_read_and_goes_on(
    error: BaseException,
    rebuild: bool,
    file: Path,
    wheels: Path,
    complete: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bring(file, wheels, "4.98.0")
    old = file.read_bytes()
    safe: list[str] = []
    monkeypatch.setattr(updating, "read_sources", stopping_after(2, error))
    with pytest.raises(type(error)):
        bring(file, wheels, rebuild=rebuild, saved=safe.extend)
    assert safe == (["4.98.0", "4.99.0"] if rebuild else ["4.99.0", "5.0.0"])
    monkeypatch.undo()
    if rebuild:
        assert file.read_bytes() == old  # half a catalog would not do for those who use it
    else:
        assert read_history(file).builds == ["4.98.0", *safe]
    outcome = bring(file, wheels, rebuild=rebuild)
    assert outcome.added == [version for version in VERSIONS if version not in {"4.98.0", *safe}]
    assert file.read_bytes() == complete
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_rebuild_that_goes_on_has_only_what_is_asked_for(
    file: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updating, "read_sources", stopping_after(2, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        bring(file, wheels, rebuild=True)
    monkeypatch.undo()
    bring(file, wheels, "4.99.0", "5.1.0", rebuild=True)
    assert read_history(file).builds == ["4.99.0", "5.1.0"]


@pytest.mark.parametrize("step", range(6))
def test_an_interrupt_while_facts_are_merged_does_no_harm(
    step: int, file: Path, wheels: Path, complete: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(file, wheels, "5.0.0")
    insert = type(History().targets).insert
    calls = 0

    def interrupted(timeline: object, *arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == step + 1:
            raise KeyboardInterrupt
        insert(timeline, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(type(History().targets), "insert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bring(file, wheels)
    assert file.read_bytes() == complete  # all had been read


def test_a_write_that_fails_leaves_the_old_file(
    file: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(file, wheels, "5.0.0")
    old = file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UpdateError, match=r"cannot be written .*No space left on device"):
        bring(file, wheels)
    assert file.read_bytes() == old
    assert [path.name for path in file.parent.iterdir()] == [file.name]


KILLED = """
import sys
from pathlib import Path
from rope_compat.catalog import update as updating
updating._SECONDS_BETWEEN_WRITES = 0.0
print("begins", flush=True)
file, source = map(Path, sys.argv[1:3])
updating.update(file, source, create=True, rebuild=sys.argv[3] == "rebuild", workers=0)
"""


@pytest.mark.only(hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("mode", ["add", "rebuild"])
def test_killed_at_any_moment_the_file_is_whole_and_can_be_completed(
    mode: str, file: Path, tmp_path: Path
) -> None:
    versions = [f"5.{minor}.{micro}" for minor in range(10) for micro in range(3)]
    wheels = make_wheels(tmp_path / "wheels", versions)
    expected = catalog_of(wheels.iterdir())
    command = [sys.executable, "-c", KILLED, str(file), str(wheels), mode]
    had = 0
    for _ in range(4):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begins\n"
            time.sleep(random.uniform(0.0, 0.25))
            process.kill()
        if file.exists():
            builds = read_history(file).builds
            assert len(builds) >= had
            had = len(builds)
            assert mode == "add" or had == len(versions)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert file.read_bytes() == expected
    assert {path.name for path in tmp_path.iterdir()} == {file.name, "wheels"}


def test_a_second_update_of_a_file_is_refused(file: Path, wheels: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        lock = file.with_name("my.catalog.lock")
        lock.write_text(f"{other.pid} {socket.gethostname()}\n")
        with pytest.raises(UpdateError, match=rf"another process \({other.pid} .*delete .*my\.catalog\.lock"):
            bring(file, wheels)
        assert lock.exists()
        other.communicate(b"\n")
    assert bring(file, wheels).added == list(VERSIONS)  # its process is no more
    assert not lock.exists()


@pytest.mark.parametrize("content", ["", "123", "PID HOST\n"])
def test_a_lock_that_nobody_holds_is_taken_over(
    content: str, file: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_SECONDS_FOR_ONE_LINE", 0.05)
    content = content.replace("PID", str(os.getpid())).replace("HOST", socket.gethostname())
    file.with_name("my.catalog.lock").write_text(content)
    assert bring(file, wheels).added == list(VERSIONS)


def test_a_lock_of_this_process_or_of_another_machine_is_held(file: Path, wheels: Path) -> None:
    with locked(file, remedy=""), pytest.raises(UpdateError, match="being written by another process"):
        bring(file, wheels)
    file.with_name("my.catalog.lock").write_text("1 another-machine.example.org\n")
    with pytest.raises(UpdateError, match=r"1 another-machine\.example\.org"):
        bring(file, wheels)


def test_a_file_that_cannot_be_written_says_what_to_do(
    file: Path, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedy = r"--catalog FILE, and set ROPE_COMPAT_CATALOG=FILE"
    (tmp_path / "plain").write_text("")
    for impossible in (tmp_path / "plain" / "my.catalog", tmp_path / "absent" / "my.catalog"):
        with pytest.raises(UpdateError, match=rf"cannot be written .*{remedy}"):
            bring(impossible, wheels)
    bring(file, wheels, "5.0.0")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # a test may be run by root
    with pytest.raises(UpdateError, match=rf"is not writable.*{remedy}"):
        bring(file, wheels)
