"""Which channels transformers' own models turn together, as their attention multiplies q and k."""

from __future__ import annotations

__all__ = ["pairing_of"]

#: Folders below transformers.models whose heads are paired (0, 1), (2, 3), ...; as measured by running tiny
#: models of 4.36.2 to 5.24.0, where none has changed.
_INTERLEAVED = ("codegen", "cohere", "cohere2", "ernie4_5", "glm", "glm4", "gptj", "helium")
#: Those whose heads are paired (0, d / 2), (1, d / 2 + 1), ...; DeepSeek's are sorted into halves before.
_HALF = (
    "deepseek_v3", "falcon", "gemma", "gemma2", "gemma3", "gpt_neox", "gpt_oss", "granite", "llama",
    "mistral", "mixtral", "nemotron", "olmo", "persimmon", "phi", "phi3", "qwen2", "qwen2_5_vl", "qwen2_vl",
    "qwen3", "smollm3", "stablelm", "starcoder2",
)  # fmt: skip
_PAIRINGS = dict.fromkeys(_INTERLEAVED, "interleaved") | dict.fromkeys(_HALF, "half")


def pairing_of(attention: type) -> str | None:
    """``half``, ``interleaved``, or None where that is not known: it is the checkpoints' own affair."""
    for cls in attention.__mro__:
        parts = cls.__module__.split(".")
        if parts[:2] == ["transformers", "models"] and len(parts) > 2:
            return _PAIRINGS.get(parts[2])
    return None
