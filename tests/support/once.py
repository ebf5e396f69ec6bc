"""The mark of tests whose outcome does not depend on the installed release."""

from __future__ import annotations

import pytest

from .lanes import ONCE

once = pytest.mark.lane(ONCE)
