"""Options of a COG: GDAL's COG driver's, and the same as its GeoTIFF driver spells them.

The COG driver lays out bands one after another from GDAL 3.11 on only; before, it interleaves them by pixel, and
to read one band is to read all. The GeoTIFF driver makes a COG of a raster that has its overviews already.
"""

from __future__ import annotations

import numpy as np

from emrdiff_cli.raster.spec import RasterSpec

_BLOCK = 256
_SAME = {"BIGTIFF", "NUM_THREADS", "SPARSE_OK"}
_KNOWN = _SAME | {"COMPRESS", "LEVEL", "PREDICTOR", "BLOCKSIZE", "OVERVIEWS"}
_LEVELS = {"ZSTD": "ZSTD_LEVEL", "DEFLATE": "ZLEVEL"}
_COMPRESSIONS = {"NONE", "LZW", *_LEVELS}
_OVERVIEWS = {"AUTO", "IGNORE_EXISTING", "NONE"}


def cog_defaults(spec: RasterSpec) -> dict[str, str]:
    """ZSTD at its fastest level; overviews by the mean, but where that would spread NaN that none declares."""
    return {
        "COMPRESS": "ZSTD",
        "LEVEL": "1",
        "PREDICTOR": "YES",
        "BLOCKSIZE": str(_BLOCK),
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": "ALL_CPUS",
        "OVERVIEWS": "NONE" if spec.overviews is False or spec.wide_integers else "AUTO",
        "OVERVIEW_RESAMPLING": "NEAREST" if spec.undeclared_nan else "AVERAGE",
    }


def geotiff_options(spec: RasterSpec) -> dict[str, str] | None:
    """A COG's options for the GeoTIFF driver; None where the user's say what that one does not know."""
    own = {key.upper(): value.upper() for key, value in spec.creation_options.items()}
    asked = cog_defaults(spec) | own
    compress, block = asked["COMPRESS"], asked["BLOCKSIZE"]
    if set(own) - _KNOWN or compress not in _COMPRESSIONS or asked["OVERVIEWS"] not in _OVERVIEWS:
        return None
    options = {key: asked[key] for key in _SAME & set(asked)}
    options |= {"TILED": "YES", "BLOCKXSIZE": block, "BLOCKYSIZE": block, "INTERLEAVE": "BAND"}
    options |= {"COMPRESS": compress, "PHOTOMETRIC": "MINISBLACK", "ALPHA": "NO"}
    if compress in _LEVELS:
        options[_LEVELS[compress]] = asked["LEVEL"]
    if compress != "NONE":
        options["PREDICTOR"] = _predictor(asked["PREDICTOR"], spec)
    return options


def _predictor(asked: str, spec: RasterSpec) -> str:
    of_type = "3" if np.dtype(spec.dtype).kind == "f" else "2"
    return {"STANDARD": "2", "FLOATING_POINT": "3", "NO": "1"}.get(asked, of_type)


def overviews_of_cog(spec: RasterSpec) -> bool:
    """Whether a COG is to have overviews that its pixels' writer makes; the COG driver makes its own."""
    chosen = {key.upper(): value.upper() for key, value in spec.creation_options.items()}.get("OVERVIEWS")
    asked = spec.overviews is not False if chosen is None else chosen != "NONE"
    return asked and geotiff_options(spec) is not None
