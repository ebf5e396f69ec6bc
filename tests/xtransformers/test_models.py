"""x-transformers' own models with rotary embeddings, plain and xPos, with and without patch()."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from support import xt
from torch import Tensor

import rope_compat

pytestmark = xt.present

TOKENS = torch.arange(21).reshape(3, 7) % 20
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def decoder(xpos: bool, heads: int = 2, seed: int = 0) -> Any:
    from x_transformers import Decoder

    torch.manual_seed(seed)
    return Decoder(dim=32, depth=1, heads=heads, rotary_pos_emb=True, rotary_xpos=xpos).eval()


def model(xpos: bool) -> Any:
    from x_transformers import TransformerWrapper

    layers = decoder(xpos)
    torch.manual_seed(1)
    return TransformerWrapper(num_tokens=20, max_seq_len=32, attn_layers=layers).eval()


def takes(method: Callable[..., Any], name: str) -> bool:
    return name in inspect.signature(method).parameters


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def check_forward(xpos: bool) -> None:
    """The logits of a sample do not depend on the others, nor those of a token on later ones."""
    net = model(xpos)
    together = net(TOKENS)
    torch.testing.assert_close(together, torch.cat([net(row[None]) for row in TOKENS]), **CLOSE)
    if not xpos or xt.between("1.20.0"):
        # To 1.19.1 values are rotated and scaled as well, around the middle of the text.
        torch.testing.assert_close(together[:, :4], net(TOKENS[:, :4]), **CLOSE)


def check_cache(xpos: bool) -> None:
    """Two tokens with a cache give what they give without."""
    net = model(xpos)
    whole = net(TOKENS)
    _, cache = net(TOKENS[:, :5], return_intermediates=True)
    sixth, cache = net(TOKENS[:, :6], cache=cache, return_intermediates=True)
    torch.testing.assert_close(sixth[:, -1], whole[:, 5], **CLOSE)
    torch.testing.assert_close(net(TOKENS, cache=cache)[:, -1], whole[:, 6], **CLOSE)


def check_batched_positions(xpos: bool, heads: int = 2) -> None:
    """Positions [b, n]: each sample as if it were alone with its own, whether or not these are in a row."""
    net, x = decoder(xpos, heads), torch.randn(3, 7, 32, generator=torch.Generator().manual_seed(2))
    rows = torch.tensor([[0, 1, 2, 3, 4, 5, 6], [3, 4, 5, 6, 7, 8, 9], [0, 2, 4, 6, 8, 10, 12]])
    together = net(x, pos=rows)
    alone = torch.cat([net(x[i : i + 1], pos=rows[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, **CLOSE)
    # Attention is a function of the distance: positions moved as a whole change nothing.
    torch.testing.assert_close(together[:2], net(x[:2]), **CLOSE)
    assert (together[2] - net(x[2:])[0]).abs().max() > 1e-3


def check_left_padding(xpos: bool) -> None:
    """Samples that start later run, each the same as alone. To 1.22.15 masks spoil it without RoPE too."""
    net, starts = model(xpos), torch.tensor([0, 1, 2])
    padded = net(TOKENS, seq_start_pos=starts)
    if xt.between("1.22.16"):
        torch.testing.assert_close(padded[2:, 2:], net(TOKENS[2:, 2:]), **CLOSE)


HAS_CACHE = xt.between("1.21.0")
HAS_POSITIONS = xt.between("1.42.7")
HAS_STARTS = xt.between("1.22.8")
BROKEN = xt.between("1.27.12", "1.27.12")
BROKEN_XPOS = BROKEN or xt.between("1.25.4", "1.27.5") or xt.between("1.42.21", "1.43.1")


@pytest.mark.parametrize("patched", [False, True], ids=["before", "now"])
@pytest.mark.parametrize("xpos", [False, True], ids=["plain", "xpos"])
@pytest.mark.parametrize(
    ("check", "exists", "broken", "broken_xpos"),
    [
        (check_forward, True, BROKEN, BROKEN_XPOS),
        (check_cache, HAS_CACHE, BROKEN, BROKEN_XPOS or xt.between("1.21.0", "1.27.11")),
        (
            check_batched_positions,
            HAS_POSITIONS,
            not xt.BATCHED,
            not xt.BATCHED or BROKEN_XPOS or xt.between("1.43.2", "2.11.11"),
        ),
        (
            check_left_padding,
            HAS_STARTS,
            BROKEN or xt.between("1.22.8", "1.22.9"),
            BROKEN_XPOS or xt.between("1.22.8", "1.22.9"),
        ),
    ],
    ids=["forward", "cache", "positions", "padding"],
)
def test_models(
    check: Callable[[bool], None], exists: bool, broken: bool, broken_xpos: bool, xpos: bool, patched: bool
) -> None:
    if not exists:
        return
    fails = (broken_xpos if xpos else broken) and not patched
    with rope_compat.patched() if patched else nullcontext():
        if fails:
            with pytest.raises((RuntimeError, NameError, AttributeError, ValueError)):
                check(xpos)
        else:
            check(xpos)


def test_each_sample_has_its_own_scale_where_there_are_as_many_heads() -> None:
    """1.42.21 to 2.11.11 give no error then, and the scale of another sample."""
    if not HAS_POSITIONS:
        return
    with rope_compat.patched():
        check_batched_positions(True, heads=3)
    if xt.between("1.43.2", "2.11.11"):
        with pytest.raises(AssertionError, match="not close"):
            check_batched_positions(True, heads=3)


def test_capabilities_are_those_of_the_release() -> None:
    net = model(False)
    assert takes(net.forward, "cache") == HAS_CACHE
    assert takes(net.forward, "seq_start_pos") == HAS_STARTS
    assert takes(decoder(False).forward, "pos") == HAS_POSITIONS


def test_queries_and_keys_of_xpos_depend_on_the_distance_alone() -> None:
    with rope_compat.patched():
        module, rotary = xt.home(), xt.home().RotaryEmbedding(8, use_xpos=True)

        def scores(positions: Tensor) -> Tensor:
            freqs, scale = rotary(positions)
            q, k = (torch.randn(1, 1, 1, 8, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
            q, k = q.expand(1, 1, len(positions), 8), k.expand(1, 1, len(positions), 8)
            turned_q = module.apply_rotary_pos_emb(q, freqs, scale)
            turned_k = module.apply_rotary_pos_emb(k, freqs, scale**-1)
            return turned_q @ turned_k.transpose(-1, -2)

        near = scores(torch.arange(6))
        torch.testing.assert_close(near, scores(torch.arange(6) + 40), rtol=1e-4, atol=1e-5)
        for distance in range(1, 5):
            diagonal = near[0, 0].diagonal(-distance)
            torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-5)
