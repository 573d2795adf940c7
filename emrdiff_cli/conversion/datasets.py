"""The data sets of the field's papers: how their files are told, turned and given wavelengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from emrdiff_cli.core.sensor.orientation import AS_STORED, ORIENTATIONS, Orientation
from emrdiff_cli.raster.matlab import Variable

DatasetName = Literal["auto", "icvl", "harvard", "chikusei", "cave", "generic"]


@dataclass(frozen=True)
class Dataset:
    """Prior knowledge of a data set's files, before they are read; None where there is none.

    `variable` is the image of a .mat file, bands last in Matlab's order; `wavelength_variable` lists its
    wavelengths; `mask_variable`, of its size, is 0 where pixels are invalid.
    """

    name: DatasetName
    bands: int | None = None
    wavelengths_nm: tuple[float, ...] | None = None
    variable: str | None = None
    wavelength_variable: str | None = None
    mask_variable: str | None = None
    orientation: Orientation = AS_STORED
    note: str = ""

    def matches(self, variables: Mapping[str, Variable]) -> bool:
        """Tell by names and sizes whether a .mat file is of this data set."""
        cube = variables.get(self.variable or "")
        if cube is None or not cube.is_cube or self.bands not in (None, cube.shape[2]):
            return False
        mask = variables.get(self.mask_variable or "")
        if self.mask_variable is not None and (mask is None or mask.shape != cube.shape[:2]):
            return False
        return self.wavelength_variable is None or self.wavelength_variable in variables


def _steps_of_10_nm(first: int, last: int) -> tuple[float, ...]:
    return tuple(map(float, range(first, last + 1, 10)))


# In nm, the header of the release's ENVI copy as other readers of it publish it.
_CHIKUSEI = """
362.59 367.75 372.90 378.07 383.23 388.39 393.55 398.71 403.87 409.03 414.19 419.36 424.52 429.68 434.84 440.00
445.16 450.32 455.48 460.64 465.80 470.96 476.12 481.29 486.45 491.61 496.77 501.93 507.09 512.25 517.41 522.57
527.73 532.89 538.06 543.21 548.38 553.54 558.70 563.86 569.02 574.18 579.34 584.50 589.66 594.83 599.99 605.14
610.31 615.47 620.63 625.79 630.95 636.11 641.27 646.43 651.59 656.75 661.92 667.07 672.24 677.40 682.56 687.72
692.88 698.04 703.20 708.36 713.52 718.68 723.85 729.01 734.17 739.33 744.49 749.65 754.81 759.97 765.13 770.29
775.45 780.61 785.78 790.94 796.10 801.26 806.42 811.58 816.74 821.90 827.06 832.23 837.38 842.54 847.71 852.87
858.03 863.19 868.35 873.51 878.67 883.83 888.99 894.16 899.31 904.48 909.64 914.80 919.96 925.12 930.28 935.44
940.60 945.76 950.92 956.09 961.25 966.41 971.57 976.73 981.89 987.05 992.21 997.37 1002.53 1007.69 1012.86 1018.02
"""

GENERIC = Dataset("generic")
CAVE = Dataset("cave", 31, _steps_of_10_nm(400, 700))
_IN_MATLAB = (
    Dataset(
        "icvl",
        variable="rad",
        wavelength_variable="bands",
        # Loaders for the data set agree: Matlab's rot90(rad) has the scene upright.
        orientation=ORIENTATIONS["rot90"],
        note="ICVL: turned by 90 degrees counterclockwise, so that the scene is upright",
    ),
    Dataset("harvard", 31, _steps_of_10_nm(420, 720), variable="ref", mask_variable="lbl"),
    Dataset(
        "chikusei",
        128,
        tuple(map(float, _CHIKUSEI.split())),
        variable="chikusei",
        note="Chikusei: the .mat file has no georeference: convert the release's ENVI copy, or give "
        "--crs and --transform",
    ),
)
DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (*_IN_MATLAB, CAVE, GENERIC)}


def recognise(variables: Mapping[str, Variable]) -> Dataset:
    """Tell the data set of a .mat file by its variables; the generic one if it is none of those known."""
    return next((dataset for dataset in _IN_MATLAB if dataset.matches(variables)), GENERIC)
