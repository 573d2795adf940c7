"""EMR-Diff as a model: the network, the chain it runs in and the state it sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.diffusion import eta_schedule, sample
from emrdiff_cli.core.network import BAFUNet


class EMRDiff(nn.Module):
    """The network of a configuration and its sampler, in the chain's units (core.conditioning)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.network = BAFUNet(config.channels, config.width or None, config.levels, config.guidance_channels)

    def etas(self, steps: int | None = None) -> tuple[float, ...]:
        """The schedule of `steps` (default: the configuration's)."""
        return eta_schedule(steps or self.config.steps, self.config.kappa, self.config.power)

    def estimate_scales(
        self, x_t: Tensor, a_0: Tensor, guidance: Sequence[Tensor], t: Tensor, scales: int = 1
    ) -> list[Tensor]:
        """Estimates of X'_0 at 1, 1/2, ... from the state X'_t (N, C, H, W), both relative to the chain's end.

        In units `range` the network sees the state itself, end point and all, as the paper's does.
        """
        absolute = self.config.units == "range" and self.config.residual != "none"
        return self.network.predict_scales(x_t + a_0 if absolute else x_t, guidance, t, scales)

    def sample(
        self,
        a_0: Tensor,
        guidance: Tensor,
        edge_noise: Callable[[int], Tensor],
        steps: int | None = None,
        watch: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """Run the chain on tiles a_0 (N, C, H, W) and guidance (N, G, H, W); returns X'_0's estimate, relative."""
        seen = self.network.guide(guidance)

        def predict(x_t: Tensor, t: int) -> Tensor:
            when = torch.full((len(x_t),), t, device=x_t.device)
            return self.estimate_scales(x_t, a_0, seen, when)[0]

        return sample(predict, torch.zeros_like(a_0), self.etas(steps), self.config.kappa, edge_noise, watch)


def channels_last(model: EMRDiff) -> EMRDiff:
    """The model with its weights laid out channels last, in which convolutions and norms run fastest."""
    # torch's stubs leave memory_format out of Module.to.
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Replicate the lower and right edges of (N, C, H, W) up to sides that are multiples."""
    bottom, right = (-image.shape[-2]) % multiple, (-image.shape[-1]) % multiple
    if not bottom and not right:
        return image
    return functional.pad(image, (0, right, 0, bottom), mode="replicate")
