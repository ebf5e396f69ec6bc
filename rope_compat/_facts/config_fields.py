"""The names that configurations have used for the parameters of a rotary embedding.

Where a name comes from: `transformers/models/*/configuration_*.py` of 4.28 to 5.24, and configurations of
custom code. `rope_theta` is 4.32's, `rope_parameters` 5.0's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .rope_types import ORIGINAL

__all__ = [
    "ALL_FIELDS",
    "ATTENTION_DICTS",
    "DICTS",
    "FULL",
    "FULL_ONLY",
    "LOCAL_MODULES",
    "LOCAL_THETAS",
    "MEANINGS",
    "PARTIAL_FACTORS",
    "SCALED_IN_FULL",
    "SLIDING",
    "THETAS",
    "LegacyNames",
]

#: The dictionaries: 5.0 and later, 4.31 to 4.57.
DICTS = ("rope_parameters", "rope_scaling")

#: Theta of the embedding, or of its `full_attention` layers where local layers have one of their own.
THETAS = (
    "rope_theta",
    "global_rope_theta",  # modernbert 4.48 to 4.57
    "rotary_emb_base",  # gpt_neox to 4.57, Qwen-1
    "rotary_embedding_base",  # the speech models' conformers
    "rotary_base",
    "rope_base",
)

#: Theta of the `sliding_attention` layers, with the name of the other one's theta.
LOCAL_THETAS = {
    "rope_local_base_freq": "rope_theta",  # gemma3 4.50 to 4.57, gemma3n
    "local_rope_theta": "global_rope_theta",  # modernbert 4.48 to 4.57
}

#: Models with one theta for all layers whose `rope_scaling` was for the `full_attention` layers alone.
SCALED_IN_FULL = ("olmo3",)

#: Models with two kinds of layers of which 4.x scaled `full_attention` alone: also those with a second theta.
FULL_ONLY = frozenset({"gemma3_text", "gemma3n_text", *SCALED_IN_FULL})

#: The part of a head that is rotated.
PARTIAL_FACTORS = ("partial_rotary_factor", "rotary_pct", "rope_pct")

#: Dictionaries or configurations that hold theta for the whole model: dbrx, MPT.
ATTENTION_DICTS = ("attn_config",)

FULL, SLIDING = "full_attention", "sliding_attention"

#: The rotary module of `sliding_attention` layers of Gemma 3 and 3n up to 4.57, and of ModernBERT's decoder.
LOCAL_MODULES = ("rotary_emb_local", "local_rotary_emb")

#: Fields of classes to 4.57: the key in `rope_parameters` of 5.0, and the layer type, None for all.
MEANINGS: dict[str, tuple[str, str | None]] = {
    "rope_theta": ("rope_theta", None),
    "partial_rotary_factor": ("partial_rotary_factor", None),
    "rotary_emb_base": ("rope_theta", None),  # gpt_neox
    "rotary_pct": ("partial_rotary_factor", None),
    "rope_local_base_freq": ("rope_theta", SLIDING),  # gemma3
    "local_rope_theta": ("rope_theta", SLIDING),  # modernbert
    "global_rope_theta": ("rope_theta", FULL),
}

#: Everything that a configuration says about its rotary embedding at its top level.
ALL_FIELDS = frozenset({*DICTS, *THETAS, *LOCAL_THETAS, *PARTIAL_FACTORS, "rotary_dim"})


@dataclass(frozen=True, slots=True)
class LegacyNames:
    """Which 4.x fields a configuration class takes; None or False for what it has no field for.

    Attributes:
        theta: field for theta, and for the theta of `full_attention` layers.
        local_theta: field for the theta of `sliding_attention` layers.
        partial_rotary_factor: field for the rotated part of a head; ``rotary_dim`` is that times the head.
        scaling: whether `rope_scaling` is taken.
        original_max: whether `original_max_position_embeddings` stands beside `rope_scaling` (phi3).
        type_key: how the type is spelled in `rope_scaling`: `rope_type` (from 4.43), `type`, or `both`.
        scaling_keys: the only keys that `rope_scaling` may have besides its type, None for any. Up to 4.42,
            and in some classes up to 4.57, there is `factor` alone.
        types: the types that the class computes, None if that is not known.
        floats: whether numbers in `rope_scaling` have to be floats, as the checks of 4.31 to 4.57 want them.
        type_names: how the class spells types that have more than one name.
        scaled_layers: layer types that `rope_scaling` applies to where there are two kinds.
    """

    theta: str | None = "rope_theta"
    local_theta: str | None = None
    partial_rotary_factor: str | None = "partial_rotary_factor"
    scaling: bool = True
    original_max: bool = False
    type_key: str = "rope_type"
    scaling_keys: frozenset[str] | None = None
    types: frozenset[str] | None = None
    floats: bool = False
    type_names: tuple[tuple[str, str], ...] = ()
    scaled_layers: frozenset[str] = frozenset({FULL, SLIDING})

    def computes(self, rope_type: str) -> bool:
        """Whether `rope_scaling` is taken, and, as far as is known, this type in it."""
        return self.scaling and (self.types is None or rope_type in self.types)

    @classmethod
    def of(cls, fields: Collection[str]) -> LegacyNames:
        """The names among `fields`, such as the parameters of a constructor."""
        factors = (*PARTIAL_FACTORS, "rotary_dim")
        local = next((name for name in LOCAL_THETAS if name in fields), None)
        theta = LOCAL_THETAS[local] if local else next((name for name in THETAS if name in fields), None)
        return cls(
            theta=theta,
            local_theta=local,
            # gpt_neox has `rotary_pct` as a parameter, and sets `partial_rotary_factor` from it.
            partial_rotary_factor=next((name for name in factors if name in fields), None),
            scaling="rope_scaling" in fields,
            original_max=ORIGINAL in fields,
            scaled_layers=frozenset({FULL} if local == "rope_local_base_freq" else {FULL, SLIDING}),
        )
