"""`verify`: are the rotary numbers right, of an installation or of a model?"""

from __future__ import annotations

from typing import Any

from ..outcome import Report

__all__ = ["verify"]


def verify(model: Any = None, **options: Any) -> Report:
    """Hold rotary numbers against the exact ones.

    Without a model, every rotary function and class of the installed transformers, see
    `rope_compat.diagnostics.installation`. With one, every rotary embedding in it: the frequencies, tables
    and factors that its own config means, in float64; and what attention makes of them, by running the model
    on thirteen tokens. The model is not changed.

    Args:
        model: a transformers model, native or of custom code, or a module that holds some.
        options: for `verify_installation`, without a model.

    Returns:
        The report. Of an item that is wrong `fault` is one of the codes that docs/verify.md explains,
        `max_error` is in radians of phase, and `position` is where it is reached first.

    Raises:
        ArgumentError: `model` is not a module with a rotary embedding or a config.
    """
    if model is None:
        from .installation import verify_installation

        report: Report = verify_installation(**options)
        return report
    from .model import verify_model

    return verify_model(model, **options)[0]
