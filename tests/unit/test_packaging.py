"""The package as it is installed: version, typing marker, entry point, data, weight of its import."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rope_compat
from rope_compat import _version

ROOT = Path(__file__).resolve().parents[2]
# Only a Python with the package installed has metadata; a checkout on the path has none.
INSTALLED = any(d.name == "rope_compat" for d in importlib.metadata.distributions(name="rope_compat"))
needs_metadata = pytest.mark.only(INSTALLED, reason="rope_compat is run from a checkout, not installed")


def run_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(rope_compat.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_version_is_written_in_one_place() -> None:
    assert rope_compat.__version__ == _version.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", _version.__version__)
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert 'dynamic = ["version"]' in text
    assert not re.search(r"^version\s*=", text, re.MULTILINE)


def test_changelog_knows_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## [{_version.__version__}]" in text


@needs_metadata
def test_metadata_says_the_same_version() -> None:
    assert importlib.metadata.version("rope_compat") == _version.__version__


@needs_metadata
def test_command_is_declared() -> None:
    scripts = importlib.metadata.entry_points(group="console_scripts", name="rope-compat")
    assert {script.value for script in scripts} == {"rope_compat._cli.main:main"}


@needs_metadata
def test_packaging_is_the_only_dependency() -> None:
    requirements = importlib.metadata.requires("rope_compat") or []
    assert [r for r in requirements if "extra ==" not in r] == ["packaging>=22"]


def test_typing_marker_and_data_are_shipped() -> None:
    files = importlib.resources.files("rope_compat")
    assert files.joinpath("py.typed").is_file()
    data = files.joinpath("catalog", "data", "transformers.catalog")
    assert data.read_bytes().startswith(b'{"kind":"rope_compat catalog"')


def test_import_needs_neither_torch_nor_transformers() -> None:
    code = "import sys, rope_compat; print(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    assert run_python(code).strip() == "[]"


def test_import_works_where_torch_and_transformers_are_missing() -> None:
    code = (
        "import sys; sys.modules.update(torch=None, transformers=None)\n"
        "import rope_compat; print(rope_compat.__version__)"
    )
    assert run_python(code).strip() == _version.__version__


def test_every_public_name_can_be_had() -> None:
    assert rope_compat.__all__
    missing = [name for name in rope_compat.__all__ if not hasattr(rope_compat, name)]
    assert missing == []
    assert set(rope_compat.__all__) <= set(dir(rope_compat))


@pytest.mark.parametrize("room", ["catalog", "configs", "errors", "functional", "rotary", "strict"])
def test_what_is_promised_is_an_attribute_after_a_bare_import(room: str) -> None:
    code = f"import rope_compat; assert rope_compat.{room}.__name__ == 'rope_compat.{room}'"
    subprocess.run([sys.executable, "-c", code], check=True)
