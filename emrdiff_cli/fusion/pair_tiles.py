"""Use case: a pair -> tiles of both rasters that know how the whole of it lies, each to be fused by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emrdiff_cli.errors import InputError, UsageError
from emrdiff_cli.pair.geometry import PairGeometry, pair_tag
from emrdiff_cli.pair.modes import AskedGeometry
from emrdiff_cli.pair.pair import CACHE_MEGABYTES, open_pair
from emrdiff_cli.pair.registration import register
from emrdiff_cli.products.mask_choice import choose_masks
from emrdiff_cli.products.mask_classes import SIDES, AskedMask
from emrdiff_cli.raster.placement import place_on
from emrdiff_cli.raster.reading import bounded_cache, read_info
from emrdiff_cli.raster_info import Grid, RasterInfo, Window
from emrdiff_cli.tiles.planning import PairTags, finest
from emrdiff_cli.tiles.tiles import Report, cut


@dataclass(frozen=True)
class CutTiles:
    """The index of the tiles, and what was found of the pair's geometry, for people."""

    index: Path
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def cut_tiles(
    rasters: Sequence[Path],
    folder: Path,
    *,
    size: int,
    overlap: int,
    overwrite: bool,
    asked: AskedGeometry,
    report: Report,
    mask: AskedMask = (),
) -> CutTiles:
    """Cut one raster, or a pair, as `cut` does; a pair with its geometry, found once on the whole as it is `asked`.

    Tiles of a pair whose LR-HSI is moved cover the same ground once it is, and both record the geometry, which
    `fuse` of a tile takes for its own. Two rasters that are no LR-HSI with an HR-MSI are cut as they lie. `mask`,
    as `choose_masks` takes it: classes of pixels that become nodata. Raises what `cut` does, and UsageError where
    a geometry is given for such.
    """
    infos = [read_info(path) for path in rasters]
    geometry, grid = PairGeometry(), None
    sides: list[str | None] = [None] * len(infos)
    if len(infos) == 2:
        hr = finest(infos)
        if _fusible(infos[1 - hr], infos[hr]):
            sides[1 - hr], sides[hr] = SIDES
            geometry, grid = _found(rasters[1 - hr], rasters[hr], asked, mask), infos[1 - hr].grid
    if grid is None and (asked.shift or asked.psf_fwhm):
        raise UsageError("--shift and --psf-fwhm are for an LR-HSI and an HR-MSI of one area")
    masks = choose_masks(mask, rasters, sides)
    known = PairTags() if grid is None else _tags(geometry, grid)
    index = cut(
        *(rasters, folder),
        size=size,
        overlap=overlap,
        overwrite=overwrite,
        report=report,
        known=known,
        masks=masks,
    )
    hidden = (
        f"{raster}: {', '.join(classes)} became nodata"
        for raster, classes in zip(rasters, masks, strict=True)
        if classes
    )
    return CutTiles(index, (*geometry.notes, *hidden), geometry.warnings)


def _fusible(lr: RasterInfo, hr: RasterInfo) -> bool:
    """Whether two rasters of one area are an LR-HSI and an HR-MSI. Raises GridError where they are of none."""
    axes = place_on(lr, hr).alignment
    return hr.bands.count < lr.bands.count and min(axes.rows.ratio, axes.cols.ratio) > 1


def _found(lr: Path, msi: Path, asked: AskedGeometry, mask: AskedMask) -> PairGeometry:
    """The pair's geometry; as it lies, with a warning, where values that are not there keep it from being found."""
    with bounded_cache(CACHE_MEGABYTES), open_pair(lr, msi, mask=mask) as pair:
        try:
            return register(pair, *asked)
        except InputError as error:
            if asked != AskedGeometry():
                raise
            return PairGeometry(warnings=(f"the pair's geometry was not looked for: {error}",))


def _tags(geometry: PairGeometry, grid: Grid) -> PairTags:
    told = replace(
        geometry, warnings=(), notes=tuple(f"on the whole pair: {note}" for note in geometry.notes)
    )

    def of_tile(window: Window) -> Mapping[str, str]:
        return pair_tag(told.within(grid, window))

    return PairTags(geometry.move, of_tile, geometry.tags)
