"""What the example needs and a user has already: a picture, its patches, and a model that fits the release.

Nothing is downloaded and nothing is written: the picture is drawn, the weights are random.
"""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from typing import Any

# Before transformers is imported by anyone: nothing here needs a network.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from PIL import Image, ImageDraw

__all__ = ["Case", "draw_picture", "make_case", "to_patches"]

PATCH, MERGE, FRAMES = 14, 2, 2
IMAGE_TOKEN, VIDEO_TOKEN, START_TOKEN, END_TOKEN = 90, 91, 92, 93
# Mean and standard deviation of CLIP's pictures, which Qwen2-VL's image processor uses too.
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Case:
    """A model and its input.

    Attributes:
        name: ``Qwen2.5-VL``, ``Qwen2-VL`` or ``Llama``.
        model: in evaluation mode, fp32.
        inputs: keyword arguments of the model's forward.
        attention: the class whose `forward` the user's code replaces.
    """

    name: str
    model: Any
    inputs: dict[str, torch.Tensor]
    attention: type

    @property
    def vision(self) -> Any:
        """The vision tower, or None."""
        # `model.visual` to 4.51, `model.model.visual` from 4.52.
        return next((part for name, part in self.model.named_modules() if name.endswith("visual")), None)


def draw_picture(width: int = 168, height: int = 112) -> Image.Image:
    """A sunset: a gradient, a disc, a house and a tree."""
    picture = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(picture)
    for y in range(height):
        draw.line([(0, y), (width, y)], fill=(250 - y, 120 + y // 2, 60 + y))
    draw.ellipse([112, 14, 146, 48], fill=(255, 236, 130))
    draw.rectangle([30, 60, 80, 104], fill=(150, 75, 45))
    draw.polygon([(24, 60), (55, 34), (86, 60)], fill=(110, 30, 30))
    draw.line([(120, 104), (120, 70)], fill=(70, 45, 20), width=5)
    draw.ellipse([102, 52, 138, 84], fill=(40, 110, 50))
    return picture


def to_patches(picture: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
    """What Qwen2-VL's image processor makes of a picture whose sides are multiples of 28.

    By hand, as the processor of 5.x needs torchvision. Patches that are merged later come one after the
    other, and a still picture is a film of two equal frames.

    Returns:
        pixel_values: float32 ``[rows * columns, 3 * 2 * 14 * 14]``.
        image_grid_thw: int64 ``[1, 3]``: frames, rows and columns of patches.
    """
    raw = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    pixels = raw.view(picture.height, picture.width, 3).permute(2, 0, 1).float() / 255
    pixels = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
    rows, columns = picture.height // PATCH, picture.width // PATCH
    blocks = pixels.view(3, rows // MERGE, MERGE, PATCH, columns // MERGE, MERGE, PATCH)
    patches = blocks.permute(1, 4, 2, 5, 0, 3, 6).unsqueeze(5).expand(-1, -1, -1, -1, -1, FRAMES, -1, -1)
    return patches.reshape(rows * columns, -1), torch.tensor([[1, rows, columns]])


def make_case() -> Case:
    """The richest model that the installed transformers has, with seeded weights."""
    torch.manual_seed(0)
    for make in (_qwen2_5_vl, _qwen2_vl, _llama):
        try:
            case = make()
        except ImportError:
            # The next one is in older releases too.
            continue
        for weight in case.model.parameters():
            if weight.dim() > 1:
                # Larger than transformers' own, with which attention is the same wherever a patch lies.
                torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
        return case
    raise ImportError("the installed transformers has neither of Qwen2.5-VL, Qwen2-VL, Llama")


def _qwen2_5_vl() -> Case:
    # From 4.49.0 on, and in its development builds.
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 32,
        # One block attends within windows of 2 x 2 merged patches, one within the whole picture.
        "window_size": 4 * PATCH,
        "fullatt_block_indexes": [1],
    }
    model = Qwen2_5_VLForConditionalGeneration(_vl_config(Qwen2_5_VLConfig, vision)).eval()
    case = Case("Qwen2.5-VL", model, _picture_and_words(model), object)
    return Case(case.name, model, case.inputs, type(case.vision.blocks[0].attn))


def _qwen2_vl() -> Case:
    # From 4.45.0 on.
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2, "num_heads": 2}
    model = Qwen2VLForConditionalGeneration(_vl_config(Qwen2VLConfig, vision)).eval()
    case = Case("Qwen2-VL", model, _picture_and_words(model), object)
    return Case(case.name, model, case.inputs, type(case.vision.blocks[0].attn))


def _llama() -> Case:
    from transformers import LlamaConfig, LlamaForCausalLM

    text = _text_config()
    del text["rope_scaling"]
    model = LlamaForCausalLM(LlamaConfig(**text)).eval()
    words = torch.arange(24).view(2, 12)
    return Case("Llama", model, {"input_ids": words}, type(model.model.layers[0].self_attn))


def _text_config() -> dict[str, Any]:
    return {
        "vocab_size": 100,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }


def _vl_config(kind: type, vision: dict[str, Any]) -> Any:
    tokens = {
        "image_token_id": IMAGE_TOKEN,
        "video_token_id": VIDEO_TOKEN,
        "vision_start_token_id": START_TOKEN,
        "vision_end_token_id": END_TOKEN,
    }
    # 4.52.1 moved the text model's settings into a config of their own.
    if "text_config" in inspect.signature(kind).parameters:
        return kind(text_config=_text_config(), vision_config=vision, **tokens)
    return kind(**_text_config(), vision_config=vision, **tokens)


def _picture_and_words(model: Any) -> dict[str, torch.Tensor]:
    pixel_values, grid = to_patches(draw_picture())
    image = [IMAGE_TOKEN] * (pixel_values.shape[0] // MERGE**2)
    input_ids = torch.tensor([[5, 6, START_TOKEN, *image, END_TOKEN, 7, 8, 9]])
    inputs = {
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
        "pixel_values": pixel_values,
        "image_grid_thw": grid,
    }
    # Which tokens are a picture's: asked for from 5.3.0 on.
    if "mm_token_type_ids" in inspect.signature(model.forward).parameters:
        inputs["mm_token_type_ids"] = (input_ids == IMAGE_TOKEN).int()
    return inputs
