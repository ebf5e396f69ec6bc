"""Every test leaves the process as it found it; tests of what the release lacks are not collected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what has no subject here: an empty list of modules, a build or a device that is not there."""
    absent = [item for item in items if _is_empty(item) or not _is_wanted(item)]
    if absent:
        config.hook.pytest_deselected(items=absent)
        items[:] = [item for item in items if item not in absent]


def _is_empty(item: pytest.Item) -> bool:
    return any("empty parameter set" in str(mark.kwargs.get("reason")) for mark in item.iter_markers("skip"))


def _is_wanted(item: pytest.Item) -> bool:
    return all(mark.args[0] for mark in item.iter_markers("only"))
