"""``patch(strict=True)``: models are as before, and calls that fit both layouts are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.installed import LLAMA, load
from support.models import ALL, INSTALLED

import rope_compat
from rope_compat.errors import LayoutError

TEXT_MODELS = [name for name in INSTALLED if name in ("llama", "gpt_neox", "gemma", "phi3")]


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_a_model_with_as_many_heads_as_tokens(name: str) -> None:
    model = ALL[name]()
    ids = torch.randint(1, 60, (2, 4), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(ids).logits
        with rope_compat.patched(strict=True, on_problem="ignore"):
            assert torch.equal(model(ids).logits, before)


def test_a_call_that_fits_both_layouts() -> None:
    llama = load(LLAMA)
    x = torch.randn(2, 4, 4, 8, generator=torch.Generator().manual_seed(0))
    cos = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(1))
    with rope_compat.patched(on_problem="ignore"):
        right = llama.apply_rotary_pos_emb(x, x, cos, cos, unsqueeze_dim=1)
        # Declared in the patched function as well: the other layout, and nothing else.
        other = llama.apply_rotary_pos_emb(x, x, cos, cos, layout="bshd")
    assert not torch.equal(other[0], right[0])
    with rope_compat.patched(strict=True, on_problem="ignore"):
        call: Callable[..., Any] = llama.apply_rotary_pos_emb
        with pytest.raises(LayoutError, match=r"as many heads as positions.*strict=True"):
            call(x, x, cos, cos)
        assert all(map(torch.equal, call(x, x, cos, cos, layout="bhsd"), right))
        assert all(map(torch.equal, call(x, x, cos, cos, layout="bshd"), other))
    with (
        rope_compat.patched(on_problem="ignore"),
        rope_compat.patched(strict=True, on_problem="ignore"),
        pytest.raises(LayoutError, match="as many heads as positions"),
    ):
        llama.apply_rotary_pos_emb(x, x, cos, cos)
