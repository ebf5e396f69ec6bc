"""Vision attention with angles (``rotary_pos_emb``) and with cos and sin, whatever the release takes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.installed import has_module, load
from support.models import ALL, INSTALLED
from torch import Tensor

import rope_compat

OMNI = "transformers.models.qwen2_5_omni.modeling_qwen2_5_omni"
CU_SEQLENS = torch.tensor([0, 4, 16], dtype=torch.int32)


@pytest.fixture(params=[name for name in INSTALLED if name.startswith("qwen2")])
def block(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A vision block of a tiny model."""
    model = ALL[request.param]()
    with torch.no_grad():
        yield next(each for each in model.modules() if type(each).__name__.endswith("VisionBlock"))


def hidden() -> Tensor:
    return torch.randn(16, 32, generator=torch.Generator().manual_seed(3))


def angles() -> Tensor:
    return torch.randn(16, 8, generator=torch.Generator().manual_seed(4)) * 9


def pair() -> tuple[Tensor, Tensor]:
    widened = torch.cat([angles(), angles()], dim=-1)
    return widened.cos(), widened.sin()


def native(module: Any) -> Any:
    """Called as the installed release calls it, while nothing is patched."""
    takes_pair = "position_embeddings" in inspect.signature(module.forward).parameters
    given = {"position_embeddings": pair()} if takes_pair else {"rotary_pos_emb": angles()}
    return module(hidden(), cu_seqlens=CU_SEQLENS, **given)


@pytest.mark.parametrize("part", ["block", "attention"])
def test_either_name_and_either_place(block: Any, part: str) -> None:
    module = block if part == "block" else block.attn
    wanted = native(module)
    with rope_compat.patched(on_problem="error"):
        for found in (
            module(hidden(), cu_seqlens=CU_SEQLENS, rotary_pos_emb=angles()),
            module(hidden(), cu_seqlens=CU_SEQLENS, position_embeddings=pair()),
            module(hidden(), CU_SEQLENS, angles()),
            module(hidden(), CU_SEQLENS, pair()),
            module(hidden(), CU_SEQLENS, None, pair()),
            module(
                hidden_states=hidden(), cu_seqlens=CU_SEQLENS, rotary_pos_emb=None, position_embeddings=pair()
            ),
        ):
            assert torch.equal(found, wanted)
        other = module(hidden(), CU_SEQLENS, angles() * 2)
        assert not torch.allclose(other, wanted, atol=1e-4)


def test_cos_and_sin_that_have_no_angles(block: Any) -> None:
    """Used as they are, or refused where the release takes angles."""
    cos, sin = pair()
    other = torch.cat([cos[:, :8], cos[:, 8:] * 0.5], dim=-1), sin
    takes_pair = "position_embeddings" in inspect.signature(block.attn.forward).parameters
    if takes_pair:
        wanted = block.attn(hidden(), cu_seqlens=CU_SEQLENS, position_embeddings=other)
    with rope_compat.patched(on_problem="error"):
        if takes_pair:
            found = block.attn(hidden(), CU_SEQLENS, other)
            assert torch.equal(found, wanted)
        else:
            with pytest.raises(rope_compat.errors.CallFormError, match="halves"):
                block.attn(hidden(), CU_SEQLENS, other)
        with pytest.raises((rope_compat.errors.CallFormError, AttributeError, TypeError)):
            block.attn(hidden(), CU_SEQLENS, "angles")


def test_undo_gives_everything_back(block: Any) -> None:
    classes = type(block), type(block.attn)
    before = [dict(vars(cls)) for cls in classes]
    with rope_compat.patched(on_problem="error"):
        pass
    assert [dict(vars(cls)) for cls in classes] == before


@pytest.mark.only(has_module(OMNI), reason="the release does not know the model")
@pytest.mark.parametrize("part", ["block", "attention"])
def test_a_tower_that_takes_angles_by_either_name(part: str) -> None:
    """Qwen2.5-Omni's are called rotary_pos_emb to 5.9, position_embeddings to 5.16; then it takes a pair."""
    modeling, configuration = load(OMNI), load(OMNI.replace("modeling", "configuration"))
    options = {"hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 32}
    config = configuration.Qwen2_5OmniVisionEncoderConfig(depth=1, **options)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    block = modeling.Qwen2_5OmniVisionBlock(config).eval()
    module = block if part == "block" else block.attn
    names = inspect.signature(modeling.apply_rotary_pos_emb_vision).parameters
    given: Any = angles() if "freqs" in names else pair()
    name = "rotary_pos_emb" if "rotary_pos_emb" in inspect.signature(module.forward).parameters else ""
    name = name or "position_embeddings"
    with torch.no_grad():
        wanted = module(hidden(), cu_seqlens=CU_SEQLENS, **{name: given})
        with rope_compat.patched(on_problem="error"):
            for found in (
                module(hidden(), cu_seqlens=CU_SEQLENS, **{name: given}),
                module(hidden(), cu_seqlens=CU_SEQLENS, rotary_pos_emb=angles()),
                module(hidden(), cu_seqlens=CU_SEQLENS, position_embeddings=pair()),
                module(hidden(), CU_SEQLENS, angles()),
                module(hidden(), CU_SEQLENS, pair()),
            ):
                assert torch.equal(found, wanted)
