"""EMR-Diff as a model: the network, the chain it runs in and the state it sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.diffusion.chain import eta_schedule, sample
from emrdiff_cli.core.diffusion.conditioning import Calibration, Channels
from emrdiff_cli.core.diffusion.detail_filter import input_count
from emrdiff_cli.core.network import BAFUNet
from emrdiff_cli.core.subspace import Basis
from emrdiff_cli.core.tile_network import TileNetwork


class EMRDiff(nn.Module):
    """The network of a configuration and its sampler, in the chain's units (core.diffusion.conditioning)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.network = BAFUNet(config.channels, config.width or None, config.levels, config.guidance_channels)
        for name, shape in _calibration_shapes(config).items():
            self.register_buffer(name, torch.zeros(shape))

    def calibration(self) -> Calibration | None:
        """Calibration found on the training archive; None for a model that calibrates on each scene."""
        if self.config.calibration == "scene":
            return None
        arrays = {name: getattr(self, name).cpu().numpy() for name in _calibration_shapes(self.config)}
        basis = Basis(arrays.pop("mean"), arrays.pop("vectors"))
        return Calibration(basis, Channels(**arrays))

    def keep_calibration(self, calibration: Calibration) -> None:
        """Keep an archive's calibration with the weights."""
        arrays = {**vars(calibration.basis), **vars(calibration.channels)}
        for name in _calibration_shapes(self.config):
            getattr(self, name).copy_(torch.from_numpy(arrays[name]))

    def etas(self, steps: int | None = None) -> tuple[float, ...]:
        """The schedule of `steps` (default: the configuration's)."""
        return eta_schedule(steps or self.config.steps, self.config.kappa, self.config.power)

    def estimate_scales(
        self, x_t: Tensor, a_0: Tensor, guidance: Sequence[Tensor], t: Tensor, scales: int = 1
    ) -> list[Tensor]:
        """Estimates of X'_0 at 1, 1/2, ... from the state X'_t (N, C, H, W), both relative to the chain's end.

        In units `range` the network sees the state itself, end point and all, as the paper's does.
        """
        return self.network.predict_scales(x_t + a_0 if self._sees_absolute else x_t, guidance, t, scales)

    @property
    def _sees_absolute(self) -> bool:
        return self.config.units == "range" and self.config.residual != "none"

    def sample(
        self,
        a_0: Tensor,
        guidance: Tensor,
        edge_noise: Callable[[int], Tensor],
        steps: int | None = None,
        watch: Callable[[int, Tensor], None] | None = None,
        network: TileNetwork | None = None,
    ) -> Tensor:
        """Run the chain on tiles a_0 (N, C, H, W) and guidance (N, G, H, W); returns X'_0's estimate, relative.

        `network`: the model's own, prepared for this; None: the model's as it is.
        """
        denoise = (network or self.network).denoiser(guidance)

        def predict(x_t: Tensor, t: int) -> Tensor:
            when = torch.full((len(x_t),), t, device=x_t.device)
            return denoise(x_t + a_0 if self._sees_absolute else x_t, when)

        return sample(predict, torch.zeros_like(a_0), self.etas(steps), self.config.kappa, edge_noise, watch)


def _calibration_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays of a Calibration that is kept with the weights."""
    if config.calibration == "scene":
        return {}
    bands, k, m = config.hsi_bands, config.hsi_channels, config.msi_bands
    inputs = input_count(config.detail_filter, config.lateral_colour)
    return {
        **({"detail_filter": (k, 1 + m, inputs)} if config.detail_filter else {}),
        "mean": (bands,),
        "vectors": (bands, k),
        "hsi_shift": (k,),
        "hsi_scale": (k,),
        "msi_shift": (m,),
        "msi_scale": (m,),
        "pseudo_map": (m, k),
        "pseudo_offset": (m,),
        "unit": (config.channels,),
        "unexplained_rms": (k,),
    }


def channels_last(model: EMRDiff) -> EMRDiff:
    """The model with its weights laid out channels last, in which convolutions and norms run fastest."""
    # torch's stubs leave memory_format out of Module.to.
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
