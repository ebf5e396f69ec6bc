"""The attention masks that were written anew, against those of transformers where it has them."""

from __future__ import annotations

import importlib
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from packaging.version import Version
from support.installed import RELEASE, has_module
from support.lanes import CONTRACT
from torch import Tensor

from rope_compat._adapters.removed_names import attention_masks as ours
from rope_compat._adapters.removed_names import restored

# Up to 4.41 a sliding window was two tokens narrower, and rows that see nothing were opened another way.
NATIVE = "transformers.modeling_attn_mask_utils"
AS_AT_LAST = Version(RELEASE) >= Version("4.48.0") and has_module(NATIVE)
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SHAPES = [(1, 1, 0), (2, 1, 6), (2, 5, 0), (3, 4, 3)]
WINDOWS = [None, 1, 3, 40]
DTYPES = [torch.float32, torch.bfloat16]


def masks(batch: int, keys: int) -> Iterator[Tensor | None]:
    yield None
    yield torch.ones(batch, keys, dtype=torch.long)
    padded = torch.ones(batch, keys, dtype=torch.long)
    padded[0, : keys // 2] = 0
    yield padded
    yield padded.bool()


def outcome(function: Any, *args: Any, **kwargs: Any) -> object:
    try:
        return function(*args, **kwargs)
    except (ValueError, NotImplementedError, RuntimeError) as error:
        return type(error)


def assert_same(mine: object, theirs: object) -> None:
    assert type(mine) is type(theirs)
    if isinstance(theirs, Tensor):
        assert isinstance(mine, Tensor)
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine, theirs)
    else:
        assert mine == theirs


@pytest.mark.only(AS_AT_LAST, reason="the release has them as they were at last")
@pytest.mark.parametrize(
    "name", ["_prepare_4d_causal_attention_mask", "_prepare_4d_causal_attention_mask_for_sdpa"]
)
def test_causal_masks(name: str) -> None:
    theirs, mine = getattr(importlib.import_module(NATIVE), name), getattr(ours, name)
    for (batch, queries, past), window, dtype in itertools.product(SHAPES, WINDOWS, DTYPES):
        embeds = torch.zeros(batch, queries, 8, dtype=dtype)
        four = torch.randint(0, 2, (batch, 1, queries, queries + past), generator=torch.manual_seed(0))
        for mask in (*masks(batch, queries + past), four.float(), four[..., :-1]):
            call = (mask, (batch, queries), embeds, past, window)
            assert_same(outcome(mine, *call), outcome(theirs, *call))


@pytest.mark.only(AS_AT_LAST, reason="the release has them as they were at last")
@pytest.mark.parametrize("name", ["_prepare_4d_attention_mask", "_prepare_4d_attention_mask_for_sdpa"])
def test_masks_that_are_not_causal(name: str) -> None:
    theirs, mine = getattr(importlib.import_module(NATIVE), name), getattr(ours, name)
    for dtype, length in itertools.product(DTYPES, (None, 3)):
        for mask in masks(2, 6):
            if mask is not None:
                assert_same(outcome(mine, mask, dtype, length), outcome(theirs, mask, dtype, tgt_len=length))


@pytest.mark.only(AS_AT_LAST, reason="the release has it as it was at last")
def test_the_converter() -> None:
    native = importlib.import_module(NATIVE)
    for causal, window, (batch, queries, past) in itertools.product((True, False), WINDOWS, SHAPES):
        keys = queries + past
        theirs = native.AttentionMaskConverter(causal, sliding_window=window)
        mine = ours.AttentionMaskConverter(causal, sliding_window=window)
        call = (batch, queries, keys, torch.float32)
        assert_same(outcome(mine.to_causal_4d, *call), outcome(theirs.to_causal_4d, *call))
        for mask in filter(lambda each: each is not None, masks(batch, keys)):
            for length in (keys, None):
                call_4d = (mask, queries, torch.float32, length)
                assert_same(outcome(mine.to_4d, *call_4d), outcome(theirs.to_4d, *call_4d))
        full = native.AttentionMaskConverter._make_causal_mask(
            (batch, queries), torch.float32, "cpu", past, window
        )
        assert_same(mine._make_causal_mask((batch, queries), torch.float32, "cpu", past, window), full)
        lowest = torch.finfo(torch.float32).min
        assert_same(mine._unmask_unattended(full, lowest), theirs._unmask_unattended(full, lowest))
        shape = ((batch, queries), torch.float32, torch.device("cpu"), past, window)
        assert_same(
            ours._create_4d_causal_attention_mask(*shape), native._create_4d_causal_attention_mask(*shape)
        )
    with pytest.raises(ValueError, match="positive"):
        ours.AttentionMaskConverter(True, 0)


def test_a_mask_by_hand() -> None:
    low = torch.finfo(torch.float32).min
    mask = torch.tensor([[0, 1, 1]])
    found = ours.AttentionMaskConverter(True).to_4d(mask, 3, torch.float32, key_value_length=3)
    assert found.tolist() == [[[[low, low, low], [low, 0, low], [low, 0, 0]]]]
    slid = ours.AttentionMaskConverter(True, 1).to_causal_4d(1, 3, 3, torch.float32)
    assert slid is not None
    assert slid.tolist() == [[[[0, low, low], [0, 0, low], [low, 0, 0]]]]


@pytest.mark.parametrize(("queries", "start"), [(4, 0), (1, 5), (3, 2)])
def test_a_mask_over_a_cache_of_fixed_length(queries: int, start: int) -> None:
    """By what it says: a query sees the positions up to its own that are not padding."""
    low = torch.finfo(torch.float32).min
    padding = torch.ones(2, 6, dtype=torch.long)
    padding[1, :2] = 0
    position = torch.arange(start, start + queries)
    found = ours._prepare_4d_causal_attention_mask_with_cache_position(
        padding, queries, 8, torch.float32, torch.device("cpu"), low, position, 2
    )
    for batch, query, key in itertools.product(range(2), range(queries), range(8)):
        sees = key <= start + query and (key >= 6 or padding[batch, key] == 1)
        assert found[batch, 0, query, key] == (0 if sees else low)
    assert ours._prepare_4d_causal_attention_mask_with_cache_position(
        found, queries, 8, torch.float32, torch.device("cpu"), low, position, 2
    ) is found  # fmt: skip


@pytest.mark.lane(CONTRACT)
@pytest.mark.only(
    Version("4.45.0") > Version(RELEASE) >= Version("4.44.0"),
    reason="Llama's module has the function in 4.44",
)
def test_a_mask_over_a_cache_as_it_was() -> None:
    llama = importlib.import_module("transformers.models.llama.modeling_llama")
    name = "_prepare_4d_causal_attention_mask_with_cache_position"
    low = torch.finfo(torch.float32).min
    for queries, start in ((4, 0), (1, 5), (3, 2)):
        for mask in masks(2, 6):
            # A boolean mask cannot be added there.
            if mask is None or mask.dtype != torch.bool:
                call = (
                    mask,
                    queries,
                    8,
                    torch.float32,
                    torch.device("cpu"),
                    low,
                    torch.arange(start, start + queries),
                    2,
                )
                assert_same(getattr(ours, name)(*call), getattr(llama, name)(*call))


def test_masks_compile_in_one_graph() -> None:
    def compute(embeds: Tensor, mask: Tensor) -> Tensor | None:
        return ours._prepare_4d_causal_attention_mask_for_sdpa(mask, (2, 5), embeds, 0)

    embeds, mask = torch.zeros(2, 5, 8), torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(compute, backend="eager", fullgraph=True)(embeds, mask)
    expected = compute(embeds, mask)
    assert compiled is not None
    assert expected is not None
    assert torch.equal(compiled, expected)


@pytest.mark.only(Version(RELEASE) < Version("5.0.0"), reason="the release prunes heads")
def test_pruning_as_it_was() -> None:
    native = importlib.import_module("transformers.pytorch_utils")
    for heads, pruned in (([0, 2], set()), ([1, 3], {0}), ([3], {1, 2}), ([1], {1})):
        mine = restored.find_pruneable_heads_and_indices(heads, 4, 3, set(pruned))
        theirs = native.find_pruneable_heads_and_indices(heads, 4, 3, set(pruned))
        assert mine[0] == theirs[0]
        assert torch.equal(mine[1], theirs[1])
    layers = (torch.nn.Linear(6, 4), native.Conv1D(6, 4))
    for layer, dim in itertools.product(layers, (None, 0, 1)):
        index = torch.tensor([0, 2, 3])
        mine, theirs = restored.prune_layer(layer, index, dim), native.prune_layer(layer, index, dim)
        assert type(mine) is type(theirs)
        assert torch.equal(mine.weight, theirs.weight)
        assert torch.equal(mine.bias, theirs.bias)
        assert mine.weight.requires_grad
