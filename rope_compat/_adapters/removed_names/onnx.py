"""What stands for ``transformers.onnx``, gone in 5.0.0: bases that configuration files derive classes from.

The export itself is not restored: making one of the classes says so.
"""

from __future__ import annotations

from typing import Any

from ...errors import IncompatibleVersionError

__all__ = ["OnnxConfig", "OnnxConfigWithPast", "OnnxSeq2SeqConfigWithPast", "PatchingSpec"]


class _Gone:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise IncompatibleVersionError(
            f"{type(self).__name__} cannot be made here: transformers exports to ONNX up to 4.57. Use "
            "optimum (pip install optimum), or torch.onnx.export"
        )


class OnnxConfig(_Gone):
    """The base of a model's export configuration."""


class OnnxConfigWithPast(OnnxConfig):
    """The same for models with a cache."""


class OnnxSeq2SeqConfigWithPast(OnnxConfigWithPast):
    """The same for encoders with decoders."""


class PatchingSpec(_Gone):
    """What was replaced during an export."""
