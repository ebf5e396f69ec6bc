"""VLM-R1's way of calling Qwen2.5-VL's rotary function, on whatever transformers release is installed.

    python examples/qwen2_5_vl_flashatt.py            with rope_compat.patch()
    python examples/qwen2_5_vl_flashatt.py --without  without it, to see what happens then
    python examples/qwen2_5_vl_flashatt.py --json     one line of JSON

A tiny Qwen2.5-VL with random weights looks at a picture, first as it is, then with its vision attention
replaced the way that VLM-R1 replaces it. The two must agree. Releases before 4.49 have no Qwen2.5-VL: there
Qwen2-VL's vision attention (from 4.45) or Llama's attention is replaced, by code written for another release.

Exit status: 0 the outputs agree, 1 they do not, or the call failed (which `--without` is there to show).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from tiny_models import Case, make_case
from torch.nn.functional import scaled_dot_product_attention

import rope_compat

# fp32: the same product sum in another order differs in the last bits.
TOLERANCE = 1e-5


# ---- the user's code: three attentions, each written for one range of releases ----


def vlm_r1_attention() -> Callable[..., torch.Tensor]:
    """As in VLM-R1: written for 4.49.0 to 4.52.4, where the function takes ``(q, k, cos, sin)``."""
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_flashatt

    def forward(
        self: Any,
        hidden_states: torch.Tensor,
        cu_seqlens: torch.Tensor,
        rotary_pos_emb: torch.Tensor | None = None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        **_: Any,
    ) -> torch.Tensor:
        q, k, v = _project(self, hidden_states)
        if position_embeddings is None:
            assert rotary_pos_emb is not None
            position_embeddings = _cos_sin(rotary_pos_emb)
        cos, sin = position_embeddings
        q, k = apply_rotary_pos_emb_flashatt(q.unsqueeze(0), k.unsqueeze(0), cos, sin)
        return self.proj(_attend_in_windows(q.squeeze(0), k.squeeze(0), v, cu_seqlens))

    return forward


def qwen2_vl_attention() -> Callable[..., torch.Tensor]:
    """Written for 4.49.0 and later: the function takes ``(q, k, cos, sin)``, and not ``(tensor, freqs)``."""
    from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision

    def forward(
        self: Any,
        hidden_states: torch.Tensor,
        cu_seqlens: torch.Tensor,
        rotary_pos_emb: torch.Tensor,
        **_: Any,
    ) -> torch.Tensor:
        q, k, v = _project(self, hidden_states)
        cos, sin = _cos_sin(rotary_pos_emb)
        q, k = apply_rotary_pos_emb_vision(q, k, cos, sin)
        return self.proj(_attend_in_windows(q, k, v, cu_seqlens))

    return forward


def llama_attention() -> Callable[..., tuple[torch.Tensor, None, Any]]:
    """Written for 4.37 and earlier: `position_ids` pick rows of tables cos and sin, ``[S, D]``."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    def forward(
        self: Any,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_value: Any = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None, Any]:
        batch, length, _width = hidden_states.shape
        q, k, v = (
            project(hidden_states).view(batch, length, -1, self.head_dim).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        rates = 10000.0 ** -(torch.arange(0, self.head_dim, 2).float() / self.head_dim)
        cos, sin = _cos_sin(torch.outer(torch.arange(128.0), rates))
        q, k = apply_rotary_pos_emb(q, k, cos, sin, position_ids)
        attended = scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(attended.transpose(1, 2).reshape(batch, length, -1)), None, past_key_value

    return forward


def _project(attention: Any, hidden_states: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """q, k and v, each ``[S, H, D]``."""
    tokens = hidden_states.shape[0]
    return attention.qkv(hidden_states).view(tokens, 3, attention.num_heads, -1).unbind(1)


def _cos_sin(angles: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Angles ``[S, D/2]`` to cos and sin ``[S, D]``."""
    full = torch.cat((angles, angles), dim=-1)
    return full.cos(), full.sin()


def _attend_in_windows(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cu_seqlens: torch.Tensor
) -> torch.Tensor:
    """What ``flash_attn_varlen_func`` computes, on any device: attention in each window, ``[S, H * D]``."""
    attended = []
    # Windows at the border of a picture may be empty: two equal ends.
    for start, end in pairwise(cu_seqlens.tolist()):
        window = (x[start:end].transpose(0, 1).unsqueeze(0) for x in (q, k, v))
        attended.append(scaled_dot_product_attention(*window)[0].transpose(0, 1))
    return torch.cat(attended).flatten(1)


# ---- run it as it is, run it replaced, compare ----

USERS_CODE: dict[str, tuple[str, str, Callable[[], Callable[..., Any]]]] = {
    "Qwen2.5-VL": ("apply_rotary_pos_emb_flashatt", "(q, k, cos, sin)", vlm_r1_attention),
    "Qwen2-VL": ("apply_rotary_pos_emb_vision", "(q, k, cos, sin)", qwen2_vl_attention),
    "Llama": (
        "apply_rotary_pos_emb",
        "(q, k, cos, sin, position_ids), cos and sin as tables",
        llama_attention,
    ),
}


def outputs_of(case: Case) -> dict[str, torch.Tensor]:
    """Vision features (where the model has a vision tower) and logits."""
    found = {}
    with torch.no_grad():
        if case.vision is not None:
            inputs = case.inputs
            features = case.vision(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"])
            # A tensor to 4.57; from 5.0 an output object.
            found["vision features"] = (
                features if isinstance(features, torch.Tensor) else features.pooler_output
            )
        for part in case.model.modules():
            if hasattr(part, "rope_deltas"):
                # 4.46 to 4.48.3 take a second call for the next step of the first one.
                part.rope_deltas = None
        found["logits"] = case.model(**case.inputs).logits
    return found


def outputs_with(case: Case, forward: Callable[..., Any]) -> dict[str, torch.Tensor]:
    """The same with the attention's `forward` replaced, for as long as it takes."""
    own = case.attention.forward  # type: ignore[attr-defined]
    case.attention.forward = forward  # type: ignore[attr-defined]
    try:
        return outputs_of(case)
    finally:
        case.attention.forward = own  # type: ignore[attr-defined]


def how_it_ran(function: str) -> str:
    """What rope_compat did about the calls of `function`, from `rope_compat.status()`."""
    for item in rope_compat.status().adapted:
        if item.target.endswith(f":{function}") and item.how.startswith("restore-"):
            return "restored: this release does not have it"
    for item in rope_compat.status().adapted:
        if item.target.endswith(f":{function}") and item.foreign_calls:
            native = item.how.partition("native form ")[2]
            calls = sum(item.foreign_calls.values())
            return f"adapted: {calls} calls, the installed function takes {native}"
    return "native form"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--without", action="store_true", help="do not call rope_compat.patch()")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    options = parser.parse_args()

    if not options.without:
        rope_compat.patch()
    case = make_case()
    function, form, write = USERS_CODE[case.name]
    result = {"transformers": rope_compat.detect().transformers.version, "torch": str(torch.__version__)}
    result |= {"model": case.name, "function": function, "called as": form, "patched": not options.without}
    before = outputs_of(case)
    try:
        after = outputs_with(case, write())
    except (ImportError, NameError, TypeError, RuntimeError) as error:
        report(result | {"failed": f"{type(error).__name__}: {error}"}, as_json=options.json)
        return 1
    result["how"] = "without rope_compat" if options.without else how_it_ran(function)
    result["difference"] = {name: (before[name] - after[name]).abs().max().item() for name in before}
    result["size"] = {name: before[name].abs().max().item() for name in before}
    report(result, as_json=options.json)
    return 0 if all(difference <= TOLERANCE for difference in result["difference"].values()) else 1


def report(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    print(f"transformers {result['transformers']}, torch {result['torch']}")
    print(
        f"{result['model']}: attention replaced by code that calls {result['function']}{result['called as']}"
    )
    if "failed" in result:
        print(f"failed: {result['failed']}")
        return
    print(f"how it ran: {result['how']}")
    for name, difference in result["difference"].items():
        size = result["size"][name]
        print(f"{name}: at most {difference:.1e} from the unmodified model's, which go to {size:.1f}")


if __name__ == "__main__":
    sys.exit(main())
