"""Patches that put a `forward` of their own into attention."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import transformers
from packaging.version import Version

import rope_compat

from ..record import Record
from ..stand_ins import into_flash_class

FASTCHAT = {"repository": "lm-sys/FastChat", "commit": "0e6d3e4beaab66f4d3f93db72541a4abab8af28d"}
LONGCHAT = {"repository": "DachengLi1/LongChat", "commit": "4b5faa52fda961b8ea5125b15ae984ff0d1c0f9d"}
LONGLORA = {"repository": "dvlab-research/LongLoRA", "commit": "d4eb344c5ccc9e91c0812a2b2aeea69070df8c33"}
STREAMING = {"repository": "mit-han-lab/streaming-llm", "commit": "2e5042606d69933d88fbf909bd77907456b9b4dd"}


LLAMA = "transformers.models.llama.modeling_llama:LlamaAttention.forward"
NEOX = "transformers.models.gpt_neox.modeling_gpt_neox:GPTNeoXAttention.forward"


def _adapted(owner: Any, name: str, target: str) -> None:
    """What users write where a patch binds its `forward` on instances: ``theirs.forward = adapt(...)``."""
    setattr(owner, name, rope_compat.adapt(getattr(owner, name), target, written_for="4.33"))


def _self_extend(patch: ModuleType, model: Any) -> None:
    patch.apply(model, group_size=8, window_size=1024)


def _heavy_hitters(patch: ModuleType, model: Any) -> None:
    # Whole budgets: no key is left out, so that the numbers stay the same.
    model.config.heavy_ratio = model.config.recent_ratio = 1.0
    patch.convert_kvcache_llama_heavy_recent(model, model.config)


def _snap_kv(patch: ModuleType, model: Any) -> None:
    if Version(transformers.__version__) < Version("4.48"):
        for layer in model.model.layers:
            into_flash_class(
                layer.self_attn, patch.transformers.models.llama.modeling_llama.LlamaFlashAttention2
            )


def _llama_factory(patch: ModuleType) -> None:
    patch._apply_llama_patch()


RECORDS = (
    Record(
        name="FastChat, attention without in-place operations",
        **FASTCHAT,
        files={
            "fastchat/model/monkey_patch_non_inplace.py": (
                "51dd6bf17c1e45e4910ae526bd091bc870b4d757e541e3ef3b6b4d6e323196d5"
            )
        },
        module="fastchat.model.monkey_patch_non_inplace",
        does="`LlamaAttention.forward`; its own rotation gathers from `[1, 1, S, D]` tables",
        model="llama_mha",
        written_for="4.33.0",
        before=lambda patch: patch.replace_llama_attn_with_non_inplace_operations(),
    ),
    Record(
        name="FastChat, flash attention for Llama",
        **FASTCHAT,
        files={
            "fastchat/train/llama_flash_attn_monkey_patch.py": (
                "905f6f46835f129d0c27ae1438f13529c8b9d0880630e263e8f19f6a3ab8a3ba"
            )
        },
        module="fastchat.train.llama_flash_attn_monkey_patch",
        does="`LlamaAttention.forward` with `rotary_emb(x, seq_len=)`, and the mask's preparation",
        model="llama_mha",
        written_for="4.31.0",
        before=lambda patch: patch.replace_llama_attn_with_flash_attn(),
        attention=("eager", "sdpa"),
        stand_ins=("flash_attn", "cuda_capability"),
    ),
    Record(
        name="FastChat, flash attention for Llama 2",
        **FASTCHAT,
        files={
            "fastchat/train/llama2_flash_attn_monkey_patch.py": (
                "de6b3211ea8a7a860f3bea6fc1529c5f0f58732421a156f1b8e62881b58afe6e"
            )
        },
        module="fastchat.train.llama2_flash_attn_monkey_patch",
        does="as before; its own rotation of (b, s, h, d) gathers from `[1, 1, S, D]` tables",
        model="llama",
        written_for="4.33.0",
        before=lambda patch: patch.replace_llama_attn_with_flash_attn(),
        attention=("eager", "sdpa"),
        stand_ins=("flash_attn", "cuda_capability"),
    ),
    Record(
        name="FastChat, xformers attention",
        **FASTCHAT,
        files={
            "fastchat/train/llama_xformers_attn_monkey_patch.py": (
                "9fa5e222e76722fd3325ef0dd77d5e47378f6b6b6084b5c0f41eab90829d6fe9"
            )
        },
        module="fastchat.train.llama_xformers_attn_monkey_patch",
        does="`LlamaAttention.forward`; calls `modeling_llama.apply_rotary_pos_emb` with positions",
        model="llama_mha",
        written_for="4.31.0",
        before=lambda patch: patch.replace_llama_attn_with_xformers_attn(),
        stand_ins=("xformers",),
    ),
    Record(
        name="LongChat, flash attention",
        **LONGCHAT,
        files={
            "longchat/train/monkey_patch/llama_flash_attn_monkey_patch.py": (
                "f03ff760c0c9d7999cb1e466ff9725f5e0c86379e5fee3d60fa3380bf250939c"
            )
        },
        module="longchat.train.monkey_patch.llama_flash_attn_monkey_patch",
        does="`LlamaAttention.forward`, and the mask's preparation",
        model="llama_mha",
        written_for="4.29.0",
        before=lambda patch: patch.replace_llama_attn_with_flash_attn(),
        attention=("eager", "sdpa"),
        stand_ins=("flash_attn",),
        needs=("einops",),
    ),
    Record(
        name="LongChat, xformers attention",
        **LONGCHAT,
        files={
            "longchat/train/monkey_patch/llama_xformer_monkey_patch.py": (
                "4893f933ea9cc0b4c25232b6b6a1d97b6caeaba083bdab96263696c9ef39c35e"
            )
        },
        module="longchat.train.monkey_patch.llama_xformer_monkey_patch",
        does="`LlamaAttention.forward`, always causal",
        model="llama_mha",
        written_for="4.29.0",
        before=lambda patch: patch.replace_llama_attn_with_xformer(),
        stand_ins=("xformers",),
    ),
    Record(
        name="LongLoRA, full attention for Llama",
        **LONGLORA,
        files={"llama_attn_replace.py": "5645ffd7b2c85c64fbd5be745a8b58320dfe00d52020fac87d87a79c2a9e851f"},
        module="llama_attn_replace",
        does="`LlamaAttention.forward`, flash attention over the whole sequence",
        model="llama",
        written_for="4.34.0",
        before=lambda patch: patch.replace_llama_attn(use_flash_attn=True, use_full=True),
        attention=("eager", "sdpa"),
        stand_ins=("flash_attn", "cuda_capability"),
        needs=("einops",),
        mask=True,
    ),
    Record(
        name="LongLoRA, shifted attention for Llama",
        **LONGLORA,
        files={"llama_attn_replace.py": "5645ffd7b2c85c64fbd5be745a8b58320dfe00d52020fac87d87a79c2a9e851f"},
        module="llama_attn_replace",
        does="`LlamaAttention.forward`, groups of a quarter of the sequence, without flash attention",
        model="llama_mha",
        written_for="4.34.0",
        before=lambda patch: patch.replace_llama_attn(use_flash_attn=False),
        stand_ins=("flash_attn",),
        needs=("einops",),
        train=True,
        equal=False,
    ),
    Record(
        name="LongLoRA, full attention for GPT-NeoX",
        **LONGLORA,
        files={"gptneox_attn_replace.py": "36b847107432ffe792138e37bc06bae2b2feddb777c05e63bb85def903c3e64a"},
        module="gptneox_attn_replace",
        does="`GPTNeoXAttention.forward`; its own rotation gathers from `[1, 1, S, D]` tables",
        model="gpt_neox",
        written_for="4.34.0",
        before=lambda patch: patch.replace_gpt_neox_attn(use_flash_attn=False, use_full=True),
        stand_ins=("flash_attn", "cuda_capability"),
        needs=("einops",),
    ),
    Record(
        name="StreamingLLM, shifted positions for Llama",
        **STREAMING,
        files={
            "streaming_llm/pos_shift/modify_llama.py": (
                "a5bef7ba3ab334f49b3e78318d6c6eaa257a04ce9a2a1e2bfea1f0fba6eb1bb9"
            )
        },
        module="streaming_llm.pos_shift.modify_llama",
        does="`forward` of each `LlamaAttention` instance; rotates from tables, one tensor at a time",
        model="llama",
        written_for="4.33.0",
        after=lambda patch, model: patch.enable_llama_pos_shift_attention(model),
        by_hand=lambda patch: _adapted(patch, "llama_pos_shift_attention_forward", LLAMA),
    ),
    Record(
        name="StreamingLLM, shifted positions for GPT-NeoX",
        **STREAMING,
        files={
            "streaming_llm/pos_shift/modify_gpt_neox.py": (
                "1fc2e537b752d2a14ce442030ef047593ee7e590261ba0094996bc2209c7b3b5"
            )
        },
        module="streaming_llm.pos_shift.modify_gpt_neox",
        does="`forward` of each `GPTNeoXAttention` instance",
        model="gpt_neox",
        written_for="4.33.0",
        after=lambda patch, model: patch.enable_gpt_neox_pos_shift_attention(model),
        by_hand=lambda patch: _adapted(patch, "gpt_neox_pos_shift_attention_forward", NEOX),
    ),
    Record(
        name="axolotl, xformers attention",
        repository="OpenAccess-AI-Collective/axolotl",
        commit="0801f239ccfb0ff06b52eec0029e3f2f954ee147",
        files={
            "src/axolotl/monkeypatch/llama_attn_hijack_xformers.py": (
                "7d866fb8fe8ba01ce615054d2bf3f2bd319da290a7f1e954c23b4156fa9d3237"
            )
        },
        root="src",
        module="axolotl.monkeypatch.llama_attn_hijack_xformers",
        does="`LlamaAttention.forward` with `rotary_emb(x)`, positions given to the rotation",
        model="llama",
        written_for="4.37.2",
        before=lambda patch: patch.hijack_llama_attention(),
        stand_ins=("xformers",),
    ),
    Record(
        name="SelfExtend (LongLM)",
        repository="datamllab/LongLM",
        commit="cdbbb061dc76438c46d7e1ddc500f8e4bf255574",
        files={
            "SelfExtend.py": "a861ff5ab8257596abdaaaf77792dc22a26e470026fd84cc28ba580c4bec863d",
            "self_extend_patch/Gemma.py": "97ef43ee083485ef99dfc87ea1f86a2e52be32aca075ba197865c112eb7bd135",
            "self_extend_patch/Llama.py": "5a9b4b6f91094b6c7301b4f8eb341de8cc95102ba5c8b60d106284be81b56f12",
            "self_extend_patch/Mistral.py": (
                "10be90c89a0b5fae309d459204e7e728811c034b93c2f20eb971e94b5dd48484"
            ),
            "self_extend_patch/Phi.py": "438064d7022ec5a941735885fc2f2117a5a99272cb72e63d520cd257ed162511",
            "self_extend_patch/Qwen2.py": "3ef7ed7dc03be2dd1b4570679bb40277de5991d966b6f39b42d810865c507fc2",
            "self_extend_patch/__init__.py": (
                "f1a01414db53537947dd6d8eb00b9309a9ac741df636d50cd075524bb5709c47"
            ),
            "self_extend_patch/selfextend_flash_attn.py": (
                "8e5c5b6ee6d1091117579f0a984d54e079a9e0d6137a5e2b1ca6f0cb5f352675"
            ),
            "self_extend_patch/selfextend_flash_attn_triton.py": (
                "fd3b030185a96f79a31b9ce9426ff58675bfe569bd253ad23bd3f49d8cdfdf5b"
            ),
            "self_extend_patch/triton_selfextend_flash_attn.py": (
                "a47ac7a6b783f695e34993289353a02b225c8e2921d79b7cc493c263207c3544"
            ),
        },
        module="SelfExtend",
        does="`forward` of each attention instance; `rotary_emb(x, positions, seq_len=None)`, four times",
        model="llama",
        written_for="4.38.2",
        after=_self_extend,
        by_hand=lambda patch: _adapted(patch.SE.Llama, "self_extend_forward", LLAMA),
        stand_ins=("flash_attn",),
        needs=("triton",),
    ),
    Record(
        name="H2O, heavy hitters",
        repository="FMInference/H2O",
        commit="ac75c2a8a9e76832b2a4139b9363373b56336bfb",
        files={
            "h2o_hf/utils_lm_eval/modify_llama.py": (
                "d2190922056dbe25e47dfe45fef76b5f08ff05954bdeecec7d376f72e93804e1"
            )
        },
        module="h2o_hf.utils_lm_eval.modify_llama",
        does="an attention class of its own with `LlamaRotaryEmbedding(head_dim, max_position_embeddings=)`",
        model="llama_mha",
        written_for="4.33.0",
        after=_heavy_hitters,
        by_hand=lambda patch: _adapted(patch.LlamaAttention_heavy_hitter, "forward", LLAMA),
    ),
    Record(
        name="ChunkLlama, dual chunk attention",
        repository="HKUNLP/ChunkLlama",
        commit="2add4d7c99d24dcc1ab03414cc602abb2e28cf2c",
        files={
            "chunkllama_attn_replace.py": "3f464feebe1e5466d241e42c719b2ef74be81b8e7a6faef06e848d71c8b93d93"
        },
        module="chunkllama_attn_replace",
        does="`forward` of two attention classes, and a rotary class that returns six tables",
        model="llama",
        written_for="4.37.2",
        before=lambda patch: patch.replace_with_chunkllama(pretraining_length=4096),
        stand_ins=("flash_attn",),
    ),
    Record(
        name="SnapKV",
        repository="FasterDecoding/SnapKV",
        commit="e216ddc84c5bd210378cbdbbba12ba02102aa640",
        files={
            "snapkv/monkeypatch/monkeypatch.py": (
                "a8b4d821e6af8ad0b42ac48b5bd5c0595691872c31d5f4d49c496ac41395dcc4"
            ),
            "snapkv/monkeypatch/llama_hijack_4_37.py": (
                "3f45e7c76df739bc54fa4d2995322ad220c246402e84910eb33db3da6f90c70c"
            ),
            "snapkv/monkeypatch/mistral_hijack_4_37.py": (
                "bb5da9b3c1f6547123d4822a78d0014523cda9711f9dc6736097a24a1b2f9165"
            ),
            "snapkv/monkeypatch/mixtral_hijack_4_37.py": (
                "f8d5e5c3b0d08fd5807f3724224fce6e6efc7b7353acad125c45869299082ba7"
            ),
            "snapkv/monkeypatch/snapkv_utils.py": (
                "d7eddeaf361d9d38be991be734752c831b09f9c95a6e777ac17e7262ca2b4cf5"
            ),
        },
        module="snapkv.monkeypatch.monkeypatch",
        does="`LlamaFlashAttention2.forward`, and the preparation of inputs for generation",
        model="llama",
        written_for="4.37.0",
        before=lambda patch: patch.replace_llama(),
        after=_snap_kv,
        attention=("sdpa",),
        stand_ins=("flash_attn", "flash_attn_in_transformers"),
    ),
    Record(
        name="LLaMA-Factory, shifted attention",
        repository="hiyouga/LLaMA-Factory",
        commit="ff6d4d12eeb035d6ce06805a5733dd7b29f2ac30",
        files={
            "src/llamafactory/model/model_utils/longlora.py": (
                "a38ad775c223a4eabcf4f8840d72b854b1f00841ab09bd11478da2c540e1e393"
            ),
            "src/llamafactory/extras/constants.py": (
                "f254685864d800bfc03bfed2029665d3147b3a7c66895170fd39e40ef2455471"
            ),
            "src/llamafactory/extras/logging.py": (
                "c3ad0c9a97f2082d0cb95d2da0e761f3826c2a267238808a2865ce9433968cfe"
            ),
            "src/llamafactory/extras/misc.py": (
                "609038e7619f95d2f7324296247a7faa324283618365e5508409dd403f53c517"
            ),
            "src/llamafactory/extras/packages.py": (
                "010bf73c408807f4bd0a4730cd1482a599e8aba2569e46977a90832142a071f5"
            ),
        },
        root="src",
        module="llamafactory.model.model_utils.longlora",
        does="`forward` of all three attention classes of 4.47; asks for 4.45 to 4.47 itself",
        model="llama",
        written_for="4.47.1",
        before=_llama_factory,
        attention=("eager", "sdpa"),
        stand_ins=("peft",),
    ),
)
