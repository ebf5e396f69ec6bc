"""What others put in transformers' places, before patch() and after it."""

from __future__ import annotations

import inspect
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import LLAMA, QWEN2_VL, RELEASE, has_module, load
from support.models import ALL
from torch import Tensor, nn

import rope_compat
from rope_compat import _api as api

HERE = Version(RELEASE)
IDS = torch.arange(3, 11)[None]
QWEN3 = "transformers.models.qwen3.modeling_qwen3"
DEAD = rope_compat.DeadPatchWarning


@pytest.fixture
def llama() -> ModuleType:
    return load(LLAMA)


def rotate_half(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def logits() -> Tensor:
    with torch.no_grad():
        found: Tensor = ALL["llama"]().model(IDS).last_hidden_state
        return found


class Condensed(nn.Module):
    """A rotary class as replacements had it up to 4.37: made of a dim, giving tables of ``seq_len`` rows."""

    def __init__(
        self, dim: int, max_position_embeddings: int = 2048, base: float = 10000, device: Any = None
    ) -> None:
        super().__init__()
        inv_freq = 1.0 / (base ** (torch.arange(0, dim, 2, device=device).float() / dim))
        self.register_buffer("inv_freq", inv_freq, persistent=False)

    def forward(self, x: Tensor, seq_len: int) -> tuple[Tensor, Tensor]:
        angles = torch.outer(torch.arange(seq_len, device=x.device).float(), self.inv_freq)
        angles = torch.cat((angles, angles), -1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


class OfFastChat(Condensed):
    """FastChat's: a number of its own in the constructor, and tables ``[1, 1, S, D]``."""

    def __init__(
        self,
        dim: int,
        ratio: int,
        max_position_embeddings: int = 2048,
        base: float = 10000,
        device: Any = None,
    ) -> None:
        super().__init__(dim, max_position_embeddings, base, device)
        self.ratio = ratio

    def forward(self, x: Tensor, seq_len: Any = None) -> tuple[Tensor, Tensor]:
        assert seq_len > 0
        angles = torch.outer(torch.arange(seq_len, device=x.device).float() / self.ratio, self.inv_freq)
        angles = torch.cat((angles, angles), -1)[None, None]
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


def by_tables(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, position_ids: Tensor) -> Any:
    """The function of 4.34 and before: the fifth argument is required, and picks rows."""
    cos, sin = (table.squeeze(0).squeeze(0)[position_ids].unsqueeze(1) for table in (cos, sin))
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


@pytest.mark.parametrize("late", [False, True], ids=["before patch()", "after patch()"])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("apply_rotary_pos_emb", by_tables),
        ("LlamaRotaryEmbedding", Condensed),
        pytest.param("LlamaRotaryEmbedding", partial(OfFastChat, ratio=1), id="LlamaRotaryEmbedding-partial"),
    ],
)
def test_a_replacement_in_an_older_form_is_called_as_the_model_does(
    llama: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str, theirs: Any, late: bool
) -> None:
    native, wanted = getattr(llama, name), logits()
    if late:
        with rope_compat.patched(on_problem="error"):
            # Past monkeypatch, which would put the adapter back in the end.
            setattr(llama, name, theirs)
            found = logits()
        in_place = getattr(llama, name)
        setattr(llama, name, native)
    else:
        monkeypatch.setattr(llama, name, theirs)
        with rope_compat.patched(on_problem="error"):
            found = logits()
        in_place = getattr(llama, name)
    assert in_place is theirs
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_a_replacement_is_called_and_no_other(llama: ModuleType) -> None:
    calls: list[int] = []
    native = llama.apply_rotary_pos_emb

    def mine(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *rest: Any, **options: Any) -> Any:
        calls.append(len(rest))
        return native(q, k, cos, sin, *rest, **options)

    try:
        with rope_compat.patched(on_problem="error"):
            adapted = llama.apply_rotary_pos_emb
            llama.apply_rotary_pos_emb = mine
            logits()
            assert len(calls) == 2
            llama.apply_rotary_pos_emb = adapted
            logits()
            assert len(calls) == 2
    finally:
        llama.apply_rotary_pos_emb = native


def test_a_forward_of_a_rotary_class_that_is_replaced_late(llama: ModuleType) -> None:
    cls, wanted = llama.LlamaRotaryEmbedding, logits()
    native = vars(cls)["forward"]

    def forward(self: Any, x: Tensor, seq_len: int) -> tuple[Tensor, Tensor]:
        angles = torch.outer(torch.arange(seq_len, device=x.device).float(), self.inv_freq)
        angles = torch.cat((angles, angles), -1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)

    try:
        with rope_compat.patched(on_problem="error"):
            cls.forward = forward
            found = logits()
        assert vars(cls)["forward"] is forward
    finally:
        cls.forward = native
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_nothing_is_done_again_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    with rope_compat.patched(on_problem="error") as patch:
        logits()
        processed: list[Any] = []
        process = api._engine._process
        monkeypatch.setattr(
            api._engine, "_process", lambda *args, **kw: processed.append(args) or process(*args, **kw)
        )
        done = len(patch.journal)
        logits()
        assert len(patch.journal) == done
        assert not processed


def test_the_constructor_of_models_is_itself_again() -> None:
    base = load("transformers.modeling_utils").PreTrainedModel
    native = vars(base)["__init__"]
    with rope_compat.patched():
        assert vars(base)["__init__"] is not native
        assert inspect.signature(base.__init__) == inspect.signature(native)
    assert vars(base)["__init__"] is native


# What has no effect


def dead(patch: Any) -> dict[str, str]:
    return {target: reason for target, reason in rope_compat.status().skipped if "without effect" in reason}


@pytest.mark.only(Version("5.17") <= HERE, reason="Qwen2-VL has the function to 5.16.1")
@pytest.mark.parametrize("late", [False, True], ids=["before patch()", "after patch()"])
def test_a_function_that_nothing_looks_up_is_told_by_name_and_line(late: bool) -> None:
    module = load(QWEN2_VL)

    def mine(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, mrope_section: Any) -> Any:
        raise AssertionError("nothing calls it")

    line = mine.__code__.co_firstlineno
    said = rf"qwen2_vl:apply_multimodal_rotary_pos_emb.*mine \({__file__}:{line}\).*without effect"
    try:
        if late:
            with rope_compat.patched():
                module.apply_multimodal_rotary_pos_emb = mine
                with pytest.warns(DEAD, match=said):
                    ALL["qwen2_vl"]()
        else:
            module.apply_multimodal_rotary_pos_emb = mine
            with pytest.warns(DEAD, match=said), rope_compat.patched() as patch:
                assert list(dead(patch)) == [f"{QWEN2_VL}:apply_multimodal_rotary_pos_emb"]
            with pytest.raises(rope_compat.IncompatibleVersionError, match="without effect"):
                rope_compat.patch(on_problem="error")
    finally:
        del module.apply_multimodal_rotary_pos_emb
    assert not rope_compat.status().active


def test_a_method_that_nothing_calls_is_told(llama: ModuleType) -> None:
    def prepare(self: Any, attention_mask: Any, *rest: Any) -> Any:
        raise AssertionError("nothing calls it")

    line = prepare.__code__.co_firstlineno
    llama.LlamaModel._prepare_decoder_attention_mask = prepare
    try:
        said = rf"LlamaModel._prepare_decoder_attention_mask.*\({__file__}:{line}\)"
        with pytest.warns(DEAD, match=said), rope_compat.patched():
            pass
    finally:
        del llama.LlamaModel._prepare_decoder_attention_mask


@pytest.mark.only(Version("4.48") <= HERE, reason="to 4.47 the class is there, in a table of classes")
def test_a_class_that_nothing_makes_is_told(llama: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(llama.LlamaAttention):  # type: ignore[misc, name-defined]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return super().forward(*args, **kwargs)

    monkeypatch.setattr(llama, "LlamaFlashAttention2", Mine, raising=False)
    said = r"modeling_llama:LlamaFlashAttention2: .*Mine.*removed in 4\.48\.0"
    with pytest.warns(DEAD, match=said), rope_compat.patched():
        pass


@pytest.mark.only(Version("4.48") > HERE, reason="from 4.48.0 on LlamaDecoderLayer looks the class up")
def test_a_class_that_a_table_holds_already_is_told(
    llama: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mine(llama.LlamaAttention):  # type: ignore[misc, name-defined]
        pass

    monkeypatch.setattr(llama, "LlamaAttention", Mine)
    with pytest.warns(DEAD, match="modeling_llama:LlamaAttention: .*Mine"), rope_compat.patched():
        pass


def test_what_has_an_effect_is_not_told(llama: ModuleType, recwarn: pytest.WarningsRecorder) -> None:
    native = vars(llama.LlamaModel).get("helper_of_mine")
    assert native is None
    llama.LlamaModel.helper_of_mine = lambda self: 1
    theirs, functions = type("Mine", (llama.LlamaRotaryEmbedding,), {}), llama.apply_rotary_pos_emb
    cls = llama.LlamaRotaryEmbedding
    try:
        llama.LlamaRotaryEmbedding = theirs
        with rope_compat.patched() as patch:
            logits()
            assert not dead(patch)
    finally:
        del llama.LlamaModel.helper_of_mine
        llama.LlamaRotaryEmbedding = cls
    assert llama.apply_rotary_pos_emb is functions
    assert not [each for each in recwarn if issubclass(each.category, DEAD)]


@pytest.mark.only(has_module(QWEN2_VL), reason="Qwen2-VL came with 4.45.0")
def test_a_vision_function_with_freqs_that_is_put_in_place_late() -> None:
    module, native = load(QWEN2_VL), load(QWEN2_VL).apply_rotary_pos_emb_vision

    def mine(tensor: Tensor, freqs: Tensor) -> Tensor:
        cos, sin = (torch.cat((half, half), -1).unsqueeze(-2) for half in (freqs.cos(), freqs.sin()))
        return tensor * cos + rotate_half(tensor) * sin

    q, k = torch.randn(2, 5, 2, 16)
    freqs = torch.rand(5, 8)
    angles = torch.cat((freqs, freqs), -1)
    try:
        with rope_compat.patched(on_problem="error"):
            module.apply_rotary_pos_emb_vision = mine
            ALL["qwen2_vl"]()
            found = module.apply_rotary_pos_emb_vision(q, k, angles.cos(), angles.sin())
        assert module.apply_rotary_pos_emb_vision is mine
    finally:
        module.apply_rotary_pos_emb_vision = native
    torch.testing.assert_close(found, (mine(q, freqs), mine(k, freqs)), atol=1e-6, rtol=1e-5)


@pytest.mark.only(has_module(QWEN3), reason="Qwen3 came with 4.51.0")
def test_a_function_that_a_decorated_method_calls_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention's `forward` is decorated from 4.54.0 to 4.57.6: its own code has other names."""
    module = load(QWEN3)
    native = module.apply_rotary_pos_emb

    def mine(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *rest: Any, **options: Any) -> Any:
        return native(q, k, cos, sin, *rest, **options)

    monkeypatch.setattr(module, "apply_rotary_pos_emb", mine)
    with rope_compat.patched(on_problem="error") as patch:
        assert not dead(patch)


GIVEN = "position_embeddings" in inspect.signature(load(LLAMA).LlamaAttention.forward).parameters


@pytest.mark.only(GIVEN, reason="to 4.42.4 attention asks its own rotary module")
def test_a_rotary_module_that_is_put_into_attention_is_told_by_line() -> None:
    """YaRN's repository and others do so, layer by layer."""
    with rope_compat.patched():
        model = ALL["llama"]()
        attention = model.model.layers[0].self_attn
        line = inspect.currentframe().f_lineno + 2  # type: ignore[union-attr]
        with pytest.warns(DEAD, match=rf"Attention.rotary_emb: Condensed .*{__file__}:{line}\) was"):
            attention.rotary_emb = Condensed(8)
    with rope_compat.patched(on_problem="error"):
        with pytest.raises(rope_compat.IncompatibleVersionError, match="without effect"):
            model.model.layers[1].self_attn.rotary_emb = Condensed(8)
        # Where it has an effect, nothing is said.
        model.model.rotary_emb = Condensed(8)
    hooks = load("torch.nn.modules.module")._global_module_registration_hooks
    assert "rope_compat" not in hooks


@pytest.mark.only(GIVEN, reason="to 4.42.4 attention asks its own rotary module")
def test_a_rotary_module_that_a_forward_of_ones_own_asks_is_not_told() -> None:
    with rope_compat.patched(on_problem="error"):
        attention = ALL["llama"]().model.layers[0].self_attn
        attention.forward = lambda *args, **kwargs: None
        attention.rotary_emb = Condensed(8)
