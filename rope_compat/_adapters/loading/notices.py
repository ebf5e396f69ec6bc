"""What is said before custom code is loaded: of the release, and of what the code uses outside RoPE."""

from __future__ import annotations

from typing import Any

from ..._environment import announce
from ..._settings import OnProblem
from ..._utils.ownership import qualified_name
from ...errors import IncompatibleVersionError, IncompatibleVersionWarning, OutsideRopeWarning
from .non_rope_errors import removed_names

__all__ = ["about_class", "about_release"]


def about_release(cls: type[Any], on_problem: OnProblem) -> None:
    """Refuse, or warn of, releases that overwrite loaded weights of custom code: 5.0.0 to 5.2.0.

    Raises:
        IncompatibleVersionError: with ``on_problem="error"``.
    """
    import transformers

    release = transformers.__version__
    if on_problem == "ignore" or not release.startswith(("5.0.", "5.1.", "5.2.")):
        return
    message = (
        f"transformers {release} initialises weights of custom code again after loading them, so "
        f'{qualified_name(cls)} may hold random ones. Install "transformers>=5.3" (or "transformers<5"). '
        "rope_compat keeps what the checkpoint brought, module by module; a module of which only a part is "
        "in the checkpoint is not safe"
    )
    if on_problem == "error":
        raise IncompatibleVersionError(message)
    announce(message, IncompatibleVersionWarning)


def about_class(cls: type[Any], on_problem: OnProblem) -> None:
    """Warn of what custom code uses that is gone, and is no matter of RoPE."""
    names = removed_names(cls) if on_problem != "ignore" else []
    if names:
        announce(
            f"{qualified_name(cls)} uses what the installed transformers no longer has: {', '.join(names)}. "
            "This is no matter of RoPE, and rope_compat does not mend it: code paths that need it fail",
            OutsideRopeWarning,
        )
