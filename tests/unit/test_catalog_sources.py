"""Reading transformers' files from wheels, sdists, directories and checkouts; refusing everything else."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.tiny_releases import MODULE, facts_of, files_of, make_checkout, make_sdist, make_tree, make_wheel

from rope_compat.catalog import index, sources
from rope_compat.catalog.harvest import harvest
from rope_compat.catalog.sources import BadSourceError, open_source, sources_in

VERSION = "4.99.0"
needs_git = pytest.mark.only(shutil.which("git") is not None, reason="git is not installed")


def checkout(directory: Path, version: str) -> Path:
    return make_checkout(directory / "checkout", version)[0]


def test_a_tiny_release_has_what_it_is_to_have(tmp_path: Path) -> None:
    facts = facts_of(make_wheel(tmp_path, VERSION))
    assert facts.version == VERSION
    definitions = dict(facts.targets[MODULE])
    assert definitions["apply_rotary_pos_emb"].signature == "(q, k, cos, sin, position_ids)"
    assert definitions["TinyRotaryEmbedding"].kind == "class"
    assert [use.target for use in facts.uses[MODULE]] == [f"{MODULE}:apply_rotary_pos_emb"]
    assert "get_logger" in {name.name for name in facts.names["transformers.utils.logging"]}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make_sdist, id="sdist"),
        pytest.param(lambda path, version: make_tree(path / "site-packages", version), id="site-packages"),
        pytest.param(lambda path, version: make_tree(path, version) / "transformers", id="package"),
        pytest.param(
            lambda path, version: make_tree(path / "unpacked", version, package="src/transformers"),
            id="unpacked-sdist",
        ),
        pytest.param(checkout, id="checkout", marks=needs_git),
    ],
)
def test_every_sort_of_source_gives_the_facts_of_the_wheel(
    make: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    (tmp_path / "wheel").mkdir()
    assert facts_of(make(tmp_path, VERSION)) == facts_of(make_wheel(tmp_path / "wheel", VERSION))


@needs_git
def test_a_development_version_of_a_checkout_has_its_commit(tmp_path: Path) -> None:
    path, commit = make_checkout(tmp_path / "main", "5.25.0.dev0")
    assert len(commit) == 12
    assert str(open_source(path).version) == f"5.25.0.dev0+g{commit}"


def test_a_development_version_without_git_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert str(open_source(make_tree(tmp_path / "main", "5.25.0.dev0")).version) == "5.25.0.dev0"


def test_files_that_are_equal_in_two_sources_have_equal_keys(tmp_path: Path) -> None:
    wheel, sdist = open_source(make_wheel(tmp_path, "4.99.0")), open_source(make_sdist(tmp_path, "5.1.0"))
    first, second = ({member.path: member.key for member in each.members} for each in (wheel, sdist))
    assert first["transformers/utils/logging.py"] == second["transformers/utils/logging.py"]
    assert first["transformers/__init__.py"] != second["transformers/__init__.py"]


def test_a_directory_is_searched_for_sources_and_nothing_else(tmp_path: Path) -> None:
    expected = [
        make_wheel(tmp_path, "5.0.0"),
        make_sdist(tmp_path, "4.99.0"),
        make_tree(tmp_path / "b", "5.1.0"),
    ]
    (tmp_path / "torch-2.0-py3-none-any.whl").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    assert sorted(sources_in(tmp_path)) == sorted(expected)
    assert sources_in(tmp_path / "b") == [tmp_path / "b"]
    found, problems = index.find_sources(tmp_path)
    assert not problems
    assert [str(each.version) for each in found] == ["4.99.0", "5.0.0", "5.1.0"]


def test_nothing_to_be_found_is_an_error_that_says_what_was_sought(tmp_path: Path) -> None:
    with pytest.raises(BadSourceError, match=r"holds no transformers: neither transformers-\*\.whl"):
        index.find_sources(tmp_path)
    with pytest.raises(BadSourceError, match="does not exist"):
        index.find_sources(tmp_path / "absent")


def cut(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path


def text(path: Path) -> Path:
    path.write_text("404 page not found\n")
    return path


def renamed(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


WHEEL = f"transformers-{VERSION}-py3-none-any.whl"
SDIST = f"transformers-{VERSION}.tar.gz"
PYTHON = "transformers/models/tiny/modeling_tiny.py"

BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "wheel-truncated": (lambda path: cut(make_wheel(path, VERSION)), "damaged or truncated"),
    "sdist-truncated": (lambda path: cut(make_sdist(path, VERSION)), "damaged or truncated"),
    "wheel-is-text": (lambda path: text(path / WHEEL), "damaged or truncated"),
    "sdist-is-text": (lambda path: text(path / SDIST), "damaged or truncated"),
    "wheel-leads-out": (
        lambda path: make_wheel(path, VERSION, more={"transformers/../../evil.py": b""}),
        r"'transformers/\.\./\.\./evil\.py' leads out of the archive",
    ),
    "sdist-leads-out": (
        lambda path: make_sdist(path, VERSION, more={"transformers-4.99.0/../evil": b""}),
        "leads out of the archive",
    ),
    "wheel-absolute": (
        lambda path: make_wheel(path, VERSION, more={"/etc/evil.py": b""}),
        "'/etc/evil.py' leads out of the archive",
    ),
    "sdist-absolute": (
        lambda path: make_sdist(path, VERSION, more={"/etc/evil": b""}),
        "'/etc/evil' leads out of the archive",
    ),
    "wheel-drive": (
        lambda path: make_wheel(path, VERSION, more={"C:/evil.py": b""}),
        "'C:/evil.py' leads out of the archive",
    ),
    "wheel-large-member": (
        lambda path: make_wheel(path, VERSION, more={PYTHON: bytes(9 << 20)}),
        "modeling_tiny.py would have 9,437,184 bytes",
    ),
    "sdist-large-member": (
        lambda path: make_sdist(path, VERSION, more={"transformers-4.99.0/x.py": bytes(9 << 20)}),
        "x.py would have 9,437,184 bytes",
    ),
    "other-project": (
        lambda path: renamed(make_wheel(path, VERSION), "transformers_x-4.99.0-py3-none-any.whl"),
        "is transformers-x, not transformers",
    ),
    "other-project-sdist": (
        lambda path: renamed(make_sdist(path, VERSION), "transformers-x-4.99.0.tar.gz"),
        "is transformers-x, not transformers",
    ),
    "no-wheel-name": (
        lambda path: renamed(make_wheel(path, VERSION), "transformers-4.99.0.whl"),
        "not named as a wheel is",
    ),
    "other-version": (
        lambda path: renamed(make_wheel(path, VERSION), "transformers-4.98.0-py3-none-any.whl"),
        r"is named 4\.98\.0, but its code says 4\.99\.0",
    ),
    "other-version-sdist": (
        lambda path: renamed(make_sdist(path, VERSION), "transformers-4.98.0.tar.gz"),
        r"is named 4\.98\.0, but its code says 4\.99\.0",
    ),
    "no-version": (
        lambda path: make_wheel(path, VERSION, more={"transformers/__init__.py": b"x = 1\n"}),
        "states no __version__",
    ),
    "cannot-be-parsed": (
        lambda path: make_wheel(path, VERSION, more={PYTHON: b"def apply_rotary_pos_emb(:\n"}),
        f"{PYTHON} cannot be parsed",
    ),
    "no-archive": (lambda path: text(path / "transformers-4.99.0.egg"), "neither a wheel"),
}


@pytest.mark.parametrize(("make", "reason"), BAD.values(), ids=BAD)
def test_a_bad_archive_is_refused_by_its_name(
    make: Callable[[Path], Path], reason: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    with pytest.raises(BadSourceError, match=reason) as caught:
        harvest(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("make", [make_wheel, make_sdist])
@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [("MAX_FILES", 5, "more than 5 members"), ("MAX_TOTAL", 900, "would unpack to")],
)
def test_an_archive_of_too_much_is_refused(
    make: Callable[[Path, str], Path],
    limit: str,
    value: int,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = make(tmp_path, VERSION)
    open_source(path)
    monkeypatch.setattr(sources, limit, value)
    with pytest.raises(BadSourceError, match=reason) as caught:
        open_source(path)
    assert str(path) in str(caught.value)


def test_a_member_that_is_damaged_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = damaged_inside(tmp_path, VERSION)
    open_source(path)
    with pytest.raises(BadSourceError, match="cannot be read") as caught:
        harvest(path)
    assert str(path) in str(caught.value)


def damaged_inside(directory: Path, version: str) -> Path:
    """A wheel whose table of contents is in order, but one of whose members is not."""
    path = make_wheel(directory, version)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(PYTHON).header_offset
    content = bytearray(path.read_bytes())
    place = start + 30 + len(PYTHON) + 40  # in the middle of its data
    content[place] ^= 0xFF
    path.write_bytes(bytes(content))
    return path


def test_a_member_larger_than_declared_is_not_unpacked(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, VERSION, more={PYTHON: bytes(1 << 20)})
    content = path.read_bytes()
    declared = (1 << 20).to_bytes(4, "little")
    assert content.count(declared) == 2  # before the data, and in the table of contents
    path.write_bytes(content.replace(declared, (100).to_bytes(4, "little")))
    with pytest.raises(BadSourceError, match="cannot be read"):
        harvest(path)


def test_what_was_removed_after_opening_is_an_error(tmp_path: Path) -> None:
    source = open_source(make_tree(tmp_path / "tree", VERSION))
    shutil.rmtree(tmp_path / "tree" / "transformers" / "utils")
    with pytest.raises(BadSourceError, match="cannot be read"):
        list(source.read(source.members))


def test_nothing_is_run(tmp_path: Path) -> None:
    trap = b'__version__ = "4.99.0"\nraise SystemExit("run")\n'
    assert harvest(make_wheel(tmp_path, VERSION, more={"transformers/__init__.py": trap})).version == VERSION
    assert b"SystemExit" not in b"".join(files_of(VERSION).values())
