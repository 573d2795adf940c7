"""The axis of charts over a raster's bands: lines open where nothing is measured, ranges, an MSI's bands."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from emrdiff_cli.core.sensor.coverage import covered_by_response, covered_by_wavelengths
from emrdiff_cli.core.sensor.srf import sampled_response
from emrdiff_cli.raster_info import Bands, RasterInfo
from emrdiff_cli.report.charts import Line
from emrdiff_cli.responses import own_response

Span = tuple[float, float]

_WATER_NM: tuple[Span, ...] = ((1350.0, 1450.0), (1800.0, 1950.0))  # where the air lets no light through
_MOST_DETECTORS = 4  # whose bands follow one another in a file


@dataclass(frozen=True)
class BandAxis:
    """Places of bands: their wavelengths in nm, else their numbers from 1. Bands are 0-based."""

    bands: Bands

    @property
    def label(self) -> str:
        """The quantity, with its unit."""
        return "band" if self.bands.wavelengths_nm is None else "wavelength (nm)"

    def at(self, band: int) -> float:
        """The place of a band."""
        centres = self.bands.wavelengths_nm
        return float(band + 1) if centres is None else centres[band]

    def line(
        self,
        name: str,
        values: Mapping[int, float | None],
        colour: str,
        dashes: str = "",
        *,
        absent: Collection[int] = (),
        air: bool = False,
    ) -> Line:
        """A line through the values by band, broken at the `absent` bands.

        With `air` also where its water takes the light, whether bands lie there or not. Where detectors overlap
        each has a stretch of its own; bands in another order are sorted.
        """
        shown = sorted({*values, *absent})
        points = [(self.at(b), self._value(b, values.get(b), absent, air)) for b in shown]
        back = sum(after[0] < before[0] for before, after in pairwise(points))
        points = points if back < _MOST_DETECTORS else sorted(points)
        return Line(name, list(self._broken(points)) if air else points, colour, dashes)

    def hidden(self, band: int) -> bool:
        """Whether the air's water takes the light of a band."""
        known = self.bands.wavelengths_nm is not None
        return known and any(low <= self.at(band) <= high for low, high in _WATER_NM)

    def spans(self, chosen: Collection[int]) -> Iterator[Span]:
        """Ranges of the axis around runs of chosen bands, each half-way to the next band."""
        order = sorted(range(self.bands.count), key=self.at)
        places = [self.at(band) for band in order]
        edges = [places[0], *((a + b) / 2 for a, b in pairwise(places)), places[-1]]
        start: float | None = None
        for place, band in enumerate(order):
            if band in chosen and start is None:
                start = edges[place]
            if start is not None and (band not in chosen or place == len(order) - 1):
                yield start, edges[place + (band in chosen)]
                start = None

    def msi_spans(self, under: Sequence[Collection[int]]) -> tuple[Span, ...]:
        """Ranges of the axis under each band of an MSI; none where bands have no wavelengths."""
        known = self.bands.wavelengths_nm is not None
        return tuple(span for bands in under for span in self.spans(bands)) if known else ()

    def _value(self, band: int, value: float | None, absent: Collection[int], air: bool) -> float:
        return math.nan if value is None or band in absent or (air and self.hidden(band)) else value

    def _broken(self, points: Sequence[Span]) -> Iterator[Span]:
        """The points, with one that is not finite in each range of the air's water that lies between two."""
        for before, after in pairwise([*points, (-math.inf, math.nan)]):
            yield before
            if self.bands.wavelengths_nm is not None:
                yield from (
                    ((low + high) / 2, math.nan)
                    for low, high in _WATER_NM
                    if before[0] < low and high < after[0]
                )


def bands_under(hsi: RasterInfo, msi: RasterInfo) -> tuple[tuple[int, ...], ...]:
    """Bands of a raster under each of an MSI's, by its product's response or both files' wavelengths and FWHM.

    Empty where neither is known.
    """
    response = None if hsi.bands.wavelengths_nm is None else own_response(msi.path)
    if response is not None and hsi.bands.wavelengths_nm is not None:
        return tuple(map(tuple, covered_by_response(sampled_response(response, hsi.bands.wavelengths_nm))))
    return tuple(map(tuple, covered_by_wavelengths(hsi.bands, msi.bands) or ()))
