"""The shims for transformers' own modules, and the rules that carry them out."""

from __future__ import annotations

from .._facts.functions import RESTORED, Restored, places
from .._patching.edits import Rule
from .functions import FunctionRule
from .options import Options
from .restored import RestoringRule
from .shim import Shim

__all__ = ["SHIMS", "rules"]

_QWEN2_5_VL = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"
_FLASHATT = Restored("apply_rotary_pos_emb_flashatt", "flashatt", ("qwen2_5_vl",))

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

INTERLEAVE = Shim(
    name="apply-rotary-pos-emb-interleave",
    kind="adapt",
    targets=("transformers.models.*:apply_rotary_pos_emb_interleave",),
    why=(
        "copies of DeepSeek's own code index tables with position_ids, transformers ignores these, and from "
        "5.22.0 on a model has unsqueeze_dim in their place"
    ),
    since="4.51.0",
    until=None,
    upstream="src/transformers/models/deepseek_v3/modeling_deepseek_v3.py, mistral_large4 at 5.22.0",
    helps="code that calls the rotary function of DeepSeek-V3 and the models that follow it",
)

MULTIMODAL = Shim(
    name="apply-multimodal-rotary-pos-emb",
    kind="adapt",
    targets=("transformers.models.*:apply_multimodal_rotary_pos_emb",),
    why=(
        "code for 5.17.0 and later has cos and sin whose sections are merged; merging them again would take "
        "samples of the batch for axes. Copies of older code pass tables and position_ids"
    ),
    since="4.45.0",
    until="5.16.1",
    upstream="src/transformers/models/qwen2_vl/modeling_qwen2_vl.py at 4.45.0 and 5.17.0",
    helps="code that calls the rotary function of Qwen2-VL and the models that follow it",
)

PAIRWISE_2D = Shim(
    name="apply-rotary-pos-emb-2d",
    kind="adapt",
    targets=("transformers.models.sam3.*:apply_rotary_pos_emb_2d",),
    why="SAM 3's takes no num_k_exclude_rope and repeat_freqs_k, SAM 2 Video's of the same name does",
    since="5.0.0",
    until=None,
    upstream="src/transformers/models/sam3/modeling_sam3.py at 5.0.0",
    helps="code that calls the one model's function as the other's",
)

ESM = Shim(
    name="apply-rotary-pos-emb-esm",
    kind="adapt",
    targets=("transformers.models.evolla.*:apply_rotary_pos_emb_esm",),
    why="it takes rank-4 tables and one tensor; from 5.6.0 on Evolla's function takes gathered ones, q and k",
    since="4.54.0",
    until="5.5.4",
    upstream="src/transformers/models/evolla/modeling_evolla.py at 4.54.0 and 5.6.0",
    helps="code that calls the rotary function of Evolla's protein encoder",
)

#: One of them has something to do on every release from 4.40.0 (Jamba) on.
FUNCTIONS_RESTORED = Shim(
    name="restore-rotary-functions",
    kind="restore",
    targets=tuple(
        dict.fromkeys(f"{module}:{record.name}" for record in RESTORED for module in places(record))
    ),
    why="a module had the name in another release, earlier or later, so importing it fails",
    since="4.40.0",
    until=None,
    upstream="src/transformers/models/*/modeling_*.py; releases: rope-compat history TARGET",
    helps="code that imports a model's rotary function by name",
    note="nothing in transformers calls a function of that name there",
)

ADAPTED = (ROTARY, VISION, FLASHATT, INTERLEAVE, MULTIMODAL, PAIRWISE_2D, ESM)
SHIMS = (*ADAPTED, FLASHATT_RESTORED, FUNCTIONS_RESTORED)


def rules(options: Options) -> list[Rule]:
    """The rules for transformers' modules."""
    return [
        FunctionRule.of("functions", ADAPTED, "transformers.models.", ".modeling_", options),
        RestoringRule(FLASHATT_RESTORED, {_QWEN2_5_VL: (_FLASHATT,)}, options),
        RestoringRule.of(FUNCTIONS_RESTORED, RESTORED, options),
    ]
