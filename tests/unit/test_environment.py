"""detect() and require(): what is installed, in all the odd ways of being installed, without importing it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import packaging.requirements  # noqa: F401  (imported here, as the tests take site-packages off sys.path)
import pytest

from rope_compat import _environment as environment
from rope_compat._environment import detect, require
from rope_compat._environment import packages as metadata
from rope_compat._environment.model import PackageInfo
from rope_compat.errors import (
    ArgumentError,
    EnvironmentMismatchError,
    IncompatibleVersionWarning,
    RopeCompatError,
)

PACKAGES = ("transformers", "torch", "accelerate", "kernels", "flash_attn")
CHECKOUT = Path(__file__).parents[2]


class Site:
    """A directory on sys.path that packages can be put into, as an installer would."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def package(self, name: str, version: str | None = None) -> Path:
        root = self.directory / name
        root.mkdir()
        # Importing it fails: everything must be found out without.
        literal = f'__version__ = "{version}"\n' if version is not None else ""
        (root / "__init__.py").write_text(f'{literal}raise RuntimeError("{name} was imported")\n')
        return root

    def dist(self, name: str, version: str | None, head: str = "", direct_url: str | None = None) -> Path:
        root = self.directory / f"{name}-{version}.dist-info"
        root.mkdir()
        if version is not None:
            text = (
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{head}\nVersion: 0 is not this\n"
            )
            (root / "METADATA").write_text(text)
        if direct_url is not None:
            (root / "direct_url.json").write_text(direct_url)
        return root

    def install(self, name: str, version: str, **kwargs: str) -> None:
        self.package(name.replace("-", "_"), version)
        self.dist(name.replace("-", "_"), version, **kwargs)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """An empty site, with everything really installed out of sight."""
    standard = [entry for entry in sys.path if "site-packages" not in entry and "dist-packages" not in entry]
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *standard])
    for name in PACKAGES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    return Site(tmp_path / "site")


def codes(found: environment.Environment) -> set[str]:
    return {problem.code for problem in found.problems if problem.severity != "note"}


# The installed transformers


def test_detect_finds_the_installed_packages_without_importing_them() -> None:
    code = (
        "import json, sys\nfrom rope_compat._environment import detect\nfound = detect().to_dict()\n"
        "assert not {'torch', 'transformers', 'accelerate', 'kernels'} & set(sys.modules)\n"
        "print(json.dumps(found))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=CHECKOUT, capture_output=True, text=True
    )
    found = json.loads(run.stdout)
    assert found["transformers"]["metadata_version"] == importlib.metadata.version("transformers")
    assert found["torch"]["metadata_version"] == importlib.metadata.version("torch")
    assert found["transformers"]["present"] is True
    assert found["transformers"]["code_version"] == found["transformers"]["version"]
    assert found["verdict"] in ("supported", "untested", "development")
    assert found["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")


def test_detect_agrees_with_itself_whether_or_not_transformers_is_loaded() -> None:
    code = (
        "from rope_compat._environment import detect\nfrom dataclasses import replace\nbefore = detect()\n"
        "import transformers\nafter = detect()\nassert after.transformers.loaded\n"
        "assert before.transformers == replace(after.transformers, loaded=False)\n"
        "assert before.problems == after.problems\n"
        "assert after.transformers.version == transformers.__version__"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CHECKOUT)


# Odd installations


def test_nothing_is_installed(site: Site) -> None:
    found = detect()
    assert found.verdict == "unsupported"
    assert codes(found) == {"missing"}
    assert found.transformers == PackageInfo("transformers", present=False)
    assert not any(package.present for package in found.packages)
    assert 'pip install "transformers>=4.36.0' in str(found.problems[0])


def test_a_release(site: Site) -> None:
    site.install("transformers", "4.49.0", head="Requires-Python: >=3.9.0")
    found = detect()
    assert (found.verdict, codes(found)) == ("supported", set())
    assert found.transformers.version == found.transformers.metadata_version == "4.49.0"
    assert found.transformers.kind == "release"
    assert found.transformers.location == str(site.directory / "transformers")
    assert found.transformers.wants == {"python": ">=3.9.0"}
    assert found.transformers.direct_url is None
    assert not found.transformers.loaded
    json.dumps(found.to_dict())


def test_a_development_build_from_git(site: Site) -> None:
    record = {
        "url": "https://user:secret@github.com/huggingface/transformers.git",
        "vcs_info": {"vcs": "git", "commit_id": "0123abc", "requested_revision": "main"},
    }
    site.install("transformers", "4.49.0.dev0", direct_url=json.dumps(record))
    found = detect()
    assert (found.verdict, codes(found)) == ("development", {"development-build"})
    origin = found.transformers.direct_url
    assert origin is not None
    assert (origin.vcs, origin.commit, origin.requested_revision) == ("git", "0123abc", "main")
    assert origin.url == "https://github.com/huggingface/transformers.git"
    message = str(found.problems[0])
    assert "0123abc" in message
    assert "older than 4.49.0" in message
    assert "secret" not in json.dumps(found.to_dict())


def test_an_editable_checkout_is_described_by_its_metadata(site: Site, tmp_path: Path) -> None:
    checkout = tmp_path / "a checkout"
    package = Site(checkout / "src").package("transformers", "4.49.0")
    sys.path.append(str(checkout / "src"))
    record = {"url": checkout.as_uri(), "dir_info": {"editable": True}}
    site.dist("transformers", "4.49.0", direct_url=json.dumps(record))
    found = detect()
    origin = found.transformers.direct_url
    assert origin is not None
    assert origin.editable
    assert origin.directory == str(checkout)
    assert found.transformers.location == str(package)
    assert not found.transformers.metadata_is_elsewhere
    assert (found.verdict, codes(found)) == ("supported", set())
    assert [problem.code for problem in found.problems if "source" in problem.code] == ["source-install"]


def test_a_checkout_without_metadata(site: Site) -> None:
    site.package("transformers", "4.49.0.dev0")
    found = detect()
    assert found.transformers.present
    assert (found.transformers.version, found.transformers.metadata_version) == ("4.49.0.dev0", None)
    assert found.verdict == "development"


@pytest.mark.parametrize(
    ("installed", "expected"), [("4.57.6", "version-mismatch"), ("4.49.0", "other-copy")]
)
def test_a_checkout_before_an_installed_copy(
    site: Site, tmp_path: Path, installed: str, expected: str
) -> None:
    site.install("transformers", installed, direct_url='{"url": "https://example.org/x", "vcs_info": {}}')
    other = Site(tmp_path / "checkout")
    other.package("transformers", "4.49.0")
    sys.path.insert(0, str(other.directory))
    found = detect()
    assert found.transformers.version == "4.49.0"
    assert found.transformers.metadata_version == installed
    assert found.transformers.metadata_is_elsewhere
    assert expected in {problem.code for problem in found.problems}


def test_code_and_metadata_that_disagree(site: Site) -> None:
    site.package("transformers", "4.48.3")
    site.dist("transformers", "4.49.0")
    found = detect()
    assert found.transformers.version == "4.48.3"
    assert codes(found) == {"version-mismatch"}
    assert "4.48.3" in str(found.problems[0])
    assert "4.49.0" in str(found.problems[0])


def test_two_metadata_directories_and_the_rest_of_an_interrupted_one(site: Site) -> None:
    site.dist("transformers", "4.48.3")
    site.install("transformers", "4.49.0")
    site.dist("transformers", None)
    found = detect()
    assert found.transformers.metadata_version == "4.49.0"
    assert found.transformers.other_metadata_versions == ("4.48.3",)
    assert codes(found) == {"several-metadata"}


def test_the_same_directory_twice_on_the_path_is_one_installation(site: Site) -> None:
    site.install("transformers", "4.49.0")
    sys.path.append(str(site.directory))
    assert detect().transformers.other_metadata_versions == ()


def test_metadata_without_a_package(site: Site) -> None:
    site.dist("transformers", "4.49.0")
    found = detect()
    assert (found.verdict, codes(found)) == ("unsupported", {"broken-install"})
    assert found.transformers.broken
    assert "--force-reinstall" in str(found.problems[0])


def test_a_directory_without_init_is_no_package(site: Site) -> None:
    (site.directory / "transformers" / "models").mkdir(parents=True)
    found = detect()
    assert not found.transformers.present
    assert (found.verdict, codes(found)) == ("unsupported", {"broken-install"})


def test_a_file_that_stands_in_the_way(site: Site) -> None:
    (site.directory / "transformers.py").write_text('__version__ = "4.49.0"\n')
    found = detect()
    assert (found.verdict, codes(found)) == ("unsupported", {"shadowed"})
    assert "transformers.py" in str(found.problems[0])


def test_a_package_that_states_no_version(site: Site) -> None:
    site.package("transformers")
    found = detect()
    assert (found.verdict, codes(found)) == ("untested", {"no-version"})


@pytest.mark.parametrize(
    ("text", "build"),
    [
        ("cuda: Optional[str] = '12.6'\nhip: Optional[str] = None", "cuda 12.6"),
        ("cuda = None\nhip = '6.2.4'", "hip 6.2.4"),
        ("cuda: Optional[str] = None\nhip: Optional[str] = None", "cpu"),
    ],
)
def test_the_build_of_torch(site: Site, text: str, build: str) -> None:
    site.package("torch")
    (site.directory / "torch" / "version.py").write_text(f"__version__ = '2.6.0+x'\n{text}\n")
    assert (detect().torch.version, detect().torch.build) == ("2.6.0+x", build)


def test_flash_attn_and_kernels_and_accelerate(site: Site) -> None:
    for name, version in (("flash-attn", "2.8.3"), ("kernels", "0.18.2"), ("accelerate", "1.10.1")):
        site.install(name, version)
    found = detect()
    versions = [package.version for package in (found.flash_attn, found.kernels, found.accelerate)]
    assert versions == ["2.8.3", "0.18.2", "1.10.1"]


def test_a_loaded_module_counts_before_what_is_on_the_path(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("transformers", "4.49.0")
    loaded = types.ModuleType("transformers")  # no spec and no file, as tests of other projects make them
    monkeypatch.setitem(sys.modules, "transformers", loaded)
    loaded.__dict__["_objects"] = {"__version__": "4.48.3"}  # where transformers' own lazy module keeps it
    assert detect().transformers.version == "4.48.3"
    loaded.__dict__["__version__"] = "4.47.1"
    found = detect().transformers
    assert (found.version, found.loaded, found.present) == ("4.47.1", True, True)


def test_a_lazily_loaded_module_is_not_loaded_by_looking(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("torch", "2.6.0")
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "torch", module)
    spec.loader.exec_module(module)
    found = detect().torch  # loading it would raise RuntimeError
    assert (found.version, found.present, found.loaded) == ("2.6.0", True, False)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (None, None),
        ("", None),
        ("{", None),
        ("[]", None),
        ('{"vcs_info": {}}', None),
        ('{"url": "https://token@example.org/t.whl", "archive_info": {}}', "https://example.org/t.whl"),
        ('{"url": "ssh://git@example.org/t", "vcs_info": []}', "ssh://git@example.org/t"),
        ('{"url": "ssh://git:pw@example.org/t"}', "ssh://example.org/t"),
        ('{"url": "https://[bad"}', "(unreadable URL)"),
    ],
)
def test_direct_url_of_any_content(text: str | None, url: str | None) -> None:
    found = metadata.direct_url(text)
    assert (found.url if found else None) == url
    assert found is None or (found.editable, found.directory, found.commit) == (False, None, None)


# require()


@pytest.mark.parametrize(
    ("version", "wanted", "met"),
    [
        ("4.49.0", "transformers>=4.49,<5", True),
        ("4.49.0", ">=4.49,<5", True),
        ("4.49.0", "transformers", True),
        ("4.49.0", "Transformers [torch] ~= 4.49.0", True),
        ("4.49.0", 'transformers>=5; python_version < "3"', True),
        ("4.48.3", "transformers>=4.49,<5", False),
        ("5.0.0", "transformers>=4.49,<5", False),
        ("4.49.0.dev0", ">=4.49", False),
        ("4.49.0.dev0", "==4.49.0", False),
        ("4.49.0.dev0", "~=4.49.0", False),
        ("4.49.0.dev0", "<4.49", False),
        ("4.49.0.dev0", ">=4.48,<4.50", True),
        ("5.0.0rc1", ">=4.49", True),
        ("5.0.0rc1", ">=5", False),
        ("4.49.0+local", "==4.49.0", True),
        ("a fork", "transformers", True),
        ("a fork", ">=4.49", False),
    ],
)
def test_require_compares_in_the_order_of_versions(site: Site, version: str, wanted: str, met: bool) -> None:
    site.package("transformers", version)
    if met:
        assert require(wanted, on_fail="error") is True
        return
    with pytest.raises(EnvironmentMismatchError) as caught:
        require(wanted, on_fail="error")
    full = wanted if wanted.startswith("transformers") else f"transformers{wanted}"
    assert f'pip install "{full}"' in str(caught.value)
    assert f"transformers {version} is installed" in str(caught.value)
    assert isinstance(caught.value, ImportError)


def test_require_says_why_a_development_build_is_not_its_release(site: Site) -> None:
    site.install("transformers", "4.49.0.dev0")
    with pytest.warns(IncompatibleVersionWarning, match=r"development build, which is older than 4\.49\.0"):
        assert require("transformers>=4.49") is False
    with pytest.warns(IncompatibleVersionWarning, match=r"nor as <4\.49: PEP 440"):
        assert require("transformers<4.49") is False


def test_require_of_what_is_missing_and_of_other_packages(site: Site) -> None:
    site.dist("Flash_Attn", "2.8.3")
    assert require("flash-attn>=2.8", on_fail="error")
    assert require(f"python>={sys.version_info.major}.{sys.version_info.minor}", on_fail="error")
    with pytest.raises(EnvironmentMismatchError, match="this is Python"):
        require("python<3", on_fail="error")
    with pytest.raises(
        EnvironmentMismatchError, match=r"torch is not installed; run: pip install \"torch>=2\.1\""
    ):
        require("torch>=2.1", on_fail="error")
    site.dist("transformers", "4.49.0")  # metadata alone cannot be imported
    with pytest.raises(EnvironmentMismatchError, match="transformers is not installed"):
        require(">=4.36", on_fail="error")


def test_require_of_several_names_all_that_fail(site: Site) -> None:
    site.install("transformers", "4.49.0")
    with pytest.raises(EnvironmentMismatchError) as caught:
        require(["transformers>=5", "transformers>=4.36", "torch>=2.1"], on_fail="error")
    assert 'pip install "transformers>=5"' in str(caught.value)
    assert 'pip install "torch>=2.1"' in str(caught.value)
    assert "4.36" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "transformers>=", ">=x", "4.49", "4.49,<5", "a b", "torch @ https://e.org/t"]
)
def test_require_names_a_requirement_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        require(text)
    assert repr(text) in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RopeCompatError)


@pytest.mark.parametrize("call", [lambda: require([4.49]), lambda: require(">=4.36", on_fail="ignore")])  # type: ignore[list-item]
def test_require_refuses_other_arguments(call: Callable[[], bool]) -> None:
    with pytest.raises(ValueError, match=r"4\.49 is no requirement|on_fail='ignore'"):
        call()
