"""Every kind of unusable input through the front door: one line that names it and the way out, exit code 3.

The commonest kinds stand in test_fuse.py and in raster/test_reading.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from tests.support.front_door import Run
from tests.support.pairs import see, write_pair
from tests.support.rasters import NORTH_UP, read_back, write_envi, write_tif
from tests.support.scenes import read, textured, write_cube

FINE = NORTH_UP @ Affine.scale(1 / 4)
PLACED = {"map info": "{UTM, 1, 1, 383472.37, 5818302.35, 30, 30, 33, North, WGS-84}"}
NO_GROUND = ("no ground in common", "compare their bounds with `emrdiff info`")
TOO_FEW = ("valid LR pixels lie wholly on valid MSI pixels: 8 or more are needed", "`emrdiff check`")

Inputs = Callable[[Path], tuple[Path, Path]]
Said = tuple[str, ...]
CUBE = textured(8, 64, 72)
OTHER_CUBE = textured(8, 64, 72, seed=5)
LR = CUBE[:, ::4, ::4]


def lr_with(folder: Path, values: np.ndarray = LR, **options: Any) -> tuple[Path, Path]:
    return write_cube(folder / "lr2.tif", values, **options), folder / "msi.tif"


def msi_with(folder: Path, transform: Affine = FINE, values: np.ndarray = CUBE) -> tuple[Path, Path]:
    return folder / "lr.tif", write_cube(folder / "msi2.tif", see(values), transform=transform)


def more_bands(folder: Path) -> tuple[Path, Path]:
    return folder / "lr.tif", write_cube(folder / "msi2.tif", np.tile(CUBE, (2, 1, 1)), transform=FINE)


def without_georeference(folder: Path, rows: int, step: int) -> tuple[Path, Path]:
    lr, msi = CUBE[:, ::step, ::step], see(CUBE)[:, :rows]
    return write_cube(folder / "lr2.tif", lr, crs=None), write_cube(folder / "msi2.tif", msi, crs=None)


def no_whole_lr_pixel(folder: Path) -> tuple[Path, Path]:
    values = see(CUBE)
    values[:, np.indices((64, 72)).sum(axis=0) % 2 == 0] = np.nan
    return folder / "lr.tif", write_cube(folder / "msi2.tif", values, transform=FINE)


def undeclared(folder: Path, value: float) -> tuple[Path, Path]:
    values = read(folder / "lr.tif").astype(np.float32)
    values[1, 3, 3] = value
    return write_tif(folder / "lr2.tif", values), folder / "msi.tif"


def complex_values(folder: Path) -> tuple[Path, Path]:
    return write_tif(folder / "lr2.tif", LR.astype(np.complex64)), folder / "msi.tif"


def no_scale(folder: Path) -> tuple[Path, Path]:
    lr_with(folder)
    with rasterio.open(folder / "lr2.tif", "r+") as dataset:
        dataset.scales = [0.0] * dataset.count
    return folder / "lr2.tif", folder / "msi.tif"


def written(folder: Path, name: str, content: bytes) -> tuple[Path, Path]:
    (folder / name).write_bytes(content)
    return folder / name, folder / "msi.tif"


def envi(folder: Path, old: str = "", new: str = "", *, lost: str = "") -> tuple[Path, Path]:
    """An ENVI LR-HSI with something in its header replaced, or one of its two files lost."""
    data = write_envi(folder / "lr2.bsq", read_back(folder / "lr.tif"), fields=PLACED)
    header = data.with_suffix(".hdr")
    header.write_text(header.read_text().replace(old, new) if old else header.read_text())
    if lost:
        (folder / lost).unlink()
    return (header if lost == data.name else data), folder / "msi.tif"


def latin_1(folder: Path) -> tuple[Path, Path]:
    """GDAL quotes the unknown datum, which is no UTF-8."""
    data, msi = envi(folder, "WGS-84", "WGS-84\u00e9")
    header = data.with_suffix(".hdr")
    header.write_bytes(header.read_text(encoding="utf-8").encode("latin-1"))
    return data, msi


UNUSABLE: dict[str, tuple[Inputs, Said]] = {
    "an MSI of more bands": (more_bands, ("msi2.tif has 16 bands, lr.tif 8", "give the LR-HSI first")),
    "one raster twice": (lambda f: (f / "lr.tif", f / "lr.tif"), ("not finer", "give the LR-HSI first")),
    "one HSI band": (lambda f: lr_with(f, LR[:1]), ("lr2.tif 1", "give the LR-HSI first")),
    "an LR-HSI of nodata": (lambda f: lr_with(f, np.full_like(LR, np.nan)), TOO_FEW),
    "an MSI of single pixels": (no_whole_lr_pixel, TOO_FEW),
    "one MSI pixel in common": (
        lambda f: msi_with(f, FINE @ Affine.translation(71, 63), OTHER_CUBE),
        TOO_FEW,
    ),
    "one LR pixel in common": (lambda f: msi_with(f, FINE @ Affine.translation(68, 60), OTHER_CUBE), TOO_FEW),
    "an LR-HSI of one pixel": (
        lambda f: lr_with(f, LR[:, :1, :1], transform=NORTH_UP @ Affine.scale(18, 16)),
        TOO_FEW,
    ),
    "pixels larger than the MSI": (lambda f: lr_with(f, transform=NORTH_UP @ Affine.scale(1000)), TOO_FEW),
    "corners that touch": (lambda f: msi_with(f, FINE @ Affine.translation(72, 64)), NO_GROUND),
    "another zone": (lambda f: lr_with(f, crs="EPSG:32733"), NO_GROUND),
    "another continent": (
        lambda f: lr_with(f, crs="EPSG:4326", transform=Affine(1, 0, 100, 0, -1, 80)),
        NO_GROUND,
    ),
    "metres taken for degrees": (
        lambda f: lr_with(f, crs="EPSG:4326"),
        ("outline does not lie within the MSI's CRS", "-a_srs"),
    ),
    "a CRS of nowhere": (
        lambda f: lr_with(f, crs='LOCAL_CS["somewhere",UNIT["metre",1]]'),
        ("no way is known from the CRS somewhere", "-a_srs"),
    ),
    "an LR-HSI without a CRS": (
        lambda f: lr_with(f, crs=None),
        ("lr2.tif has no CRS but msi.tif has", "assign"),
    ),
    "pixels of no size": (
        lambda f: lr_with(f, transform=Affine(0, 0, 383472.37, 0, 0, 5818302.35)),
        ("lr2.tif: has pixels of no size", "-a_ullr"),
    ),
    "sizes of no exact ratio": (
        lambda f: without_georeference(f, 63, 4),
        ("no exact ratio", "georeference both"),
    ),
    "equal sizes": (lambda f: without_georeference(f, 64, 1), ("not finer", "give the LR-HSI first")),
    "undeclared NaN": (lambda f: undeclared(f, np.nan), ("lr2.tif holds NaN", "-a_nodata nan")),
    "undeclared infinity": (
        lambda f: undeclared(f, -np.inf),
        ("lr2.tif holds NaN or infinite", "-a_nodata nan"),
    ),
    "complex values": (complex_values, ("lr2.tif: holds complex64", "convert them to real ones")),
    "a scale of 0": (no_scale, ("lr2.tif: records scale 0", "gdal_edit.py -scale")),
    "an empty file": (lambda f: written(f, "lr2.tif", b""), ("lr2.tif: is empty", "copy it anew")),
    "a picture": (
        lambda f: written(f, "lr2.png", b"\x89PNG\r\n"),
        ("neither GeoTIFF nor ENVI", "gdal_translate"),
    ),
    "a TIFF of its first bytes": (
        lambda f: written(f, "lr2.tif", b"II*\0\x08\0\0\0"),
        ("lr2.tif: cannot be opened as GTiff", "write it anew"),
    ),
    "no header": (lambda f: envi(f, lost="lr2.hdr"), ("lr2.bsq: no ENVI header beside it", "put it there")),
    "a header alone": (lambda f: envi(f, lost="lr2.bsq"), ("lr2.hdr: no data file beside", "put it there")),
    "a header without bands": (
        lambda f: envi(f, "bands = 8", ""),
        ("lr2.bsq: cannot be opened as ENVI", "correct its header"),
    ),
    "a header of another size": (lambda f: envi(f, "samples = 18", "samples = 17"), ("lr2.bsq", "header")),
    "an unknown data type": (
        lambda f: envi(f, "data type = 2", "data type = 99"),
        ("lr2.bsq: cannot be opened as ENVI", "correct its header"),
    ),
    "a datum in Latin-1": (latin_1, ("lr2.bsq: 'map info' of its header is not text in UTF-8", "correct it")),
    "a path below a file": (
        lambda f: (f / "lr.tif" / "cube.tif", f / "msi.tif"),
        ("cube.tif: no such file",),
    ),
}


@pytest.mark.parametrize(("inputs", "said"), UNUSABLE.values(), ids=UNUSABLE)
@pytest.mark.parametrize("command", ["fuse", "check"])
def test_it_is_one_line_with_the_way_out_and_exit_3(
    emrdiff: Run, tmp_path: Path, command: str, inputs: Inputs, said: Said
) -> None:
    write_pair(tmp_path)
    pair = inputs(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    if command == "fuse":
        ended = emrdiff("fuse", *pair, tmp_path / "out.tif", "--method", "glp")
        lines = [line for line in ended.err.splitlines() if not line.startswith("_tiff")]
        assert (ended.code, ended.out, len(lines)) == (3, "", 1), ended
        assert lines[0].startswith("Error: ")
        for text in said:
            assert text in lines[0]
    else:
        ended = emrdiff("check", *pair, "-q")
        assert ended.code == 3, ended
        assert ended.err.startswith("Error: ") or "Problem: " in ended.out
        assert "Traceback" not in ended.err
        assert "RuntimeWarning" not in ended.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("flat", ["LR-HSI", "MSI"])
def test_an_image_of_one_value_is_found_out(emrdiff: Run, tmp_path: Path, flat: str) -> None:
    write_pair(tmp_path)
    if flat == "MSI":
        pair = msi_with(tmp_path, values=np.full_like(CUBE, 0.3))
    else:
        pair = lr_with(tmp_path, np.full_like(LR, 0.3))
    ended = emrdiff("check", *pair, "-q")
    assert (ended.code, ended.err) == (3, "")
    assert "Problem: the two do not correlate" in " ".join(ended.out.split())
    assert "one value alone in bands" in " ".join(ended.out.split())
    fused = emrdiff("fuse", *pair, tmp_path / "fused.tif", "--method", "bicubic", "-q")
    assert fused.code == 3
    assert "every band is of one value alone" in fused.err
    assert not (tmp_path / "fused.tif").exists()
