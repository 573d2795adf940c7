"""Writing rasters: row by row into a part file, verified against what was handed in, then put in place.

GDAL hides failed writes: with the disk full neither a write nor a close need raise. So nothing counts as
written before the file is opened again and the checksum of every block row is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window as GdalWindow

from emrdiff_cli.errors import InputError, WriteError
from emrdiff_cli.raster.cog import copy_as_cog
from emrdiff_cli.raster.creation import creation_profile, named_interleave, write_metadata, write_statistics
from emrdiff_cli.raster.creation_options import refuse_unknown_options
from emrdiff_cli.raster.envi import finish_header
from emrdiff_cli.raster.files import files_written
from emrdiff_cli.raster.metadata import value_beside
from emrdiff_cli.raster.overviews import add_overviews
from emrdiff_cli.raster.part import PartFile
from emrdiff_cli.raster.read_back import RowChecksums
from emrdiff_cli.raster.reading import ignoring_missing_georeference
from emrdiff_cli.raster.spec import RASTER_DTYPES, RasterSpec
from emrdiff_cli.raster.statistics import BandStatistics
from emrdiff_cli.raster.verification import difference, open_part, wrong_statistics
from emrdiff_cli.raster_info import RasterInfo
from emrdiff_cli.runtime.interruption import deferred, safe_point

__all__ = ["RASTER_DTYPES", "RasterSpec", "VerifiedWriter"]

_ROWS_HELD, _BYTES_HELD = 256, 2**26
# rasterio raises SystemError where GDAL fails without an error of its own.
_GDAL_ERRORS = (RasterioError, CPLE_BaseError, OSError, SystemError)


class VerifiedWriter:
    """Writes a raster from the top down, as a context manager; the target changes on a clean exit only.

    On the way out the part is closed, opened again and compared, and takes the target's place in one step.
    On any exception nothing is left of it and a previous file stays as it was. Signals are put off meanwhile
    (`interruption`), and raised when rows come in.

    A COG is copied from a GeoTIFF part, and itself compared.

    Raises, on construction: OutputExistsError, UsageError (a name, spec or option the format cannot take),
    WriteError (folder missing or read-only). Later: WriteError, whatever the failure.
    """

    def __init__(self, path: Path, spec: RasterSpec, overwrite: bool = False) -> None:
        self.spec = spec
        self.clipped = 0
        """Count of valid values beyond the dtype's range so far, which were set to its end."""
        self._target = Path(path)
        refuse_unknown_options(spec)
        files = files_written(self._target, spec.driver, spec.creation_options)
        self._part = PartFile(files, overwrite, drafted=spec.driver == "COG")
        self._profile = named_interleave(self._target, spec) | creation_profile(spec)
        self._leaving = ExitStack()
        self._dataset: Any = None
        self._checksums = RowChecksums(0)
        self._buffer: NDArray[Any] = np.empty((spec.bands.count, 0, spec.grid.width), spec.dtype)
        self._filled = 0
        self._statistics = BandStatistics(spec.bands.count, spec.nodata)

    @property
    def rows_written(self) -> int:
        """Count of rows handed in so far."""
        return len(self._checksums) * self._checksums.rows + self._filled

    def __enter__(self) -> Self:
        with ExitStack() as cleaning, self._failing_as_write_error():
            cleaning.enter_context(deferred())
            cleaning.callback(self._abandon)
            self._dataset = rasterio.open(self._part.draft, "w", sharing=False, **self._profile)
            write_metadata(self._dataset, self.spec)
            height = int(self._dataset.block_shapes[0][0])
            row_bytes = self.spec.bands.count * self.spec.grid.width * np.dtype(self.spec.dtype).itemsize
            fitting = min(_ROWS_HELD, _BYTES_HELD // row_bytes)
            self._checksums = RowChecksums(height * max(1, fitting // height))
            held = min(self._checksums.rows, self.spec.grid.height)
            self._buffer = np.empty((self.spec.bands.count, held, self.spec.grid.width), self.spec.dtype)
            self._leaving = cleaning.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._leaving:
            if error is None:
                self._finish()

    def append(self, values: NDArray[np.floating]) -> None:
        """Add the next rows: physical values, (bands, any number of rows, width); NaN becomes nodata.

        For integer dtypes values are rounded, and clipped to the dtype's range, once. A valid value that
        would be stored as nodata is stored as the value next to it. Raises WriteError on NaN for an
        integer dtype without nodata, ValueError on another shape.
        """
        self._check_shape(values)
        for part, into in self._places(values):
            for band, stored in zip(part, into, strict=True):
                self.convert(band, stored)

    def append_stored(self, values: NDArray[Any]) -> None:
        """Add the next rows as they shall be stored: of the spec's dtype, which ValueError insists on."""
        self._check_shape(values)
        if values.dtype != np.dtype(self.spec.dtype):
            raise ValueError(f"stored values are {values.dtype}, not {self.spec.dtype}")
        for part, into in self._places(values):
            into[:] = part

    def _check_shape(self, values: NDArray[Any]) -> None:
        bands, grid = self.spec.bands.count, self.spec.grid
        left = grid.height - self.rows_written
        if values.ndim != 3 or values.shape[::2] != (bands, grid.width) or values.shape[1] > left:
            raise ValueError(
                f"rows have shape {values.shape}, expected ({bands}, up to {left}, {grid.width})"
            )

    def convert(self, values: NDArray[np.floating], into: NDArray[Any]) -> None:
        """Convert one band's rows to the stored dtype, into their place, as `append` does; raises as it does."""
        nodata, missing = self.spec.nodata, ~np.isfinite(values)
        holes, plain = bool(missing.any()), self.spec.scale == 1.0 and self.spec.offset == 0.0
        stored = values if plain and into.dtype.kind == "f" else values.astype(np.float64)
        if not plain:
            stored -= self.spec.offset
            stored /= self.spec.scale
        if into.dtype.kind != "f":
            if holes:
                stored[missing] = 0
            self._round(stored)
        np.copyto(into, stored, casting="unsafe")
        if nodata is not None and not np.isnan(nodata):
            taken = into == into.dtype.type(nodata)
            if taken.any():
                into[taken & ~missing] = value_beside(nodata, into.dtype)
        if holes:
            into[missing] = self._missing_value(into.dtype)

    def _round(self, values: NDArray[Any]) -> None:
        """Make them whole numbers within the dtype's range."""
        np.rint(values, out=values)
        low, high = _float_limits(np.dtype(self.spec.dtype))
        if values.size and (values.min() < low or values.max() > high):
            self.clipped += int(np.count_nonzero((values < low) | (values > high)))
            np.clip(values, low, high, out=values)

    def _missing_value(self, dtype: np.dtype[Any]) -> float:
        if self.spec.nodata is not None:
            return self.spec.nodata
        if dtype.kind == "f":
            return float("nan")
        raise WriteError(f"{self._target}: pixels without a value, but {dtype} without nodata: give --nodata")

    def _places(self, rows: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Parts of rows (B, n, W), and the buffer's for each, which is written whenever it is full."""
        safe_point()
        done, height = 0, self._checksums.rows
        if height == 0:
            raise ValueError("rows appended outside the writer's context")
        while done < rows.shape[1]:
            count = min(height - self._filled, rows.shape[1] - done)
            yield rows[:, done : done + count], self._buffer[:, self._filled : self._filled + count]
            done += count
            self._filled += count
            if self._filled == height:
                self._flush()

    def _flush(self) -> None:
        rows = np.ascontiguousarray(self._buffer[:, : self._filled])
        with self._failing_as_write_error():
            self._dataset.write(rows, window=self._place(len(self._checksums), self._filled))
        self._statistics.update(rows)
        self._checksums.add(rows)
        self._filled = 0

    def _place(self, index: int, height: int) -> GdalWindow:
        return GdalWindow(0, index * self._checksums.rows, self.spec.grid.width, height)

    def _finish(self) -> None:
        if self.rows_written != self.spec.grid.height:
            raise WriteError(
                f"{self._target}: only {self.rows_written} of {self.spec.grid.height} rows came in"
            )
        if self._filled:
            self._flush()
        self._buffer = self._buffer[:, :0].copy()  # makes room for what is read back
        with self._failing_as_write_error():
            write_statistics(self._dataset, self.spec, self._statistics)
            self._dataset.close()
            add_overviews(self._part.draft, self.spec)
        draft = self._make_cog() if self.spec.driver == "COG" else None
        with self._failing_as_write_error():
            # What GDAL could only put there would be lost with it.
            self._part.drop_sidecar()
            if self.spec.driver == "ENVI":
                self._finish_envi()
        self._verify(draft)
        self._part.commit()

    def _make_cog(self) -> RasterInfo:
        """Copy the draft as a COG; give what is known of the draft."""
        try:
            with open_part(self._part.draft, self.spec) as reader:
                info = reader.info
        except (InputError, *_GDAL_ERRORS) as error:
            raise self._not_verified("it cannot be read back") from error
        with self._failing_as_write_error():
            copy_as_cog(self._part.draft, self._part.path, self.spec)
        return info

    def _finish_envi(self) -> None:
        text = finish_header(
            self._part.header.read_text(encoding="utf-8"),
            self.spec.grid.transform,
            named=self.spec.bands.names is not None,
            description=self.spec.tags.get("description"),
        )
        self._part.header.write_text(text, encoding="utf-8")

    def _verify(self, draft: RasterInfo | None) -> None:
        """Compare the closed part with what was handed in. Raises WriteError."""
        try:
            found = difference(self._part.path, self.spec, self._checksums, draft)
            found = found or wrong_statistics(self._part.path, self.spec, self._statistics)
        except _GDAL_ERRORS as error:
            raise self._not_verified("it cannot be read back") from error
        if found is not None:
            raise self._not_verified(found)

    def _not_verified(self, what: str) -> WriteError:
        return WriteError(
            f"{self._target}: did not verify after writing, {what}: is the disk full, or a creation option lossy?"
        )

    @contextmanager
    def _failing_as_write_error(self) -> Iterator[None]:
        try:
            # Within an Env, GDAL's complaints go to the log; else to stderr, once for each row and band.
            with rasterio.Env(), ignoring_missing_georeference():
                yield
        except _GDAL_ERRORS as error:
            # Of a failed write, rasterio says no more than "see previous exception".
            reason = " ".join(str(error.__cause__ or error).split())
            raise WriteError(f"{self._target}: cannot be written ({reason}): is the disk full?") from error

    def _abandon(self) -> None:
        """Close the part and remove what is left of it; after a commit there is nothing."""
        if self._dataset is not None:
            with suppress(*_GDAL_ERRORS), rasterio.Env():
                self._dataset.close()
        self._part.discard()


def _float_limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Give the least and greatest floats that convert to an integer dtype without wrapping round."""
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    return float(low), float(high) if int(float(high)) <= high else float(np.nextafter(float(high), 0))
