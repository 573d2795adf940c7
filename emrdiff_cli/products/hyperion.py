"""EO-1 Hyperion L1T and L1Gst: a folder of 242 one-band GeoTIFFs with `*_MTL_L1T.TXT`.

The 198 calibrated bands, by wavelength: VNIR 8-57, SWIR 77-224, which overlap at 912-926 nm. Radiance = stored
value / 40 in the VNIR, / 80 in the SWIR. Centres and FWHM are the USGS's (Hyperion Spectral Coverage,
doi:10.5066/P9JXHMO2), in the public domain.
"""

from __future__ import annotations

import re
from pathlib import Path

from emrdiff_cli.errors import InputError
from emrdiff_cli.products.metadata_odl import Groups, number_of, read_odl, text_of
from emrdiff_cli.products.product import Layer, Product
from emrdiff_cli.raster_info import Bands

_METADATA = re.compile(r"(?P<scene>EO1H\w+?)_MTL(_L1\w+)?\.TXT", re.IGNORECASE)
_BAND = re.compile(r"EO1H\w+_B\d{3}_L1\w+\.TIFF?", re.IGNORECASE)
_ROOT = "L1_METADATA_FILE"
_PRODUCT = "PRODUCT_METADATA"
_LEVELS = {"L1T": "L1T", "L1GST": "L1Gst"}
_UNITS = "W/m^2/sr/um"
_FIRST = {"VNIR": 8, "SWIR": 77}
_CENTRES = {
    "VNIR": """
426.82 436.99 447.17 457.34 467.52 477.69 487.87 498.04 508.22 518.39 528.57 538.74 548.92 559.09 569.27 579.45
589.62 599.80 609.97 620.15 630.32 640.50 650.67 660.85 671.02 681.20 691.37 701.55 711.72 721.90 732.07 742.25
752.43 762.60 772.78 782.95 793.13 803.30 813.48 823.65 833.83 844.00 854.18 864.35 874.53 884.70 894.88 905.05
915.23 925.41
""",
    "SWIR": """
912.45 922.54 932.64 942.73 952.82 962.91 972.99 983.08 993.17 1003.30 1013.30 1023.40 1033.49 1043.59 1053.69
1063.79 1073.89 1083.99 1094.09 1104.19 1114.19 1124.28 1134.38 1144.48 1154.58 1164.68 1174.77 1184.87 1194.97
1205.07 1215.17 1225.17 1235.27 1245.36 1255.46 1265.56 1275.66 1285.76 1295.86 1305.96 1316.05 1326.05 1336.15
1346.25 1356.35 1366.45 1376.55 1386.65 1396.74 1406.84 1416.94 1426.94 1437.04 1447.14 1457.23 1467.33 1477.43
1487.53 1497.63 1507.73 1517.83 1527.92 1537.92 1548.02 1558.12 1568.22 1578.32 1588.42 1598.51 1608.61 1618.71
1628.81 1638.81 1648.90 1659.00 1669.10 1679.20 1689.30 1699.40 1709.50 1719.60 1729.70 1739.70 1749.79 1759.89
1769.99 1780.09 1790.19 1800.29 1810.38 1820.48 1830.58 1840.58 1850.68 1860.78 1870.87 1880.98 1891.07 1901.17
1911.27 1921.37 1931.47 1941.57 1951.57 1961.66 1971.76 1981.86 1991.96 2002.06 2012.15 2022.25 2032.35 2042.45
2052.45 2062.55 2072.65 2082.75 2092.84 2102.94 2113.04 2123.14 2133.24 2143.34 2153.34 2163.43 2173.53 2183.63
2193.73 2203.83 2213.93 2224.03 2234.12 2244.22 2254.22 2264.32 2274.42 2284.52 2294.61 2304.71 2314.81 2324.91
2335.01 2345.11 2355.21 2365.20 2375.30 2385.40 2395.50
""",
}
_WIDTHS = {
    "VNIR": """
11.3871 11.3871 11.3871 11.3871 11.3871 11.3871 11.3784 11.3538 11.3133 11.2580 11.1907 11.1119 11.0245 10.9321
10.8368 10.7407 10.6482 10.5607 10.4823 10.4147 10.3595 10.3188 10.2942 10.2856 10.2980 10.3349 10.3909 10.4592
10.5322 10.6004 10.6562 10.6933 10.7058 10.7276 10.7907 10.8833 10.9938 11.1044 11.1980 11.2600 11.2824 11.2822
11.2816 11.2809 11.2797 11.2782 11.2771 11.2765 11.2756 11.2754
""",
    "SWIR": """
11.0457 11.0457 11.0457 11.0457 11.0457 11.0457 11.0457 11.0457 11.0457 11.0457 11.0457 11.0451 11.0423 11.0372
11.0302 11.0218 11.0122 11.0013 10.9871 10.9732 10.9572 10.9418 10.9248 10.9065 10.8884 10.8696 10.8513 10.8335
10.8154 10.7979 10.7822 10.7663 10.7520 10.7385 10.7270 10.7174 10.7091 10.7022 10.6970 10.6946 10.6937 10.6949
10.6996 10.7058 10.7163 10.7283 10.7437 10.7612 10.7807 10.8034 10.8267 10.8534 10.8818 10.9110 10.9422 10.9743
11.0074 11.0414 11.0759 11.1108 11.1461 11.1811 11.2156 11.2496 11.2826 11.3146 11.3460 11.3753 11.4037 11.4302
11.4538 11.4760 11.4958 11.5133 11.5286 11.5404 11.5505 11.5580 11.5621 11.5634 11.5617 11.5563 11.5477 11.5346
11.5193 11.5002 11.4789 11.4548 11.4279 11.3994 11.3688 11.3366 11.3036 11.2696 11.2363 11.2007 11.1666 11.1333
11.1018 11.0714 11.0424 11.0155 10.9912 10.9698 10.9508 10.9355 10.9230 10.9139 10.9083 10.9069 10.9057 10.9013
10.8951 10.8854 10.8740 10.8591 10.8429 10.8242 10.8039 10.7820 10.7592 10.7342 10.7092 10.6834 10.6572 10.6312
10.6052 10.5803 10.5560 10.5328 10.5101 10.4904 10.4722 10.4552 10.4408 10.4285 10.4197 10.4129 10.4088 10.4077
10.4077 10.4077 10.4077 10.4077 10.4077 10.4077 10.4077 10.4077
""",
}
_FILL = 0.0
# By wavelength: centre and FWHM in nm, detector and number.
_BANDS = sorted(
    (float(centre), float(width), detector, number)
    for detector, first in _FIRST.items()
    for number, (centre, width) in enumerate(
        zip(_CENTRES[detector].split(), _WIDTHS[detector].split(), strict=True), first
    )
)


def metadata_of(path: Path) -> Path | None:
    """The metadata file itself; None for any other file, a band's too."""
    return path if _METADATA.fullmatch(path.name) else None


def metadata_in(folder: Path) -> list[Path]:
    """The metadata files of the scenes in a folder. Raises InputError where bands lie there without."""
    names = sorted(folder.iterdir())
    found = [path for path in names if _METADATA.fullmatch(path.name)]
    if not found and any(_BAND.fullmatch(path.name) for path in names):
        raise InputError(
            f"{folder}: holds bands of Hyperion without *_MTL_L1T.TXT, their scale: unpack it anew"
        )
    return found


def read(metadata: Path) -> Product:
    """The product of a metadata file. Raises InputError: another level or sensor, damaged, a band missing."""
    groups = read_odl(metadata, _ROOT, "Hyperion")
    level = _LEVELS.get(text_of(groups, _PRODUCT, "PRODUCT_TYPE", metadata).upper())
    sensor = text_of(groups, _PRODUCT, "SENSOR_ID", metadata)
    if level is None or sensor != "HYPERION":
        raise InputError(
            f"{metadata}: is of {sensor[:20]}, {groups[_PRODUCT]['PRODUCT_TYPE'][:20]}: Hyperion's L1T and L1Gst "
            "are known: get the scene as one of them"
        )
    stated = _METADATA.fullmatch(metadata.name)
    scene = stated["scene"] if stated else ""
    date, time = (text_of(groups, _PRODUCT, key, metadata) for key in ("ACQUISITION_DATE", "START_TIME"))
    factors = {detector: _factor(groups, detector, metadata) for detector in _FIRST}
    return Product(
        name=f"Hyperion {level}",
        path=metadata,
        metadata=metadata,
        driver="GTiff",
        layers=tuple(Layer(_image(groups, number, scene, metadata)) for *_, number in _BANDS),
        bands=Bands(
            count=len(_BANDS),
            wavelengths_nm=tuple(centre for centre, *_ in _BANDS),
            fwhm_nm=tuple(width for _, width, *_ in _BANDS),
            names=tuple(f"B{number:03d}" for *_, number in _BANDS),
            units=(_UNITS,) * len(_BANDS),
        ),
        nodata=(_FILL,),
        scales=tuple(factors[detector] for *_, detector, _ in _BANDS),
        offsets=(0.0,) * len(_BANDS),
        size=(
            int(number_of(groups, _PRODUCT, "PRODUCT_LINES", metadata)),
            int(number_of(groups, _PRODUCT, "PRODUCT_SAMPLES", metadata)),
        ),
        tags={
            "acquisition_time": f"{date}T{time.split()[-1]}",
            "sensor_type": "EO-1 Hyperion",
            "processing_level": level,
            "product_id": scene,
        },
        band_tags={"detector": tuple(detector for *_, detector, _ in _BANDS)},
    )


def _factor(groups: Groups, detector: str, path: Path) -> float:
    divisor = number_of(groups, "RADIANCE_SCALING", f"SCALING_FACTOR_{detector}", path)
    if divisor <= 0:
        raise InputError(f"{path}: has a SCALING_FACTOR_{detector} of {divisor:g}: get the product again")
    return 1 / divisor


def _image(groups: Groups, band: int, scene: str, path: Path) -> Path:
    """A band's image, by the name in the metadata, of the metadata's own scene."""
    name = text_of(groups, _PRODUCT, f"BAND{band}_FILE_NAME", path)
    image = path.parent / name
    if not _BAND.fullmatch(name) or not name.upper().startswith(f"{scene.upper()}_B") or not image.is_file():
        raise InputError(
            f"{path}: the image of band {band}, {name[:100]}, is not beside it: unpack the whole product, or put "
            "the metadata of this scene there"
        )
    return image
