"""Whether the type that an output is stored in holds the LR-HSI's values, told before any work."""

from __future__ import annotations

import numpy as np

from emrdiff_cli.errors import UsageError
from emrdiff_cli.fusion.options import FusionOptions
from emrdiff_cli.pair.pair import PairReader
from emrdiff_cli.raster.spec import RasterSpec

_CLIPPED = 0.01  # share of the LR-HSI's values beyond the type's range that is refused without `clip`
_ROUNDED = 0.1  # rms of the rounding, as a share of the values' standard deviation


def refuse_small_type(pair: PairReader, spec: RasterSpec, options: FusionOptions) -> None:
    """Raise UsageError where a type other than the LR-HSI's cuts off, or rounds away, what it holds.

    Without `options.clip`, no more than 1 % of the valid values of good bands may lie beyond the type's range; the
    error of rounding must be less than a tenth of their spread.
    """
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f" or spec.dtype == pair.lr_info.dtype:
        return
    good = np.setdiff1d(np.arange(pair.lr_info.bands.count), pair.lr_info.bands.bad)
    values = pair.read_lr()[good]
    stored = (values[np.isfinite(values)].astype(np.float64) - spec.offset) / spec.scale
    if not stored.size:
        return
    limits = np.iinfo(dtype)
    clipped = float(((np.rint(stored) < limits.min) | (np.rint(stored) > limits.max)).mean())
    ways = "give another --dtype (float32 holds all), or record a scale in the LR-HSI"
    if clipped > _CLIPPED and not options.clip:
        raise UsageError(
            f"--dtype {spec.dtype}: {clipped:.1%} of the LR-HSI's values lie beyond {limits.min} to {limits.max}, "
            f"at most {_CLIPPED:.0%} may: {ways}, or give --clip to have them cut off"
        )
    rounding = float(np.sqrt(np.square(stored - np.rint(stored)).mean()))
    if rounding > _ROUNDED * float(stored.std()) and rounding > 0:
        raise UsageError(
            f"--dtype {spec.dtype}: rounding to whole numbers changes the LR-HSI's values by {rounding:.2g}, their "
            f"standard deviation is {stored.std():.2g}: {ways}"
        )
