"""That a tox environment has the releases which its name promises (`tox.ini` sets the expectations)."""

from __future__ import annotations

import importlib.metadata
import os

import pytest
from packaging.version import Version

EXPECTED = os.environ.get("ROPE_COMPAT_EXPECT_TRANSFORMERS", "")
EXPECTED_KERNELS = os.environ.get("ROPE_COMPAT_EXPECT_KERNELS", "")
# The newest release of the matrix: "newest" and "main" are at least this.
NEWEST_KNOWN = Version("5.23.0")


@pytest.mark.only(bool(EXPECTED), reason="run outside tox, where any release may be installed")
def test_transformers_is_the_release_that_the_environment_names() -> None:
    installed = importlib.metadata.version("transformers")
    if EXPECTED == "newest":
        assert Version(installed) >= NEWEST_KNOWN
        assert not Version(installed).is_prerelease
    elif EXPECTED == "main":
        assert Version(installed).release >= NEWEST_KNOWN.release
        assert "vcs_info" in (
            importlib.metadata.distribution("transformers").read_text("direct_url.json") or ""
        )
    else:
        assert installed == EXPECTED


@pytest.mark.only(bool(EXPECTED), reason="run outside tox, where any release may be installed")
def test_imported_transformers_is_the_installed_one() -> None:
    import transformers

    assert Version(transformers.__version__) == Version(importlib.metadata.version("transformers"))


@pytest.mark.only(bool(EXPECTED_KERNELS), reason="only the tox environments called kernels have that package")
def test_kernels_is_the_release_that_the_environment_names() -> None:
    from transformers.utils.import_utils import is_kernels_available

    assert importlib.metadata.version("kernels") == EXPECTED_KERNELS
    assert is_kernels_available()


@pytest.mark.only(bool(EXPECTED) and not EXPECTED_KERNELS, reason="kernels may be there by intention")
def test_kernels_is_absent_elsewhere() -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("kernels")
