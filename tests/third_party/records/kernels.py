"""Patches that put a kernel in place of `apply_rotary_pos_emb`, and packed attention."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ..record import Record


def _llama_factory(patch: ModuleType, model: Any) -> None:
    patch.NpuRoPEKernel._apply(model=model)


def _unsloth(patch: ModuleType) -> None:
    from transformers.models.llama import modeling_llama

    modeling_llama.apply_rotary_pos_emb = patch.fast_rope_embedding


RECORDS = (
    Record(
        name="verl, NPU",
        repository="volcengine/verl",
        commit="b178a3cd56f58b2d502255daba591e92833930a7",
        files={
            "verl/models/transformers/npu_patch.py": (
                "e2931c46e0f98e5464bc5c477e53501e0af6b27b78a503e434863811283be388"
            )
        },
        module="verl.models.transformers.npu_patch",
        does="when imported: `apply_rotary_pos_emb` of Qwen2 and Qwen3, norms, MLPs, experts",
        model="qwen3",
        written_for="4.57.1",
        stand_ins=("torch_npu",),
    ),
    Record(
        name="ms-swift, NPU",
        repository="modelscope/ms-swift",
        commit="3602360a562313afbf2ef6065fdf61f271a2c5b9",
        files={
            "swift/model/npu_patch/model.py": (
                "2af7140b322c6f90375000c2c7bdecc67a832d5a58b0ed88788709dacc5e2f3d"
            ),
            "swift/model/npu_patch/utils.py": (
                "7d0dee6a876e7a5fede6da2f9c19c573e2ea0c94d2ac08ea24d3573b178c5741"
            ),
            "swift/utils/logger.py": "000f6d4e40fff960ea2cdd64d7bc508abb287f09402daf62c78362910d543d59",
        },
        module="swift.model.npu_patch.model",
        does="a table of names; a fifth positional argument that is a number is taken for the axis",
        model="qwen3",
        written_for="5.0.0",
        before=lambda patch: patch.apply_patch(),
        stand_ins=("torch_npu", "modelscope"),
    ),
    Record(
        name="LLaMA-Factory, NPU RoPE",
        repository="hiyouga/LLaMA-Factory",
        commit="ff6d4d12eeb035d6ce06805a5733dd7b29f2ac30",
        files={
            "src/llamafactory/v1/plugins/model_plugins/kernels/ops/rope/npu_rope.py": (
                "1f8fbfeb7f7c2e1448fc90265f823537da37bcf76898eb96a2c326846a08a301"
            ),
            "src/llamafactory/v1/plugins/model_plugins/kernels/base.py": (
                "e9fb9876d49c18888f019d4219d56dc0ad405553c79573cfc2243149c546869d"
            ),
            "src/llamafactory/v1/accelerator/helper.py": (
                "c01cfeecab553878f4530381f8c792eda858efe7e2dd1e565b75a58ba102e464"
            ),
            "src/llamafactory/v1/utils/logging.py": (
                "ff5bee9e15ef900cd56a4bf6a794ab6a22e116ec0b51ff40e986f5141099403f"
            ),
            "src/llamafactory/v1/utils/types.py": (
                "63f469a4cf72b54b8b180bb1542349c612b0f79d7aa2819eaaf8e0ac5d3c01a3"
            ),
            "src/llamafactory/v1/utils/plugin.py": (
                "a9e636320afea8aa49326b477c0789b0282fa6e9c8af363f6854e2d8d2f4bd92"
            ),
        },
        root="src",
        module="llamafactory.v1.plugins.model_plugins.kernels.ops.rope.npu_rope",
        does="`apply_rotary_pos_emb` of the Qwen3 families, after the model is made",
        model="qwen3",
        written_for="5.0.0",
        after=_llama_factory,
        stand_ins=("torch_npu",),
    ),
    Record(
        name="unsloth, RoPE kernel",
        repository="unslothai/unsloth",
        commit="015bdef0d94a241bcd94eec7a405b1700632180d",
        files={
            "unsloth/kernels/rope_embedding.py": (
                "e2ef5776ee26f51c131fa178a3459c9e73e7fc92d2266502d7d828804e703b5c"
            ),
            "unsloth/kernels/utils.py": "d566158d017cca581202aa9c5c5188b6b28ea4862c17a0525c8e382f1237629c",
            "unsloth/device_type.py": "25284ea1c290d5cc1b5e44954af8f82405a08e4b167061c4cd889b2f7ba59613",
        },
        module="unsloth.kernels.rope_embedding",
        does="`fast_rope_embedding(Q, K, cos, sin, indices)`, put in the place of Llama's function",
        model="llama",
        written_for="4.57.6",
        before=_unsloth,
        needs=("triton", "unsloth_zoo"),
    ),
    Record(
        name="InternVL, packed attention for Qwen2",
        repository="OpenGVLab/InternVL",
        commit="2410d1dbf208f0e799459aff9376e5747dbf41a2",
        files={
            "internvl_chat/internvl/patch/qwen2_packed_training_patch.py": (
                "83b479c2743a0e2733a54eeb9f0d2f212bb2bef626fed81e501720a4d6fc6fe7"
            )
        },
        root="internvl_chat",
        module="internvl.patch.qwen2_packed_training_patch",
        does='`QWEN2_ATTENTION_CLASSES["flash_attention_2"]`, a subclass of `Qwen2FlashAttention2`',
        model="qwen2",
        written_for="4.37.2",
        before=lambda patch: patch.replace_qwen2_attention_class(),
        stand_ins=("flash_attn", "flash_attn_in_transformers"),
    ),
)
