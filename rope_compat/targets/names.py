"""Names of the functions that are adapted, for those who must not import torch to know them."""

from __future__ import annotations

__all__ = ["NAMES"]

NAMES = ("apply_rotary_pos_emb", "apply_rotary_pos_emb_vision", "apply_rotary_pos_emb_flashatt")
