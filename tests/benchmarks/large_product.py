"""Memory and time that `convert` takes of a whole EMIT or PRISMA scene, made of random values in a folder.

    python -m tests.benchmarks.large_product emit|prisma FOLDER
    python -m tests.benchmarks.large_product safe FOLDER

The second tells what the checksums of a SAFE's images take of the time that their pixels do.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from threading import Event, Thread

import h5py
import numpy as np

from emrdiff_cli.conversion.convert import ConversionOptions, convert
from emrdiff_cli.products.manifest import refuse_spoilt
from emrdiff_cli.raster.reading import open_raster
from tests.support.containers import write_emit, write_prisma
from tests.support.products import write_manifest, write_sentinel2
from tests.support.scenes import textured

_MB = 2**20


def _emit(path: Path) -> Path:
    """1280 x 1242 pixels of 285 bands, chunked as EMIT's, turned by 30 degrees on 2000 x 2200 of ground."""
    height, width, bands = 1280, 1242, 285
    row, col = np.mgrid[-1000:1000, -1100:1100]
    down = np.rint(0.866 * row + 0.5 * col + height / 2).astype("int32")
    right = np.rint(0.866 * col - 0.5 * row + width / 2).astype("int32")
    seen = (down >= 1) & (down <= height) & (right >= 1) & (right <= width)
    write_emit(path, np.where(seen, right, 0), np.where(seen, down, 0), height=4, width=5)
    with h5py.File(path, "r+") as file:
        del file["reflectance"], file["sensor_band_parameters"]
        layout = {"chunks": (256, 249, 57), "compression": "gzip", "compression_opts": 1}
        cube = file.create_dataset("reflectance", (height, width, bands), "float32", **layout)
        for start in range(0, height, 256):
            cube[start : start + 256] = _random((256, width, 1)) + np.arange(bands, dtype="float32") % 7
        file["sensor_band_parameters/wavelengths"] = np.linspace(381, 2493, bands, dtype="float32")
        file["sensor_band_parameters/fwhm"] = np.full(bands, 8.5, "float32")
    return path


def _prisma(path: Path) -> Path:
    """1000 x 1000 pixels of 66 and 173 bands, a row of a detector together."""
    write_prisma(path, height=1000, width=1000, pan=1, geolocation=False)
    with h5py.File(path, "r+") as file:
        fields = file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields"]
        for name, bands, ends in (("Vnir", 66, (1000, 400)), ("Swir", 173, (2500, 900))):
            file.attrs[f"List_Cw_{name}"] = np.linspace(*ends, bands, dtype="float32")
            file.attrs[f"List_Fwhm_{name}"] = np.full(bands, 10, "float32")
            file.attrs[f"List_Cw_{name}_Flags"] = np.ones(bands, "int32")
            for field, kind in (
                (f"{name.upper()}_Cube", "uint16"),
                (f"{name.upper()}_PIXEL_L2_ERR_MATRIX", "uint8"),
            ):
                del fields[field]
                layout = {"chunks": (1, bands, 1000), "compression": "gzip", "compression_opts": 1}
                fields.create_dataset(field, (1000, bands, 1000), kind, **layout)
            for start in range(0, 1000, 100):
                values = 4096 * _random((100, 1, 1000)) + np.arange(bands)[:, None]
                fields[f"{name.upper()}_Cube"][start : start + 100] = values.astype("uint16")
    return path


def _random(shape: tuple[int, int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).random(shape, np.float32)


def _resident() -> int:
    """Memory in bytes that the processes of this one have for themselves."""
    own = Path("/proc/self/task").iterdir()
    children = [pid for task in own for pid in (task / "children").read_text().split()]
    total = 0
    for pid in ("self", *children):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return total


def _checksums(folder: Path) -> None:
    """Make a SAFE of 2048 x 2048 pixels, and time its checksums and its reading."""
    values = (textured(4, 2048, 2048) * 1e4).astype("uint16") + 1
    safe = write_sentinel2(folder / "S2.SAFE", values, offsets=(0,) * 4).parent
    write_manifest(safe, "sha3_256", "SHA3-256")
    start = time.monotonic()
    refuse_spoilt(safe, masks=False)
    held = time.monotonic() - start
    with open_raster(safe) as reader:
        reader.read()
    read = time.monotonic() - start - held
    sys.stdout.write(f"safe: checksums {held:.2f} s, reading {read:.1f} s: {held / read:.2%}\n")


def main() -> None:
    """Make the scene, convert it, and tell what it took."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    if kind == "safe":
        _checksums(folder)
        return
    source = {"emit": _emit, "prisma": _prisma}[kind](folder / f"{kind}.h5")
    peaks, over = [_resident()], Event()

    def watch() -> None:
        while not over.wait(0.05):
            peaks.append(_resident())

    watcher = Thread(target=watch, daemon=True)
    start = time.monotonic()
    watcher.start()
    convert(source, folder / f"{kind}.tif", ConversionOptions(overwrite=True))
    over.set()
    watcher.join()
    sys.stdout.write(
        f"{kind}: {time.monotonic() - start:.0f} s, {max(peaks) / _MB:.0f} MB at most with the process that reads, "
        f"{peaks[0] / _MB:.0f} MB at the start\n"
    )


if __name__ == "__main__":
    main()
