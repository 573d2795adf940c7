"""Muon (Jordan et al. 2024): momentum whose matrix is made orthogonal before it is stepped along.

Convolution kernels (out, in, kh, kw) are matrices (out, in * kh * kw). What is not such a matrix (biases,
norms, grouped and output convolutions) is stepped by Adam (Kingma and Ba 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_MOMENTUM = 0.95
_ADAM = (0.9, 0.99)
_EPSILON = 1e-8
_MATRIX_RATE = 5.0  # an orthogonal step is larger in norm and of known size; in learning rates
_LEAST_ROWS = 8  # smaller matrices have little to gain
# Coefficients of the quintic Newton-Schulz iteration that brings singular values near 1 in five rounds.
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Steps `matrices` by orthogonalised Nesterov momentum, at five times the rate, and `others` by Adam."""

    def __init__(self, matrices: Iterable[Tensor], others: Iterable[Tensor], lr: float) -> None:
        groups = [
            {"params": list(matrices), "orthogonal": True},
            {"params": list(others), "orthogonal": False},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients; a closure is not supported."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            step = _orthogonal_step if group["orthogonal"] else _adam_step
            for parameter in group["params"]:
                if parameter.grad is not None:
                    step(parameter, self.state[parameter], group["lr"])


def split_parameters(network: nn.Module, outputs: Iterable[nn.Module]) -> tuple[list[Tensor], list[Tensor]]:
    """The kernels that are stepped as matrices, and all other parameters; `outputs` count among the others."""
    last = {id(module) for output in outputs for module in output.modules()}
    matrices = [
        module.weight
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
        and module.groups == 1
        and module.out_channels >= _LEAST_ROWS
        and id(module) not in last
    ]
    chosen = {id(weight) for weight in matrices}
    return list(matrices), [p for p in network.parameters() if id(p) not in chosen]


def orthogonalised(matrix: Tensor) -> Tensor:
    """The nearest matrix (n, m) with singular values near 1: between about 0.7 and 1.2."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm() + 1e-7)
    a, b, c = _NEWTON_SCHULZ
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if tall else x
    return result


def _orthogonal_step(parameter: Tensor, state: dict[str, Any], rate: float) -> None:
    gradient = _gradient(parameter)
    momentum = state.setdefault("momentum", torch.zeros_like(gradient))
    momentum.lerp_(gradient, 1 - _MOMENTUM)
    matrix = torch.lerp(gradient, momentum, _MOMENTUM).flatten(1)
    shape = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
    update = orthogonalised(matrix).view(parameter.shape)
    parameter.add_(update, alpha=-rate * _MATRIX_RATE * shape)


def _adam_step(parameter: Tensor, state: dict[str, Any], rate: float) -> None:
    gradient = _gradient(parameter)
    first = state.setdefault("first", torch.zeros_like(gradient))
    second = state.setdefault("second", torch.zeros_like(gradient))
    count = state["count"] = state.get("count", 0) + 1
    first.lerp_(gradient, 1 - _ADAM[0])
    second.lerp_(gradient.square(), 1 - _ADAM[1])
    mean, square = first / (1 - _ADAM[0] ** count), second / (1 - _ADAM[1] ** count)
    parameter.addcdiv_(mean, square.sqrt() + _EPSILON, value=-rate)


def _gradient(parameter: Tensor) -> Tensor:
    """The gradient, in plain layout so that it flattens to the same matrix wherever it was computed."""
    if parameter.grad is None:
        raise ValueError("a parameter without a gradient cannot be stepped")
    return parameter.grad.contiguous()
