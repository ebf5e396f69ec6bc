"""The patches that are run. A new one is one record in one of these modules."""

from __future__ import annotations

from .attention import RECORDS as ATTENTION
from .kernels import RECORDS as KERNELS
from .rotary import RECORDS as ROTARY
from .vision import RECORDS as VISION

RECORDS = (*ATTENTION, *ROTARY, *VISION, *KERNELS)
