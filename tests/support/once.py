"""Tests whose outcome does not depend on the installed release run in two environments of the matrix only."""

from __future__ import annotations

import os

import pytest

_EXPECTED = os.environ.get("ROPE_COMPAT_EXPECT_TRANSFORMERS", "")

#: Two of the README's test command, and wherever tests are run by hand.
once = pytest.mark.only(
    _EXPECTED in ("", "4.49.0", "5.23.0"), reason="the same with every release of transformers"
)
