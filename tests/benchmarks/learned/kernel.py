"""A learned kernel: a network moves pixels in the space of colours before kriging's kernel compares them.

It is shown the MSI's leading colours, and answers for each pixel with displacements along the same axes, with
coordinates of its own, in length scales both, and with the logarithm of a factor of the kernel's amplitude. Where
it answers 0 the kernel is kriging's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emrdiff_cli.core.methods.colour_kernel import ColourKernel, degraded_features, sampled
from emrdiff_cli.core.methods.detail_injection import DetailInjection
from emrdiff_cli.core.methods.end_point import SceneToFit
from emrdiff_cli.core.methods.kriged_detail import PreparedKriging, injected
from emrdiff_cli.core.methods.kriging import GaussianProcess, predictor
from emrdiff_cli.core.methods.msi_agreement import MsiAgreement
from emrdiff_cli.core.sensor.observation import Strip
from tests.benchmarks.learned.kriged_scene import AXES, SEEN, KrigedScene
from tests.benchmarks.learned.residual import WIDTH, convolution

Floats = NDArray[np.floating[Any]]
Field = NDArray[np.float32]

OWN = 4  # coordinates of the network's own
ANSWERS = AXES + OWN + 1
_DILATIONS = (1, 2, 4, 1)
_AT_FIRST = 0.05  # weights of its own coordinates, which nothing would pull from 0


class ColourWarp(nn.Module):
    """(1, SEEN, H, W) -> (1, ANSWERS, H, W): small coordinates of its own at first, and zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.first = convolution(SEEN)
        self.blocks = nn.ModuleList(convolution(WIDTH, dilation) for dilation in _DILATIONS)
        self.last = nn.Conv2d(WIDTH, ANSWERS, 1, bias=False)
        nn.init.zeros_(self.last.weight)
        nn.init.normal_(self.last.weight[AXES : AXES + OWN], std=_AT_FIRST)

    def forward(self, seen: Tensor) -> Tensor:
        """The answers."""
        hidden = self.first(seen)
        for block in self.blocks:
            hidden = hidden + block(nn.functional.silu(hidden))
        answer: Tensor = self.last(nn.functional.silu(hidden))
        return answer


def leading(kernel: ColourKernel) -> tuple[NDArray[np.intp], Field]:
    """Rows (a,) of a kernel's places along the leading axes, widest first, and the signs (a,) they are shown by.

    As in `seen_colours`.
    """
    bands = len(kernel.axes) // 2
    rows = np.arange(bands)[::-1][:AXES]
    return rows, np.where(kernel.axes[rows, :bands].sum(axis=1) < 0, -1, 1).astype(np.float32)


@dataclass(frozen=True)
class LearnedKernel(ColourKernel):
    """A colour kernel of pixels that have the network's answers behind their bands (m + ANSWERS, ...).

    Their neighbourhoods have as many bands, of which the last count for nothing.
    """

    @classmethod
    def like(cls, kernel: ColourKernel) -> LearnedKernel:
        """With a kernel's axes; its landmarks have yet to be found."""
        if kernel.neighbourhood_share != 1:
            raise ValueError("the kernel has a part of the pixel's own colour alone, in which none moves")
        return cls(**{field.name: getattr(kernel, field.name) for field in fields(ColourKernel)})

    def places(self, pixels: Floats, around: Floats) -> Field:
        """See `ColourKernel`: (2 m + OWN, N)."""
        bands = len(self.axes) // 2
        answers, places = pixels[bands:], super().places(pixels[:bands], around[:bands])
        rows, signs = leading(self)
        places[rows] += signs[:, None] * answers[: len(rows)]
        return np.asarray(np.concatenate([places, answers[AXES : AXES + OWN]]), np.float32)

    def brightness_factor(self, msi: Floats) -> Field:
        """See `ColourKernel`."""
        factor = super().brightness_factor(msi[: len(self.axes) // 2])
        return np.asarray(factor * np.exp(msi[-1]), np.float32)


@dataclass(frozen=True)
class LearnedKriging:
    """A scene's kriging by a learned kernel: all of it with ANSWERS more bands in the MSI, of which no slopes are.

    `msi` (m + ANSWERS, H, W); `field`, the residual's process.
    """

    prepared: PreparedKriging
    scene: SceneToFit
    msi: Field
    agreement: MsiAgreement | None
    field: GaussianProcess

    @classmethod
    def of(cls, kriged: KrigedScene, net: nn.Module, strength: float = 1.0) -> LearnedKriging:
        """Of a scene, by so much of a network's answers."""
        own, scene = kriged.prepared, kriged.scene
        with torch.no_grad():
            answer: Tensor = net(torch.from_numpy(kriged.seen)[None])[0]
        answers = np.float32(strength) * answer.numpy()

        def strips() -> Iterator[Strip]:
            for top, values, valid in scene.strips():
                yield Strip(top, np.concatenate([values, answers[:, top : top + len(valid)]]), valid)

        joined = replace(scene, strips=strips)
        near = _with_none(own.neighbourhood)
        kernel = LearnedKernel.like(own.kernel)
        kernel = kernel.covering(*sampled(joined.strips_to_learn_from, near, scene.resampling))
        features = degraded_features(kernel, near, strips, scene.resampling, scene.large)
        data = replace(own.data, features=features, whitening=kernel.whitening())
        return cls(
            prepared=replace(own, data=data, kernel=kernel, neighbourhood=near),
            scene=joined,
            msi=np.concatenate([kriged.msi, answers]),
            agreement=kriged.agreement,
            field=GaussianProcess.likeliest(data, scene.covariance),
        )

    def mean(self) -> Field:
        """The posterior's mean (k, H, W), back-projected and in agreement with the MSI."""
        return self.injected().tile(self.msi, *self.scene.resampling.up).values

    def injected(self) -> DetailInjection:
        """The fit, to be given the joined MSI."""
        agreement, injection = self.agreement, self.prepared.injection
        kriged = predictor(self.field, kept=None if agreement is None else agreement.kept)
        injection = injection if agreement is None else agreement.applied(injection)
        injection = replace(injection, msi=_with_none(injection.msi), slopes=_with_none(injection.slopes.T).T)
        kriged = kriged._replace(slopes=_with_none(kriged.slopes.swapaxes(0, 1)).swapaxes(0, 1))
        return injected(replace(self.prepared, injection=injection), kriged, self.scene)


def _with_none(bands: Field) -> Field:
    """Values (m, ...) of an MSI's bands with zeros for the answers."""
    return np.concatenate([bands, np.zeros((ANSWERS, *bands.shape[1:]), np.float32)])
