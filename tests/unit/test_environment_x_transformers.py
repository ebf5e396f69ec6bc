"""What is said of an installation with x-transformers, with or without transformers; none has to be there."""

from __future__ import annotations

import pytest
from packaging.version import Version

from rope_compat._environment import judge
from rope_compat._environment.model import PackageInfo
from rope_compat._facts.known_bad_x_transformers import X_TRANSFORMERS_BAD

NONE = PackageInfo("transformers", present=False)


def found(version: str, transformers: PackageInfo = NONE) -> tuple[str, set[str]]:
    other = PackageInfo("x-transformers", present=True, version=version, kind="release")
    verdict, problems = judge(transformers, (other,), "3.11.7")
    assert all(problem.severity == "note" for problem in problems)
    return verdict, {problem.code for problem in problems}


def test_alone_it_is_supported() -> None:
    assert found("2.31.10") == ("supported", {"without-transformers"})
    verdict, problems = judge(NONE, (PackageInfo("x-transformers", present=False),), "3.11.7")
    assert (verdict, [problem.severity for problem in problems]) == ("unsupported", ["fatal"])


def test_beside_transformers_it_changes_nothing() -> None:
    here = PackageInfo("transformers", True, "5.18.0", "release", code_version="5.18.0")
    alone = judge(here, (), "3.11.7")
    other = PackageInfo("x-transformers", present=True, version="2.31.10", kind="release")
    assert judge(here, (other,), "3.11.7") == alone


@pytest.mark.parametrize(
    ("version", "codes"),
    [
        ("1.15.2", {"too-old"}),
        ("1.16.0", set()),
        ("1.21.0", {"xpos-cache"}),
        ("1.22.9", {"offset", "xpos-cache"}),
        ("1.25.4", {"xpos-name", "xpos-cache"}),
        ("1.27.5", {"xpos-name", "xpos-cache"}),
        ("1.27.6", {"xpos-index", "xpos-cache"}),
        ("1.27.12", {"typ-as"}),
        ("1.27.14", set()),
        ("1.43.1", {"xpos-einops", "xpos-batch"}),
        ("2.11.11", {"xpos-batch"}),
        ("2.11.12", set()),
    ],
)
def test_broken_releases_are_named(version: str, codes: set[str]) -> None:
    expected = {f"x-transformers-{code}" for code in codes} | {"without-transformers"}
    assert found(version)[1] == expected


@pytest.mark.parametrize("fact", X_TRANSFORMERS_BAD, ids=lambda fact: fact.code)
def test_the_release_to_install_instead_has_not_that_fault(fact: object) -> None:
    remedy, code = fact.remedy, fact.code  # type: ignore[attr-defined]
    version = remedy.partition(">=")[2].rstrip('"')
    assert Version(version)
    assert code not in found(version)[1]
