"""rope_compat: code that uses transformers' rotary position embeddings, on any transformers release.

>>> import rope_compat
>>> patch = rope_compat.patch()  # before or after importing transformers
>>> patch.undo()

Neither torch nor transformers is imported by this module, or by `patch` before the program does it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .api import Patch, adapt, patch, patched, plan, status, unpatch

if TYPE_CHECKING:
    from . import functional
    from .configs import RopeSpec, rope_specs
    from .diagnostics.verify import verify
    from .environment import Environment, detect, require
    from .errors import (
        ArgumentError,
        CallFormError,
        DeadPatchWarning,
        DevelopmentBuildWarning,
        EnvironmentMismatchError,
        IncompatibleVersionError,
        IncompatibleVersionWarning,
        LayoutError,
        OutsideRopeWarning,
        PatchError,
        RemovedModuleError,
        RemovedNameError,
        RopeBufferError,
        RopeCompatError,
        RopeCompatWarning,
        RopeConfigError,
        SignatureDriftWarning,
        SkippedTargetWarning,
    )
    from .loading.repair import repair
    from .outcome import Item, Report
    from .planning import Plan, Step
    from .state import Status

__all__ = [
    "ArgumentError",
    "CallFormError",
    "DeadPatchWarning",
    "DevelopmentBuildWarning",
    "Environment",
    "EnvironmentMismatchError",
    "IncompatibleVersionError",
    "IncompatibleVersionWarning",
    "Item",
    "LayoutError",
    "OutsideRopeWarning",
    "Patch",
    "PatchError",
    "Plan",
    "RemovedModuleError",
    "RemovedNameError",
    "Report",
    "RopeBufferError",
    "RopeCompatError",
    "RopeCompatWarning",
    "RopeConfigError",
    "RopeSpec",
    "SignatureDriftWarning",
    "SkippedTargetWarning",
    "Status",
    "Step",
    "__version__",
    "adapt",
    "detect",
    "functional",
    "patch",
    "patched",
    "plan",
    "repair",
    "require",
    "rope_specs",
    "status",
    "unpatch",
    "verify",
]

_HOMES = {
    "configs": ("RopeSpec", "rope_specs"),
    "diagnostics.verify": ("verify",),
    "environment": ("Environment", "detect", "require"),
    "errors": tuple(name for name in __all__ if name.endswith(("Error", "Warning"))),
    "loading.repair": ("repair",),
    "outcome": ("Item", "Report"),
    "planning": ("Plan", "Step"),
    "state": ("Status",),
}
_WHERE = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "functional":
        return import_module(".functional", __name__)
    home = _WHERE.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
