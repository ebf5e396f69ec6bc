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

if TYPE_CHECKING:
    from . import catalog as catalog
    from . import configs as configs
    from . import errors as errors
    from . import functional, strict
    from . import rotary as rotary
    from ._adapters.loading.repair import repair
    from ._api import Patch, adapt, patch, patched, plan, status, unpatch
    from ._environment import Environment, detect, require
    from ._identify.identify import Identity, identify
    from ._outcome import Item, Report
    from ._plan import Plan, Step
    from ._status import Status
    from ._verify.drift import known_drift
    from ._verify.verify import verify
    from .configs import RopeSpec, rope_specs
    from .errors import (
        ArgumentError,
        CallFormError,
        DeadPatchWarning,
        DevelopmentBuildWarning,
        EnvironmentMismatchError,
        HeadDimensionError,
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

__all__ = [
    "ArgumentError",
    "CallFormError",
    "DeadPatchWarning",
    "DevelopmentBuildWarning",
    "Environment",
    "EnvironmentMismatchError",
    "HeadDimensionError",
    "Identity",
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
    "identify",
    "known_drift",
    "patch",
    "patched",
    "plan",
    "repair",
    "require",
    "rope_specs",
    "status",
    "strict",
    "unpatch",
    "verify",
]

_HOMES = {
    "_api": ("Patch", "adapt", "patch", "patched", "plan", "status", "unpatch"),
    "configs": ("RopeSpec", "rope_specs"),
    "_identify.identify": ("Identity", "identify"),
    "_verify.drift": ("known_drift",),
    "_verify.verify": ("verify",),
    "_environment": ("Environment", "detect", "require"),
    "errors": tuple(name for name in __all__ if name.endswith(("Error", "Warning"))),
    "_adapters.loading.repair": ("repair",),
    "_outcome": ("Item", "Report"),
    "_plan": ("Plan", "Step"),
    "_status": ("Status",),
}
#: What is promised beside the names above.
_ROOMS = ("catalog", "configs", "errors", "functional", "rotary", "strict")
_WHERE = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f".{name}", __name__)
    home = _WHERE.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
