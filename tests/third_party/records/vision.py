"""Patches of vision models."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import transformers
from packaging.version import Version

from ..record import Record
from ..stand_ins import into_flash_class

FINETUNE = {
    "repository": "2U1/Qwen2-VL-Finetune",
    "commit": "6695161adfbd1da24a2a12fb172f005b59e723e3",
}


def _vlm_r1(patch: ModuleType, model: Any) -> None:
    """Give the vision blocks the class that ``attn_implementation="flash_attention_2"`` gives them on a GPU.

    From 4.53.0 on there is one class for all implementations, and nothing makes the one that is patched.
    """
    if Version(transformers.__version__) < Version("4.53"):
        for block in model.visual.blocks:
            into_flash_class(block.attn, patch.Qwen2_5_VLVisionFlashAttention2)


RECORDS = (
    Record(
        name="VLM-R1, vision flash attention in fp32",
        repository="om-ai-lab/VLM-R1",
        commit="90052f478646e38bc67363862f699b7afca6b337",
        files={
            "src/open-r1-multimodal/src/open_r1/qwen2_5vl_monkey_patch.py": (
                "81de1d48e9833cdf452257daafd26333978e2af2dbb144e96e695ce2e0e267b0"
            )
        },
        root="src/open-r1-multimodal/src",
        module="open_r1.qwen2_5vl_monkey_patch",
        does="`Qwen2_5_VLVisionFlashAttention2.forward`, with `apply_rotary_pos_emb_flashatt`",
        model="qwen2_5_vl",
        written_for="4.49.0",
        before=lambda patch: patch.monkey_patch_qwen2_5vl_flash_attn(),
        after=_vlm_r1,
        attention=("sdpa",),
        stand_ins=("flash_attn", "flash_attn_in_transformers", "deepspeed"),
    ),
    Record(
        name="Qwen2-VL-Finetune, vision windows",
        **FINETUNE,
        files={
            "src/train/monkey_patch_vision.py": (
                "8f03ec08c7a64cfbbf181be9174c6718247e4622165db28cd83be52d93d2b59e"
            )
        },
        root="src",
        module="train.monkey_patch_vision",
        does="the vision model's class; rotary tables by `rotary_pos_emb(max_grid_size)`",
        model="qwen2_5_vl",
        written_for="4.56.1",
        before=lambda patch: patch.replace_qwen2_5_vision(),
        attention=("sdpa",),
    ),
    Record(
        name="Qwen2-VL-Finetune, mixed modalities",
        **FINETUNE,
        files={
            "src/train/monkey_patch_forward.py": (
                "de05f97115f5fe0e55eaaf967a976a093049e6661606ae0a59ca86deef80259c"
            )
        },
        root="src",
        module="train.monkey_patch_forward",
        does="`Qwen2_5_VLModel.forward`, with `get_rope_index`",
        model="qwen2_5_vl",
        written_for="4.56.1",
        before=lambda patch: patch.replace_qwen2_5_with_mixed_modality_forward(),
        attention=("sdpa",),
    ),
)
