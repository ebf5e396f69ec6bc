"""Every test leaves the process as it found it: nothing patched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rope_compat


@pytest.fixture(autouse=True)
def _leaves_no_patch_behind() -> Iterator[None]:
    yield
    rope_compat.unpatch()
    assert not rope_compat.status().active
