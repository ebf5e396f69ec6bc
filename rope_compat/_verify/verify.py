"""`verify`: are the rotary numbers right, of an installation or of a model?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .._outcome import Report
from ..errors import ArgumentError

if TYPE_CHECKING:
    from torch import nn

    from .installation.run import Progress

__all__ = ["verify"]


def verify(
    model: nn.Module | None = None,
    *,
    modules: str | Iterable[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Hold rotary numbers against the exact ones.

    Without a model, every rotary function and class of the installed transformers, see
    `rope_compat._verify.installation.run`. With one, every rotary embedding in it: the frequencies, tables
    and factors that its own config means, in float64; and what attention makes of them, by running the model
    on thirteen tokens. The model is not changed.

    Args:
        model: a transformers model, native or of custom code, or a module that holds some.
        modules: without a model, names or patterns of modules to look at (``*.modeling_qwen*``); all if None.
        progress: without a model, shows how far it is; see `verify_installation`.

    Returns:
        The report. Of an item that is wrong `fault` is one of the codes that docs/verify.md explains,
        `max_error` is in radians of phase, and `position` is where it is reached first.

    Raises:
        ArgumentError: `model` is not a module, or `modules` matches none.
        IncompatibleVersionError: without a model, transformers is not installed.
    """
    if model is None:
        from .installation.run import verify_installation

        return verify_installation(modules=modules, progress=progress)
    if modules is not None or progress is not None:
        raise ArgumentError("modules and progress are for the installation: leave them out with a model")
    from .model.run import verify_model

    return verify_model(model)[0]
