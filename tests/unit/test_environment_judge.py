"""The verdict on any installation, what is known about each release, and how users are told."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import rope_compat._environment as rope_compat_environment
from rope_compat import catalog
from rope_compat._environment import (
    KNOWN_BAD,
    Environment,
    PackageInfo,
    Problem,
    announce,
    judge,
    warn_about,
)
from rope_compat._environment.packages import kind_of, same_version
from rope_compat.errors import (
    ArgumentError,
    DevelopmentBuildWarning,
    IncompatibleVersionError,
    IncompatibleVersionWarning,
    RopeCompatWarning,
)

PEERS = tuple(PackageInfo(name, present=False) for name in ("torch", "accelerate", "kernels"))
SUPPORTED = [r for r in catalog.releases() if Version(r) >= Version(catalog.oldest_supported())]


def transformers(version: str, **wants: str) -> PackageInfo:
    return PackageInfo(
        "transformers",
        present=True,
        version=version,
        kind=kind_of(version),
        code_version=version,
        wants=wants,
    )


def environment_with(version: str) -> Environment:
    verdict, problems = judge(transformers(version), PEERS, "3.11.7")
    torch, accelerate, kernels = PEERS
    flash_attn = PackageInfo("flash-attn", present=False)
    found = transformers(version)
    return Environment("3.11.7", found, torch, accelerate, kernels, flash_attn, verdict, problems)


def problem(code: str, version: str, python: str = "3.11.7") -> Problem | None:
    found = judge(transformers(version), PEERS, python)[1]
    return next((each for each in found if each.code == code), None)


@given(st.sampled_from(SUPPORTED))
def test_every_known_release_from_4_36_on_is_supported_and_its_development_builds_are_not_it(
    release: str,
) -> None:
    assert judge(transformers(release), PEERS, "3.11.7")[0] == "supported"
    verdict = judge(transformers(f"{release}.dev0"), PEERS, "3.11.7")[0]
    assert verdict == ("unsupported" if release == catalog.oldest_supported() else "development")


@pytest.mark.parametrize(
    ("version", "verdict", "code"),
    [
        ("4.35.2", "unsupported", "too-old"),
        ("4.36.0.dev0", "unsupported", "too-old"),
        ("4.36.0rc1", "unsupported", "too-old"),
        ("4.36.1.dev0", "development", "development-build"),
        ("4.49.0.dev0+gabcdef", "development", "development-build"),
        ("999.0.0.dev0", "development", "development-build"),
        ("999.0.0", "untested", "newer-than-known"),
        (f"{catalog.newest_known()}.post1", "untested", "newer-than-known"),
        ("4.46.0", "untested", "unlisted"),
        ("5.0.0rc1", "untested", "pre-release"),
        ("4.49.0-our-fork", "untested", "unreadable-version"),
        ("4.49.0+cu126", "supported", None),
        ("4.49", "supported", None),
    ],
)
def test_verdicts(version: str, verdict: str, code: str | None) -> None:
    found = environment_with(version)
    assert found.verdict == verdict
    graver = [each.code for each in found.problems if each.code in (code, "too-old", "unlisted")]
    assert graver == ([code] if code is not None else [])
    if code is not None:
        assert re.search(r"pip install (--upgrade )?\S", str(found.problems[0]))


def test_the_release_to_install_instead_of_a_development_build_exists() -> None:
    assert 'transformers==4.49.0"' in str(problem("development-build", "4.49.0.dev0"))
    assert f'transformers=={catalog.newest_known()}"' in str(problem("development-build", "999.0.0.dev0"))


@pytest.mark.parametrize(
    ("code", "first", "last"),
    [
        ("remote-code-weights", "5.0.0", "5.2.0"),
        ("qwen-vl-3d-positions", "4.53.1", "4.53.3"),
        ("qwen-vl-packing", "4.54.0", "4.56.2"),
        ("gpt-neox-partial-rotary", "5.0.0", "5.4.0"),
        ("yarn-original-length", "4.43.0", "4.50.3"),
        ("yarn-factor", "4.51.0", "4.55.4"),
        ("longrope-short", "4.48.0", "4.50.3"),
    ],
)
def test_known_bad_releases_are_exactly_these(code: str, first: str, last: str) -> None:
    found = [release for release in SUPPORTED if problem(code, release) is not None]
    assert (found[0], found[-1]) == (first, last)
    assert SUPPORTED.index(last) - SUPPORTED.index(first) + 1 == len(found)


def test_stale_dynamic_ntk_in_two_ranges() -> None:
    found = {release for release in SUPPORTED if problem("dynamic-ntk-stale", release) is not None}
    assert {"4.42.4", "5.0.0", "5.12.1"} <= found
    assert not {"4.43.0", "4.57.6", "5.13.0"} & found


def test_python_too_old() -> None:
    assert problem("python-too-old", "5.21.0", "3.10.14") is not None
    assert problem("python-too-old", "5.21.0", "3.11.0") is None
    assert problem("python-too-old", "5.20.2", "3.10.14") is None


@pytest.mark.parametrize("fact", KNOWN_BAD, ids=lambda fact: f"{fact.code}{fact.releases}")
def test_each_known_bad_record_is_true_somewhere_and_its_remedy_is_a_way_out(fact: object) -> None:
    assert fact in KNOWN_BAD
    record = KNOWN_BAD[KNOWN_BAD.index(fact)]  # type: ignore[arg-type]
    affected = SpecifierSet(record.releases)
    assert any(affected.contains(release) for release in SUPPORTED)
    assert not record.message.endswith(".")
    for wanted in re.findall(r'"transformers([^"]+)"', record.remedy):
        choices = list(SpecifierSet(wanted).filter(SUPPORTED))
        assert choices
        assert not any(affected.contains(choice) for choice in choices[-3:]), "pip would take one of these"


@pytest.mark.parametrize(
    ("peer", "version", "wanted", "severity"),
    [
        ("torch", "2.1.0", ">=2.6", "warning"),
        ("torch", "2.6.0+cpu", ">=2.6", None),
        ("torch", "2.7.0.dev20250101+cu126", ">=2.6", None),
        ("kernels", "0.19.0", "<0.19,>=0.18.2", "note"),
        ("kernels", "0.18.2", "<0.19,>=0.18.2", None),
        ("accelerate", "0.20", ">=1.1.0", "note"),
        ("accelerate", "0.20", "not a specifier", None),
        ("accelerate", "unreadable", ">=1.1.0", None),
    ],
)
def test_peers_are_held_against_what_transformers_asks_for(
    peer: str, version: str, wanted: str, severity: str | None
) -> None:
    info = PackageInfo(peer, present=True, version=version)
    found = judge(transformers("5.23.0", **{peer: wanted}), (info,), "3.11.7")[1]
    severities = {each.severity: each for each in found if each.code == f"{peer}-version"}
    assert list(severities) == ([severity] if severity else [])
    if severity:
        assert f'pip install "{peer}{wanted}"' in str(found)


def test_the_gravest_problem_comes_first() -> None:
    order = ["fatal", "warning", "note"]
    for version in ("4.28.0", "4.42.0", "5.0.0", "5.1.0.dev0", "999.0.0"):
        found = [order.index(each.severity) for each in environment_with(version).problems]
        assert found == sorted(found)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("4.49", "4.49.0", True),
        ("2.1.0", "2.1.0+cu118", True),
        ("4.49.0.dev0", "4.49.0", False),
        ("x", "x", True),
    ],
)
def test_same_version(one: str, other: str, same: bool) -> None:
    assert same_version(one, other) is same


# Telling users


def test_warn_about_warns_at_the_users_line_with_one_class_each() -> None:
    with pytest.warns(RopeCompatWarning) as caught:
        warn_about(environment_with("5.1.0.dev0"))
    assert {each.category for each in caught} == {DevelopmentBuildWarning, IncompatibleVersionWarning}
    assert {each.filename for each in caught} == {__file__}
    line = Path(__file__).read_text(encoding="utf-8").splitlines()[caught[0].lineno - 1]
    assert "warn_about(environment_with(" in line


def test_notes_are_not_warned_about() -> None:
    found = environment_with("4.49.0")
    assert found.problems
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_about(found)
        warn_about(found, "error")


def test_on_problem() -> None:
    missing = dataclasses.replace(
        environment_with("4.49.0"), problems=(Problem("missing", "fatal", "gone", 'pip install "x"'),)
    )
    with pytest.raises(IncompatibleVersionError, match='gone; pip install "x"'):
        warn_about(missing, "error")
    with pytest.warns(IncompatibleVersionWarning, match="gone"):
        warn_about(missing, "warn")
    with pytest.warns(IncompatibleVersionWarning, match="random values"):
        warn_about(environment_with("5.1.0"), "error")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_about(missing, "ignore")
    with pytest.raises(ArgumentError, match="'warn', 'error' or 'ignore'"):
        warn_about(missing, "loud")


def test_the_same_message_is_issued_once_from_wherever_it_comes() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        announce("one", IncompatibleVersionWarning)
        announce("one", IncompatibleVersionWarning)
        for _ in range(3):
            announce("one", IncompatibleVersionWarning)
        announce("two", IncompatibleVersionWarning)
        announce("one", DevelopmentBuildWarning)
    assert [str(each.message) for each in caught] == ["one", "two", "one"]
    with warnings.catch_warnings(record=True) as again:
        warnings.simplefilter("default")  # other filters, as in the next test of a suite: it counts anew
        announce("one", IncompatibleVersionWarning)
    assert len(again) == 1


def test_the_standard_filters_decide() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        announce("one", IncompatibleVersionWarning)
        announce("one", IncompatibleVersionWarning)
        warnings.simplefilter("ignore", RopeCompatWarning)
        announce("one", IncompatibleVersionWarning)
        warnings.filterwarnings("error", category=RopeCompatWarning, module=re.escape(__name__))
        for _ in range(2):
            with pytest.raises(IncompatibleVersionWarning, match="one"):
                announce("one", IncompatibleVersionWarning)
    assert len(caught) == 2


def test_frames_of_the_package_and_of_with_statements_are_not_the_users_line() -> None:
    inside = os.path.join(os.path.dirname(os.path.dirname(rope_compat_environment.__file__)), "made_up.py")
    names: dict[str, object] = {"announce": announce, "category": IncompatibleVersionWarning}
    exec(compile("def patch():\n    announce('deep', category)\n", inside, "exec"), names)
    patch = names["patch"]
    assert callable(patch)

    source = "@contextmanager\ndef patched():\n    patch()\n    yield\n"
    names["contextmanager"] = contextlib.contextmanager
    exec(compile(source, inside, "exec"), names)
    patched = names["patched"]
    assert callable(patched)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch()
        manager: contextlib.AbstractContextManager[None] = patched()
        with manager:
            pass
    assert [each.filename for each in caught] == [__file__, __file__]
