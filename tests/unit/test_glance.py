"""The quick look at transformers must agree with the thorough one, wherever it says anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import rope_compat
from rope_compat import catalog
from rope_compat._environment import KNOWN_BAD
from rope_compat._environment import release as glance

WHERE = os.path.dirname(os.path.dirname(os.path.abspath(rope_compat.__file__)))


ASK = "from rope_compat._environment.release import plain_release; print(plain_release())"


def look(code: str, *paths: Path) -> str:
    """Run code in a fresh interpreter that sees `paths` first."""
    path = os.pathsep.join([*map(str, paths), WHERE])
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        env={**os.environ, "PYTHONPATH": path, "ROPE_COMPAT": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def install(site: Path, version: str, *, code_version: str | None = None, direct_url: bool = False) -> Path:
    """A transformers that says what it is and holds nothing else."""
    (site / "transformers").mkdir(parents=True)
    said = version if code_version is None else code_version
    (site / "transformers" / "__init__.py").write_text(f'__version__ = "{said}"\n')
    info = site / f"transformers-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n")
    if direct_url:
        (info / "direct_url.json").write_text('{"url": "https://example.org/x", "vcs_info": {"vcs": "git"}}')
    return site


def test_releases_with_warnings_are_those_of_the_known_bad_list() -> None:
    warned = {
        release
        for release in catalog.releases()
        for bad in KNOWN_BAD
        if bad.severity != "note" and bad.code != "python-too-old" and release in SpecifierSet(bad.releases)
    }
    assert warned == set(glance.WITH_WARNINGS)


def test_it_agrees_with_the_thorough_look_at_what_is_installed() -> None:
    said = look(ASK).strip()
    environment = rope_compat.detect()
    grave = [p.code for p in environment.problems if p.severity != "note" and not p.code.startswith("torch")]
    assert said == (environment.transformers.version if not grave else "None")


@pytest.mark.parametrize("version", ["4.36.0", "4.49.0", "5.3.0"])
def test_plain_releases(tmp_path: Path, version: str) -> None:
    site = install(tmp_path, version)
    assert (
        look("from rope_compat._environment.release import plain_release; print(plain_release())", site)
        == f"{version}\n"
    )


@pytest.mark.parametrize(
    ("version", "options"),
    [
        ("4.35.2", {}),
        ("4.49.0.dev0", {}),
        ("5.1.0", {}),
        ("99.0.0", {}),
        ("4.49.0", {"code_version": "4.49.0.dev0"}),
        ("4.49.0", {"direct_url": True}),
    ],
)
def test_everything_else_is_left_to_the_thorough_look(
    tmp_path: Path, version: str, options: dict[str, str]
) -> None:
    site = install(tmp_path, version, **options)  # type: ignore[arg-type]
    assert look(ASK, site) == "None\n"


@pytest.mark.parametrize(
    ("version", "warning"),
    [
        ("4.35.2", "IncompatibleVersionWarning: transformers 4.35.2 is too old"),
        ("4.49.0.dev0", "DevelopmentBuildWarning: transformers 4.49.0.dev0"),
        ("5.1.0", "IncompatibleVersionWarning: transformers 5.1.0"),
        ("99.0.0", "IncompatibleVersionWarning: transformers 99.0.0 is newer"),
    ],
)
def test_patch_warns_at_once_of_what_is_wrong_with_transformers(
    tmp_path: Path, version: str, warning: str
) -> None:
    output = look("import rope_compat; rope_compat.patch()", install(tmp_path, version))
    assert f"<string>:1: {warning}" in output


def test_patch_raises_at_once_with_on_problem_error(tmp_path: Path) -> None:
    code = "import rope_compat; rope_compat.patch(on_problem='error')"
    output = look(code, install(tmp_path, "4.35.2"))
    assert "IncompatibleVersionError: transformers 4.35.2 is too old" in output
    assert 'pip install "transformers>=4.36.0' in output


def test_a_plain_release_is_looked_at_closely_when_it_is_imported(tmp_path: Path) -> None:
    """Peers are judged then: here, a metadata directory of a second release appears in between."""
    site = install(tmp_path, "4.49.0")
    code = (
        "import rope_compat, os; rope_compat.patch(); print('patched');"
        f"os.mkdir({str(site)!r} + '/transformers-4.48.0.dist-info');"
        f"open({str(site)!r} + '/transformers-4.48.0.dist-info/METADATA', 'w')"
        ".write('Metadata-Version: 2.1\\nName: transformers\\nVersion: 4.48.0\\n');"
        "import transformers; print('imported')"
    )
    output = look(code, site)
    before, _, after = output.partition("imported")
    assert "patched" in before
    assert "IncompatibleVersionWarning" in after
    assert "4.48.0" in after
