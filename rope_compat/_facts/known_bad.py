"""What is known to be wrong in which transformers release, as data.

Sources: transformers' code of the releases named, and measurements on them with the same weights and inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["KNOWN_BAD", "KnownBad", "Severity"]

Severity = Literal["fatal", "warning", "note"]


@dataclass(frozen=True)
class KnownBad:
    """One fact: in these ``releases`` (PEP 440) this happens, and this helps.

    ``python`` narrows it to interpreters (PEP 440); empty means all.
    """

    code: str
    releases: str
    severity: Severity
    message: str
    remedy: str
    python: str = ""


KNOWN_BAD = (
    KnownBad(
        code="remote-code-weights",
        # modeling_utils.py `_initialize_weights` has had a guard for it (`is_remote_code`) since 5.3.0
        releases=">=5.0.0,<5.3.0",
        severity="warning",
        message="from_pretrained overwrites loaded weights of trust_remote_code models with random values",
        remedy='for remote-code models, pip install "transformers>=5.3" (or "transformers<5")',
    ),
    KnownBad(
        code="remote-code-buffers",
        releases=">=5.0.0",
        severity="note",
        message="from_pretrained leaves non-persistent buffers (inv_freq) of remote-code models unset",
        remedy="rope_compat.patch() before loading keeps them; rope_compat.repair(model) recomputes them",
    ),
    KnownBad(
        code="python-too-old",
        releases=">=5.21.0",  # Requires-Python of 5.21.0
        python="<3.11",
        severity="warning",
        message="transformers 5.21 and later need Python 3.11",
        remedy='use Python 3.11 or later, or pip install "transformers<5.21"',
    ),
    KnownBad(
        code="qwen-vl-3d-positions",
        # masking_utils.py `_preprocess_mask_arguments`: packed sequences are looked for from 4.53.1 on, with
        # 2-D positions in mind; from 4.54.0 Qwen-VL models hand it the text positions alone.
        releases=">=4.53.1,<4.54.0",
        severity="note",
        message="Qwen2-VL and Qwen2.5-VL raise RuntimeError for 3-D position_ids without an attention_mask",
        remedy='pass attention_mask, or pip install "transformers!=4.53.1,!=4.53.2,!=4.53.3"',
    ),
    KnownBad(
        code="qwen-vl-packing",
        releases=">=4.54.0,<4.57.0",
        severity="note",
        message="Qwen2-VL and Qwen2.5-VL without an attention_mask take temporal positions for packing marks",
        remedy='pass attention_mask, or pip install "transformers>=4.57"',
    ),
    KnownBad(
        code="qwen-vl-positions",
        releases=">=4.45.0,<4.47.0",
        severity="note",
        message="Qwen2-VL with images computes 1-D positions when position_ids is not given",
        remedy='pass position_ids from get_rope_index, or pip install "transformers>=4.47"',
    ),
    KnownBad(
        code="gpt-neox-partial-rotary",
        # configuration_gpt_neox.py: assigned up to 5.4.0, `setdefault` from 5.5.0
        releases=">=5.0.0,<5.5.0",
        severity="note",
        message="GPT-NeoX overwrites partial_rotary_factor in rope_parameters with rotary_pct (default 0.25)",
        remedy='pass rotary_pct as well, or pip install "transformers>=5.5"',
    ),
    KnownBad(
        code="dynamic-ntk-stale",
        releases="<4.43.0",
        severity="note",
        message="dynamic NTK scaling keeps the tables of the longest text seen for shorter ones that follow",
        remedy='pip install "transformers>=4.43,<5" (or "transformers>=5.13")',
    ),
    KnownBad(
        code="dynamic-ntk-stale",
        # modeling_rope_utils.py: the longest length was written to `{layer_type}_max_seq_len_cached`, which
        # nothing reads in models without layer types, until 5.13.0
        releases=">=5.0.0,<5.13.0",
        severity="note",
        message="dynamic NTK scaling keeps the tables of the longest text seen for shorter ones that follow",
        remedy='pip install "transformers>=5.13" (or "transformers>=4.43,<5")',
    ),
    KnownBad(
        code="yarn-original-length",
        releases=">=4.43.0,<4.51.0",
        severity="note",
        message="yarn scaling ignores original_max_position_embeddings",
        remedy='pip install "transformers>=4.56"',
    ),
    KnownBad(
        code="yarn-mscale",
        releases=">=4.43.0,<4.51.0",
        severity="note",
        message="yarn scaling ignores mscale and mscale_all_dim",
        remedy='pip install "transformers>=4.56"',
    ),
    KnownBad(
        code="yarn-truncate",
        # modeling_rope_utils.py: `truncate` is read from 4.55.0 on
        releases=">=4.43.0,<4.55.0",
        severity="note",
        message="yarn scaling ignores truncate",
        remedy='pip install "transformers>=4.56"',
    ),
    KnownBad(
        code="yarn-factor",
        releases=">=4.51.0,<4.56.0",
        severity="note",
        message="yarn scaling replaces a declared factor by the ratio of the new to the original length",
        remedy='pip install "transformers>=4.56"',
    ),
    KnownBad(
        code="longrope-long",
        releases=">=4.43.0,<4.48.0",
        severity="note",
        message="longrope on Llama-type models always takes the long factors",
        remedy='pip install "transformers>=4.51"',
    ),
    KnownBad(
        code="longrope-short",
        releases=">=4.48.0,<4.51.0",
        severity="note",
        message="longrope on Llama-type models always takes the short factors",
        remedy='pip install "transformers>=4.51"',
    ),
    KnownBad(
        code="longrope-original-length",
        # modeling_rope_utils.py: beside the dictionary only, as Phi-3 has it, up to 4.57.6
        releases=">=4.51.0,<5.0.0",
        severity="note",
        message="longrope ignores original_max_position_embeddings in rope_scaling",
        remedy='pip install "transformers>=5.13", or state it beside rope_scaling',
    ),
)
