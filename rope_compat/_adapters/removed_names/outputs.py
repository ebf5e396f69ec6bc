"""Output classes of vision-language models, which carried ``rope_deltas`` to 5.22.2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["find"]


def find(module: str, name: str) -> Any:
    """The class as it was: the general output, and the difference between positions and lengths."""
    from transformers import modeling_outputs

    general = "CausalLMOutputWithPast" if "CausalLM" in name else "BaseModelOutputWithPast"
    base = getattr(modeling_outputs, general)
    contents = {
        "__module__": module,
        "__doc__": f"`{general}` with ``rope_deltas``, as models to 5.22.2 returned it.",
        "__annotations__": {"rope_deltas": Any},
        "rope_deltas": None,
    }
    return dataclass(type(base)(name, (base,), contents))
