"""Order of a model's bands in the pair's files: each is found by its wavelength, and put back in the output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emrdiff_cli import zoo
from emrdiff_cli.config import ModelConfig
from emrdiff_cli.core.band_matching import Positions, by_rank
from emrdiff_cli.core.diffusion.conditioning import Calibration
from emrdiff_cli.core.sensor.coverage import Coverage
from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.subspace import Basis
from emrdiff_cli.raster_info import Bands, RasterInfo

_FAR_NM = 50.0  # from the model's centres, on average, where the order may be another
_CLEARLY = 0.5  # of that distance is left in the right order


@dataclass(frozen=True)
class BandOrder:
    """Positions (0-based) in the pair's files of a model's HSI and MSI bands; None: in the files' order."""

    hsi: Positions | None = None
    msi: Positions | None = None

    @classmethod
    def of(cls, config: ModelConfig, lr: RasterInfo, msi: RasterInfo) -> BandOrder:
        """The order of a pair, by its wavelengths. Raises ModelError where its bands are not the model's."""
        return cls(zoo.hsi_order(config, lr), zoo.msi_order(config, msi))

    def among(self, kept: NDArray[np.intp]) -> BandOrder:
        """The same with no HSI bands but those at the ascending positions `kept`, which are counted anew."""
        if self.hsi is None:
            return self
        return replace(self, hsi=np.searchsorted(kept, self.hsi[np.isin(self.hsi, kept)]))

    def of_hsi(self, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Flags of the HSI's bands in the model's order."""
        return usable if self.hsi is None else usable[self.hsi]

    def of_scene(self, scene: LrScene) -> LrScene:
        """The scene with its bands in the model's order."""
        if self.hsi is not None:
            scene = replace(scene, hsi=scene.hsi[self.hsi])
        return scene if self.msi is None else replace(scene, msi=scene.msi[self.msi])

    def in_files(self, calibration: Calibration) -> Calibration:
        """A calibration in the model's order, for HSI bands, and an MSI to be put in order, of the files."""
        basis, channels = calibration.basis, calibration.channels
        if self.hsi is not None:
            mean, vectors = np.empty_like(basis.mean), np.empty_like(basis.vectors)
            mean[self.hsi], vectors[self.hsi] = basis.mean, basis.vectors
            basis = Basis(mean, vectors)
        return Calibration(basis, replace(channels, msi_order=self.msi))

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user where an order is another."""
        there = {"LR-HSI": self.hsi, "HR-MSI": self.msi}
        return tuple(
            f"the {name}'s bands stand in another order than the model's: they were matched by wavelength"
            for name, positions in there.items()
            if positions is not None
        )


def order_concerns(config: ModelConfig, seen: Coverage, hsi: Bands, msi: Bands) -> list[str]:
    """One line where an MSI without wavelengths responds, by the pair, as the model's in another order would."""
    at, model = hsi.wavelengths_nm, config.msi_centres_nm
    if msi.wavelengths_nm is not None or at is None or not model:
        return []
    under = [[at[band - 1] for band in covered.hsi_bands] for covered in seen.msi_bands]
    if not all(under):
        return []
    centres = [float(np.mean(wavelengths)) for wavelengths in under]
    order = by_rank(model, centres)
    as_it_is, in_order = _distance(model, centres), _distance(model, [centres[i] for i in order])
    if as_it_is <= _FAR_NM or in_order > _CLEARLY * as_it_is:
        return []
    found, wanted = (", ".join(f"{nm:.0f}" for nm in list_nm) for list_nm in (centres, model))
    bands = ", ".join(str(position + 1) for position in order)
    return [
        f"the HR-MSI's bands seem to stand in another order than the model's: at LR they respond near {found} nm, "
        f"the model's lie at {wanted} nm: write the wavelengths into the file, or its bands in the order {bands}"
    ]


def _distance(model: Sequence[float], centres: Sequence[float]) -> float:
    return float(np.abs(np.subtract(model, centres)).mean())
