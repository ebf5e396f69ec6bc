"""What modules of models held for their documentation, and their loggers."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["find"]


def find(module: str, name: str) -> Any:
    """A docstring constant: a text that decorators can put into a docstring; or the module's logger."""
    if name == "logger":
        from transformers.utils import logging

        return logging.get_logger(module)
    if name == "_CONFIG_FOR_DOC":
        return _config_of(module)
    if name == "_CHECKPOINT_FOR_DOC":
        return ""
    return f"See the documentation of {module}.\n"


def _config_of(module: str) -> str:
    """The name of the configuration class of the module's models."""
    for value in list(vars(sys.modules[module]).values()):
        config = getattr(value, "config_class", None) if isinstance(value, type) else None
        if config is not None and value.__module__ == module:
            return str(config.__name__)
    return "PretrainedConfig"
