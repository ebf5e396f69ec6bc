"""The call forms that the families of rotary functions have had, as data.

A form is recognised by its arguments alone (see the family modules); these records name
it, say what its arguments mean and in which releases it was the native one. They are
what error messages, plans and counts show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "FREQS",
    "GATHERED",
    "INDEXED",
    "INDEXED_SECTIONS",
    "MERGED",
    "OFFSET",
    "PAIR",
    "PLAIN",
    "SECTIONS",
    "SINGLE",
    "WITH_OPTIONS",
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
