"""Every error and warning that rope_compat raises.

Errors derive from `RopeCompatError` and from the built-in that callers would catch
anyway; warnings derive from `RopeCompatWarning`, so ``warnings.simplefilter("error",
RopeCompatWarning)`` or ``python -W`` turn all of them, or one class of them, into errors.
"""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "CallFormError",
    "DeadPatchWarning",
    "DevelopmentBuildWarning",
    "EnvironmentMismatchError",
    "HeadDimensionError",
    "IncompatibleVersionError",
    "IncompatibleVersionWarning",
    "LayoutError",
    "OutsideRopeWarning",
    "PatchError",
    "RemovedModuleError",
    "RemovedNameError",
    "RopeBufferError",
    "RopeCompatError",
    "RopeCompatWarning",
    "RopeConfigError",
    "SignatureDriftWarning",
    "SkippedTargetWarning",
]


class RopeCompatError(Exception):
    """Base of every error that rope_compat raises."""


class ArgumentError(RopeCompatError, ValueError):
    """An argument of a rope_compat function is not one that it takes."""


class CallFormError(RopeCompatError, TypeError):
    """A call that is neither in the native form nor in a known foreign one, or that is ambiguous."""


class LayoutError(CallFormError, RuntimeError):
    """Axes of q, k and of cos, sin do not meet where ``unsqueeze_dim`` puts them, or not as was declared.

    Also a `RuntimeError`, since that is what torch raises for the same mistake.
    """


class HeadDimensionError(LayoutError, AssertionError):
    """The channels of a head do not make pairs: their number is odd.

    Also an `AssertionError`, since that is what LLMs-from-scratch raises for it.
    """


class IncompatibleVersionError(RopeCompatError, ImportError):
    """The installed versions cannot be made to work; the message names what to install."""


class EnvironmentMismatchError(IncompatibleVersionError):
    """A requirement given to `rope_compat.require` is not met."""


class RopeConfigError(RopeCompatError, ValueError):
    """A configuration's rotary embedding contradicts itself, or cannot be expressed or computed here."""


class RemovedNameError(RopeCompatError, ImportError):
    """A name that is imported from transformers is not there; the message says since when, and what to do."""


class RemovedModuleError(RemovedNameError, ModuleNotFoundError):
    """A module of transformers, or of another package, is not there; the message says since or until when."""


class PatchError(RopeCompatError, RuntimeError):
    """`rope_compat.patch` failed half-way; everything it had changed has been put back."""


class RopeBufferError(RopeCompatError, RuntimeError):
    """A rotary buffer of a loaded model is impossible (not finite, on meta) and cannot be recomputed."""


class RopeCompatWarning(UserWarning):
    """Base of every warning that rope_compat issues."""


class IncompatibleVersionWarning(RopeCompatWarning):
    """An installed version is too old, too new, known to be bad, or not what was required."""


class DevelopmentBuildWarning(RopeCompatWarning):
    """The installed transformers is a development build: its version does not say what it holds."""


class SignatureDriftWarning(RopeCompatWarning):
    """A function's signature is not the one that its release had."""


class SkippedTargetWarning(RopeCompatWarning):
    """A target is there, but its signature is not one that can be adapted."""


class OutsideRopeWarning(RopeCompatWarning):
    """Custom code uses something that transformers has removed and that has nothing to do with RoPE."""


class DeadPatchWarning(RopeCompatWarning):
    """Code changes something that the installed transformers does not use, so the change has no effect."""
