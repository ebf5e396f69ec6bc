"""What a reader's call of a rotary function does, on every release of the package, before and after."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import rope_compat
from rope_compat.errors import CallFormError, HeadDimensionError, LayoutError, RemovedModuleError
from rope_compat.rotary import reference

from . import releases

pytestmark = pytest.mark.only(bool(releases.DIRECTORY), reason="the environment called llms has the releases")

B, H, S, D, ROWS = 2, 4, 6, 16, 32


def name_of(place: tuple[str, str]) -> str:
    return f"{place[1]}-{place[0]}"


everywhere = pytest.mark.parametrize("place", releases.places(), indirect=True, ids=name_of)


@pytest.fixture(params=releases.boundaries(), ids=name_of)
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A release, installed, and one of its modules: releases at which the module's function changed."""
    release, module = request.param
    with releases.installed(release), warnings.catch_warnings():
        warnings.simplefilter("ignore", rope_compat.SignatureDriftWarning)
        yield release, module
        rope_compat.unpatch()


def kind(place: tuple[str, str]) -> str:
    text = releases.signature(place[1], place[0])
    return "plain" if text == "(x, cos, sin)" else "batched" if text == "(x, cos, sin, offset)" else "offset"


def tables(rows: int = ROWS, dim: int = D) -> tuple[Tensor, Tensor]:
    angles = torch.arange(rows)[:, None] / 10_000 ** (torch.arange(0, dim, 2) / dim)
    angles = torch.cat((angles, angles), dim=1)
    return angles.cos(), angles.sin()


def sample(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape or (B, H, S, D), generator=torch.Generator().manual_seed(0)).to(dtype)


def expected(x: Tensor, first: Tensor | int = 0) -> Tensor:
    """x ``[B, H, S, D]`` turned in fp64, sequences beginning at `first`."""
    begins = first if isinstance(first, Tensor) else torch.full((x.shape[0],), first)
    positions = begins[:, None] + torch.arange(x.shape[2])
    angles = positions[:, None, :, None].double() / 10_000 ** (torch.arange(0, D, 2).double() / D)
    return reference.rotate_by_angle(x, angles)


def close(found: Tensor, right: Tensor) -> None:
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 5e-2}[found.dtype]
    torch.testing.assert_close(found.double(), right, atol=tolerance, rtol=0)


def native_call(place: tuple[str, str], function: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The call that the module's own attention makes."""
    how = kind(place)
    rest = (
        {} if how == "plain" else {"offset": 0 if how == "offset" else torch.zeros(len(x), dtype=torch.long)}
    )
    result: Tensor = function(x, cos, sin, **rest)
    return result


@everywhere
def test_the_signatures_are_those_of_the_table(place: tuple[str, str]) -> None:
    release, module = place
    function = releases.load(module).apply_rope
    assert str(inspect.signature(function)) == releases.signature(module, release)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_native_call_gives_the_same_bits(place: tuple[str, str], dtype: torch.dtype) -> None:
    module = releases.load(place[1])
    cos, sin = module.compute_rope_params(D, context_length=ROWS)
    x = sample(dtype=dtype)
    before = native_call(place, module.apply_rope, x, cos, sin)
    default = module.apply_rope(x, cos, sin) if kind(place) != "batched" else None
    original = module.apply_rope
    with rope_compat.patched():
        assert module.apply_rope is not original
        after = native_call(place, module.apply_rope, x, cos, sin)
        assert all(map(torch.equal, module.compute_rope_params(D, context_length=ROWS), (cos, sin)))
        if default is not None:
            assert torch.equal(module.apply_rope(x, cos, sin), default)
    assert after.dtype == before.dtype
    assert torch.equal(after, before)
    assert module.apply_rope is original
    close(after, expected(x))


@everywhere
def test_the_numbers_are_those_of_the_reference_in_every_form(place: tuple[str, str]) -> None:
    rope_compat.patch()
    module = releases.load(place[1])
    cos, sin = module.compute_rope_params(D, context_length=ROWS)
    x, each = sample(), torch.tensor([3, 11])
    if place != ("1.0.15", "kv_cache.llama3"):
        close(module.apply_rope(x, cos, sin), expected(x))
    close(module.apply_rope(x, cos, sin, 5), expected(x, 5))
    close(module.apply_rope(x, cos, sin, offset=5), expected(x, 5))
    close(module.apply_rope(x=x, cos=cos, sin=sin, offset=5), expected(x, 5))
    close(module.apply_rope(x, cos, sin, offset=torch.tensor(5)), expected(x, 5))
    close(module.apply_rope(x, cos, sin, each), expected(x, each))
    close(module.apply_rope(x, cos, sin, offset=each), expected(x, each))


def test_what_these_calls_did_before(place: tuple[str, str]) -> None:
    """The left half of the table in docs/llms-from-scratch.md."""
    apply_rope = releases.load(place[1]).apply_rope
    (cos, sin), x, each = tables(), sample(), torch.tensor([3, 11])
    how = kind(place)
    if how == "batched":
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            apply_rope(x, cos, sin)
        with pytest.raises(AttributeError, match="no attribute 'shape'"):
            apply_rope(x, cos, sin, 5)
    elif how == "offset":
        wrong = place == ("1.0.15", "kv_cache.llama3")
        close(apply_rope(x, cos, sin), expected(x, 9 if wrong else 0))
        with pytest.raises(TypeError, match="a single element can be converted"):
            apply_rope(x, cos, sin, each)
    else:
        with pytest.raises(TypeError, match="takes 3 positional arguments but 4 were given"):
            apply_rope(x, cos, sin, 5)
        with pytest.raises(TypeError, match="unexpected keyword argument 'offset'"):
            apply_rope(x, cos, sin, offset=each)
    names = vars(releases.load(place[1]))
    assert "compute_rope" not in names
    assert "precompute_rope_params" not in names


def test_what_wrong_shapes_did_before(place: tuple[str, str]) -> None:
    module = releases.load(place[1])
    (cos, sin), how = tables(), kind(place)
    with pytest.raises(ValueError, match="not enough values to unpack"):
        native_call(place, module.apply_rope, sample(H, S, D), cos, sin)
    with pytest.raises(RuntimeError, match="must match the size of tensor"):
        native_call(place, module.apply_rope, sample(), cos[:, : D // 2], sin[:, : D // 2])
    with pytest.raises(AssertionError, match="Head dimension must be even"):
        native_call(place, module.apply_rope, sample(B, H, S, 15), cos, sin)
    x = sample(B, 5, 12, D)
    if how == "batched":
        assert native_call(place, module.apply_rope, x, *tables(8)).shape == x.shape
    else:
        with pytest.raises(RuntimeError, match="must match the size of tensor"):
            native_call(place, module.apply_rope, x, *tables(8))
    with pytest.raises(TypeError, match="layout"):
        module.apply_rope(x, cos, sin, layout="bshd")


def test_the_books_names(place: tuple[str, str]) -> None:
    rope_compat.patch()
    module = releases.load(place[1])
    cos, sin = module.precompute_rope_params(head_dim=D, theta_base=10_000, context_length=ROWS)
    assert all(map(torch.equal, (cos, sin), module.compute_rope_params(D, context_length=ROWS)))
    x = sample(dtype=torch.bfloat16)
    assert module.compute_rope(x, cos, sin).dtype == torch.bfloat16
    close(module.compute_rope(sample(), cos, sin), expected(sample()))
    close(module.compute_rope(sample(), cos, sin, offset=5), expected(sample(), 5))
    rope_compat.unpatch()
    assert not hasattr(module, "compute_rope")
    assert not hasattr(module, "precompute_rope_params")


def test_frequencies_scaled_as_llama_does(place: tuple[str, str]) -> None:
    scaling = {
        "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context_length": 64,
    }  # fmt: skip
    module = releases.load(place[1])
    takes_it = "freq_config" in inspect.signature(module.compute_rope_params).parameters
    if not takes_it:
        with pytest.raises(TypeError, match="freq_config"):
            module.compute_rope_params(D, freq_config=scaling)
    right = releases.load("llama3").compute_rope_params(D, 500_000.0, ROWS, scaling)
    unscaled = releases.load("llama3").compute_rope_params(D, 500_000.0, ROWS)
    assert not torch.equal(right[0], unscaled[0])
    rope_compat.patch()
    compute = module.compute_rope_params
    for found in (
        compute(D, 500_000.0, ROWS, scaling),
        compute(D, 500_000.0, ROWS, scaling, torch.float32),
        compute(D, theta_base=500_000.0, context_length=ROWS, freq_config=scaling),
        module.precompute_rope_params(D, 500_000.0, ROWS, freq_config=scaling, dtype=torch.float32),
    ):
        assert all(map(torch.equal, found, right))
    for found in (
        compute(D, 500_000.0, ROWS, torch.float32),
        compute(D, 500_000.0, ROWS, None, torch.float32),
        compute(D, 500_000.0, ROWS, freq_config=None),
        compute(D, theta_base=500_000.0, context_length=ROWS, dtype=torch.float32),
    ):
        assert all(map(torch.equal, found, unscaled))


def test_heads_where_positions_are_expected(place: tuple[str, str]) -> None:
    module = releases.load(place[1])
    cos, sin = tables(S)
    x = sample(B, S, H, D)
    zeros = torch.zeros(B, dtype=torch.long)
    rest = () if kind(place) != "batched" else (zeros,)
    if place != ("1.0.15", "kv_cache.llama3"):
        # Without a word: head i is turned as if it were token i.
        close(module.apply_rope(x, cos, sin, *rest), expected(x))
    rope_compat.patch()
    for function in (module.apply_rope, module.compute_rope):
        with pytest.raises(
            LayoutError, match=r"axis 1, layout \(b, s, h, d\); expected \(b, h, s, d\)"
        ) as error:
            function(x, cos, sin, *rest)
        assert str(tuple(x.shape)) in str(error.value)
        right = expected(x.transpose(1, 2)).transpose(1, 2)
        close(function(x, cos, sin, *rest, layout="bshd"), right)
        close(function(x.transpose(1, 2), cos, sin, *rest, layout="bhsd"), expected(x.transpose(1, 2)))
        with pytest.raises(CallFormError, match="layout='sbhd' is not known"):
            function(x, cos, sin, layout="sbhd")


def test_more_heads_than_the_tables_have_rows(place: tuple[str, str]) -> None:
    """Here the functions raise, or (kv_cache_batched) take the last row for all that are beyond."""
    rope_compat.patch()
    apply_rope = releases.load(place[1]).apply_rope
    cos, sin = tables(8)
    x = sample(B, 5, 12, D)
    if kind(place) == "batched":
        assert apply_rope(x, cos, sin, torch.zeros(B, dtype=torch.long)).shape == x.shape
    with pytest.raises(LayoutError, match=r"If x is \(b, s, h, d\), its positions on axis 1, transpose"):
        apply_rope(x, cos, sin, 0)
    with pytest.raises(LayoutError, match="begins at row 5, but the tables hold 8 rows"):
        apply_rope(sample(B, 12, 6, D), cos, sin, 5)


def test_heads_that_are_as_many_as_rows_lie_as_a_model_makes_them(place: tuple[str, str]) -> None:
    """(b, heads, seq, dim) from a projection: nothing is wrong with it, and nothing is said."""
    rope_compat.patch()
    apply_rope = releases.load(place[1]).apply_rope
    cos, sin = tables(8)
    x = sample(B, S, 8 * D).view(B, S, 8, D).transpose(1, 2)
    close(native_call(place, apply_rope, x, cos, sin), expected(x))


@pytest.mark.parametrize("name", ["apply_rope", "compute_rope"])
def test_shapes_that_no_form_has(place: tuple[str, str], name: str) -> None:
    rope_compat.patch()
    function = getattr(releases.load(place[1]), name)
    cos, sin = tables()
    with pytest.raises(LayoutError, match=r"3 axes; expected 4, \(b, h, s, d\)"):
        function(sample(H, S, D), cos, sin, 0)
    with pytest.raises(LayoutError, match=r"expected a table of 2 axes.*Pass cos\[0\]"):
        function(sample(), cos[None], sin[None], 0)
    with pytest.raises(LayoutError, match=r"full width here: pass torch\.cat"):
        function(sample(), cos[:, : D // 2], sin[:, : D // 2], 0)
    with pytest.raises(HeadDimensionError, match="head_dim 15: an odd number of channels"):
        function(sample(B, H, S, 15), *tables(dim=16), 0)
    with pytest.raises(AssertionError):
        function(sample(B, H, S, 15), *tables(dim=16), 0)
    with pytest.raises(CallFormError, match="offset must be an int of at least 0"):
        function(sample(), cos, sin, offset="5")
    with pytest.raises(CallFormError, match="no form has these arguments"):
        function(sample(), cos, sin, position_ids=torch.arange(S))


def test_an_odd_head_dim_has_no_tables(place: tuple[str, str]) -> None:
    module = releases.load(place[1])
    with pytest.raises(AssertionError, match=r"^Embedding dimension must be even$"):
        module.compute_rope_params(15)
    rope_compat.patch()
    for function in (module.compute_rope_params, module.precompute_rope_params):
        with pytest.raises(HeadDimensionError, match="head_dim=15 is odd"):
            function(15)
        with pytest.raises(HeadDimensionError, match="head_dim=15 is odd"):
            function(head_dim=15, context_length=ROWS)


def test_the_dtype_of_the_result(place: tuple[str, str]) -> None:
    rope_compat.patch()
    module = releases.load(place[1])
    (cos, sin), x = tables(), sample(dtype=torch.bfloat16)
    own = native_call(place, module.apply_rope, x, cos, sin)
    assert own.dtype == (torch.float32 if kind(place) == "batched" else torch.bfloat16)
    # Code for the other forms relies on the dtype that they give.
    assert module.compute_rope(x, cos, sin).dtype == torch.bfloat16
    assert module.apply_rope(x, cos, sin, 5).dtype == torch.bfloat16
    assert module.apply_rope(x, cos, sin, torch.tensor([3, 11])).dtype == torch.float32


def test_the_same_bits_as_the_release_that_has_the_form(place: tuple[str, str]) -> None:
    (cos, sin), x, each = tables(), sample(dtype=torch.bfloat16), torch.tensor([3, 30])
    rope_compat.patch()
    found = releases.load(place[1]).apply_rope
    by_row, by_each = found(x, cos, sin, 5), found(x, cos, sin, each)
    rope_compat.unpatch()
    release = releases.RELEASES[-1]
    for name in [name for name in releases.sys.modules if name.startswith(releases.PACKAGE)]:
        del releases.sys.modules[name]
    releases.sys.path.insert(0, str(releases.home(release)))
    try:
        assert torch.equal(by_row, releases.load("kv_cache.qwen3").apply_rope(x, cos, sin, 5))
        assert torch.equal(by_each, releases.load("kv_cache_batched.qwen3").apply_rope(x, cos, sin, each))
    finally:
        releases.sys.path.remove(str(releases.home(release)))


def test_gradients_flow_through_every_form(place: tuple[str, str]) -> None:
    rope_compat.patch()
    apply_rope = releases.load(place[1]).apply_rope
    cos, sin = tables()
    for rest in (5, torch.tensor([3, 11])):
        x = sample().requires_grad_()
        apply_rope(x, cos, sin, rest).square().sum().backward()
        # A rotation keeps lengths: the gradient of the sum of squares is 2 x.
        torch.testing.assert_close(x.grad, 2 * x.detach(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("release", ["1.0.15"])
def test_the_release_that_begins_at_row_nine(release: str) -> None:
    with releases.installed(release):
        rope_compat.patch()
        with pytest.warns(rope_compat.SignatureDriftWarning, match=r"begins at row 9.*pass offset=0"):
            module = releases.load("kv_cache.llama3")
        cos, sin = tables()
        close(module.compute_rope(sample(), cos, sin), expected(sample()))
        close(module.apply_rope(sample(), cos, sin, 0), expected(sample()))
        rope_compat.unpatch()
        rope_compat.patch(strict=True, on_problem="ignore")
        with pytest.raises(LayoutError, match="begins at row 9 of the tables, others at 0: pass offset"):
            module.apply_rope(sample(), cos, sin)
        rope_compat.unpatch()


ABSENT = [
    (release, module)
    for release in releases.RELEASES
    for module in releases.APPLY_ROPE
    if releases.signature(module, release) is None
]


@pytest.mark.parametrize(("release", "module"), ABSENT)
def test_a_module_that_came_later(release: str, module: str) -> None:
    name = f"{releases.PACKAGE}.{module}"
    since = next(iter(releases.APPLY_ROPE[module]))
    with releases.installed(release):
        with pytest.raises(ModuleNotFoundError) as plain:
            releases.load(module)
        rope_compat.patch()
        if plain.value.name == name:
            with pytest.raises(
                RemovedModuleError, match=f"{release} has no module {name}: it came with {since}"
            ):
                releases.load(module)
        else:
            # kv_cache itself is not there yet.
            with pytest.raises(ModuleNotFoundError):
                releases.load(module)
        assert releases.importlib.util.find_spec("llms_from_scratch.nothing") is None
        rope_compat.unpatch()
