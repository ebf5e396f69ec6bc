"""Models of the installed release compute the same bits, forward and backward, with and without `patch()`."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from support.models import ALL, INSTALLED, inputs_for

import rope_compat


def run(model: Any, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Logits and all gradients of one training step."""
    model.zero_grad(set_to_none=True)
    if "pixel_values" in inputs and "mm_token_type_ids" in inspect.signature(model.forward).parameters:
        # From 5.3 on the processor says which tokens are pictures (1), and some models insist on it.
        inputs = inputs | {"mm_token_type_ids": (inputs["input_ids"] == 60).int()}
    logits = model(**inputs, use_cache=False).logits
    logits.float().square().mean().backward()
    found = {"logits": logits.detach().clone()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            found[name] = parameter.grad.clone()
    return found


@pytest.mark.parametrize("name", INSTALLED)
def test_equal_to_the_bit(name: str) -> None:
    model = ALL[name]()
    inputs = inputs_for(name)
    # Qwen2-VL of 4.45 to 4.48 keeps positions of its first run: only from the second on runs are alike.
    run(model, inputs)
    before = run(model, inputs)
    with rope_compat.patched(on_problem="ignore"):
        assert rope_compat.status().adapted
        during = run(model, inputs)
        assert not any(item.foreign_calls for item in rope_compat.status().adapted)
    after = run(model, inputs)
    assert len(before) > 10
    assert before["logits"].isfinite().all()
    assert before["logits"].std() > 0
    for found in (during, after):
        assert found.keys() == before.keys()
        assert all(torch.equal(found[key], before[key]) for key in before)
