"""The shims for ``patch(written_for=..., numbers="written_for")``: the numbers of another release.

Releases of transformers have computed different numbers from the same weights and the same config. Nothing
here is done unless it was asked for; `docs/drift.md` lists the cases. Their rules come before all others, as
the first edit of a place is the one that counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

from .._facts.regimes import DYNAMIC, LONGROPE, TABLED, YARN, as_version, is_before, regime
from .._facts.rope_types import TABLE, UTILS
from .._patching.edits import Assign, Edit, Replace, Resolve, Rule, SetItem, Skip
from .._patching.references import namespace
from .functions import context_for
from .options import Options
from .rule import ModuleRule, giving, is_modeling
from .shim import Shim

__all__ = ["SHIMS", "chosen", "refused", "rules"]

_GPT_NEOX = "transformers.models.gpt_neox.configuration_gpt_neox"
_RELEASES_OF = "src/transformers/modeling_rope_utils.py at "

YARN_NUMBERS = Shim(
    name="numbers-yarn",
    kind="adapt",
    targets=(f"{UTILS}:_compute_yarn_parameters", f"{UTILS}:{TABLE}"),
    why=(
        "yarn ignores the original length and mscale up to 4.50.3, takes the ratio of the lengths for the "
        "declared factor from 4.51.0 to 4.55.4, and ignores truncate up to 4.54.1"
    ),
    since="4.43.0",
    until=None,
    upstream=_RELEASES_OF + "4.51.0, 4.55.0, 4.56.0 and 5.0.0",
    helps="models whose results were measured, or whose weights were trained, with the other release",
)

LONGROPE_NUMBERS = Shim(
    name="numbers-longrope",
    kind="adapt",
    targets=(f"{UTILS}:_compute_longrope_parameters", f"{UTILS}:{TABLE}"),
    why=(
        "models like Llama take longrope's long factors up to 4.47.1, the short ones from 4.48.0 to 4.50.3, "
        "and choose by the text since; the original length in the dictionary counts from 5.0.0 on"
    ),
    since="4.43.0",
    until=None,
    upstream=_RELEASES_OF + "4.48.0, 4.51.0 and 5.0.0",
    helps="as numbers-yarn",
    note="Phi-3 and its kin chose by the text in every release, and are left as they are",
)

LONGROPE_LENGTH = Shim(
    name="numbers-longrope-length",
    kind="adapt",
    targets=("transformers.models.*:*RotaryEmbedding.__call__",),
    why="modules of these releases do not choose longrope's factors by the text, or do so at another length",
    since="4.43.0",
    until="4.57.6",
    upstream="src/transformers/models/llama/modeling_llama.py at 4.51.0, " + _RELEASES_OF + "5.0.0",
    helps="as numbers-yarn",
)

DYNAMIC_STATE = Shim(
    name="numbers-dynamic-ntk-state",
    kind="adapt",
    targets=("transformers.models.*:*RotaryEmbedding.max_seq_len_cached",),
    why=(
        "a short text after a long one gets the long one's frequencies up to 4.42.4 and from 5.0.0 to "
        "5.12.1, its own in other releases"
    ),
    since="4.43.0",
    until=None,
    upstream=_RELEASES_OF
    + "4.51.0, 5.0.0 and 5.13.0; src/transformers/models/llama/modeling_llama.py at 4.43.0",
    helps="as numbers-yarn",
)

GPT_NEOX_FACTOR = Shim(
    name="numbers-gpt-neox-partial-factor",
    kind="adapt",
    targets=(f"{_GPT_NEOX}:GPTNeoXConfig.convert_rope_params_to_dict",),
    why="rotary_pct (0.25 where it is not given) overwrites partial_rotary_factor from 5.0.0 to 5.4.0",
    since="5.0.0",
    until=None,
    upstream="src/transformers/models/gpt_neox/configuration_gpt_neox.py at 5.0.0 and 5.5.0",
    helps="GPT-NeoX models saved by 5.x",
)

FP32_FREQUENCIES = Shim(
    name="numbers-fp32-frequencies",
    kind="adapt",
    targets=tuple(f"transformers.models.{name}.modeling_{name}:*RotaryEmbedding._apply" for name in TABLED),
    why=(
        "model.to(torch.bfloat16) rounds the frequencies themselves since rotary modules have no tables, "
        "which were computed in fp32: from 4.38.0 on for Llama"
    ),
    since="4.38.0",
    until=None,
    upstream="src/transformers/models/llama/modeling_llama.py at 4.38.0, mistral at 4.42.0, qwen2 at 4.45.0",
    helps="models that are converted after loading and were measured with tables",
)

REFUSED = Shim(
    name="numbers-refused",
    kind="guard",
    targets=(
        "transformers.models.qwen2_vl.modeling_qwen2_vl:Qwen2VLModel.forward",
        "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl:Qwen2_5_VLModel.forward",
        "transformers.models.*:*DynamicNTKScalingRotaryEmbedding",
    ),
    why="numbers of the other release that rope_compat cannot give are refused by name",
    since="4.36.0",
    until=None,
    upstream="src/transformers/models/qwen2_vl/modeling_qwen2_vl.py at 4.47.0, 4.54.0 and 4.57.0",
    helps="whoever asks for numbers='written_for'",
)

SHIMS = (
    YARN_NUMBERS,
    LONGROPE_NUMBERS,
    LONGROPE_LENGTH,
    DYNAMIC_STATE,
    GPT_NEOX_FACTOR,
    FP32_FREQUENCIES,
    REFUSED,
)

#: What Qwen-VL models do without position_ids (to 4.46.3) and without attention_mask (4.54.0 to 4.56.2).
_QWEN_POSITIONS, _QWEN_MASKS = ("4.45.0", "4.47.0"), ("4.45.0", "4.54.0", "4.57.0")


def rules(options: Options) -> list[Rule]:
    """The rules that give the numbers of `written_for`; none where they were not asked for."""
    found: dict[str, tuple[str | Callable[[str], bool], Callable[..., Iterator[Edit]]]] = {
        YARN_NUMBERS.name: (UTILS, partial(_of_type, "yarn")),
        LONGROPE_NUMBERS.name: (UTILS, partial(_of_type, "longrope")),
        LONGROPE_LENGTH.name: (is_modeling, _by_length),
        DYNAMIC_STATE.name: (is_modeling, _dynamic_state),
        GPT_NEOX_FACTOR.name: (_GPT_NEOX, _gpt_neox),
        FP32_FREQUENCIES.name: (is_modeling, _in_fp32),
        REFUSED.name: (is_modeling, _refusals),
    }
    return [
        ModuleRule(shim, wants, partial(edits, shim, options))
        for shim in chosen(options)
        for wants, edits in (found[shim.name],)
    ]


def chosen(options: Options) -> tuple[Shim, ...]:
    """The shims that have something to do between the installed release and `written_for`."""
    here, there = options.release, options.written_for
    if options.numbers != "written_for" or there is None or here is None or as_version(here) is None:
        return ()
    longrope = _differ(LONGROPE, options)
    differing = {
        YARN_NUMBERS: _differ(YARN, options),
        LONGROPE_NUMBERS: longrope,
        LONGROPE_LENGTH: longrope and is_before(here, "5.0.0") and not is_before(there, "4.51.0"),
        DYNAMIC_STATE: any(_dynamic(options)),
        GPT_NEOX_FACTOR: not is_before(here, "5.0.0") and _overwrites(here) is not _overwrites(there),
        FP32_FREQUENCIES: any(_is_tabled(first, options) for first in TABLED.values()),
        REFUSED: True,
    }
    return tuple(shim for shim in SHIMS if differing[shim])


def _is_tabled(first: str, options: Options) -> bool:
    """Whether `written_for` had tables where the installed release has none."""
    return is_before(options.written_for, first) and not is_before(options.release, first)


def _differ(firsts: tuple[str, ...], options: Options) -> bool:
    """Whether both releases have numbers of a type, and others."""
    here, there = regime(firsts, options.release), regime(firsts, options.written_for)
    return here is not None and there is not None and here != there


def _of_type(
    rope_type: str, shim: Shim, options: Options, module: ModuleType, resolve: Resolve
) -> Iterator[Edit]:
    """The init function of one type, under its name and in the table."""
    table, name = namespace(module).get(TABLE), shim.targets[0].partition(":")[2]
    native: Any = resolve(namespace(module).get(name))
    if "torch" not in sys.modules or not isinstance(table, dict) or not isinstance(native, FunctionType):
        return
    from .._adapters.init_functions.functions import init_function_by
    from .._adapters.init_functions.other_releases import COMPUTED, OWN_LONGROPE

    release = str(options.written_for)

    def computed(given: Any, seq_len: Any, device: Any) -> Any:
        if rope_type == "longrope" and getattr(given.config, "model_type", "") in OWN_LONGROPE:
            return None
        return COMPUTED[rope_type](given, release, seq_len, device)

    context = context_for(shim.targets[0], options, is_library=True)
    adapter = init_function_by(native, rope_type, context, computed)
    if adapter is None:
        yield Skip(shim.targets[0], shim.name, "its signature is not one that it has had")
        return
    make, key, detail = giving(adapter), (shim.name, release), f"the numbers of {release}"
    yield Replace(shim.targets[0], module, name, native, make, key, True, shim.name, detail)
    if resolve(table.get(rope_type)) is native:
        yield SetItem(f"{UTILS}:{TABLE}[{rope_type!r}]", table, rope_type, make, key, shim.name, detail)


def _by_length(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    from .._adapters.init_functions.other_releases import called_by_length

    for name, cls in _rotary_classes(module):
        if TABLE in _names_of(cls, "__init__"):
            make = partial(called_by_length, cls, str(options.written_for))
            yield _assign(shim, options, module, name, cls, "__call__", make)


def _dynamic(options: Options) -> tuple[bool, bool, bool]:
    """Which names of a module's state are to be moved, held back, and never to end a long text's numbers."""
    here, there = regime(DYNAMIC, options.release), regime(DYNAMIC, options.written_for)
    if here is None or there is None or here < 2:
        return False, False, False
    return here == 3 and there in (0, 2, 4), here in (2, 4) and there in (1, 3), there == 0


def _dynamic_state(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    from .._adapters.init_functions.other_releases import FIRST, LONGEST, MISNAMED, Forgetting, Moved, Never

    state = ((MISNAMED, Moved), (LONGEST, Forgetting), (FIRST, Never))
    for name, cls in _rotary_classes(module):
        if FIRST not in _names_of(cls, "__init__"):
            continue
        for is_wanted, (attribute, make) in zip(_dynamic(options), state, strict=True):
            if is_wanted:
                yield _assign(shim, options, module, name, cls, attribute, make)


def _overwrites(release: Any) -> bool:
    return not is_before(release, "5.0.0") and is_before(release, "5.5.0")


def _gpt_neox(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    cls = namespace(module).get("GPTNeoXConfig")
    from .._adapters.configs.construction import native_of

    native = native_of(vars(cls).get("convert_rope_params_to_dict") if isinstance(cls, type) else None)
    if not isinstance(native, FunctionType) or options.written_for is None:
        return
    from .._adapters.configs.methods import with_factor

    make = partial(with_factor, native, overwritten=_overwrites(options.written_for))
    yield _assign(shim, options, module, "GPTNeoXConfig", cls, native.__name__, make)


def _in_fp32(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    first = TABLED.get(module.__name__.split(".")[2])
    if first is None or not _is_tabled(first, options):
        return
    from .._adapters.init_functions.other_releases import kept_in_fp32

    for name, cls in _rotary_classes(module):
        make = partial(kept_in_fp32, cls.__mro__[1]._apply)
        yield _assign(shim, options, module, name, cls, "_apply", make)


def _assign(
    shim: Shim,
    options: Options,
    module: ModuleType,
    name: str,
    cls: Any,
    attribute: str,
    make: Callable[[], object],
) -> Assign:
    key, detail = (shim.name, str(options.written_for)), f"as in {options.written_for}"
    return Assign(f"{module.__name__}:{name}.{attribute}", cls, attribute, make, key, shim.name, detail)


def _refusals(shim: Shim, options: Options, module: ModuleType, resolve: Resolve) -> Iterator[Edit]:
    """One skip for each set of numbers that a model's module has in `written_for`, and cannot have here."""
    folder, there = module.__name__.split(".")[2], options.written_for
    for name, reason in refused(folder, str(options.release), str(there)):
        yield Skip(f"{module.__name__}:{name}", shim.name, reason)


def refused(folder: str, release: str, written_for: str) -> Iterator[tuple[str, str]]:
    """What cannot be given of the numbers of `written_for` in the module of a model: a name, and why not."""
    if folder in ("qwen2_vl", "qwen2_5_vl"):
        model = "Qwen2VLModel" if folder == "qwen2_vl" else "Qwen2_5_VLModel"
        if _moved(_QWEN_POSITIONS, release, written_for):
            yield (
                f"{model}.get_rope_index",
                f"{written_for} and {release} number the tokens of pictures in two ways where position_ids "
                "is not given (1-D to 4.46.3), which rope_compat cannot imitate: pass position_ids",
            )
        if _moved(_QWEN_MASKS, release, written_for):
            yield (
                f"{model}.forward",
                f"{written_for} and {release} mask tokens in two ways where attention_mask is not given "
                "(4.54.0 to 4.56.2 take temporal positions for packing marks), which rope_compat cannot "
                "imitate: pass attention_mask",
            )
    elif (
        folder == "llama" and _is_early(release) and regime(DYNAMIC, release) != regime(DYNAMIC, written_for)
    ):
        yield (
            "LlamaDynamicNTKScalingRotaryEmbedding",
            f"after a long text {release} gives a short one other frequencies than {written_for} does, which "
            'rope_compat cannot imitate before 4.43: pip install "transformers>=4.43"',
        )


def _moved(firsts: tuple[str, ...], release: str, written_for: str) -> bool:
    here, there = regime(firsts, release), regime(firsts, written_for)
    if firsts is _QWEN_MASKS:
        # Before and after the releases in the middle the numbers are the same.
        return here is not None and there is not None and (here == 1) is not (there == 1)
    return here is not None and there is not None and here != there


def _is_early(release: str) -> bool:
    return (regime(DYNAMIC, release) or 0) < 2


def _rotary_classes(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, cls in list(namespace(module).items()):
        if name.endswith("RotaryEmbedding") and getattr(cls, "__module__", "") == module.__name__:
            yield name, cls


def _names_of(cls: Any, method: str) -> tuple[str, ...]:
    """The names that a class's own method mentions, past decorators and what stands in its place.

    ``deprecate_kwarg`` decorates constructors in the releases before 5.19.0, which takes their device away.
    """
    from .._adapters.classes.shape import native_of
    from .._adapters.functions.signature import code_of

    held = vars(cls).get(method)
    code = code_of(native_of(held)) if held is not None else None
    names: tuple[str, ...] = getattr(code, "co_names", ())
    return names
