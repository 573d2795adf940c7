"""The optimiser: what is stepped as a matrix, how, and that it finds minima."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from emrdiff_cli.core.diffusion.muon import Muon, orthogonalised, split_parameters
from emrdiff_cli.core.network import BAFUNet


@pytest.mark.parametrize("shape", [(8, 8), (16, 72), (40, 12)])
def test_orthogonalised_has_singular_values_near_one_and_keeps_the_directions(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    result = orthogonalised(matrix)
    values = torch.linalg.svdvals(result)
    assert result.shape == matrix.shape
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    within = left.mT @ result @ right.mT
    torch.testing.assert_close(within, torch.diag(within.diag()), atol=1e-4, rtol=0)


def test_orthogonalised_does_not_depend_on_the_gradients_size() -> None:
    matrix = torch.randn((12, 30), generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(orthogonalised(1e-3 * matrix), orthogonalised(matrix), rtol=1e-3, atol=1e-3)


def test_split_leaves_grouped_and_output_convolutions_to_adam() -> None:
    network = BAFUNet(channels=9, width=8, levels=2)
    matrices, others = split_parameters(network, network.heads)
    ids = {id(p) for p in matrices}
    assert {id(p) for p in network.parameters()} == ids | {id(p) for p in others}
    assert len(matrices) + len(others) == len(list(network.parameters()))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            usual = module.groups == 1 and module.out_channels >= 8 and module not in network.heads
            assert (id(module.weight) in ids) == usual
            assert id(module.bias) not in ids


def test_it_finds_a_linear_map() -> None:
    draws = torch.Generator().manual_seed(3)
    truth = torch.randn((10, 6, 1, 1), generator=draws)
    layer = nn.Conv2d(6, 10, 1)
    assert layer.bias is not None
    optimizer = Muon([layer.weight], [layer.bias], lr=0.02)
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * (1 - step / 300)
        x = torch.randn((4, 6, 5, 5), generator=draws)
        loss = (layer(x) - nn.functional.conv2d(x, truth)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(layer.weight, truth, atol=0.02, rtol=0)


def test_a_parameter_without_gradient_stays() -> None:
    layer = nn.Conv2d(8, 8, 3)
    before = layer.weight.clone()
    assert layer.bias is not None
    Muon([layer.weight], [layer.bias], lr=0.1).step()
    assert torch.equal(layer.weight, before)
