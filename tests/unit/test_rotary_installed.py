"""Exact angles, sections, axes, parameters, against classes and functions of the installed transformers.

Each case rotates random vectors with the installed class and function, unpatched, and in float64 by angle.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import LLAMA, QWEN2_VL, RELEASE, has_module, load
from support.rounding import U, angle_bounds
from torch import Tensor

from rope_compat.rotary import angles, exact, parameters, reference

HERE = Version(RELEASE)
IS_4X = Version("5.0.0") > HERE
MODELS = "transformers.models"
GLM, COHERE = f"{MODELS}.glm.modeling_glm", f"{MODELS}.cohere.modeling_cohere"
QWEN3_VL, PIXTRAL = f"{MODELS}.qwen3_vl.modeling_qwen3_vl", f"{MODELS}.pixtral.modeling_pixtral"
SAM2, LLAMA4 = f"{MODELS}.sam2_video.modeling_sam2_video", f"{MODELS}.llama4.modeling_llama4"
GEMMA3 = f"{MODELS}.gemma3.modeling_gemma3"

HEAD, THETA, LENGTH, GRID = 32, 10000.0, 512, 8
SIZES = {"hidden_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64}
TEXT = {**SIZES, "num_key_value_heads": 2, "vocab_size": 32, "max_position_embeddings": LENGTH}
SECTIONS = [6, 5, 5]
POSITIONS = torch.tensor([[3, 0, 500, 31, 7]])
COORDINATES = torch.tensor([[[3, 0, 9, 9, 500]], [[3, 1, 0, 7, 500]], [[3, 2, 300, 0, 500]]])


def theta() -> dict[str, Any]:
    """Theta in the style of the release."""
    return (
        {"rope_theta": THETA} if IS_4X else {"rope_parameters": {"rope_theta": THETA, "rope_type": "default"}}
    )


def vectors(length: int, head: int = HEAD) -> Tensor:
    """``[1, 2, length, head]``, (b, h, s, d)."""
    return torch.randn(1, 2, length, head, generator=torch.Generator().manual_seed(0))


def assert_rotated(given: Tensor, x: Tensor, by: Tensor, pairing: str = "half", steps: int = 0) -> None:
    """`given` is x rotated by exact angles, but for float32's rounding of angles and of the rotation.

    The error of a pair is at most its norm times that of cos and sin (the angle's, and one rounding each),
    and a rounding for each of two products, the sum, and of cos and sin in another order: 6 u.
    """
    turned = 2 * by.shape[-1]
    wanted = reference.rotate_by_angle(x, by, pairing)[..., :turned]
    quarter = reference.rotate_by_angle(x, torch.full_like(by, torch.pi / 2), pairing)
    norms = torch.hypot(x.double(), quarter)[..., :turned]
    bounds = norms * widen(angle_bounds(by, THETA, steps=steps) + 6 * U, pairing)
    assert given.shape == x.shape
    assert torch.equal(given[..., turned:], x[..., turned:])
    assert bool(((given[..., :turned].double() - wanted).abs() <= bounds).all())


def widen(pairs: Tensor, pairing: str) -> Tensor:
    """One number for each pair, on both of its channels."""
    return pairs.repeat_interleave(2, dim=-1) if pairing == "interleaved" else torch.cat([pairs] * 2, dim=-1)


def text_angles(width: int = HEAD) -> Tensor:
    return angles.angles(POSITIONS, exact.default(width, THETA)[0])[:, None]


def rotary(cls: Any, config: Any) -> Any:
    """An object of a rotary class, constructed as its release wants it."""
    if "config" in inspect.signature(cls).parameters:
        return cls(config=config)
    return cls(HEAD, LENGTH, base=THETA)


def qk(result: Any) -> Tensor:
    """The rotated q of ``(q, k)``, both of which were the same vectors."""
    first, second = result
    assert torch.equal(first, second)
    return first


def test_text() -> None:
    from transformers import LlamaConfig

    module, x = load(LLAMA), vectors(5)
    made = rotary(module.LlamaRotaryEmbedding, LlamaConfig(**TEXT, **theta()))
    if "position_ids" in inspect.signature(made.forward).parameters:
        cos, sin = made(x, POSITIONS)
        given = module.apply_rotary_pos_emb(x, x, cos, sin)
    else:
        cos, sin = made(x, seq_len=LENGTH)
        given = module.apply_rotary_pos_emb(x, x, cos, sin, POSITIONS)
    assert_rotated(qk(given), x, text_angles())


@pytest.mark.only(has_module(GLM), "GLM came with 4.46.0")
def test_a_part_of_the_head_in_interleaved_pairs() -> None:
    from transformers import GlmConfig

    module, x = load(GLM), vectors(5)
    more: Any = {"partial_rotary_factor": 0.5, "pad_token_id": 0}
    model = module.GlmModel(GlmConfig(**TEXT, head_dim=HEAD, **more))
    owner = model if hasattr(model, "rotary_emb") else model.layers[0].self_attn
    cos, sin = owner.rotary_emb(x, POSITIONS)
    width = parameters.width(HEAD, 0.5)
    assert_rotated(qk(module.apply_rotary_pos_emb(x, x, cos, sin)), x, text_angles(width), "interleaved")


@pytest.mark.only(Version("4.43.0") <= HERE, "before, Cohere's function took the whole table")
def test_interleaved_pairs() -> None:
    from transformers import CohereConfig

    module, x = load(COHERE), vectors(5)
    made = rotary(module.CohereRotaryEmbedding, CohereConfig(**TEXT, **theta()))
    given = module.apply_rotary_pos_emb(x, x, *made(x, POSITIONS))
    assert_rotated(qk(given), x, text_angles(), "interleaved")


def with_sections(config_class: Any) -> Any:
    """The text config of a Qwen-VL model, with its sections."""
    scaling: Any = {"rope_type": "default", "type": "default", "mrope_section": SECTIONS}
    if IS_4X:
        return config_class(**TEXT, head_dim=HEAD, rope_theta=THETA, rope_scaling=scaling)
    return config_class(**TEXT, head_dim=HEAD, rope_parameters={"rope_theta": THETA, **scaling})


@pytest.mark.only(has_module(QWEN2_VL), "Qwen2-VL came with 4.45.0")
def test_contiguous_sections() -> None:
    module, x = load(QWEN2_VL), vectors(5)
    name = "Qwen2VLTextConfig" if hasattr(module, "Qwen2VLTextConfig") else "Qwen2VLConfig"
    made = rotary(module.Qwen2VLRotaryEmbedding, with_sections(getattr(module, name)))
    cos, sin = made(x, COORDINATES)
    if hasattr(module, "apply_multimodal_rotary_pos_emb"):
        given = module.apply_multimodal_rotary_pos_emb(x, x, cos, sin, SECTIONS)
    else:
        given = module.apply_rotary_pos_emb(x, x, cos, sin)
    by = angles.by_axis(COORDINATES, exact.default(HEAD, THETA)[0], angles.contiguous(SECTIONS))
    assert_rotated(qk(given), x, by[:, None])


@pytest.mark.only(has_module(QWEN3_VL), "Qwen3-VL came with 4.57.0")
def test_interleaved_sections() -> None:
    module, x = load(QWEN3_VL), vectors(5)
    made = rotary(module.Qwen3VLTextRotaryEmbedding, with_sections(module.Qwen3VLTextConfig))
    given = module.apply_rotary_pos_emb(x, x, *made(x, COORDINATES))
    by = angles.by_axis(COORDINATES, exact.default(HEAD, THETA)[0], angles.interleaved(SECTIONS))
    assert_rotated(qk(given), x, by[:, None])


@pytest.mark.only(has_module(QWEN2_VL), "Qwen2-VL came with 4.45.0")
def test_an_image_of_qwen2_vl() -> None:
    module, place = load(QWEN2_VL), angles.grid(4, 6, merge=2)
    x = vectors(24)[0].transpose(0, 1)
    if hasattr(module, "VisionRotaryEmbedding"):
        made = module.VisionRotaryEmbedding(HEAD // 2)
        if "seqlen" in inspect.signature(made.forward).parameters:
            freqs = made(6)[place.T].flatten(1)
        else:
            freqs = made(place.T)
        cos, sin = (torch.cat([part, part], dim=-1) for part in (freqs.cos(), freqs.sin()))
    else:
        from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig

        config = Qwen2VLVisionConfig(embed_dim=2 * HEAD, num_heads=2, depth=1)
        cos, sin = module.Qwen2VLVisionRotaryEmbedding(config)(x, place.T)
    if Version("4.49.0") > HERE:
        given = module.apply_rotary_pos_emb_vision(x[None], freqs)[0]
    else:
        given = qk(module.apply_rotary_pos_emb_vision(x, x, cos, sin))
    by = angles.by_axis(place, *angles.axial(HEAD, THETA))
    assert_rotated(given, x, by[:, None])


@pytest.mark.only(has_module(PIXTRAL), "Pixtral came with 4.45.0")
def test_an_image_of_pixtral() -> None:
    from transformers import PixtralVisionConfig

    module, place, x = load(PIXTRAL), angles.grid(GRID, GRID)[:, 3:20], vectors(17)
    config = PixtralVisionConfig(**SIZES, image_size=GRID * 2, patch_size=2, **theta())
    if hasattr(module, "PixtralRotaryEmbedding"):
        # Up to 4.47 the device has to be given.
        made = module.PixtralRotaryEmbedding(*([config, None] if IS_4X else [config]))
        cos, sin = made(x, place[0] * GRID + place[1])
    else:
        cos, sin = module.PixtralVisionRotaryEmbedding(config)(x, place.T)
    given = module.apply_rotary_pos_emb(x, x, cos, sin, unsqueeze_dim=0)
    assert_rotated(qk(given), x, angles.by_axis(place, *angles.dealt(HEAD, THETA)))


@pytest.mark.only(has_module(SAM2), "SAM 2 for videos came with 4.56.0")
def test_an_image_of_sam2() -> None:
    from transformers import Sam2VideoConfig

    module, place, x = load(SAM2), angles.grid(GRID, GRID), vectors(GRID * GRID)
    sizes: Any = {"memory_attention_rope_feat_sizes": [GRID, GRID], "memory_attention_downsample_rate": 1}
    config = Sam2VideoConfig(
        **sizes, memory_attention_hidden_size=HEAD, memory_attention_num_attention_heads=1
    )
    made = module.Sam2VideoVisionRotaryEmbedding(config)
    by_x_and_y = place.flip(0)
    cos, sin = made(x, by_x_and_y.T) if inspect.signature(made.forward).parameters else made()
    given = qk(module.apply_rotary_pos_emb_2d(x, x, cos, sin))
    assert_rotated(given, x, angles.by_axis(by_x_and_y, *angles.axial(HEAD, THETA)), "interleaved")


@pytest.mark.only(has_module(LLAMA4), "Llama 4 came with 4.51.0")
def test_complex_numbers() -> None:
    from transformers import Llama4TextConfig

    module, x = load(LLAMA4), vectors(5).transpose(1, 2)
    config = Llama4TextConfig(**TEXT, head_dim=HEAD, **theta())
    freqs_cis = module.Llama4TextRotaryEmbedding(config)(x, POSITIONS)
    given = qk(module.apply_rotary_emb(x, x, freqs_cis))
    by = text_angles().transpose(1, 2)
    assert_rotated(given, x, by, "interleaved")
    turned = reference.rotate_by_cis(x, freqs_cis[:, :, None])
    assert_rotated(turned, x, by, "interleaved")
    assert bool(((reference.cis(by) - freqs_cis[:, :, None]).abs() <= angle_bounds(by, THETA) + 2 * U).all())


@pytest.mark.only(has_module(LLAMA4), "Llama 4 came with 4.51.0")
def test_an_image_of_llama4() -> None:
    from transformers import Llama4VisionConfig

    config = Llama4VisionConfig(**SIZES, image_size=GRID * 2, patch_size=2)
    freqs_cis = load(LLAMA4).Llama4VisionRotaryEmbedding(config)(torch.zeros(1))
    assert freqs_cis.shape == (GRID * GRID + 1, 1, HEAD // 2)
    from_1 = angles.grid(GRID, GRID).flip(0) + 1
    by = angles.by_axis(from_1, *angles.axial(HEAD, THETA))
    bounds = angle_bounds(by, THETA) + 2 * U
    assert bool(((reference.cis(by) - freqs_cis[:-1, 0]).abs() <= bounds).all())
    assert bool((freqs_cis[-1] == 1).all()), "the class token does not turn"


@pytest.mark.only(has_module(GEMMA3), "Gemma 3 came with 4.50.0")
def test_layer_types() -> None:
    from transformers import Gemma3TextConfig

    given: dict[str, dict[str, Any]] = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": THETA},
    }
    layers = {"layer_types": ["sliding_attention", "full_attention"], "pad_token_id": 0}
    module, x = load(GEMMA3), vectors(5)
    if IS_4X:
        scaling = {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}
        fields = {"rope_theta": 1e6, "rope_local_base_freq": THETA, **scaling}
        model = module.Gemma3TextModel(Gemma3TextConfig(**TEXT, head_dim=HEAD, **layers, **fields))
        results = {"full_attention": model.rotary_emb(x, POSITIONS)}
        results["sliding_attention"] = model.rotary_emb_local(x, POSITIONS)
    else:
        config = Gemma3TextConfig(**TEXT, head_dim=HEAD, **layers, rope_parameters=given)
        made = module.Gemma3RotaryEmbedding(config)
        results = {layer_type: made(x, POSITIONS, layer_type) for layer_type in given}
    for layer_type, (inv_freq, factor) in parameters.by_layer_type(given, HEAD).items():
        assert factor == 1.0
        turned = qk(module.apply_rotary_pos_emb(x, x, *results[layer_type]))
        # log(1e6) is 5 more than log(1e4), and the linear factor is one division: 6 steps cover both.
        assert_rotated(turned, x, angles.angles(POSITIONS, inv_freq)[:, None], steps=6)
