"""A model from the config and the code in a directory, without its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..._adapters.loading.construction import real_values
from ...errors import ArgumentError

__all__ = ["construct"]


def construct(directory: str | Path, *, trust_remote_code: bool = False) -> nn.Module:
    """The model that a directory's ``config.json`` names: rotary buffers with values, parameters on meta.

    Args:
        directory: has a ``config.json``, and its own modeling files if `trust_remote_code`.
        trust_remote_code: whether to run such code.

    Raises:
        ArgumentError: there is no config, it names no class, or the model cannot be constructed.
    """
    place = Path(directory)
    if not (place / "config.json").is_file():
        raise ArgumentError(f"{place} has no config.json: --model takes the directory of a model")
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=trust_remote_code)
        cls = _class_for(config, place, trust_remote_code=trust_remote_code)
        with torch.no_grad(), torch.device("meta"), real_values():
            model: nn.Module = cls(config).eval()
            return model
    except ArgumentError:
        raise
    except Exception as error:  # a constructor of anybody's
        if "auto_map" in (place / "config.json").read_text(encoding="utf-8") and not trust_remote_code:
            raise ArgumentError(
                f"{place} has code of its own, which the installed transformers has not: read it, then pass "
                "--trust-remote-code"
            ) from error
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ArgumentError(f"the model in {place} cannot be constructed: {text}") from error


def _class_for(config: Any, place: Path, *, trust_remote_code: bool) -> Any:
    """The class that the config names, of the directory's code or of transformers."""
    own = getattr(config, "auto_map", None) or {}
    named = [own[name] for name in sorted(own, key=_preference) if name.startswith("AutoModel")]
    if named and trust_remote_code:
        from transformers.dynamic_module_utils import get_class_from_dynamic_module

        return get_class_from_dynamic_module(named[0], str(place))
    import transformers

    for name in getattr(config, "architectures", None) or ():
        if hasattr(transformers, name):
            return getattr(transformers, name)
    known = transformers.AutoModelForCausalLM._model_mapping
    if type(config) in known:
        return known[type(config)]
    raise ArgumentError(f"{place / 'config.json'} names no model class (architectures, auto_map)")


def _preference(name: str) -> tuple[bool, str]:
    return "CausalLM" not in name, name
