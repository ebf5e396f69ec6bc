"""The call forms that the three families of rotary functions have had, as data.

A form is recognised by its arguments alone (see the family modules); these records name
it, say what its arguments mean and in which releases it was the native one. They are
what error messages, plans and counts show.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FREQS", "GATHERED", "INDEXED", "OFFSET", "PAIR", "PLAIN", "SINGLE", "CallForm", "describe_forms"]


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


def describe_forms(forms: tuple[CallForm, ...], history: tuple[tuple[str, str, str], ...] = ()) -> str:
    """Lay `forms` out, one a line, for an error message.

    ``history``: first and last release of each signature that the target has had. Where one of them is a
    form's, its releases are shown; those of the record say where other modules had the form.
    """
    width = max((len(form.signature) for form in forms), default=0)
    return "\n".join(
        f"    {form.signature:<{width}}  {_releases(form, history)}: {form.meaning}" for form in forms
    )


def _releases(form: CallForm, history: tuple[tuple[str, str, str], ...]) -> str:
    here = [f"{first} to {last}" for first, last, signature in history if signature == form.signature]
    return ", ".join(here) or form.releases
