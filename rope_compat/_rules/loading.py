"""The shims for loading: constructors compute their buffers for real, and these come back when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from types import ModuleType
from typing import Any

from .._patching.edits import MISSING, Assign, Edit, Replace, Resolve, Rule
from .._patching.references import namespace
from .._settings import OnProblem
from .._utils.disguise import dressed
from .options import Options
from .rule import ModuleRule
from .shim import Shim

__all__ = ["SHIMS", "rules"]

_MODELING = "transformers.modeling_utils"
_ACCELERATE = "accelerate.utils.modeling"

BUFFERS = Shim(
    name="constructor-buffers",
    kind="guard",
    targets=(
        f"{_MODELING}:PreTrainedModel.get_init_context",
        f"{_MODELING}:PreTrainedModel._move_missing_keys_from_meta_to_device",
        f"{_MODELING}:PreTrainedModel._initialize_missing_keys",
    ),
    why=(
        "from_pretrained constructs models on the meta device and fills buffers that no checkpoint holds "
        "with uninitialised memory, so rotary buffers of custom code (inv_freq, cos, sin) are garbage"
    ),
    since="5.0.0",
    until=None,
    upstream="src/transformers/modeling_utils.py at 5.0.0",
    helps="trust_remote_code models, and PreTrainedModel subclasses in files of your own",
)

WEIGHTS = Shim(
    name="custom-code-weights",
    kind="guard",
    targets=(f"{_MODELING}:PreTrainedModel._initialize_weights",),
    why=(
        "from_pretrained initialises modules of custom code again after their weights were loaded, and an "
        "_init_weights that writes in place leaves random weights: in all of custom code up to 5.2, in "
        "classes of local files up to 5.15, in modules with an unsaved buffer beside their weights ever since"
    ),
    since="5.0.0",
    until=None,
    upstream="src/transformers/modeling_utils.py, _initialize_weights at 5.0.0, 5.3.0 and 5.16.0",
    helps="trust_remote_code models, and PreTrainedModel subclasses in files of your own",
)

NAMING = Shim(
    name="outside-rope",
    kind="guard",
    targets=(f"{_MODELING}:PreTrainedModel.from_pretrained",),
    why=(
        "custom code fails on newer releases for reasons outside RoPE as well (get_head_mask, cache methods, "
        "post_init): these are named, with the release that they broke in, and not mended"
    ),
    since="4.36.0",
    until=None,
    upstream="src/transformers/modeling_utils.py and cache_utils.py at 4.54.0, 4.56.0, 5.0.0, 5.17.0, 5.20.0",
    helps="whoever loads a trust_remote_code model that was written for another release",
)

DISPATCH = Shim(
    name="accelerate-buffers",
    kind="guard",
    targets=(f"{_ACCELERATE}:load_checkpoint_in_model",),
    why=(
        "init_empty_weights(include_buffers=True) leaves buffers that no checkpoint holds on the meta "
        "device, and load_checkpoint_and_dispatch does not fill them"
    ),
    since="4.36.0",
    until=None,
    upstream="accelerate, src/accelerate/utils/modeling.py",
    helps="models that are constructed empty and loaded by accelerate",
)

SHIMS = (BUFFERS, WEIGHTS, NAMING, DISPATCH)

#: The method by which the loader of 5.0.0 and later fills what was not loaded.
_FILLS = "_move_missing_keys_from_meta_to_device"

_Wrap = Callable[[Any, OnProblem], Callable[..., Any]]


def _methods(shim: Shim, wraps: tuple[_Wrap, ...], on_problem: OnProblem, needs: str = "") -> ModuleRule:
    """Accompanies methods of `PreTrainedModel`, where the installed release has them all, and `needs`."""
    names = [target.rpartition(".")[2] for target in shim.targets]

    def edits(module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        owner = namespace(module).get("PreTrainedModel")
        if not isinstance(owner, type):
            return
        if not all(name in vars(owner) for name in (*names, *filter(None, [needs]))):
            return
        for target, name, wrap in zip(shim.targets, names, wraps, strict=True):
            make = _maker(vars(owner)[name], wrap, on_problem)
            detail = "errors are named" if shim is NAMING else "what it loses is put back"
            yield Assign(target, owner, name, make, (shim.name, name, on_problem), shim.name, detail)

    return ModuleRule(shim, _MODELING, edits)


def _loader_of_accelerate() -> ModuleRule:
    """Fills buffers that accelerate's loader leaves on meta."""
    target, rule = DISPATCH.targets[0], DISPATCH.name
    attribute = "load_checkpoint_in_model"

    def edits(module: ModuleType, resolve: Resolve) -> Iterable[Edit]:
        native = resolve(namespace(module).get(attribute, MISSING))
        if callable(native):
            make = partial(_load_checkpoint_in_model, native)
            detail = "buffers that it leaves on meta are filled"
            yield Replace(target, module, attribute, native, make, rule, True, rule, detail)

    return ModuleRule(DISPATCH, _ACCELERATE, edits, package="accelerate")


def rules(options: Options) -> list[Rule]:
    """The rules for loading."""
    on_problem = options.on_problem
    return [
        _methods(BUFFERS, (_get_init_context, _move_missing_keys, _initialize_missing_keys), on_problem),
        _methods(WEIGHTS, (_initialize_weights,), on_problem, needs=_FILLS),
        _methods(NAMING, (_from_pretrained,), on_problem),
        _loader_of_accelerate(),
    ]


def _maker(native: Any, wrap: _Wrap, on_problem: OnProblem) -> Callable[[], object]:
    def make() -> object:
        function = getattr(native, "__func__", native)
        wrapped = dressed(wrap(function, on_problem), function)
        return classmethod(wrapped) if isinstance(native, classmethod) else wrapped

    return make


def _get_init_context(native: Any, on_problem: OnProblem) -> Callable[..., Any]:
    def get_init_context(cls: type[Any], *args: Any, **kwargs: Any) -> Any:
        contexts = native(cls, *args, **kwargs)
        from .._adapters.loading.construction import real_values
        from .._utils.ownership import is_custom

        # Last, so that it is the innermost: it has to be asked before the meta device is.
        return [*contexts, real_values()] if is_custom(cls) else contexts

    return get_init_context


def _move_missing_keys(native: Any, on_problem: OnProblem) -> Callable[..., Any]:
    def _move_missing_keys_from_meta_to_device(
        self: Any, missing_keys: Any, *args: Any, **kwargs: Any
    ) -> Any:
        from .._adapters.loading.around_loader import before_filling

        before_filling(self, missing_keys)
        return native(self, missing_keys, *args, **kwargs)

    return _move_missing_keys_from_meta_to_device


def _initialize_missing_keys(native: Any, on_problem: OnProblem) -> Callable[..., Any]:
    def _initialize_missing_keys(self: Any, *args: Any, **kwargs: Any) -> Any:
        from .._adapters.loading.around_loader import after_filling

        result = native(self, *args, **kwargs)
        after_filling(self)
        return result

    return _initialize_missing_keys


def _initialize_weights(native: Any, on_problem: OnProblem) -> Callable[..., Any]:
    # Called for every module of every model.
    from .._utils.ownership import is_custom

    def _initialize_weights(self: Any, module: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_custom(type(self)):
            return native(self, module, *args, **kwargs)
        from .._adapters.loading.around_loader import is_loaded

        if is_loaded(module):
            module._is_hf_initialized = True
            return None
        return native(self, module, *args, **kwargs)

    return _initialize_weights


def _from_pretrained(native: Any, on_problem: OnProblem) -> Callable[..., Any]:
    def from_pretrained(cls: type[Any], *args: Any, **kwargs: Any) -> Any:
        from .._utils.ownership import is_custom

        if not is_custom(cls):
            return native(cls, *args, **kwargs)
        from .._adapters.loading.non_rope_errors import explain
        from .._adapters.loading.notices import about_class, about_release

        about_release(cls, on_problem)
        about_class(cls, on_problem)
        try:
            return native(cls, *args, **kwargs)
        except Exception as error:
            meaning = explain(error, cls)
            if meaning:
                error.args = (f"{error} ({meaning})",)
            raise

    return from_pretrained


def _load_checkpoint_in_model(native: Any) -> Callable[..., Any]:
    def load_checkpoint_in_model(model: Any, *args: Any, **kwargs: Any) -> Any:
        from .._adapters.loading.around_loader import fill_from_twin

        result = native(model, *args, **kwargs)
        fill_from_twin(model)
        return result

    return dressed(load_checkpoint_in_model, native)
