"""The multimodal residual chain of EMR-Diff (CVPR 2026), with the schedule of ResShift (Yue et al. 2023).

X'_t = X'_0 + eta_t E_0 + kappa sqrt(eta_t) N*, with the residual E_0 = A_0 - X'_0 and noise N* = N x W.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor

ETA_LAST_ROOT = 0.999


def eta_schedule(steps: int, kappa: float, power: float = 0.3) -> tuple[float, ...]:
    """(eta_0 = 0, eta_1, ..., eta_T): sqrt(eta_t) = sqrt(eta_1) b^beta_t, beta_t = ((t-1)/(T-1))^p (T-1).

    sqrt(eta_1) = 0.001 / max(kappa, 1), sqrt(eta_T) = 0.999; a single step goes all the way.
    """
    if steps == 1:
        return (0.0, ETA_LAST_ROOT**2)
    first = 0.001 / max(kappa, 1.0)
    growth = math.log(ETA_LAST_ROOT / first) / (steps - 1)
    betas = ((t / (steps - 1)) ** power * (steps - 1) for t in range(steps))
    return (0.0, *((first * math.exp(growth * beta)) ** 2 for beta in betas))


def forward_marginal(
    x_0: Tensor, a_0: Tensor, eta: Tensor | float, kappa: float, edge_noise: Tensor
) -> Tensor:
    """X'_t given X'_0: X'_0 + eta_t (A_0 - X'_0) + kappa sqrt(eta_t) N*; `eta` broadcasts over the batch."""
    return x_0 + eta * (a_0 - x_0) + kappa * eta**0.5 * edge_noise


def sample(
    predict: Callable[[Tensor, int], Tensor],
    a_0: Tensor,
    etas: Sequence[float],
    kappa: float,
    edge_noise: Callable[[int], Tensor],
    watch: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Run the chain from A_0 + kappa sqrt(eta_T) N* down to the estimate of X'_0.

    `predict(x_t, t)` returns the estimate of X'_0, `edge_noise(t)` N* for the draw at step t (T: the start),
    `watch(t, estimate)` sees each step's estimate.
    """
    last = len(etas) - 1
    x_t = a_0 + kappa * math.sqrt(etas[last]) * edge_noise(last)
    for t in range(last, 0, -1):
        estimate = predict(x_t, t)
        if watch is not None:
            watch(t, estimate)
        if t == 1:
            break
        alpha = etas[t] - etas[t - 1]
        x_t = (etas[t - 1] / etas[t]) * x_t + (alpha / etas[t]) * estimate
        x_t = x_t + kappa * math.sqrt(etas[t - 1] / etas[t] * alpha) * edge_noise(t - 1)
    return estimate
