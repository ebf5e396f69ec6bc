"""What ``position_ids`` beside a table-shaped cos mean: rows to pick, or nothing.

Up to 4.37.2 cos and sin are tables ``[S, D]`` that ``position_ids`` index. From 4.38.0 to
4.57.6 cos and sin are gathered and ``position_ids`` are taken and ignored. A table beside
position_ids therefore means indexing, wherever it can; the one shape that both readings
fit is packed tokens: q ``[S, H, D]``, cos ``[S, D]``, position_ids ``[S]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from packaging.version import Version
from torch import Tensor

from .base import Context
from .generation import Generation
from .parse import UnreadableCall, is_table

__all__ = ["TableRule", "table_rule"]

# huggingface/transformers 4.38.0: rotary modules return gathered cos and sin, position_ids are ignored.
GATHERED_SINCE = Version("4.38.0.dev0")


@dataclass(frozen=True, slots=True)
class TableRule:
    """Decides between the two readings.

    Attributes:
        written: what ``written_for`` says of it, None where the user did not say.
        native: what the native function does with position_ids.
    """

    written: str | None
    native: str

    def indexes(self, q: Any, cos: Any, position_ids: Tensor) -> bool:
        """Whether `position_ids` pick rows of `cos`.

        Raises:
            UnreadableCall: both readings fit, and nothing decides.
        """
        if not is_table(cos):
            return False
        if cos.dim() == 4:
            return True
        if self.written is not None:
            return self.written == "indexes"
        if not isinstance(q, Tensor) or q.dim() != 3:
            return True
        if position_ids.dim() != 1 or self.native == "ignored":
            return False
        if self.native == "indexes":
            return True
        raise UnreadableCall(
            "q is [S, H, D], cos is [S, D] and position_ids are [S]: code for releases to 4.37 means rows of "
            "a table, code for 4.38 to 4.57 means one row a token and ignored position_ids. "
            'Say which with patch(written_for="4.37") or patch(written_for="4.57")'
        )


def table_rule(generation: Generation, context: Context) -> TableRule:
    """The rule for one native function and the user's ``written_for``."""
    if context.written_for is None:
        return TableRule(None, generation.positions)
    signature = context.signature_written_for
    if signature is not None and "position_ids" in signature:
        written = "ignored" if "position_ids=None" in signature else "indexes"
    else:
        written = "indexes" if context.written_for < GATHERED_SINCE else "ignored"
    return TableRule(written, generation.positions)
