"""Mistakes that are planted in tiny native models, one at a time, and the fault code that each has to get."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from packaging.version import Version
from torch import Tensor, nn

from rope_compat.rotary import frequencies
from support.verified_models import HERE, MODELS, SCALING, THETA

Plant = Callable[[Any, ExitStack], None]


@dataclass(frozen=True)
class Seed:
    """One mistake, the models that it is planted in, and the codes that name it."""

    name: str
    models: tuple[str, ...]
    faults: tuple[str, ...]
    plant: Plant


def rotaries(model: Any) -> list[nn.Module]:
    """The rotary modules of text layers, in the order of the model."""
    return [
        module
        for path, module in model.named_modules()
        if any("inv_freq" in name for name in module._buffers) and "visual" not in path
    ]


def set_frequencies(module: Any, values: Tensor) -> None:
    """Other frequencies, and the tables that they give, where the release keeps some."""
    module.register_buffer("inv_freq", values.float(), persistent=False)
    if hasattr(module, "original_inv_freq"):
        module.original_inv_freq = module.inv_freq
    for fill in ("_set_cos_sin_cache",):
        if hasattr(module, fill):
            getattr(module, fill)(seq_len=module.max_seq_len_cached, device="cpu", dtype=torch.float32)


def _frequencies(change: Callable[[Tensor], Tensor]) -> Plant:
    def plant(model: Any, stack: ExitStack) -> None:
        for module in rotaries(model):
            set_frequencies(module, change(module.inv_freq.clone()))

    return plant


def _in_place(change: Callable[[Tensor], Any]) -> Plant:
    """The buffer alone, as a loader does it."""

    def plant(model: Any, stack: ExitStack) -> None:
        for module in rotaries(model):
            for buffer in module._buffers.values():
                if buffer is not None:
                    change(buffer)

    return plant


def _theta(theta: float) -> Plant:
    return _frequencies(lambda old: frequencies.default(2 * len(old), theta)[0])


def set_config(config: Any, theta: float | None = None, **parameters: Any) -> None:
    """Write theta and parameters where the release keeps them, without a word to the model's modules."""
    config = getattr(config, "text_config", config)
    if Version("5.0.0") <= HERE:
        inner = {**config.rope_parameters, **parameters}
        config.rope_parameters = {**inner, "rope_theta": theta} if theta is not None else inner
        return
    if theta is not None:
        config.rope_theta = theta
    partial = parameters.pop("partial_rotary_factor", None)
    if partial is not None:
        config.partial_rotary_factor = partial
    if parameters:
        inner = {**(config.rope_scaling or {}), **parameters}
        if "rope_type" in inner:
            inner["type"] = inner["rope_type"]
        config.rope_scaling = inner


def _config(theta: float | None = None, **parameters: Any) -> Plant:
    def plant(model: Any, stack: ExitStack) -> None:
        set_config(model.config, theta, **parameters)

    return plant


def _outputs(change: Callable[[Tensor, Tensor], Any]) -> Plant:
    """What rotary modules give, changed on the way out."""

    def plant(model: Any, stack: ExitStack) -> None:
        for module in rotaries(model):
            original = module.forward
            module.forward = lambda *args, _original=original, **kwargs: change(*_original(*args, **kwargs))

    return plant


def _positions(change: Callable[[Tensor], Tensor]) -> Plant:
    """What rotary modules are asked, changed on the way in; tables are changed after."""

    def plant(model: Any, stack: ExitStack) -> None:
        for module in rotaries(model):
            original = module.forward

            def forward(
                x: Tensor, positions: Any = None, *args: Any, _original: Any = original, **kw: Any
            ) -> Any:
                positions = kw.pop("position_ids", positions)
                if isinstance(positions, Tensor):
                    return _original(x, change(positions), *args, **kw)
                length = kw.pop("seq_len", positions)
                cos, sin = _original(x, seq_len=length + 1)
                rows = change(torch.arange(length))
                return cos[..., rows, :], sin[..., rows, :]

            module.forward = forward

    return plant


def _half_angles(model: Any, stack: ExitStack) -> None:
    for module in rotaries(model):

        def forward(x: Tensor, positions: Any = None, *args: Any, _of: Any = module, **kwargs: Any) -> Any:
            positions = kwargs.get("position_ids", positions)
            if not isinstance(positions, Tensor):
                positions = torch.arange(kwargs.get("seq_len", positions))
            angles = positions.bfloat16()[..., None] * _of.inv_freq.bfloat16()
            angles = torch.cat((angles, angles), -1).float()
            return angles.cos(), angles.sin()

        module.forward = forward


def _short_tables(model: Any, stack: ExitStack) -> None:
    for module in rotaries(model):
        angles = torch.outer(torch.arange(20.0), module.inv_freq)

        def forward(x: Tensor, positions: Any = None, *args: Any, _angles: Tensor = angles, **kw: Any) -> Any:
            positions = kw.get("position_ids", positions)
            if not isinstance(positions, Tensor):
                positions = torch.arange(kw.get("seq_len", positions))
            found = torch.cat((_angles, _angles), -1)[positions]
            return found.cos(), found.sin()

        module.forward = forward


def _meta(model: Any, stack: ExitStack) -> None:
    for module in rotaries(model):
        module._buffers["inv_freq"] = module._buffers["inv_freq"].to("meta")


def _dtype(dtype: torch.dtype) -> Plant:
    def plant(model: Any, stack: ExitStack) -> None:
        model.to(dtype)

    return plant


def _modeling(model: Any) -> Any:
    return sys.modules[type(model).__module__]


def _function(name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Plant:
    """A function of the model's own file, replaced as users replace it."""

    def plant(model: Any, stack: ExitStack) -> None:
        module = _modeling(model)
        stack.enter_context(mock.patch.object(module, name, make(getattr(module, name))))

    return plant


def _pairs(x: Tensor) -> Tensor:
    return torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)


def _halves(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


_ROTATE_PAIRS = _function("rotate_half", lambda original: _pairs)
_ROTATE_HALVES = _function("rotate_half", lambda original: _halves)
_BACKWARDS = _function("rotate_half", lambda original: lambda x: -original(x))
_NOT_K = _function(
    "apply_rotary_pos_emb", lambda original: lambda q, k, *a, **kw: (original(q, k, *a, **kw)[0], k)
)
_NOT_AT_ALL = _function("apply_rotary_pos_emb", lambda original: lambda q, k, *a, **kw: (q, k))


def _twice(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda q, k, *args, **kwargs: original(*original(q, k, *args, **kwargs), *args, **kwargs)


def _louder(original: Callable[..., Any]) -> Callable[..., Any]:
    def apply(q: Tensor, k: Tensor, *args: Any, **kwargs: Any) -> Any:
        q, k = original(q, k, *args, **kwargs)
        return q * torch.linspace(1, 2, q.shape[-2])[:, None], k

    return apply


def _ignoring(original: Callable[..., Any]) -> Callable[..., Any]:
    def apply(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *args: Any, **kwargs: Any) -> Any:
        # As code does that was written for rows, with positions 0, 1, 2, ... for whatever it is given.
        rows = torch.arange(q.shape[-2])
        if args and isinstance(args[0], Tensor):
            args = (rows[None], *args[1:])
        if "position_ids" in kwargs:
            kwargs["position_ids"] = rows[None]
        return original(q, k, cos, sin, *args, **kwargs)

    return apply


def _sections(sections: list[int]) -> Plant:
    """To 5.16 a function merges the axes of positions, from 5.17 on the rotary module."""

    def plant(model: Any, stack: ExitStack) -> None:
        if hasattr(_modeling(model), "apply_multimodal_rotary_pos_emb"):
            _function("apply_multimodal_rotary_pos_emb", other)(model, stack)
        for module in rotaries(model):
            if hasattr(module, "mrope_section"):
                module.mrope_section = sections

    def other(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda q, k, cos, sin, _, *args, **kwargs: original(q, k, cos, sin, sections, *args, **kwargs)

    return plant


def _layers_swapped(model: Any, stack: ExitStack) -> None:
    found = [
        (module, name) for module in rotaries(model) for name in module._buffers if "original" not in name
    ]
    (one, first), (other, second) = found
    one._buffers[first], other._buffers[second] = other._buffers[second], one._buffers[first]


def _tables(change: Callable[[Tensor], Tensor]) -> Plant:
    """GPT-J's and CodeGen's buffers, sines first."""

    def plant(model: Any, stack: ExitStack) -> None:
        for module in model.modules():
            if getattr(module, "embed_positions", None) is not None:
                module.embed_positions = change(module.embed_positions)

    return plant


def _sinusoids(theta: float, first: float = 0.0) -> Callable[[Tensor], Tensor]:
    def change(old: Tensor) -> Tensor:
        angles = torch.outer(
            first + torch.arange(float(len(old))), frequencies.default(old.shape[-1], theta)[0]
        )
        return torch.cat((angles.sin(), angles.cos()), -1)

    return change


def _no_mscale(model: Any, stack: ExitStack) -> None:
    set_config(model.config, **SCALING["yarn"], mscale=1.0, mscale_all_dim=1.0)
    for module in rotaries(model):
        inv_freq = frequencies.yarn(2 * len(module.inv_freq), THETA, 4.0, 16)[0]
        set_frequencies(module, inv_freq)


def _long_for_short(model: Any, stack: ExitStack) -> None:
    config = model.config
    key = "rope_parameters" if Version("5.0.0") <= HERE else "rope_scaling"
    inner = getattr(config, key)
    setattr(
        config, key, {**inner, "short_factor": inner["long_factor"], "long_factor": inner["short_factor"]}
    )


def _with(name: str, change: Callable[[list[float]], list[float]]) -> Plant:
    def plant(model: Any, stack: ExitStack) -> None:
        key = "rope_parameters" if Version("5.0.0") <= HERE else "rope_scaling"
        inner = getattr(model.config, key)
        # In place of the dictionary, as modules hold it themselves.
        setattr(model.config, key, {**inner, name: change(list(inner[name]))})

    return plant


_MOST = (
    "llama",
    "mistral",
    "mixtral",
    "qwen2",
    "phi",
    "gpt_neox",
    "falcon",
    "cohere",
    "glm",
    "gemma2",
    "stablelm",
    "persimmon",
)
_SOME = ("llama", "gpt_neox", "cohere")
_HALF_APPLIED = ("llama", "mistral", "qwen2", "phi", "gemma2", "stablelm")


def _nan(buffer: Tensor) -> None:
    buffer.view(-1)[-1] = float("nan")


SEEDS = [
    # GPT-NeoX's is 10000 already.
    Seed("theta 10000", tuple(name for name in _MOST if name != "gpt_neox"), ("theta",), _theta(10000.0)),
    Seed("another theta", ("llama", "phi"), ("theta",), _theta(650.0)),
    Seed("theta written to the config later", ("llama", "qwen2", "stablelm"), ("theta",), _config(1e6)),
    Seed(
        "linear scaling without effect",
        ("llama", "mistral"),
        ("scaling-dropped",),
        _config(**SCALING["linear"]),
    ),
    Seed(
        "llama3 scaling without effect",
        ("llama", "qwen2"),
        ("scaling-dropped",),
        _config(**SCALING["llama3"]),
    ),
    Seed("yarn without effect", ("llama", "phi"), ("scaling-dropped",), _config(**SCALING["yarn"])),
    Seed("linear scaling twice", ("llama_linear",), ("scaling-twice",), _frequencies(lambda old: old / 4)),
    Seed("all frequencies too large", _SOME, ("scaling",), _frequencies(lambda old: old * 1.02)),
    Seed(
        "llama3 scaling twice",
        ("llama_llama3",),
        ("scaling-twice",),
        _frequencies(lambda old: old * old / frequencies.default(16, THETA)[0]),
    ),
    Seed(
        "llama3 low and high interchanged",
        ("llama_llama3",),
        ("llama3-factors",),
        _frequencies(lambda old: frequencies.llama3(16, THETA, 8.0, 4.0, 1.0, 32)[0]),
    ),
    Seed(
        "llama3 low and high interchanged in the config",
        ("llama_llama3",),
        ("llama3-factors",),
        _config(low_freq_factor=4.0, high_freq_factor=1.0),
    ),
    Seed(
        "yarn for another original length",
        ("llama_yarn", "gpt_oss"),
        ("original-length",),
        _frequencies(lambda old: frequencies.yarn(16, THETA, 4.0, 64)[0]),
    ),
    Seed("frequencies rounded", _MOST, ("half-precision",), _frequencies(lambda old: old.bfloat16().float())),
    Seed("model.to(bfloat16)", _SOME, ("half-precision",), _dtype(torch.bfloat16)),
    Seed("model.half()", ("llama", "falcon"), ("half-precision",), _dtype(torch.float16)),
    Seed(
        "tables rounded",
        ("llama", "phi"),
        ("half-precision",),
        _outputs(lambda cos, sin: (cos.bfloat16().float(), sin.bfloat16().float())),
    ),
    Seed(
        "tables of another dtype",
        ("llama", "gpt_neox"),
        ("half-precision",),
        _outputs(lambda cos, sin: (cos.bfloat16(), sin.bfloat16())),
    ),
    Seed("angles in bfloat16", ("llama", "mistral"), ("half-precision",), _half_angles),
    Seed("one NaN", _MOST, ("non-finite",), _in_place(_nan)),
    Seed("infinite", _SOME, ("non-finite",), _in_place(lambda buffer: buffer.fill_(float("inf")))),
    Seed("overwritten memory", _MOST, ("garbage",), _in_place(lambda buffer: buffer.fill_(1e22))),
    Seed("zeros", _SOME, ("garbage",), _in_place(lambda buffer: buffer.zero_())),
    Seed("left on meta", _SOME, ("meta",), _meta),
    Seed("sin negative", _MOST, ("sign",), _outputs(lambda cos, sin: (cos, -sin))),
    Seed("frequencies negative", _SOME, ("sign",), _frequencies(lambda old: -old)),
    Seed("cos and sin interchanged", _MOST, ("swapped",), _outputs(lambda cos, sin: (sin, cos))),
    Seed("one position ahead", _MOST, ("off-by-one",), _positions(lambda rows: rows + 1)),
    Seed("always position 3", _SOME, ("positions-ignored",), _positions(lambda rows: rows * 0 + 3)),
    Seed("tables too short", _SOME[:1], ("tables",), _short_tables),
    Seed(
        "second half turned round",
        ("llama", "phi"),
        ("tables",),
        _outputs(
            lambda cos, sin: tuple(
                torch.cat((t.chunk(2, -1)[0], t.chunk(2, -1)[1].flip(-1)), -1) for t in (cos, sin)
            )
        ),
    ),
    Seed(
        "cos and sin too large",
        _SOME,
        ("attention-factor",),
        _outputs(lambda cos, sin: (1.2 * cos, 1.2 * sin)),
    ),
    Seed(
        "attention factor missing",
        ("llama_yarn", "phi3_longrope", "gpt_oss"),
        ("attention-factor",),
        _outputs(lambda cos, sin: tuple(t / (cos**2 + sin**2).sqrt() for t in (cos, sin))),
    ),
    Seed(
        "exponents of the whole head",
        ("phi", "stablelm", "glm"),
        ("partial",),
        _frequencies(lambda old: frequencies.default(4 * len(old), THETA)[0][: len(old)]),
    ),
    Seed("partial factor ignored", ("llama", "mistral"), ("partial",), _config(partial_rotary_factor=0.5)),
    Seed("one pair too few", ("llama", "falcon"), ("dim",), _frequencies(lambda old: old[:-1])),
    Seed("long factors for short texts", ("phi3_longrope",), ("longrope-factor",), _long_for_short),
    Seed(
        "a factor too few",
        ("phi3_longrope",),
        ("longrope-factor",),
        _with("long_factor", lambda old: old[:-1]),
    ),
    Seed(
        "a factor of zero",
        ("phi3_longrope",),
        ("longrope-factor",),
        _with("short_factor", lambda old: [0.0, *old[1:]]),
    ),
    Seed("layer types interchanged", ("gemma3",), ("layer-type",), _layers_swapped),
    Seed("mscale missing", ("deepseek_v3",), ("mscale",), _no_mscale),
    Seed("pairs with the angles of halves", _HALF_APPLIED, ("pairing",), _ROTATE_PAIRS),
    Seed("halves with the angles of pairs", ("cohere", "glm"), ("pairing",), _ROTATE_HALVES),
    Seed("rotated backwards", (*_HALF_APPLIED, "cohere", "glm"), ("sign",), _BACKWARDS),
    Seed("k not rotated", _HALF_APPLIED, ("not-applied",), _NOT_K),
    Seed("neither rotated", ("llama", "mistral", "cohere"), ("not-applied",), _NOT_AT_ALL),
    Seed("rotated twice", ("llama", "qwen2"), ("rotated-twice",), _function("apply_rotary_pos_emb", _twice)),
    Seed(
        "q grows with the position",
        ("llama", "gemma2"),
        ("relative-distance",),
        _function("apply_rotary_pos_emb", _louder),
    ),
    Seed("sections in another order", ("qwen2_vl", "qwen2_5_vl"), ("sections",), _sections([2, 1, 1])),
    Seed("sections doubled", ("qwen2_vl", "qwen2_5_vl"), ("sections",), _sections([2, 2, 0])),
    Seed("one axis for all", ("qwen2_vl",), ("sections",), _sections([4, 0, 0])),
    Seed("a table one row ahead", ("gptj", "codegen"), ("off-by-one",), _tables(_sinusoids(10000.0, 1.0))),
    Seed(
        "cosines first",
        ("gptj", "codegen"),
        ("swapped",),
        _tables(lambda old: torch.cat(old.chunk(2, -1)[::-1], -1)),
    ),
    Seed("a table of another theta", ("gptj", "codegen"), ("theta",), _tables(_sinusoids(500.0))),
    Seed("a table with NaN", ("gptj",), ("non-finite",), _tables(lambda old: old * float("nan"))),
]
if Version("4.38.0") > HERE:
    # The only releases whose tables are indexed by what is handed on to the function.
    SEEDS.append(
        Seed(
            "position_ids not handed on",
            ("llama", "mistral", "phi"),
            ("positions-ignored",),
            _function("apply_rotary_pos_emb", _ignoring),
        )
    )
else:
    rows = _positions(lambda given: torch.arange(given.shape[-1]).expand_as(given))
    SEEDS.append(Seed("position_ids not looked at", ("llama", "cohere"), ("positions-ignored",), rows))

PLANTED = [(seed, model) for seed in SEEDS for model in seed.models if model in MODELS]


@contextmanager
def planted(seed: Seed, name: str) -> Iterator[Any]:
    """A model with one mistake; what is replaced in modules is put back."""
    model = MODELS[name]()
    with ExitStack() as stack:
        seed.plant(model, stack)
        yield model
