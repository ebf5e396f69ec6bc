"""What the rotary functions of each model mean: which channels make a pair, and how cos and sin are laid out.

A model is a folder of ``transformers/models``. Those that are not here have the convention of Llama. The
records were read from the models' code of 4.36.2 to 5.24.0, and hold for every release but where one says
otherwise. `verify` judges functions of the installation and attention of models by this one table, so that
code which pairs other channels than its model's weights were trained for is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from packaging.version import Version

__all__ = ["Convention", "Pairing", "convention_of"]

Pairing = Literal["half", "interleaved"]
#: ``halves``: ``cat(f, f)``; ``pairs``: each angle twice in a row; ``single``: each angle once. ``crossed``:
#: that of the other pairing, which turns the two channels of a pair by different angles: no rotation.
Tables = Literal["halves", "pairs", "single", "crossed"]


@dataclass(frozen=True, slots=True)
class Convention:
    """What one model's rotary functions mean.

    Attributes:
        pairing: which channels turn together.
        tables: how the angles of the pairs are laid out in cos and sin.
        direction: 1, or -1 where the model turns against the common direction.
        last: the last channels of a head turn and the first pass through, not the other way round.
        doubled: multimodal sections are twice as wide, instead of coming twice.
    """

    pairing: Pairing = "half"
    tables: Tables = "halves"
    direction: int = 1
    last: bool = False
    doubled: bool = False


LLAMA = Convention()
#: GLM: cos and sin come by halves, and the function widens the first half.
_WIDENED = Convention("interleaved", "halves")
#: Cohere: cos and sin come laid out as the channels are.
_PAIRS = Convention("interleaved", "pairs")
_SINGLE_PAIRS = Convention("interleaved", "single")

_BY_MODEL: dict[str, Convention] = {
    **dict.fromkeys(("codegen", "gptj", "openai_privacy_filter"), _SINGLE_PAIRS),
    "deepseek_v4": Convention("interleaved", "single", last=True),
    "gpt_oss": Convention("half", "single"),
    # As the authors' code; queries and keys lose their length, but both in the same way.
    "vjepa2": Convention("interleaved", "crossed"),
    "nanochat": Convention(direction=-1),
    "hunyuan_vl": Convention(doubled=True),
    **dict.fromkeys(("cohere", "cohere2", "cohere2_moe", "efficientloftr", "lightglue"), _PAIRS),
    **dict.fromkeys(("blt", "ernie4_5_vl_moe", "musicflamingo", "inkling2"), _PAIRS),
    **dict.fromkeys(("edgetam_video", "sam2_video", "sam3", "sam3_tracker_video"), _PAIRS),
    **dict.fromkeys(("ernie4_5", "ernie4_5_moe", "glm", "glm4", "helium", "hy_v4_vl"), _WIDENED),
    **dict.fromkeys(("moonshine", "moonshine_streaming", "pe_audio", "pe_audio_video", "pe_video"), _WIDENED),
}

#: What a name means in every model: channels as complex numbers (Llama 4, DeepSeek-V2), and neighbours that
#: are sorted into halves before they turn (DeepSeek-V3), which is what attention multiplies.
_BY_FUNCTION: dict[str, Convention] = {
    **dict.fromkeys(("apply_rotary_emb", "vision_apply_rotary_emb"), _SINGLE_PAIRS),
    "apply_rotary_pos_emb_interleave": LLAMA,
}

#: Model, name of the function, first release: where one model has several conventions.
_EXCEPTIONS: tuple[tuple[str, str, str, Convention], ...] = (
    # The text part pairs neighbours, the vision tower halves. From 5.17.0 the rotary module lays them out.
    *((model, name, since, meaning)
      for model in ("glm4v", "glm_ocr")
      for name, since, meaning in (
          ("apply_rotary_pos_emb", "5.17.0", _PAIRS),
          ("apply_rotary_pos_emb", "4.53.0", _WIDENED),
          ("apply_multimodal_rotary_pos_emb", "4.53.0", _WIDENED),
          ("rotate_half_llm", "4.53.0", _PAIRS),
      )),
    ("ernie4_5_vl_moe", "apply_rotary_pos_emb_vision", "5.0.0", LLAMA),
    ("ernie4_5_vl_moe", "rotate_half", "5.0.0", LLAMA),
    # The decoder for speech paired neighbours, as its authors' code, and halves since.
    ("qwen2_5_omni", "apply_rotary_pos_emb", "5.11.0", LLAMA),
    ("qwen2_5_omni", "apply_rotary_pos_emb", "4.52.1", _PAIRS),
)  # fmt: skip


def convention_of(model: str, name: str, release: str | None) -> Convention:
    """The convention of a model's function.

    Args:
        model: folder below ``transformers/models``.
        name: of the function that turns q and k.
        release: the installed release, or the one that stands for it; None for the newest.
    """
    here = None if release is None else Version(release)
    for known, function, since, meaning in _EXCEPTIONS:
        if (known, function) == (model, name) and (here is None or here >= Version(since)):
            return meaning
    return _BY_FUNCTION.get(name) or _BY_MODEL.get(model, LLAMA)
