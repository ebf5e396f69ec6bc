"""Small configurations with values that no class has by default, written down in both styles by hand.

`make.py` saves them with the installed transformers; the tests compare what is read from the files with the
specifications here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from packaging.version import Version

#: Releases whose way of saving differs, and between which configurations are carried.
BOUNDARIES = (
    "4.43.4",
    "4.47.1",
    "4.49.0",
    "4.53.3",
    "4.57.6",
    "5.3.0",
    "5.10.4",
    "5.16.1",
    "5.18.0",
    "5.24.0",
)

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 128,
    "max_position_embeddings": 512,
}
SIXTEEN = {"head_dim": 16}


@dataclass(frozen=True)
class Case:
    """One configuration.

    Attributes:
        model: its model type.
        since: the first release whose class can hold it.
        old: the fields of 4.x.
        new: ``rope_parameters`` of 5.x.
        sizes: everything that has nothing to do with a rotary embedding.
        inside: the sub-configuration that all of it belongs to, empty if none.
        saved_from: the first release that saves it, None for `since`.
        saved_until: the last one, None for the newest.
        flat_until: the last boundary release of 5.x whose class has one dictionary for all layers.
        refusal: what a refusal has to name, by default the rope type.
    """

    model: str
    since: str
    old: dict[str, Any]
    new: dict[str, Any]
    sizes: dict[str, Any] = field(default_factory=lambda: dict(SIZES))
    inside: str = ""
    saved_from: str | None = None
    saved_until: str | None = None
    flat_until: str | None = None
    refusal: str = ""

    @property
    def named(self) -> str:
        """What a release that cannot hold it has to name."""
        return self.refusal or str(self.new.get("rope_type"))

    def is_refused(self, saved: Version, release: Version) -> bool:
        """Whether the class of a release cannot hold what another has saved, and says so."""
        if release >= Version("5"):
            return False
        # Saved for all layers, where 4.57 scales those with full attention alone.
        return release < Version(self.since) or self.is_flat(str(saved))

    def is_flat(self, saved: str) -> bool:
        """Whether a release saves one dictionary where others have one for each layer type."""
        return Version("5") <= Version(saved) <= Version(self.flat_until or "0")


def scaled(rope_type: str, **parameters: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """One theta and one type, in the style of 4.43 and in that of 5.0."""
    scaling = {"rope_type": rope_type, **parameters}
    return (
        {"rope_theta": 123456.0, "rope_scaling": scaling},
        {"rope_theta": 123456.0, **scaling},
    )


def with_type(rope_type: str, **parameters: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """As `scaled`, for classes of 4.x that want the key `type` and nothing beside it."""
    old, new = scaled(rope_type, **parameters)
    return {**old, "rope_scaling": {"type": rope_type, **parameters}}, new


def plain(**partial: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Theta alone, or theta and the part of a head that is rotated."""
    return {"rope_theta": 123456.0, **partial}, {"rope_type": "default", "rope_theta": 123456.0, **partial}


_LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.5,
    "high_freq_factor": 4.5,
    "original_max_position_embeddings": 128,
}
_LONG = {"short_factor": [1.0 + n / 8 for n in range(8)], "long_factor": [2.0 + n / 8 for n in range(8)]}
_LONG_6 = {"short_factor": [1.0 + n / 8 for n in range(6)], "long_factor": [2.0 + n / 8 for n in range(6)]}
_YARN = {"factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 24.0, "beta_slow": 2.0}
_PHI3 = {**SIZES, "original_max_position_embeddings": 128, "pad_token_id": 0}
_NESTED = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 123456.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 2345.0},
}
_GEMMA3 = {**SIZES, **SIXTEEN, "num_key_value_heads": 2, "sliding_window": 32}
_MODERNBERT = {
    "full_attention": {"rope_type": "default", "rope_theta": 123456.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 2345.0},
}
_OLMO3 = {
    "full_attention": {"rope_type": "yarn", "rope_theta": 123456.0, **_YARN},
    "sliding_attention": {"rope_type": "default", "rope_theta": 123456.0},
}
_MROPE = {"mrope_section": [2, 3, 3]}
_NEOX_OLD = {"rotary_emb_base": 123456.0, "rotary_pct": 0.5}
_NEOX_NEW = {"rope_theta": 123456.0, "partial_rotary_factor": 0.5}

CASES: dict[str, Case] = {
    "llama_default": Case("llama", "4.36.0", *plain()),
    "llama_linear": Case("llama", "4.36.0", *scaled("linear", factor=8.0)),
    "llama_dynamic": Case("llama", "4.36.0", *scaled("dynamic", factor=4.0)),
    "llama_yarn": Case("llama", "4.43.0", *scaled("yarn", **_YARN)),
    "llama_longrope": Case(
        # The check of 4.43 and 4.44 fails for it with a TypeError.
        "llama",
        "4.45.0",
        *scaled("longrope", factor=4.0, original_max_position_embeddings=128, **_LONG),
    ),
    "llama_llama3": Case("llama", "4.43.0", *scaled("llama3", **_LLAMA3)),
    "llama_proportional": Case(
        "llama",
        "4.43.0",
        {},
        {"rope_type": "proportional", "rope_theta": 123456.0, "partial_rotary_factor": 0.5},
        # Computed by 5.5 and later, and by rope_compat's init functions from 4.43 on.
        saved_from="5.5.0",
    ),
    "mistral_default": Case("mistral", "4.36.0", *plain()),
    "mistral_linear": Case("mistral", "4.48.0", *scaled("linear", factor=8.0)),
    "gpt_neox": Case("gpt_neox", "4.36.0", _NEOX_OLD, {"rope_type": "default", **_NEOX_NEW}),
    "gpt_neox_linear": Case(
        "gpt_neox",
        "4.36.0",
        {**_NEOX_OLD, "rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_type": "linear", "factor": 2.0, **_NEOX_NEW},
    ),
    "phi": Case("phi", "4.36.0", *plain(partial_rotary_factor=0.25)),
    "stablelm": Case("stablelm", "4.38.0", *plain(partial_rotary_factor=0.75)),
    "falcon": Case(
        "falcon", "4.36.0", *plain(), sizes={k: SIZES[k] for k in SIZES if k != "intermediate_size"}
    ),
    "phi3": Case("phi3", "4.41.0", *with_type("longrope", **_LONG), sizes=_PHI3),
    "phi3_partial": Case(
        "phi3",
        "4.49.0",
        {**with_type("longrope", **_LONG_6)[0], "partial_rotary_factor": 0.75},
        {**with_type("longrope", **_LONG_6)[1], "partial_rotary_factor": 0.75},
        sizes=_PHI3,
        refusal="partial_rotary_factor=0.75",
    ),
    "glm": Case(
        "glm", "4.46.1", *plain(partial_rotary_factor=0.25), sizes={**SIZES, **SIXTEEN, "pad_token_id": 0}
    ),
    "cohere2": Case("cohere2", "4.48.0", *plain()),
    "olmo2": Case("olmo2", "4.47.0", *with_type("linear", factor=8.0)),
    "olmo3": Case(
        "olmo3",
        "4.57.0",
        {"rope_theta": 123456.0, "rope_scaling": {"rope_type": "yarn", **_YARN}},
        _OLMO3,
        flat_until="5.10.4",
        refusal="sliding_attention: rope_type",
    ),
    "gemma3_text": Case(
        "gemma3_text",
        "4.50.0",
        {
            "rope_theta": 123456.0,
            "rope_local_base_freq": 2345.0,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
        _NESTED,
        sizes=_GEMMA3,
    ),
    "gemma3": Case(
        "gemma3",
        "4.50.0",
        {
            "rope_theta": 123456.0,
            "rope_local_base_freq": 2345.0,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
        _NESTED,
        sizes=_GEMMA3,
        inside="text_config",
    ),
    "modernbert": Case(
        "modernbert", "4.48.0", {"global_rope_theta": 123456.0, "local_rope_theta": 2345.0}, _MODERNBERT
    ),
    "llava": Case(
        "llava",
        "4.43.0",
        *scaled("llama3", **_LLAMA3),
        sizes={**SIZES, "model_type": "llama"},
        inside="text_config",
    ),
    "qwen2_vl": Case(
        "qwen2_vl",
        "4.45.0",
        {"rope_theta": 123456.0, "rope_scaling": {"type": "mrope", **_MROPE}},
        {"rope_type": "default", "rope_theta": 123456.0, **_MROPE},
        saved_until="4.49.0",
    ),
    "qwen2_vl_text": Case(
        "qwen2_vl",
        "4.52.1",
        {"rope_theta": 123456.0, "rope_scaling": {"type": "mrope", **_MROPE}},
        {"rope_type": "default", "rope_theta": 123456.0, **_MROPE},
        inside="text_config",
        refusal="text_config",
    ),
    "deepseek_v3": Case(
        "deepseek_v3",
        "4.51.0",
        *scaled("yarn", **_YARN, mscale=1.0, mscale_all_dim=0.5),
        sizes={**SIZES, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16, "kv_lora_rank": 8},
    ),
    "dbrx": Case(
        "dbrx",
        "4.40.0",
        {"attn_config": {"rope_theta": 123456.0, "kv_n_heads": 2, "clip_qkv": 8}},
        {"rope_type": "default", "rope_theta": 123456.0},
        sizes={"d_model": 64, "n_heads": 4, "n_layers": 2, "vocab_size": 128, "max_seq_len": 512},
    ),
}
