"""The network as the sampler runs it against the network as it is trained."""

from __future__ import annotations

import pytest
import torch

from emrdiff_cli.core import convolution
from emrdiff_cli.core.network import BAFUNet
from emrdiff_cli.core.tile_network import TileNetwork

SHAPES = [
    # channels, width, levels, guidance channels, side
    (6, None, 3, None, 8),
    (5, 8, 2, 9, 6),
    (4, 3, 1, 4, 5),
    (34, None, 3, 64, 32),
]


def random_network(channels: int, width: int | None, levels: int, seen: int | None, settled: bool) -> BAFUNet:
    torch.manual_seed(0)
    network = BAFUNet(channels, width, levels, seen).requires_grad_(False)
    for name, parameter in network.named_parameters():
        if "norm" in name or name.startswith("heads"):
            parameter.add_(0.3 * torch.randn_like(parameter))
    if settled:
        network.allot_averages()
        for block in network.gated_blocks():
            block.averages = torch.rand(1, block.gate.in_channels, 1, 1)
    return network


@pytest.mark.parametrize(("channels", "width", "levels", "seen", "side"), SHAPES)
@pytest.mark.parametrize("settled", [True, False], ids=["settled", "by the tile"])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])
def test_the_network_is_the_same_function(
    channels: int,
    width: int | None,
    levels: int,
    seen: int | None,
    side: int,
    settled: bool,
    fused: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not fused:
        monkeypatch.setattr(convolution, "_has_fused", lambda: False)
    network = random_network(channels, width, levels, seen, settled)
    x_t, observed = torch.randn(2, channels, side, side), torch.randn(2, seen or channels, side, side)
    t = torch.tensor([2, 5])
    expected = network(x_t, observed, t)
    got = TileNetwork(network).denoiser(observed)(x_t, t)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    rounded = TileNetwork(network, torch.bfloat16).denoiser(observed)(x_t, t)
    assert rounded.dtype == torch.float32
    error = (rounded - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert 0 < error < 0.02  # steps of bfloat16 are 0.8 % wide


def test_the_number_of_threads_changes_no_bit() -> None:
    network = random_network(34, None, 3, 64, True)
    x_t, observed, t = torch.randn(1, 34, 64, 64), torch.randn(1, 64, 64, 64), torch.tensor([3])
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            for dtype in (torch.float32, torch.bfloat16):
                found.append(TileNetwork(network, dtype).denoiser(observed)(x_t, t))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[3])
