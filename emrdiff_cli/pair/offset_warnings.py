"""Offsets of an MSI over its LR-HSI in words, with what becomes of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from emrdiff_cli.core.sensor.observation import LrScene
from emrdiff_cli.core.sensor.offsets import common_offset, find_offsets, lines_beside, nearest_bands
from emrdiff_cli.core.sensor.radiometry import BandRadiometry
from emrdiff_cli.pair.pair import PairReader


def offset_warnings(
    pair: PairReader, scene: LrScene, dead: Collection[int], lines: Sequence[BandRadiometry]
) -> list[str]:
    """One line where bands of the MSI have large offsets over the LR-HSI.

    `scene` at LR has the LR-HSI's bands but bad ones; `dead` ones (0-based) hold nothing. `lines`: the MSI's bands
    under a known response; without, each is held against the LR-HSI's band beside it, which tells an offset that is
    common to all alone.
    """
    name = pair.msi_info.path.name
    bad = pair.lr_info.bands.bad
    good = [band for band in range(pair.lr_info.bands.count) if band not in bad]
    alive = np.array([band not in dead for band in good])
    if not (scene.valid.any() and alive.any()):
        return []
    hsi, msi = pair.lr_info.bands.take(good), pair.msi_info.bands
    beside = nearest_bands(scene, alive, hsi.wavelengths_nm, msi.wavelengths_nm)
    found = find_offsets(scene, lines or lines_beside(scene, beside))
    if found.common:
        done = (
            "`fuse` takes it off before a model sees it"
            if common_offset(scene, beside)
            else "`fuse` does not take it off: where a model is used, correct the raster, or record it in the file"
        )
        return [f"all bands of {name} have an offset of {found.common:+g} over the LR-HSI: {done}"]
    if found.apart and lines:
        listed = ", ".join(f"band {band} {offset:+.3g}" for band, offset in found.apart)
        return [
            f"bands of {name} have offsets over the LR-HSI, each its own ({listed}): they are left as they are; "
            "one of the two may not be corrected for the atmosphere"
        ]
    return []
