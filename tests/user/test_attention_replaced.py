"""Users' functions in the place of attention's ``forward``, written for other releases."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import LLAMA, QWEN2_5_VL, RELEASE, has_module, load
from support.lanes import GENERATION
from support.models import SPECIAL, TEXT
from support.replacements import NEW, OLD, in_pairs, of_4_36, of_4_43, of_4_47, with_flash, with_sdpa
from torch import Tensor

import rope_compat

SINCE_4_48 = Version(RELEASE) >= Version("4.48.0")
#: Before, another class had the replaced forward only for scaled_dot_product_attention.
IMPLEMENTATIONS = ("eager", "sdpa") if SINCE_4_48 else ("eager",)
#: 4.38 hands masks with rows for all positions, of which attention picks its own by cache_position. What its
#: layers can call as it is gets what they hand, and fails when it adds that.
IN_4_38 = Version("4.38.0") <= Version(RELEASE) < Version("4.39.0")
ALL_ROWS = pytest.mark.xfail(
    IN_4_38, reason="4.38 hands masks with rows for all positions", raises=RuntimeError, strict=True
)
LEFT = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1]])
RIGHT = LEFT.flip(-1)


def made(implementation: str) -> Any:
    from transformers.models.llama.configuration_llama import LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(**TEXT, **SPECIAL, attn_implementation=implementation)
    return load(LLAMA).LlamaForCausalLM(config).eval()


def ids() -> Tensor:
    return torch.randint(3, 64, (2, 7), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def attention() -> Iterator[Any]:
    """The class whose forward is replaced; it has its own again afterwards."""
    cls = load(LLAMA).LlamaAttention
    native = vars(cls)["forward"]
    yield cls
    rope_compat.unpatch()
    cls.forward = native


@torch.no_grad()
def passes(model: Any) -> dict[str, Tensor]:
    """Logits of whole sequences, and of tokens generated one by one."""
    found = {"plain": model(ids()).logits, "uncached": model(ids(), use_cache=False).logits}
    for name, mask in (("left", LEFT), ("right", RIGHT)):
        logits = model(ids(), attention_mask=mask).logits
        # What padding gives is nobody's, and differs.
        found[name] = logits.masked_fill(mask[:, :, None] == 0, 0.0)
        options = {"do_sample": False, "max_new_tokens": 4, "output_scores": True}
        if name == "left":
            answer = model.generate(
                ids(), attention_mask=mask, return_dict_in_generate=True, eos_token_id=None, **options
            )
            found["generated"] = torch.stack(answer.scores)
    found["chunks"] = in_chunks(model)
    return found


def in_chunks(model: Any) -> Tensor:
    """A sequence in two parts, the second of several tokens that meet the first in the cache."""
    from transformers.cache_utils import DynamicCache

    name = "cache" if Version(RELEASE) >= Version("5.24.0") else "past_key_values"
    cache = DynamicCache()
    parts = [
        model(ids()[:, :3], use_cache=True, **{name: cache}).logits,
        model(ids()[:, 3:], use_cache=True, **{name: cache}).logits,
    ]
    return torch.cat(parts, 1)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    "function",
    [pytest.param(f, id=name, marks=ALL_ROWS if f in (of_4_43, of_4_47) else ()) for name, f in OLD.items()],
)
def test_an_older_function_computes_what_the_model_does(
    function: Callable[..., Any], implementation: str, attention: Any
) -> None:
    check(function, made(implementation), attention)


@pytest.mark.parametrize("function", NEW.values(), ids=NEW)
def test_a_newer_function_computes_what_the_model_does(function: Callable[..., Any], attention: Any) -> None:
    check(function, made("eager"), attention)


def check(function: Callable[..., Any], model: Any, attention: Any) -> None:
    wanted = passes(model)
    attention.forward = function
    with rope_compat.patched(on_problem="error"):
        found = passes(model)
    assert vars(attention)["forward"] is function
    for name, logits in wanted.items():
        torch.testing.assert_close(
            found[name], logits, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def named(function: Any) -> str:
    return str(function.__name__)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("function", [of_4_43, of_4_47, with_sdpa], ids=named)
def test_layers_that_look_through_a_window(function: Callable[..., Any], implementation: str) -> None:
    configuration = load("transformers.models.mistral.configuration_mistral")
    modeling = load("transformers.models.mistral.modeling_mistral")
    options = {**TEXT, **SPECIAL, "sliding_window": 4, "attn_implementation": implementation}
    torch.manual_seed(0)
    model = modeling.MistralForCausalLM(configuration.MistralConfig(**options)).eval()
    native = vars(modeling.MistralAttention)["forward"]
    try:
        check(function, model, modeling.MistralAttention)
        modeling.MistralAttention.forward = with_flash
        # A window is nothing that a padding mask can say.
        with pytest.raises(rope_compat.errors.CallFormError, match="window"), rope_compat.patched():
            model(ids())
    finally:
        modeling.MistralAttention.forward = native


@pytest.mark.only(SINCE_4_48, reason="before, static caches come and go")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("function", [of_4_43, of_4_47, in_pairs, with_flash], ids=named)
def test_a_static_cache(function: Callable[..., Any], implementation: str, attention: Any) -> None:
    model = made(implementation)
    options = {"max_new_tokens": 4, "output_scores": True, "return_dict_in_generate": True}

    def scores() -> Tensor:
        found = model.generate(
            ids(),
            attention_mask=LEFT,
            cache_implementation="static",
            eos_token_id=None,
            do_sample=False,
            **options,
        )
        return torch.stack(found.scores)

    wanted = scores()
    attention.forward = function
    with rope_compat.patched(on_problem="error"):
        torch.testing.assert_close(scores(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.lane(GENERATION)
@pytest.mark.only(SINCE_4_48, reason="before, layers call the function as they call their own")
@pytest.mark.parametrize("function", [of_4_43, of_4_47], ids=named)
def test_one_graph(function: Callable[..., Any], attention: Any) -> None:
    model = made("sdpa")
    attention.forward = function
    with rope_compat.patched(on_problem="error"), torch.no_grad():
        torch._dynamo.reset()
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        wanted = model(ids(), use_cache=False).logits
        torch.testing.assert_close(compiled(ids(), use_cache=False).logits, wanted)
    torch._dynamo.reset()


def test_undoing_gives_the_function_back(attention: Any) -> None:
    attention.forward = in_pairs
    before = dict(vars(attention))
    with rope_compat.patched(on_problem="error") as patch:
        assert vars(attention)["forward"] is not in_pairs
        assert "attention-replacements" in {entry.rule for entry in patch.journal}
    assert dict(vars(attention)) == before


def test_by_hand(attention: Any) -> None:
    model, target = made("eager"), f"{LLAMA}:LlamaAttention.forward"
    wanted = passes(model)
    with rope_compat.patched(on_problem="error"):
        attention.forward = rope_compat.adapt(in_pairs, target)
        assert attention.forward is not in_pairs
        found = passes(model)
        # A second patch finds it adapted, and the function behind it.
        with rope_compat.patched(on_problem="error"):
            assert torch.equal(passes(model)["generated"], found["generated"])
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_what_cannot_be_adapted_by_hand_says_why() -> None:
    def impossible(self: Any, hidden_states: Tensor, paged_cache: Any) -> Any: ...

    for target, why in (
        (f"{LLAMA}:LlamaAttention.forward", "paged_cache"),
        (f"{LLAMA}:LamaAttention.forward", "no class"),
        ("LlamaAttention.forward", "module"),
    ):
        with pytest.raises(rope_compat.errors.ArgumentError, match=why):
            rope_compat.adapt(impossible, target)


def test_what_layers_can_call_is_left_alone(attention: Any) -> None:
    native, seen = vars(attention)["forward"], []

    def watching(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(sorted(kwargs))
        return native(self, *args, **kwargs)

    def watching_states(self: Any, hidden_states: Tensor, **kwargs: Any) -> Any:
        return native(self, hidden_states, **kwargs)

    for function in (watching, watching_states):
        attention.forward = function
        with rope_compat.patched(on_problem="error"):
            assert vars(attention)["forward"] is function
            made("eager")(ids())
    assert seen


def test_what_cannot_be_told_is_reported(attention: Any) -> None:
    def impossible(self: Any, hidden_states: Tensor, paged_cache: Any) -> Any: ...

    attention.forward = impossible
    with pytest.warns(rope_compat.errors.SkippedTargetWarning, match="paged_cache"):
        patch = rope_compat.patch()
    assert vars(attention)["forward"] is impossible
    patch.undo()


@pytest.mark.only(SINCE_4_48, reason="before, layers hand the mask that functions were written for")
def test_a_mask_that_nobody_knows_is_reported(attention: Any) -> None:
    kernel: Any = None

    def opaque(self: Any, hidden_states: Tensor, attention_mask: Any = None, position_ids: Any = None) -> Any:
        return kernel(hidden_states, attention_mask), None, None

    attention.forward = opaque
    with pytest.warns(rope_compat.errors.SkippedTargetWarning, match="which attention mask"):
        patch = rope_compat.patch()
    assert vars(attention)["forward"] is opaque
    patch.undo()


def test_what_returns_something_else_is_refused(attention: Any) -> None:
    def alone(self: Any, hidden_states: Tensor, position_ids: Any = None, cache_position: Any = None) -> Any:
        return (self.o_proj(hidden_states),)

    attention.forward = alone
    model = made("eager")
    patch = rope_compat.patch(on_problem="error")
    with pytest.raises(rope_compat.errors.CallFormError, match="returned 1 values"):
        model(ids())
    patch.undo()


@pytest.mark.parametrize("function", [in_pairs, pytest.param(of_4_43, marks=ALL_ROWS)], ids=named)
def test_weights_and_gradients(function: Callable[..., Any], attention: Any) -> None:
    model = made("eager")

    def results() -> list[Tensor]:
        model.zero_grad()
        output = model(ids(), labels=ids(), output_attentions=True, use_cache=False)
        output.loss.backward()
        return [*output.attentions, *(each.grad for each in model.parameters())]

    wanted = results()
    attention.forward = function
    with rope_compat.patched(on_problem="error"):
        found = results()
    assert len(found) == len(wanted)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.only(SINCE_4_48, reason="before, layers call the function in its own form")
def test_calls_in_the_functions_own_form_are_its_own(attention: Any) -> None:
    attention.forward = of_4_36
    x, positions = torch.randn(2, 7, 32), torch.arange(7)[None]
    with rope_compat.patched(on_problem="error"), torch.no_grad():
        output, weights, cache = made("eager").model.layers[0].self_attn(x, None, positions)
    assert output.shape == x.shape
    assert (weights, cache) == (None, None)


@pytest.mark.parametrize("function", [in_pairs, with_flash], ids=named)
def test_a_hook_that_nothing_calls_is_reported(function: Callable[..., Any], attention: Any) -> None:
    """Unless all that it is for, handing padding masks on, is done for the attention that needs them."""

    def hook(self: Any, attention_mask: Any, *others: Any) -> Any:
        return attention_mask

    model, name = load(LLAMA).LlamaModel, "_prepare_decoder_attention_mask"
    setattr(model, name, hook)
    attention.forward = function
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rope_compat.patch().undo()
    finally:
        delattr(model, name)
    dead = [each for each in caught if issubclass(each.category, rope_compat.errors.DeadPatchWarning)]
    assert [name in str(each.message) for each in dead] == ([True] if function is in_pairs else [])


@pytest.mark.only(has_module(QWEN2_5_VL), reason="the release does not know the model")
def test_towers_with_a_grid_of_patches_are_left_alone() -> None:
    def tower(self: Any, hidden_states: Tensor, cu_seqlens: Tensor, rotary_pos_emb: Any = None) -> Any: ...

    module = load(QWEN2_5_VL)
    cls = module.Qwen2_5_VLVisionAttention
    native = vars(cls)["forward"]
    cls.forward = tower
    try:
        with rope_compat.patched(on_problem="error"):
            assert vars(cls)["forward"] is tower
    finally:
        cls.forward = native
