"""Every test leaves the process as it found it; tests of what the release lacks are not collected."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support.lanes import LANES, LAST, lane_of, lanes_of

import rope_compat
from rope_compat._api import _engine


@pytest.fixture(autouse=True)
def _leaves_no_patch_behind() -> Iterator[None]:
    """Undo what the test has patched; what a module's own fixture patched stays until it ends."""
    before = _engine.layers
    yield
    for layer in reversed(_engine.layers):
        if layer not in before:
            _engine.undo(layer)
    assert _engine.layers == before, "the test undid a patch that was not its own"


@pytest.fixture(autouse=True, scope="module")
def _modules_leave_no_patch_behind() -> Iterator[None]:
    yield
    rope_compat.unpatch()
    assert not rope_compat.status().active


HERE = Path(__file__).parent

# How long an example takes says nothing on a machine that does other work as well.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def wanted_lanes() -> tuple[str, ...]:
    """All lanes, or an environment's own where tox runs; ``ROPE_COMPAT_LANES`` names others, or "all"."""
    chosen = os.environ.get("ROPE_COMPAT_LANES", "")
    if chosen and chosen != "all":
        return tuple(chosen.split(","))
    environment = os.environ.get("TOX_ENV_NAME", "")
    return lanes_of(environment) if environment and not chosen else tuple(LANES)


def pytest_configure(config: pytest.Config) -> None:
    unknown = set(wanted_lanes()) - set(LANES)
    if unknown:
        raise pytest.UsageError(
            f"ROPE_COMPAT_LANES: {', '.join(unknown)}; expected {', '.join(LANES)} or all"
        )


def _below_tests(path: Path) -> str:
    return path.relative_to(HERE).as_posix()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import files of other lanes, unless single tests in them are marked for a lane of their own.

    pytest does not ask about files that the command line names: they run, whatever their lane.
    """
    if not collection_path.match("test_*.py") or lane_of(_below_tests(collection_path)) in wanted_lanes():
        return None
    return "mark.lane(" not in collection_path.read_text("utf-8") or None


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Deselect what other lanes run, and what has no subject here: a model, a build, a device."""
    lanes = wanted_lanes()

    def is_absent(item: pytest.Item) -> bool:
        elsewhere = _lane(item) not in lanes and not session.isinitpath(item.path)
        return elsewhere or _is_empty(item) or not _is_wanted(item)

    absent = [item for item in items if is_absent(item)]
    _record(items, absent, config)
    if absent:
        config.hook.pytest_deselected(items=absent)
        gone = set(absent)
        items[:] = [item for item in items if item not in gone]
    # The sort is stable: within both parts the order stays the random one.
    items.sort(key=lambda item: _below_tests(item.path) in LAST)


def _lane(item: pytest.Item) -> str:
    mark = item.get_closest_marker("lane")
    return str(mark.args[0]) if mark else lane_of(_below_tests(item.path))


def _is_empty(item: pytest.Item) -> bool:
    return any("empty parameter set" in str(mark.kwargs.get("reason")) for mark in item.iter_markers("skip"))


def _is_wanted(item: pytest.Item) -> bool:
    return all(mark.args[0] for mark in item.iter_markers("only"))


def _record(items: list[pytest.Item], absent: list[pytest.Item], config: pytest.Config) -> None:
    """Write down what is run and what is not: `.ci/matrix.py` fails for a test that no environment runs."""
    folder = os.environ.get("ROPE_COMPAT_COLLECTED", "")
    worker = getattr(config, "workerinput", {}).get("workerid", "gw0")
    if not folder or worker != "gw0":
        return
    gone = {id(item) for item in absent}
    run = {item.nodeid.partition("[")[0] for item in items if id(item) not in gone}
    # No environment has a GPU.
    named = {item.nodeid.partition("[")[0] for item in absent if not item.get_closest_marker("gpu")}
    path = Path(folder) / f"collected{os.environ.get('ROPE_COMPAT_EXPECT_X_TRANSFORMERS', '')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"run": sorted(run), "not run": sorted(named - run)}), "utf-8")
