"""The checkpoints of ``tests/custom_models``: which code, which config, written for which release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: max_position_embeddings of all models; "long" is longer, "short" no longer than half of it.
CONTEXT = 32
THETA = 500.0


@dataclass(frozen=True)
class Case:
    """One checkpoint of one model."""

    #: Its golden's name.
    name: str
    #: The class, and by its module the files.
    architecture: str
    module: str
    #: The release that the code is written for, and that computed the golden logits.
    written_for: str
    #: What its config.json has beside the sizes.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: The first release whose modules have all that the code imports, or that rope_compat can give it.
    since: str = "4.36.0"
    #: The endings of keys that the checkpoint lacks.
    lacks: tuple[str, ...] = ()
    #: Whether transformers' own decorator decides when frequencies change with the length.
    updated_by_library: bool = False
    #: Whether its `_init_weights` writes in place, so that releases before 5.13 undo what was loaded.
    writes_in_place: bool = False

    @property
    def dtypes(self) -> tuple[str, ...]:
        """In which dtypes the checkpoint is loaded."""
        return ("float32", "bfloat16") if self.name in _ALSO_IN_HALF else ("float32",)

    @property
    def config_class(self) -> str:
        """The name of the config's class, where it is one of the model's own files."""
        own = ("PercentForCausalLM", "CheckedForCausalLM", "ConvertedForCausalLM", "Intern25ForCausalLM")
        stem = self.architecture.removesuffix("ForCausalLM") if self.architecture in own else self.module
        return f"{stem.capitalize()}Config"


_ALSO_IN_HALF = (
    "plain",
    "tables",
    "complex_buffer",
    "kwargs_dynamic",
    "updated_llama3",
    "modern_default",
    "buffers",
)


def _scaled(kind: str, **fields: Any) -> dict[str, Any]:
    """4.x options with `rope_type`."""
    return {"rope_theta": THETA, "rope_scaling": {"rope_type": kind, **fields}}


def _modern(kind: str, **fields: Any) -> dict[str, Any]:
    """5.x options."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": THETA, **fields}}


_PLAIN = {"rope_theta": THETA}
_OLD_LINEAR = {"rope_theta": THETA, "rope_scaling": {"type": "linear", "factor": 2.0}}
_OLD_DYNAMIC = {"rope_theta": THETA, "rope_scaling": {"type": "dynamic", "factor": 2.0}}
_YARN = {"factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0}
_LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": CONTEXT // 2,
}
_FACTORS = {
    "short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6],
    "long_factor": [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5],
}
TEXT = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-6,
    "rope_theta": THETA,
}
_LAYERED = {
    "sliding_attention": {"rope_type": "default", "rope_theta": THETA},
    "full_attention": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 2.0},
}


def _cases() -> Iterator[Case]:
    yield Case("plain", "PlainForCausalLM", "plain", "4.40.2", _PLAIN)
    yield Case("tables", "TablesForCausalLM", "tables", "4.36.2", _PLAIN, writes_in_place=True)
    yield Case("complex_attribute", "ComplexForCausalLM", "complex", "4.36.2", _PLAIN)
    yield Case("complex_buffer", "ComplexBufferForCausalLM", "complex", "4.36.2", _PLAIN)
    yield Case("complex_pair", "ComplexPairForCausalLM", "complex", "4.36.2", _PLAIN)
    yield Case("persistent", "PersistentForCausalLM", "persistent", "4.36.2", _PLAIN)
    yield Case(
        "persistent_lacking", "PersistentForCausalLM", "persistent", "4.36.2", _PLAIN, lacks=("inv_freq",)
    )
    yield Case("lazy_tables", "LazyForCausalLM", "lazy", "4.40.2", _PLAIN)
    original = {"original_max_position_embeddings": CONTEXT // 2}
    yarn = {"rope_theta": THETA, "rope_scaling": {"type": "yarn", **_YARN, **original}}
    yield Case("lazy_yarn", "LazyForCausalLM", "lazy", "4.40.2", yarn)
    longrope = {"rope_theta": THETA, "rope_scaling": {"type": "su", **_FACTORS}, **original}
    yield Case("lazy_su", "LazyForCausalLM", "lazy", "4.40.2", longrope)
    lists = {**longrope, "rope_scaling": {"type": "yarn", **_FACTORS}}
    yield Case("lists", "ListsForCausalLM", "lazy", "4.40.2", lists)
    yield Case("late", "LateForCausalLM", "late", "4.57.6", _PLAIN)
    yield Case("late_stretched", "LateForCausalLM", "late", "4.57.6", {**_PLAIN, "stretched": True})
    # As a release before 5.0 saves it: with the scaling that the config has made.
    saved = {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}
    yield Case("late_saved", "LateForCausalLM", "late", "4.57.6", {**_PLAIN, "stretched": True, **saved})
    yield Case("scaled_none", "ScaledForCausalLM", "scaled", "4.36.2", {**_PLAIN, "rope_scaling": None})
    yield Case("scaled_linear", "ScaledForCausalLM", "scaled", "4.36.2", _OLD_LINEAR)
    yield Case("scaled_dynamic", "ScaledForCausalLM", "scaled", "4.36.2", _OLD_DYNAMIC)
    yield Case("checked_none", "CheckedForCausalLM", "scaled", "4.36.2", {**_PLAIN, "rope_scaling": None})
    yield Case("partial", "PartialForCausalLM", "partial", "4.40.2", {**_PLAIN, "partial_rotary_factor": 0.5})
    yield Case(
        "percent",
        "PercentForCausalLM",
        "partial",
        "4.36.2",
        {"rotary_emb_base": int(THETA), "rotary_pct": 0.5},
    )
    yield from _after_internlm()
    yield Case("inherited", "InheritedForCausalLM", "inherited", "4.36.2", _PLAIN)
    yield Case("inherited_linear", "InheritedForCausalLM", "inherited", "4.36.2", _OLD_LINEAR)
    yield Case("guarded", "GuardedForCausalLM", "inherited", "4.40.2", _PLAIN)
    derived = {key: TEXT[key] for key in ("intermediate_size", "num_key_value_heads", "rms_norm_eps")}
    derived = {**_PLAIN, **derived, "tie_word_embeddings": False}
    yield Case("derived", "DerivedForCausalLM", "inherited", "4.47.1", derived)
    yield Case("derived_linear", "DerivedForCausalLM", "inherited", "4.47.1", {**derived, **_OLD_LINEAR})
    yield Case("buffers", "BuffersForCausalLM", "buffers", "4.40.2", _PLAIN)
    yield Case("reading", "ReadingForCausalLM", "buffers", "4.40.2", _PLAIN)
    yield Case("tied", "TiedForCausalLM", "tied", "4.40.2", _PLAIN)
    yield Case("composed", "ComposedForCausalLM", "wrapped", "4.47.1", {"text_config": TEXT}, "4.43.0")
    yield Case("wrapped", "WrappedForCausalLM", "wrapped", "4.49.0", {"text_config": TEXT}, "4.43.0")
    yield from _by_init_functions()
    yield from _written_for_5()


def _after_internlm() -> Iterator[Case]:
    for kind in ("origin", "dynamic"):
        rotary = {"rotary": {"base": THETA, "type": kind, "scaling_factor": 2.0}}
        yield Case(f"intern1_{kind}", "Intern1ForCausalLM", "intern1", "4.36.2", rotary, writes_in_place=True)
    grouped = {"num_key_value_heads": 2, "bias": False}
    for name, options in (
        ("none", {**_PLAIN, "rope_scaling": None}),
        ("linear", _OLD_LINEAR),
        ("dynamic", _OLD_DYNAMIC),
    ):
        options = {**grouped, **options}
        yield Case(
            f"intern2_{name}", "Intern2ForCausalLM", "intern2", "4.36.2", options, writes_in_place=True
        )
        if name != "linear":
            yield Case(
                f"intern25_{name}", "Intern25ForCausalLM", "intern2", "4.43.4", options, writes_in_place=True
            )


def _by_init_functions() -> Iterator[Case]:
    def kwargs(name: str, options: Mapping[str, Any], architecture: str = "KwargsForCausalLM") -> Case:
        return Case(name, architecture, "kwargs", "4.43.4", options, "4.43.0")

    yield kwargs("kwargs_default", _PLAIN)
    yield kwargs("kwargs_partial", {**_PLAIN, "partial_rotary_factor": 0.5})
    yield kwargs("kwargs_linear", _scaled("linear", factor=2.0))
    yield kwargs("kwargs_dynamic", _scaled("dynamic", factor=2.0))
    yield kwargs("kwargs_yarn", _scaled("yarn", **_YARN))
    yield kwargs("kwargs_llama3", _scaled("llama3", **_LLAMA3))
    yield kwargs("arguments_default", _PLAIN, "ArgumentsForCausalLM")
    yield kwargs("arguments_linear", _scaled("linear", factor=2.0), "ArgumentsForCausalLM")
    yield kwargs("arguments_dynamic", _scaled("dynamic", factor=2.0), "ArgumentsForCausalLM")

    def updated(name: str, options: Mapping[str, Any], own_init: bool = False) -> Case:
        architecture = "UpdatedOwnForCausalLM" if own_init else "UpdatedForCausalLM"
        written_for = "4.57.6" if own_init else "4.53.3"
        return Case(name, architecture, "updated", written_for, options, "4.43.0", updated_by_library=True)

    yield updated("updated_default", _PLAIN)
    yield updated("updated_own_init", _PLAIN, own_init=True)
    yield updated("updated_partial", {**_PLAIN, "partial_rotary_factor": 0.5})
    yield updated("updated_linear", _scaled("linear", factor=2.0))
    yield updated("updated_dynamic", _scaled("dynamic", factor=2.0))
    yield updated("updated_dynamic_own_init", _scaled("dynamic", factor=2.0), own_init=True)
    yield updated("updated_yarn", _scaled("yarn", **_YARN))
    yield updated("updated_llama3", _scaled("llama3", **_LLAMA3))
    longrope = {**_scaled("longrope", **_FACTORS), "original_max_position_embeddings": CONTEXT // 2}
    yield updated("updated_longrope", longrope)
    yield Case(
        "updated_head_dim", "UpdatedForCausalLM", "updated", "4.53.3", {**_PLAIN, "head_dim": 8}, "4.48.0"
    )
    local = {**_scaled("linear", factor=2.0), "rope_theta": 5000.0, "rope_local_base_freq": THETA}
    yield Case("local", "LocalForCausalLM", "local", "4.53.3", local, "4.43.0")


def _written_for_5() -> Iterator[Case]:
    def modern(kind: str, written_for: str = "5.3.0", **fields: Any) -> Case:
        options = _modern(kind, **fields)
        return Case(
            f"modern_{kind}",
            "ModernForCausalLM",
            "modern",
            written_for,
            options,
            "4.43.0",
            updated_by_library=True,
        )

    yield modern("default")
    yield modern("linear", factor=2.0)
    # 5.0 to 5.12 forget to go back to the first frequencies after a long input.
    yield modern("dynamic", "5.16.1", factor=2.0)
    yield modern("yarn", **_YARN)
    yield modern("llama3", **_LLAMA3)
    yield modern("longrope", factor=2.0, original_max_position_embeddings=CONTEXT // 2, **_FACTORS)
    partial = _modern("default", partial_rotary_factor=0.5)
    yield Case("modern_partial", "ModernForCausalLM", "modern", "5.3.0", partial, "4.43.0")
    # Phi-3's config of 5.x saves a second factor, which nothing there reads.
    twice = {**partial, "partial_rotary_factor": 1.0}
    yield Case("modern_partial_twice", "ModernForCausalLM", "modern", "5.3.0", twice, "4.43.0")
    yield Case("converted", "ConvertedForCausalLM", "modern", "5.3.0", partial, "4.43.0")
    yield Case("layered", "LayeredForCausalLM", "layered", "5.3.0", {"rope_parameters": _LAYERED}, "4.43.0")


CASES = {case.name: case for case in _cases()}
