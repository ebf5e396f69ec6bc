"""The shims for transformers' own modules, and the rules that carry them out."""

from __future__ import annotations

from typing import Any

from ..patching.edits import Rule
from .functions import FunctionRule, Options
from .restored import RestoreRule
from .shim import Shim

__all__ = ["SHIMS", "rules"]

_QWEN2_5_VL = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"

ROTARY = Shim(
    name="apply-rotary-pos-emb",
    kind="adapt",
    targets=("transformers.models.*:apply_rotary_pos_emb",),
    why=(
        "position_ids index tables up to 4.37.2, are ignored from 4.38.0 to 4.57.6 and gone from 5.0.0, "
        "where the fifth place is unsqueeze_dim: calls written for one of these fail on another, or give "
        "wrong numbers"
    ),
    since="4.36.0",
    until=None,
    upstream="src/transformers/models/*/modeling_*.py at 4.35.0, 4.38.0 and 5.0.0",
    helps="code that calls or imports a model's apply_rotary_pos_emb: trainers, remote code, kernels",
)

VISION = Shim(
    name="apply-rotary-pos-emb-vision",
    kind="adapt",
    targets=("transformers.models.*:apply_rotary_pos_emb_vision",),
    why=(
        "(tensor, freqs) gives one tensor up to 4.48.3 (Qwen2.5-Omni: 5.16.1), (q, k, cos, sin) gives two "
        "since"
    ),
    since="4.45.0",
    until=None,
    upstream="src/transformers/models/qwen2_vl/modeling_qwen2_vl.py at 4.49.0, qwen2_5_omni at 5.17.0",
    helps="code that calls the rotary function of a vision tower",
)

FLASHATT = Shim(
    name="apply-rotary-pos-emb-flashatt",
    kind="adapt",
    targets=(f"{_QWEN2_5_VL}:apply_rotary_pos_emb_flashatt",),
    why=(
        "development builds of 4.49.0 took (tensor, freqs), 4.49.0 to 4.52.4 take (q, k, cos, sin); "
        "all of them need flash-attn, so they fail for tensors on the CPU"
    ),
    since="4.49.0.dev0",
    until="4.52.4",
    upstream="src/transformers/models/qwen2_5_vl/modeling_qwen2_5_vl.py at 4.49.0 and 4.53.0",
    helps="VLM-R1 and other code that replaces Qwen2.5-VL's vision attention",
)

FLASHATT_RESTORED = Shim(
    name="restore-apply-rotary-pos-emb-flashatt",
    kind="restore",
    targets=(f"{_QWEN2_5_VL}:apply_rotary_pos_emb_flashatt",),
    why="the name is gone from 4.53.0 on, so importing it fails",
    since="4.53.0",
    until=None,
    upstream="src/transformers/models/qwen2_5_vl/modeling_qwen2_5_vl.py at 4.53.0",
    helps="VLM-R1 and other code that imports the function",
    note=(
        "from 4.53.0 on nothing in transformers calls it: Qwen2_5_VLVisionAttention uses "
        "apply_rotary_pos_emb_vision, so code that assigns to this name or to "
        "Qwen2_5_VLVisionFlashAttention2.forward has no effect there"
    ),
)

SHIMS = (ROTARY, VISION, FLASHATT, FLASHATT_RESTORED)


def rules(options: Options) -> list[Rule]:
    """The rules for transformers' modules."""
    found: list[Rule] = [
        FunctionRule(shim, shim.targets[0].partition(":")[2], "transformers.models.", ".modeling_", options)
        for shim in (ROTARY, VISION, FLASHATT)
    ]
    found.append(
        RestoreRule(FLASHATT_RESTORED, _QWEN2_5_VL, "apply_rotary_pos_emb_flashatt", _flashatt, options)
    )
    return found


def _flashatt(context: Any) -> object:
    from ..adapters.flashatt import restore_flashatt

    return restore_flashatt(context)
