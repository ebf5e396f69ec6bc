"""Where the numbers of transformers drift between releases, as data.

Each record was read from the wheels of the releases on both sides, and measured with tiny models that had
the same weights there; `docs/drift.md` is the same for people. Importing this loads neither torch nor
transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .regimes import TABLED, is_before

if TYPE_CHECKING:
    from ..configs.spec import RopeSpec

__all__ = ["DRIFTS", "Drift", "Embedding", "Span"]

_ORIGINAL = "original_max_position_embeddings"
_UTILS = "src/transformers/modeling_rope_utils.py"
#: These choose longrope's factors by the text in every release.
_BY_TEXT = ("phi3", "phimoe", "phi4_multimodal")
_HALVES = ("bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Span:
    """Releases that compute the same: the first, the last (None: it goes on), and what they do."""

    first: str
    last: str | None
    does: str

    def __contains__(self, version: str) -> bool:
        return not is_before(version, self.first) and (
            self.last is None or version == self.last or is_before(version, self.last)
        )

    def __str__(self) -> str:
        return f"{self.first} and later" if self.last is None else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Embedding:
    """One rotary embedding of a config, and what of the config bears on it.

    Attributes:
        spec: what is said of it, without layer types.
        model_type: of the config that it stands in.
        fields: the fields of that config, as they are stored; empty where only a `RopeSpec` is known.
    """

    spec: RopeSpec
    model_type: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def longest(self) -> int | None:
        """The length that the config is made for, None where it is not known."""
        found = self.fields.get("max_position_embeddings")
        return found if isinstance(found, int) else None

    @property
    def beside(self) -> int | None:
        """The original length beside the dictionary, as Phi-3 has it."""
        source = self.spec.source.fields if self.spec.source is not None else {}
        found = self.fields.get(_ORIGINAL, source.get(_ORIGINAL))
        return found if isinstance(found, int) else None

    @property
    def inside(self) -> int | None:
        """The original length in the dictionary, where one is stated there alone."""
        found = self.spec.parameters.get(_ORIGINAL)
        return None if found is None or self.beside is not None or found == self.longest else int(found)

    @property
    def dtype(self) -> str:
        """The dtype that the weights are declared to have, empty where none is."""
        declared = self.fields.get("dtype") or self.fields.get("torch_dtype") or ""
        return str(declared).removeprefix("torch.")

    @property
    def ratio(self) -> float | None:
        """The whole length through the original one."""
        original = self.beside or self.inside
        return self.longest / original if self.longest and original else None

    @property
    def declares_another_factor(self) -> bool:
        """Whether a factor is declared that is not the ratio of the lengths."""
        declared = self.spec.parameters.get("factor")
        return declared is not None and self.ratio is not None and declared != self.ratio


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between releases.

    Attributes:
        name: short and stable.
        spans: the releases that have the thing, in order, by what they do.
        touches: whether an embedding is computed differently by them.
        upstream: the file, and the releases that changed it.
        measured: the largest difference of fp32 logits of a tiny model, in words.
        computed: how the size is computed: ``numbers`` (frequencies of both releases), ``state`` (those of a
            long text on a short one), ``rounding`` (of frequencies to half precision); empty where it is not.
        restored_from: first installed release on which the numbers of the others can be had; None if on none.
        otherwise: what to do where they cannot.
    """

    name: str
    spans: tuple[Span, ...]
    touches: Callable[[Embedding], bool]
    upstream: str
    measured: str
    computed: str = ""
    restored_from: str | None = "4.43.0"
    otherwise: str = ""

    def span_of(self, version: str) -> Span | None:
        """The releases that compute as `version` does; None where it has no such thing."""
        return next((span for span in self.spans if version in span), None)


def _is(rope_type: str, *model_types: str) -> Callable[[Embedding], bool]:
    def touches(embedding: Embedding) -> bool:
        return embedding.spec.rope_type == rope_type and embedding.model_type not in model_types

    return touches


def _yarn(wants: Callable[[Embedding, Mapping[str, Any]], object]) -> Callable[[Embedding], bool]:
    def touches(embedding: Embedding) -> bool:
        return embedding.spec.rope_type == "yarn" and bool(wants(embedding, embedding.spec.parameters))

    return touches


def _overwritten(embedding: Embedding) -> bool:
    stated = (embedding.fields.get("rope_parameters") or {}).get("partial_rotary_factor")
    fraction = embedding.fields.get("rotary_pct", 0.25)
    return embedding.model_type == "gpt_neox" and stated is not None and stated != fraction


def _is_half(embedding: Embedding) -> bool:
    return embedding.model_type in TABLED and embedding.dtype in _HALVES


def _of(*model_types: str) -> Callable[[Embedding], bool]:
    return lambda embedding: embedding.model_type in model_types


_QWEN = ("qwen2_vl", "qwen2_5_vl")
_LAST = "after a long text a short one gets the frequencies of the last text that was too long"
_FRESH = "after a long text a short one gets its own frequencies"

DRIFTS = (
    Drift(
        "yarn-original-length",
        (
            Span("4.43.0", "4.50.3", "ignore original_max_position_embeddings"),
            Span("4.51.0", None, "begin yarn's ramp by original_max_position_embeddings"),
        ),
        _yarn(lambda embedding, found: embedding.inside),
        f"{_UTILS}, _compute_yarn_parameters at 4.51.0",
        "5.0",
        "numbers",
    ),
    Drift(
        "yarn-factor",
        (
            Span("4.43.0", "4.50.3", "use yarn's declared factor"),
            Span("4.51.0", "4.55.4", "use the ratio of the lengths in place of yarn's declared factor"),
            Span("4.56.0", None, "use yarn's declared factor"),
        ),
        _yarn(lambda embedding, found: embedding.inside and embedding.declares_another_factor),
        f"{_UTILS}, _compute_yarn_parameters at 4.51.0 and 4.56.0",
        "3.2",
        "numbers",
    ),
    Drift(
        "yarn-mscale",
        (
            Span("4.43.0", "4.50.3", "ignore mscale and mscale_all_dim"),
            Span("4.51.0", None, "scale cos and sin by mscale and mscale_all_dim"),
        ),
        _yarn(
            lambda embedding, found: (
                found.get("mscale") and found.get("mscale_all_dim") and found.get("attention_factor") is None
            )
        ),
        f"{_UTILS}, _compute_yarn_parameters at 4.51.0",
        "1.3",
        "numbers",
    ),
    Drift(
        "yarn-truncate",
        (
            Span("4.43.0", "4.54.1", "round the ends of yarn's ramp whatever truncate says"),
            Span("4.55.0", None, "leave the ends of yarn's ramp unrounded where truncate is false"),
        ),
        _yarn(lambda embedding, found: found.get("truncate") is False),
        f"{_UTILS}, _compute_yarn_parameters at 4.55.0",
        "2.7",
        "numbers",
    ),
    Drift(
        "longrope-choice",
        (
            Span("4.43.0", "4.47.1", "take longrope's long factors for every text"),
            Span("4.48.0", "4.50.3", "take longrope's short factors for every text"),
            Span("4.51.0", None, "choose longrope's factors by the length of the text"),
        ),
        _is("longrope", *_BY_TEXT),
        f"{_UTILS} at 4.48.0; src/transformers/models/llama/modeling_llama.py at 4.51.0",
        "5.0",
        "numbers",
    ),
    Drift(
        "longrope-original-length",
        (
            Span("4.43.0", "4.57.6", "ignore the original length in longrope's dictionary"),
            Span("5.0.0", None, "read the original length in longrope's dictionary"),
        ),
        lambda embedding: _is("longrope", *_BY_TEXT)(embedding) and embedding.inside is not None,
        f"{_UTILS} at 5.0.0",
        "4.7",
        "numbers",
    ),
    Drift(
        "longrope-factor",
        (
            Span("4.43.0", "4.57.6", "scale cos and sin by the ratio of the lengths, whatever factor says"),
            Span("5.0.0", None, "scale cos and sin by longrope's declared factor"),
        ),
        lambda embedding: (
            _is("longrope")(embedding)
            and embedding.beside is not None
            and embedding.declares_another_factor
            and embedding.spec.parameters.get("attention_factor") is None
        ),
        f"{_UTILS}, _compute_longrope_parameters at 5.0.0",
        "1.3",
        "numbers",
    ),
    Drift(
        "dynamic-ntk-state",
        (
            Span("4.31.0", "4.37.2", "after a long text every one gets the table of the longest text"),
            Span("4.38.0", "4.42.4", _LAST),
            Span("4.43.0", "4.57.6", _FRESH),
            Span("5.0.0", "5.12.1", _LAST),
            Span("5.13.0", None, _FRESH),
        ),
        _is("dynamic"),
        f"src/transformers/models/llama/modeling_llama.py at 4.38.0 and 4.43.0; {_UTILS} at 5.0.0 and 5.13.0",
        "1.9",
        "state",
        otherwise="begin a new model for texts of another length",
    ),
    Drift(
        "gpt-neox-partial-factor",
        (
            Span("5.0.0", "5.4.0", "overwrite partial_rotary_factor by rotary_pct, or by 0.25"),
            Span("5.5.0", None, "rotate the part that partial_rotary_factor says"),
        ),
        _overwritten,
        "src/transformers/models/gpt_neox/configuration_gpt_neox.py at 5.0.0 and 5.5.0",
        "2.5",
        restored_from="5.0.0",
    ),
    Drift(
        "half-precision-frequencies",
        (
            Span("4.31.0", "{before}", "keep tables of cos and sin that were computed in fp32"),
            Span("{first}", None, "round the frequencies themselves in model.to(bfloat16) or .half()"),
        ),
        _is_half,
        "src/transformers/models/llama/modeling_llama.py at 4.38.0, or of the model at hand, as named",
        "0.1 in bfloat16",
        "rounding",
        restored_from="4.38.0",
    ),
    Drift(
        "qwen-vl-positions",
        (
            Span("4.45.0", "4.46.3", "number the tokens of pictures 1-D where position_ids is not given"),
            Span("4.47.0", None, "number the tokens of pictures 3-D where position_ids is not given"),
        ),
        _of("qwen2_vl"),
        "src/transformers/models/qwen2_vl/modeling_qwen2_vl.py at 4.47.0",
        "2.9",
        restored_from=None,
        otherwise="pass position_ids from get_rope_index",
    ),
    Drift(
        "qwen-vl-masks",
        (
            Span("4.45.0", "4.53.3", "attend to the whole text where attention_mask is not given"),
            Span(
                "4.54.0",
                "4.56.2",
                "take temporal positions for packing marks where attention_mask is missing",
            ),
            Span("4.57.1", None, "attend to the whole text where attention_mask is not given"),
        ),
        _of(*_QWEN),
        "src/transformers/models/qwen2_vl/modeling_qwen2_vl.py at 4.54.0 and 4.57.0",
        "4.5",
        restored_from=None,
        otherwise="pass attention_mask",
    ),
    Drift(
        "qwen-vl-3d-positions",
        (
            Span("4.45.0", "4.53.0", "take 3-D position_ids"),
            Span("4.53.1", "4.53.3", "raise RuntimeError for 3-D position_ids without attention_mask"),
            Span("4.54.0", None, "take 3-D position_ids"),
        ),
        _of(*_QWEN),
        "src/transformers/masking_utils.py at 4.53.1",
        "an error",
        restored_from=None,
        otherwise="pass attention_mask",
    ),
    Drift(
        "glm4v-cos-layout",
        (
            Span("4.53.0", "5.16.1", "give cos and sin as equal halves, of which the model reads the first"),
            Span("5.17.0", None, "give cos and sin as pairs of equal channels"),
        ),
        _of("glm4v", "glm4v_text", "glm_ocr", "glm_ocr_text"),
        "src/transformers/models/glm4v/modeling_glm4v.py at 5.17.0",
        "none for the model; up to 2 in cos and sin, of equal shape, for code that holds or makes them",
        restored_from=None,
        otherwise="take cos, sin and apply_rotary_pos_emb from the same release",
    ),
)
