"""Products in HDF5 and netCDF-4, told by what they hold, which `convert` makes a raster of."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emrdiff_cli.raster.hdf5 import Hdf5File, is_hdf5, open_hdf5

Kind = Literal["prisma", "emit", "aviris", "neon", "tanager"]
KNOWN = "PRISMA, EMIT L1B and L2A, AVIRIS-3 and AVIRIS-5 L2A, NEON AOP and Tanager ortho"
_AVIRIS = re.compile(r"AVIRIS-?([35])\b|^AV([35])\d{8}t\d{6}", re.IGNORECASE)


@dataclass(frozen=True)
class Container:
    """A recognised product: its name as users know it, and `root`, the group or the array that makes it one."""

    kind: Kind
    name: str
    root: str


def find_container(path: Path) -> Container | None:
    """The product that an HDF5 file is; None for a file of another kind, and of no product that is known.

    Raises InputError where an HDF5 file cannot be opened, OSError where nothing can be read.
    """
    if not path.is_file() or not is_hdf5(path):
        return None
    with open_hdf5(path) as file:
        return next((found for tell in _KINDS if (found := tell(file)) is not None), None)


def way_out(path: Path) -> str | None:
    """How an HDF5 file that is no raster becomes one, in words; None for a file of another kind."""
    if not is_hdf5(path):
        return None
    container = find_container(path)
    if container is None:
        return f"is HDF5 or netCDF of no product that is known ({KNOWN})"
    line = shlex.join(["emrdiff", "convert", str(path), f"{path.stem}.tif"])
    return f"is {container.name}: convert it first: `{line}`"


def _prisma(file: Hdf5File) -> Container | None:
    for swath in file.names("HDFEOS/SWATHS"):
        mission, _, rest = swath.partition("_L")
        level, _, cube = rest.partition("_")
        if mission == "PRS" and cube in ("HCO", "PCO"):
            return Container("prisma", f"PRISMA L{level}", f"HDFEOS/SWATHS/PRS_L{level}")
    return None


def _emit(file: Hdf5File) -> Container | None:
    if "location/glt_x" not in file or "sensor_band_parameters" not in file:
        return None
    for cube, name in (("reflectance", "EMIT L2A reflectance"), ("radiance", "EMIT L1B radiance")):
        if cube in file:
            return Container("emit", name, cube)
    return Container("emit", "an EMIT file without reflectance or radiance", "")


def _aviris(file: Hdf5File) -> Container | None:
    for group in ("reflectance", "radiance"):
        if f"{group}/{group}" in file and f"{group}/wavelength" in file:
            return Container("aviris", f"{_instrument(file)} {group}", group)
    return None


def _instrument(file: Hdf5File) -> str:
    """AVIRIS-3 or -5, whose layout is one, by the title, else by the file's name; both where neither says which."""
    said = (str(file.attribute("title") or ""), file.path.name)
    found = next((match for text in said if (match := _AVIRIS.search(text))), None)
    return "AVIRIS-3 or AVIRIS-5" if found is None else f"AVIRIS-{found[1] or found[2]}"


def _neon(file: Hdf5File) -> Container | None:
    for site in file.names():
        for cube in ("Reflectance", "Radiance"):
            if f"{site}/{cube}/{cube}_Data" in file:
                return Container("neon", f"NEON AOP {cube.lower()}", f"{site}/{cube}")
    return None


def _tanager(file: Hdf5File) -> Container | None:
    for layout in ("GRIDS", "SWATHS"):
        for name in file.names(f"HDFEOS/{layout}"):
            fields = f"HDFEOS/{layout}/{name}/Data Fields"
            for cube, content in (
                ("surface_reflectance", "surface reflectance"),
                ("toa_radiance", "radiance"),
            ):
                if f"{fields}/{cube}" in file:
                    level = "ortho" if layout == "GRIDS" else "basic"
                    return Container("tanager", f"Tanager {level} {content}", f"{fields}/{cube}")
    return None


_KINDS: tuple[Callable[[Hdf5File], Container | None], ...] = (_prisma, _emit, _aviris, _neon, _tanager)
