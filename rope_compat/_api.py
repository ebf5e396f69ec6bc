"""`patch`, `unpatch`, `patched`, `plan`, `status`, `adapt`: what users call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, lru_cache, partial, wraps
from inspect import signature
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ._environment.release import plain_release
from ._patching.asking import RuleSet
from ._patching.edits import Entry, Skip
from ._patching.engine import Engine
from ._patching.hooks import Fresh, ImportHook
from ._patching.layer import Layer
from ._rules import rooms
from ._rules.functions import context_for
from ._rules.options import Options, read_options
from ._rules.rooms import SHIMS
from ._rules.selection import Selection, Targets
from ._settings import OnProblem, is_off, read_written_for
from .errors import (
    ArgumentError,
    DeadPatchWarning,
    IncompatibleVersionError,
    PatchError,
    RopeCompatError,
    SignatureDriftWarning,
    SkippedTargetWarning,
)

if TYPE_CHECKING:
    from ._plan import Plan
    from ._status import Status

__all__ = ["SHIMS", "Patch", "adapt", "patch", "patched", "plan", "status", "unpatch"]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Patch:
    """One `patch()`: what was planned, what was done, and the way back."""

    def __init__(self, options: Options, layer: Layer | None) -> None:
        self._options = options
        self._layer = layer

    @cached_property
    def plan(self) -> Plan:
        """What was planned when `patch` was called; empty where ``ROPE_COMPAT=off``."""
        from ._plan import make_plan

        if self._layer is None:
            return make_plan(self._options, (), ())
        return make_plan(self._options, rooms.shims(self._options), self._layer.edits)

    @property
    def active(self) -> bool:
        """False after `undo`, and where ``ROPE_COMPAT=off``."""
        return self._layer is not None and self._layer.active

    @property
    def journal(self) -> tuple[Entry, ...]:
        """What has been done so far, in order, with the original objects."""
        return tuple(self._layer.journal) if self._layer is not None else ()

    def undo(self) -> None:
        """Put back what this `patch()` changed, and nothing else. A second call does nothing."""
        if self._layer is not None:
            _engine.undo(self._layer)

    def __repr__(self) -> str:
        state = "active" if self.active else "undone" if self._layer is not None else "off"
        return f"<rope_compat.Patch {state}: {len(self.journal)} changes, plan {self.plan.digest}>"


def patch(
    *,
    written_for: str | None = None,
    targets: Targets = None,
    config: bool = True,
    load: bool = True,
    names: bool = True,
    numbers: str = "installed",
    on_problem: str | None = None,
    strict: bool = False,
) -> Patch:
    """Make code that was written for another transformers release run on the installed one.

    Rotary functions take every call form that they have had, configs are read and written in either style,
    and models of custom code keep the rotary buffers that their constructors computed.

    Works before or after ``import transformers``; imports nothing itself. Modules that are loaded are
    adapted at once, others when they are imported. Calls in the installed release's own form are untouched.

    Args:
        written_for: release that the calling code was written for, where forms are ambiguous.
            Default: ``ROPE_COMPAT_WRITTEN_FOR``.
        targets: names, ``module:name`` patterns or packages to narrow what is adapted.
        config: whether RoPE fields of configs are bridged (``rope_theta``, ``rope_scaling``,
            ``rope_parameters``), and ``ROPE_INIT_FUNCTIONS`` taken back to what it once was.
        load: whether buffers are put back that loading a model of custom code would lose.
        names: whether names beside RoPE that transformers has taken away can be imported, or their absence is
            explained (``LlamaFlashAttention2``, ``is_torch_fx_available``).
        numbers: ``"installed"``, or ``"written_for"`` for models of transformers to compute what that release
            computed where the installed one computes something else; models have to be made after `patch`.
        on_problem: ``"warn"``, ``"error"`` or ``"ignore"`` for what cannot be made compatible. Default:
            ``"error"`` if ``ROPE_COMPAT=error``, else ``"warn"``.
        strict: refuse calls whose layout, (b, h, s, d) or (b, s, h, d), nothing proves and nothing declares;
            see docs/layouts.md. Where it is False, it costs nothing.

    Returns:
        The patch, with its plan, its journal and its `undo`.

    Raises:
        ArgumentError: an argument is not one of these.
        IncompatibleVersionError: with ``on_problem="error"``, the installed versions cannot be made to work.
        PatchError: a step failed; everything that had been changed is back.
    """
    given = read_options(
        written_for=written_for,
        targets=targets,
        config=config,
        load=load,
        names=names,
        numbers=numbers,
        on_problem=on_problem,
        strict=strict,
    )
    return _apply(given)


def _apply(given: Options) -> Patch:
    problem = given.on_problem
    if is_off():
        return Patch(given, None)
    options = given._replace(release=_installed(problem))
    try:
        layer = _engine.apply(_rules(options), partial(_report, problem))
    except RopeCompatError:
        raise
    except Exception as error:
        raise PatchError(
            f"patch() failed and has put everything back: {type(error).__name__}: {error}"
        ) from error
    try:
        _report(problem, layer)
    except BaseException:
        _engine.undo(layer)
        raise
    return Patch(options, layer)


def unpatch() -> None:
    """Undo every `patch()` of this process. Does nothing where there is none."""
    for layer in reversed(_engine.layers):
        _engine.undo(layer)


def _takes_arguments_of(
    model: Callable[_Arguments, object], *, but: str = ""
) -> Callable[[Callable[..., _Result]], Callable[_Arguments, _Result]]:
    """Have a function that takes ``**given`` show, and check, the keyword arguments of `model`."""
    parameters = [each for name, each in signature(model).parameters.items() if name != but]
    known = {each.name for each in parameters}

    def decorate(function: Callable[..., _Result]) -> Callable[_Arguments, _Result]:
        @wraps(function)
        def checked(*args: _Arguments.args, **given: _Arguments.kwargs) -> _Result:
            for name in given.keys() - known:
                raise TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}")
            return function(*args, **given)

        shown = signature(function).replace(parameters=parameters)
        checked.__signature__ = shown  # type: ignore[attr-defined]
        return checked

    return decorate


@_takes_arguments_of(patch)
def patched(**given: Any) -> AbstractContextManager[Patch]:
    """`patch` for the body of a ``with`` statement; undone on any exit. Arguments as for `patch`."""
    return _applied(read_options(**given))


@contextmanager
def _applied(given: Options) -> Iterator[Patch]:
    applied = _apply(given)
    try:
        yield applied
    finally:
        applied.undo()


@_takes_arguments_of(patch, but="on_problem")
def plan(**given: Any) -> Plan:
    """What `patch` with these arguments would do here; changes nothing.

    Raises:
        ArgumentError: an argument is not one that `patch` takes.
    """
    from ._plan import make_plan

    options = read_options(**given)._replace(release=_installed("ignore"), on_problem="warn")
    if is_off():
        return make_plan(options, (), ())
    return make_plan(options, rooms.shims(options), _engine.preview(_rules(options)))


def status() -> Status:
    """Whether patches are on, what is adapted, what was skipped and why, foreign calls by form."""
    from ._status import make_status

    return make_status(_engine.layers, _engine.replacements(), SHIMS)


def adapt(function: Callable[..., Any], target: str, *, written_for: str | None = None) -> Callable[..., Any]:
    """Make a replacement of your own accept every form that callers of `target` use.

    `patch` does this to replacements that it finds in a target's place, and whenever a model is made to those
    that were assigned since; by hand it is needed for one that is assigned to models that exist.

    Args:
        function: the replacement, in any form that the target's family has had.
        target: ``module:name``, such as
            ``"transformers.models.llama.modeling_llama:apply_rotary_pos_emb"``, or the name alone; for
            attention ``"transformers.models.llama.modeling_llama:LlamaAttention.forward"``.
        written_for: as for `patch`.

    Raises:
        ArgumentError: `target` names no known family, or `function` has none of its forms.
    """
    from ._adapters.functions.build import FAMILIES, UnknownGeneration, build_adapter

    options = Options(read_written_for(written_for), _installed("ignore"), Selection(None))
    if target.endswith("Attention.forward"):
        return _adapt_attention(function, target, options)
    target = target if ":" in target else f"{getattr(function, '__module__', '') or ''}:{target}"
    family = target.partition(":")[2]
    if family not in FAMILIES:
        from .catalog import explain

        known = explain(*target.split(":", 1))
        about = f" (known of it: {known}, which rope_compat does not adapt)" if known else ""
        raise ArgumentError(
            f"target={target!r}: expected module:name, with one of the names {', '.join(FAMILIES)}{about}"
        )
    try:
        return build_adapter(function, context_for(target, options, is_library=False))
    except UnknownGeneration as reason:
        raise ArgumentError(f"{function!r} cannot stand for {target}: {reason}") from None


def _adapt_attention(function: Callable[..., Any], target: str, options: Options) -> Callable[..., Any]:
    from ._rules.attention_replaced import adapt_by_hand

    if ":" not in target:
        raise ArgumentError(f"target={target!r}: expected the module as well, as in module:{target}")
    try:
        return adapt_by_hand(function, target, options)
    except ValueError as reason:
        raise ArgumentError(f"{function!r} cannot stand for {target}: {reason}") from None


def _installed(problem: OnProblem) -> str | None:
    """The version of transformers; tells about problems as `problem` says, now or when it is imported.

    A plain release that is not loaded yet is looked at closely when it is loaded: a close look takes longer
    than the rest of `patch()`, and by then nearly nothing beside the import itself.
    """
    release = None if problem == "error" else plain_release()
    if release is None:
        from ._environment import detect, warn_about

        environment = detect()
        is_known = environment.transformers.present or environment.x_transformers.present
        if not is_known and _has_other_packages():
            return None
        warn_about(environment, problem)
        return environment.transformers.version
    if problem == "warn":
        _close_look.install()
    return release


def _has_other_packages() -> bool:
    """Whether another package with targets is installed: then nobody has to have transformers."""
    from importlib.util import find_spec

    others = {shim.targets[0].partition(".")[0] for shim in SHIMS if shim.package != "transformers"}
    return any(find_spec(name) is not None for name in others)


def _look_closely(module: ModuleType, fresh: Fresh) -> None:
    _close_look.remove()
    if _engine.layers:
        from ._environment import detect, warn_about

        warn_about(detect())


_close_look = ImportHook(lambda name: name == "transformers", _look_closely)


@lru_cache(maxsize=4)
def _rules(options: Options) -> RuleSet:
    return RuleSet(rooms.rules(options, _engine.adapt_now, _engine.recheck))


def _report(problem: OnProblem, layer: Layer) -> None:
    """Tell what the layer has met since the last report: each thing once."""
    notices, layer.notices = layer.notices, []
    surprises, layer.surprises = layer.surprises, []
    if problem == "ignore":
        return
    if not notices and not surprises:
        return
    from ._environment import announce

    messages = {_message(skip): skip for skip in surprises}
    if messages and problem == "error":
        raise IncompatibleVersionError("; ".join(messages))
    for message in notices:
        announce(message, SignatureDriftWarning)
    for message, skip in messages.items():
        announce(message, DeadPatchWarning if skip.in_vain else SkippedTargetWarning)


def _message(skip: Skip) -> str:
    return f"{skip.target}: {skip.reason}" if skip.in_vain else f"{skip.target} is left alone: {skip.reason}"


#: What transformers is built on, and what these are: a third of all classes, and none knows of transformers.
_STRANGERS = frozenset({*sys.stdlib_module_names, "mpmath", "networkx", "numpy", "sympy", "torch"})


def _begin_anew(replacement: object) -> None:
    """An adapter that was undone and is put in place again has counted nothing."""
    info = getattr(replacement, "__rope_compat__", None)
    if info is not None:
        info.counts.clear()


_engine = Engine(_STRANGERS, _begin_anew)
