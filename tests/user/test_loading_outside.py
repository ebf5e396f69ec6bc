"""What stops custom code and is no matter of RoPE is named, with the release that it broke in."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from support.installed import RELEASE
from support.unsaved import UnsavedConfig, UnsavedModel, constructed, save
from torch import Tensor, nn

import rope_compat

HERE = Version(RELEASE)


class HeadMasked(UnsavedModel):
    """Uses what `PreTrainedModel` and caches once had."""

    def forward(self, input_ids: Tensor, past: Any = None) -> Tensor:
        if past is not None:
            self.start = past.get_usable_length(3) + past.seen_tokens
        mask = self.get_head_mask(None, 2)
        assert mask == [None, None]
        return super().forward(input_ids)


class Unfinished(UnsavedModel):
    """Its constructor does not call `post_init`."""

    def post_init(self) -> None:
        pass


class Tied(UnsavedModel):
    """Names tied weights in a list, as all did up to 4.57."""

    _tied_weights_keys = ["linear.weight"]  # noqa: RUF012 - as remote code has it

    def get_output_embeddings(self) -> nn.Module:
        return self.linear


def load(cls: type[UnsavedModel], folder: Path) -> UnsavedModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rope_compat.IncompatibleVersionWarning)
        model: UnsavedModel = cls.from_pretrained(folder)
    return model


def test_removed_names_that_code_uses_are_named(tmp_path: Path) -> None:
    folder = save(constructed(), tmp_path / "model")
    expected = {
        "get_head_mask": Version("5.0.0"),
        "seen_tokens": Version("4.54.0"),
    }
    # Before 4.36 there were no caches; StaticCache and others lack some of it, DynamicCache does not.
    gone = {name: release for name, release in expected.items() if release <= HERE}
    rope_compat.patch()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load(HeadMasked, folder)
    (text,) = [str(item.message) for item in caught if item.category is rope_compat.OutsideRopeWarning] or [
        ""
    ]
    assert {name for name in expected if name in text} == gone.keys()
    assert all(f"since {release}" in text for release in map(str, gone.values()))
    assert bool(text) == bool(gone)


def test_silence_where_it_was_asked_for(tmp_path: Path) -> None:
    folder = save(constructed(), tmp_path / "model")
    rope_compat.patch(on_problem="ignore")
    with warnings.catch_warnings():
        warnings.simplefilter("error", rope_compat.RopeCompatWarning)
        HeadMasked.from_pretrained(folder)


@pytest.mark.only(Version("5.0.0") <= HERE, reason="up to 4.57 both of these load")
def test_errors_outside_rope_say_so(tmp_path: Path) -> None:
    folder = save(constructed(), tmp_path / "model")
    rope_compat.patch()
    with pytest.raises(AttributeError, match=r"all_tied_weights_keys.*since transformers 5\.0\.0.*post_init"):
        load(Unfinished, folder)
    config = UnsavedConfig()
    config.tie_word_embeddings = True
    config.save_pretrained(folder)
    with pytest.raises(AttributeError, match=r"since transformers 5\.0\.0 _tied_weights_keys is a dict"):
        load(Tied, folder)


def test_native_classes_and_other_errors_are_as_they_were(tmp_path: Path) -> None:
    rope_compat.patch()
    with pytest.raises(Exception, match="nowhere") as caught:
        UnsavedModel.from_pretrained(tmp_path / "nowhere")
    rope_compat.unpatch()
    with pytest.raises(type(caught.value), match="nowhere") as stock:
        UnsavedModel.from_pretrained(tmp_path / "nowhere")
    assert str(caught.value) == str(stock.value)
