"""signature_drift(): a function that does not look as in the release that the version names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rope_compat import catalog
from rope_compat._environment import signature_drift
from rope_compat._facts.function_names import NAMES

QWEN2_VL = "transformers.models.qwen2_vl.modeling_qwen2_vl"
QWEN2_5_VL = "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"
LLAMA = "transformers.models.llama.modeling_llama"
FLASHATT = "apply_rotary_pos_emb_flashatt"
VISION = "apply_rotary_pos_emb_vision"
PLAIN = "apply_rotary_pos_emb"


def test_the_message_for_a_release() -> None:
    live = "(tensor: torch.Tensor, freqs: torch.Tensor) -> torch.Tensor"
    assert signature_drift(QWEN2_5_VL, FLASHATT, live, "4.49.0") == (
        f"this says 4.49.0 but {QWEN2_5_VL}:{FLASHATT} takes (tensor, freqs); 4.49.0 had (q, k, cos, sin)"
    )


@pytest.mark.parametrize(
    ("module", "name", "live", "version", "end"),
    [
        (
            QWEN2_5_VL,
            FLASHATT,
            "(tensor, freqs)",
            "4.49.0.dev0",
            "4.49.0 had (q, k, cos, sin); no known release had that signature",
        ),
        (
            QWEN2_VL,
            VISION,
            "(tensor, freqs)",
            "4.49.0.dev0",
            "4.49.0 had (q, k, cos, sin); releases with that signature: 4.45.0 to 4.48.3",
        ),
        (QWEN2_5_VL, FLASHATT, "(q, k, cos, sin)", "4.53.0", "4.53.0 had no such function"),
        (
            LLAMA,
            PLAIN,
            "(q, k, cos, sin, position_ids)",
            "4.46.0",  # withdrawn: the next release stands for it
            "4.46.1 had (q, k, cos, sin, position_ids=None, unsqueeze_dim=1); "
            "releases with that signature: 4.28.0 to 4.34.1",
        ),
    ],
)
def test_what_is_expected_and_which_releases_fit(
    module: str, name: str, live: str, version: str, end: str
) -> None:
    message = signature_drift(module, name, live, version)
    assert message is not None
    assert message.startswith(f"this says {version} but {module}:{name} takes {live}; ")
    assert message.endswith(f"; {end}")


@given(st.data())
def test_no_release_drifts_from_itself_nor_a_development_build_that_looks_like_it(
    data: st.DataObject,
) -> None:
    module, name = data.draw(st.sampled_from(catalog.functions(NAMES)))
    span = data.draw(st.sampled_from(catalog.spans(module, name)))
    inside = [r for r in catalog.releases() if catalog.signature_at(module, name, r) == span.signature]
    release = data.draw(st.sampled_from(inside))
    suffix = data.draw(st.sampled_from(["", ".dev0", "rc1", "+local", ".post1"]))
    assert signature_drift(module, name, span.signature, f"{release}{suffix}") is None


@given(st.data())
def test_another_signature_is_always_named(data: st.DataObject) -> None:
    module, name = data.draw(st.sampled_from(catalog.functions(NAMES)))
    release = data.draw(st.sampled_from(catalog.releases()))
    message = signature_drift(module, name, "(something, new=3)", release)
    assert message is not None
    assert "takes (something, new=3)" in message
    assert f"{release} had " in message


def test_a_version_newer_than_known_is_compared_with_the_newest() -> None:
    newest = catalog.newest_known()
    known = catalog.signature_at(LLAMA, PLAIN, newest)
    assert known is not None
    assert signature_drift(LLAMA, PLAIN, known, "999.0.0") is None
    message = signature_drift(LLAMA, PLAIN, "(q, k, cos, sin, position_ids)", "999.0.0.dev0")
    assert message is not None
    assert f"{newest} had {known}; releases with that signature: 4.28.0 to 4.34.1" in message


@pytest.mark.parametrize(
    ("module", "name", "version"),
    [("my.model", PLAIN, "4.49.0"), (LLAMA, "other", "4.49.0"), (LLAMA, PLAIN, "a fork")],
)
def test_nothing_is_said_of_what_is_not_known(module: str, name: str, version: str) -> None:
    assert signature_drift(module, name, "(x)", version) is None
