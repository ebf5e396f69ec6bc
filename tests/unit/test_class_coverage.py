"""Every rotary class that some release has is adapted, restored, or stands in a list with a reason."""

from __future__ import annotations

import pytest

from rope_compat import catalog
from rope_compat._facts.classes import (
    NOT_ADAPTED,
    NOT_RESTORED,
    OLD_FORMS,
    OTHERS,
    PREFIX,
    RENAMED,
    is_rotary_name,
)
from rope_compat._rules.gone_classes import source_of

#: What the forward of a class that is adapted begins with.
FORWARDS = {("x", "seq_len"), ("x", "position_ids"), ("seqlen",), ("position_ids",)}
#: Classes about rotary embeddings that compute none: they permute weights or describe parameters.
NOT_EMBEDDINGS = {
    "PermuteForRope",
    "RopeParameters",
    "RotaryEmbeddingConfigMixin",
    "VisionFuseAndPermuteForRope",
    "VisionUnfuseAndPermuteForRope",
    "_RotaryEmbeddingAnyLayoutFusion",
}
#: Classes whose module is gone as a whole, or which transformers never imports.
NO_MODULE = ("deprecated.", "gemma.diff_gemma", "mega.", "open_llama.")

CLASSES = [target for target in catalog.targets(kinds=["class"]) if target.name not in NOT_EMBEDDINGS]
NEWEST = catalog.newest_known()


def names(signature: str) -> tuple[str, ...]:
    found = [part.partition("=")[0].strip() for part in signature.strip("()").split(",")]
    return tuple(name for name in found if name not in ("", "self", "*args", "**kwargs"))


def model_of(module: str) -> str:
    return module.rpartition(".modeling_")[2]


def test_there_are_all_the_classes() -> None:
    assert len(CLASSES) >= 285
    assert {target.module.startswith(PREFIX) for target in CLASSES} == {True}


@pytest.mark.parametrize(("module", "name"), CLASSES, ids=lambda part: part.removeprefix(PREFIX))
def test_a_class_has_a_record_or_a_reason(module: str, name: str) -> None:
    key = (model_of(module), name)
    if catalog.signature_at(module, name, NEWEST) is None:
        if module.removeprefix(PREFIX).startswith(NO_MODULE):
            spans = catalog.name_spans(module, "")
            assert not spans or spans[-1].last != NEWEST
        else:
            assert (source_of(module, name) is None) == (key in NOT_RESTORED), "no record says what it was"
        return
    init, forward = catalog.spans(module, name), catalog.spans(module, f"{name}.forward")
    if (len(init) <= 1 and len(forward) <= 1) or key in NOT_ADAPTED:
        return
    forms = {names(span.signature)[:2] for span in forward}
    odd = forms - FORWARDS
    odd |= {
        names(span.signature)
        for span in init
        if names(span.signature)[:1] not in (("dim",), ("config",)) or "dim" in names(span.signature)[1:]
    }
    assert bool(odd) == (key in OLD_FORMS), f"forms that no adapter knows: {odd}"
    assert is_rotary_name(name)


def test_the_lists_hold_nothing_else() -> None:
    known = {(model_of(target.module), target.name) for target in CLASSES}
    assert NOT_ADAPTED.keys() | NOT_RESTORED.keys() | OLD_FORMS.keys() <= known
    assert {(model, name) for model, name, *_ in (*RENAMED, *OTHERS)} <= known
    for model, old, new in RENAMED:
        module = f"{PREFIX}{model}.modeling_{model}"
        assert catalog.spans(module, old), old
        assert catalog.signature_at(module, new, NEWEST), new
        assert catalog.removed_in(module, old), old
