"""The call forms that the families of rotary functions have had, as data.

A form is recognised by its arguments alone (see the family modules); these records name
it, say what its arguments mean and in which releases it was the native one. They are
what error messages, plans and counts show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "BLOCK_WITH_ANGLES",
    "BLOCK_WITH_PAIR",
    "BY_CONFIG",
    "BY_DIM",
    "BY_INSTALLED_LAYERS",
    "FREQS",
    "GATHERED",
    "INDEXED",
    "INDEXED_SECTIONS",
    "LLMS_APPLY_ROPE",
    "LLMS_DECLARED",
    "LLMS_TABLES",
    "MERGED",
    "OFFSET",
    "OF_VISION_CLASS",
    "PAIR",
    "PLAIN",
    "ROWS",
    "ROWS_OF_LAYER",
    "SECTIONS",
    "SINGLE",
    "TABLES",
    "WITHOUT_EMBEDDINGS",
    "WITH_EMBEDDINGS",
    "WITH_OPTIONS",
    "X_TRANSFORMERS_APPLY",
    "X_TRANSFORMERS_FORWARD",
    "CallForm",
    "describe_forms",
]


@dataclass(frozen=True, slots=True)
class CallForm:
    """One way that callers call a target."""

    name: str
    signature: str
    releases: str
    meaning: str


INDEXED = CallForm(
    "indexed",
    "(q, k, cos, sin, position_ids, unsqueeze_dim=1)",
    "to 4.37.2 (some models to 5.16.1)",
    "cos and sin are tables [S, D] or [1, 1, S, D]; position_ids pick their rows",
)
GATHERED = CallForm(
    "gathered",
    "(q, k, cos, sin, position_ids=None, unsqueeze_dim=1)",
    "4.38.0 to 4.57.6",
    "cos and sin are [B, S, D], one row a token; position_ids are taken and ignored",
)
PLAIN = CallForm(
    "plain",
    "(q, k, cos, sin, unsqueeze_dim=1)",
    "from 5.0.0",
    "cos and sin are [B, S, D], one row a token",
)
SINGLE = CallForm(
    "single",
    "(x, cos, sin, unsqueeze_dim=1)",
    "Gemma 3n and 4, GLM-MoE-DSA, ESM",
    "one tensor in, one tensor out",
)
OFFSET = CallForm(
    "offset",
    "(q, k, cos, sin, offset=0)",
    "GPT-NeoX-Japanese to 4.44.2",
    "cos and sin are tables [1, 1, S, D]; rows offset to offset + length are used",
)
PAIR = CallForm(
    "pair",
    "(q, k, cos, sin)",
    "from 4.49.0",
    "cos and sin are [S, D]; two tensors out",
)
FREQS = CallForm(
    "freqs",
    "(tensor, freqs)",
    "vision 4.45.0 to 4.48.3 (Qwen2.5-Omni to 5.16.1); flashatt 4.49.0 development builds",
    "freqs are angles [S, D/2]; one tensor in, one tensor out",
)
SECTIONS = CallForm(
    "sections",
    "(q, k, cos, sin, mrope_section, unsqueeze_dim=1)",
    "4.45.0 to 5.16.1",
    "cos and sin are [3, B, S, D], one for time, height and width each; sections of channels take turns",
)
INDEXED_SECTIONS = CallForm(
    "indexed sections",
    "(q, k, cos, sin, position_ids, mrope_section, unsqueeze_dim=1)",
    "copies of Qwen2-VL from before 4.45.0",
    "cos and sin are tables [S, D] that position_ids [3, B, S] index; beside [3, B, S, D] these are ignored",
)
MERGED = CallForm(
    "merged",
    "(q, k, cos, sin, mrope_section=None, unsqueeze_dim=1)",
    "cos and sin of the rotary modules from 5.17.0 on",
    "cos and sin are [B, S, D], with the sections merged already: mrope_section is not applied again",
)
WITH_OPTIONS = CallForm(
    "with options",
    "(q, k, cos, sin, num_k_exclude_rope=0, repeat_freqs_k=False)",
    "SAM 2 Video from 4.56.0, SAM 3 Tracker Video from 5.0.0",
    "the last tokens of k pass through, or the angles are repeated for a longer k",
)


# Rotary classes: constructors, and what `forward` is called with.

BY_DIM = CallForm(
    "dim",
    "(dim, max_position_embeddings=2048, base=10000, device=None, scaling_factor=1.0)",
    "to 4.47.1",
    "the embedding itself; dim counts the channels that turn",
)
BY_CONFIG = CallForm("config", "(config, device=None)", "from 4.43.0", "the model's config describes it")
TABLES = CallForm(
    "tables",
    "(x, seq_len)",
    "to 4.37.2 (some models to 4.44.2)",
    "tables [seq_len, D] of all positions below seq_len; without it, below the length of x [..., S, D]",
)
ROWS = CallForm("rows", "(x, position_ids)", "from 4.38.0", "one row for each of position_ids [B, S]")
ROWS_OF_LAYER = CallForm(
    "layers", "(x, position_ids, layer_type)", "some models from 5.0.0", "one row for each of position_ids"
)
#: Of rotary classes of vision towers, by method.
OF_VISION_CLASS: dict[str, tuple[CallForm, ...]] = {
    "__init__": (
        CallForm("dim", "(dim, theta=10000.0)", "to 5.16.1", "half the size of a head, and the base"),
        CallForm("config", "(config, device=None)", "from 5.17.0", "the vision tower's config"),
    ),
    "forward": (
        CallForm("table", "(seqlen)", "to 5.8.1", "angles of all positions below seqlen, [seqlen, dim/2]"),
        CallForm("angles", "(position_ids)", "5.9.0 to 5.16.1", "angles of patches at [N, 2], [N, dim]"),
        CallForm(
            "rows", "(x, position_ids)", "from 5.17.0", "cos and sin of patches at [N, 2], [N, 2 dim], fp32"
        ),
    ),
}

# Attention, decoder layers and vision blocks.

WITHOUT_EMBEDDINGS = CallForm(
    "without position_embeddings",
    "(hidden_states, attention_mask, position_ids, past_key_value, output_attentions, use_cache, "
    "cache_position)",
    "to 4.47.1",
    "cos and sin are computed from position_ids, cache_position or the length of the cache",
)
WITH_EMBEDDINGS = CallForm(
    "with position_embeddings",
    "(hidden_states, position_embeddings=(cos, sin), ...)",
    "some models from 4.43.0, most from 4.48.0",
    "cos and sin [B or 1, S, D] are used instead of those of the module's own rotary embedding",
)
BY_INSTALLED_LAYERS = CallForm(
    "the installed layers'",
    "(hidden_states, position_embeddings=..., attention_mask=..., ...)",
    "the installed release",
    "arguments by the function's own names; as many values as the layers unpack",
)
BLOCK_WITH_ANGLES = CallForm(
    "angles",
    "(hidden_states, cu_seqlens, rotary_pos_emb=freqs)",
    "to 4.53.3 (some models to 5.9)",
    "cos and sin [S, D] are computed of the angles [S, D/2], once for each half",
)
BLOCK_WITH_PAIR = CallForm(
    "cos and sin",
    "(hidden_states, cu_seqlens, position_embeddings=(cos, sin))",
    "from 4.49.0",
    "cos and sin [S, D] are used as they are; their halves have to be equal where the release takes angles",
)

# Of x-transformers' rotary class and function.

X_TRANSFORMERS_FORWARD = (
    CallForm(
        "x",
        "(x, seq_dim=1)",
        "0.11.2 to 0.11.7",
        "the length of x, rank 3 or more, along seq_dim; freqs alone, [1, 1, n, d]",
    ),
    CallForm(
        "max_seq_len",
        "(max_seq_len, device)",
        "0.11.9 to 1.0.x",
        "told by the name max_seq_len; freqs alone, [n, d]",
    ),
    CallForm(
        "length",
        "(seq_len, device=None)",
        "to 1.25.15",
        "all positions below seq_len, an int; (freqs [n, d], scale [n, d] or 1)",
    ),
    CallForm(
        "offset",
        "(seq_len, offset)",
        "1.22.8 to 1.22.12",
        "offset is an integer tensor [b], added to the positions; (freqs [b, n, d], scale [n, d] or 1)",
    ),
    CallForm(
        "positions",
        "(t, offset=0)",
        "from 1.25.4 as seq_arange_or_len, from 1.26.0 as t, offset from 2.3.20",
        "t is a tensor of positions [n] or [b, n]; offset is taken and ignored, as by 2.3.20 and later",
    ),
)
X_TRANSFORMERS_APPLY = (
    CallForm(
        "table",
        "(t, freqs, scale=1)",
        "to 1.42.20",
        "freqs and scale are [n, d]; their last rows are used",
    ),
    CallForm(
        "batched",
        "(t, freqs, scale=1)",
        "from 1.42.21",
        "freqs and scale are [b or 1, n, d]; their last rows are used",
    ),
    CallForm(
        "with heads",
        "(t, freqs, scale=1)",
        "1.22.10, and to 0.25.x",
        "freqs and scale are [b or 1, h or 1, n, d]; their last rows are used",
    ),
    CallForm(
        "pair",
        "(t, (freqs, scale))",
        "callers of the forms that gave freqs alone",
        "what the rotary module returns as a whole, where its scale is a number",
    ),
)

# Of LLMs-from-scratch.

LLMS_APPLY_ROPE: dict[str, CallForm] = {
    "plain": CallForm(
        "plain", "(x, cos, sin)", "llama3, qwen3; kv_cache to 1.0.14", "the sequence begins at row 0"
    ),
    "offset": CallForm(
        "offset", "(x, cos, sin, offset=0)", "kv_cache from 1.0.15", "it begins at row offset, an int"
    ),
    "batched": CallForm(
        "batched",
        "(x, cos, sin, offset)",
        "kv_cache_batched from 1.0.17",
        "offset [B] has a row for each sample",
    ),
}
LLMS_DECLARED = CallForm(
    "layout", '(..., layout="bhsd")', "any release", 'says how the axes of x lie, "bhsd" or "bshd"'
)
#: Of `compute_rope_params`, by the names of its parameters.
LLMS_TABLES = {
    ("head_dim", "theta_base", "context_length", "freq_config", "dtype"): CallForm(
        "scaled",
        "(head_dim, theta_base=10000, context_length=4096, freq_config=None, dtype=torch.float32)",
        "llama3 from 1.0.3",
        "freq_config scales as Llama 3.1 does",
    ),
    ("head_dim", "theta_base", "context_length", "dtype"): CallForm(
        "unscaled",
        "(head_dim, theta_base=10000, context_length=4096, dtype=torch.float32)",
        "qwen3 from 1.0.8",
        "frequencies are not scaled",
    ),
}


def describe_forms(forms: tuple[CallForm, ...], history: Sequence[tuple[str, str, str]] = ()) -> str:
    """Lay `forms` out, one a line, for an error message.

    ``history``: first and last release of each signature that the target has had. Where one of them is a
    form's, its releases are shown; those of the record say where other modules had the form.
    """
    width = max((len(form.signature) for form in forms), default=0)
    return "\n".join(
        f"    {form.signature:<{width}}  {_releases(form, history)}: {form.meaning}" for form in forms
    )


def _releases(form: CallForm, history: Sequence[tuple[str, str, str]]) -> str:
    here = [f"{first} to {last}" for first, last, signature in history if signature == form.signature]
    return ", ".join(here) or form.releases
