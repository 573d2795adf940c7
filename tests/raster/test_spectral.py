"""Wavelengths and FWHM as strangers state them: in the wrong unit, unknown, with their unit, in names."""

from __future__ import annotations

import logging

import pytest

from emrdiff_cli.raster.metadata import StoredTags, read_bands
from emrdiff_cli.raster_info import Bands

Lists = dict[str, str]
CUBE = "{450, 455, 460, 465}"
NM = (450.0, 455.0, 460.0, 465.0)


def read(count: int = 4, **given: object) -> Bands:
    usual: dict[str, object] = {"dataset": {}, "envi": {}, "names": [""] * count}
    usual |= {"bands": [{}] * count, "imagery": [{}] * count}
    return read_bands(StoredTags(**usual | given))  # type: ignore[arg-type]


def listed(wavelength: str, units: str, **more: str) -> Bands:
    return read(envi={"wavelength": wavelength, "wavelength_units": units, **more}, header_alone=True)


@pytest.mark.parametrize(
    ("text", "units", "expected", "said"),
    [
        ("{0.45, 0.455, 0.46, 0.465}", "Nanometers", NM, "cannot be in the unit stated"),
        ("{450, 455, 460, 465,}", "nm", NM, None),
        ("{450 455 460 465}", "nm", None, "other than numbers"),
        (CUBE, "Micrometers", NM, "cannot be in the unit stated"),
        (CUBE, "Meters", NM, "cannot be in the unit stated"),
        ("{4.5e-7, 4.55e-7, 4.6e-7, 4.65e-7}", "m", NM, None),
        ("{8, 9.5, 11, 12.5}", "Micrometers", (8000, 9500, 11000, 12500), None),
        ("{8, 9.5, 11, 12.5}", "nm", (8000, 9500, 11000, 12500), "cannot be"),
        ("{1, 2, 3, 4}", "nm", None, "bands' numbers"),
        ("{1, 2, 3, 4}", "", None, "bands' numbers"),
        ("{0.1, 5, 900, 4000}", "nm", None, "nor in nm or um"),
        ("{478, 1e-317, 1252, 1489}", "", None, "cannot be in nm or um"),
        ("{478, 500, 1252, 2.2e11}", "furlongs", None, "cannot be in nm or um"),
        ("{450, 0, 460, 0}", "nm", None, "unknown (0 or less) in bands 2, 4"),
        ("{0, 0, 0, 0}", "nm", None, "unknown (0 or less) in bands 1-4"),
        ("{450, -1, 460, 465}", "nm", None, "unknown (0 or less) in band 2"),
        ("{450,1, 455,2, 460,3, 465,4}", "nm", None, "8 entries"),
    ],
)
def test_wavelengths_that_contradict_their_unit(
    text: str,
    units: str,
    expected: tuple[float, ...] | None,
    said: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    assert listed(text, units).wavelengths_nm == expected
    assert caplog.text == "" if said is None else said in caplog.text


@pytest.mark.parametrize(
    ("fwhm", "units", "expected", "said"),
    [
        ("{5.1, 5.2, 5.3, 5.4}", "nm", (5.1, 5.2, 5.3, 5.4), ""),
        ("{0.0051, 0.0052, 0.0053, 0.0054}", "nm", (5.1, 5.2, 5.3, 5.4), "taken as um"),
        ("{0.25, 0.25, 0.25, 0.25}", "nm", (0.25,) * 4, ""),
        ("{60, 60, 60, 60}", "nm", (60,) * 4, ""),
        ("{5, 0, 5, 5}", "nm", None, "in band 2"),
        ("{9000, 1e7, 1, 1}", "nm", None, "ignored"),
        ("{1e-320, 10, 10, 10}", "nm", None, "ignored"),
        ("{10, 1.2e10, 10, 10}", "furlongs", None, "ignored"),
    ],
)
def test_fwhm_that_contradict_their_unit(
    fwhm: str, units: str, expected: tuple[float, ...] | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    found = listed(CUBE, units, fwhm=fwhm)
    assert (found.wavelengths_nm, found.fwhm_nm) == (NM, expected)
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


def test_fwhm_in_um_of_broad_bands_far_apart() -> None:
    found = listed("{490, 560, 665, 842}", "nm", fwhm="{0.065, 0.035, 0.03, 0.115}")
    assert found.fwhm_nm == (65, 35, 30, 115)
    assert listed("{0.49, 0.56, 0.665, 0.842}", "um", fwhm="{65, 35, 30, 115}").fwhm_nm == (65, 35, 30, 115)
    assert listed("{0.49, 0.56, 0.665, 0.842}", "nm", fwhm="{65, 35, 30, 115}").fwhm_nm == (65, 35, 30, 115)


@pytest.mark.parametrize("key", ["Wavelength", "WAVELENGTH", " wavelength"])
def test_band_tags_are_read_whatever_their_case(key: str) -> None:
    """`Wavelength`, `Wavelength_Units` and `FWHM` as Wyvern writes them."""
    found = read(bands=[{key: str(nm), "Wavelength_Units": "nm", "FWHM": "20"} for nm in NM])
    assert (found.wavelengths_nm, found.fwhm_nm) == (NM, (20,) * 4)


def test_each_band_tag_has_its_own_unit() -> None:
    tags = [
        {"wavelength": "450", "wavelength_units": "nm"},
        {"wavelength": "0.455", "wavelength_units": "um"},
        {"wavelength": "460 nm"},
        {"wavelength": "0.465 Micrometers"},
    ]
    assert read(bands=tags).wavelengths_nm == NM


def test_a_band_tag_that_is_no_number_is_said(caplog: pytest.LogCaptureFixture) -> None:
    tags = [{"Wavelength": text, "Wavelength_Units": "nm"} for text in ("450", "n/a", "460", "465")]
    assert read(bands=tags).wavelengths_nm is None
    assert "the band tag 'wavelength' is no number ('n/a') in band 2" in caplog.text
    caplog.clear()
    assert read(bands=[*tags[:1], {}, *tags[2:]]).wavelengths_nm is None
    assert "missing in band 2" in caplog.text


def test_of_an_envi_raster_its_header_alone_counts() -> None:
    """GDAL fills band tags and IMAGERY with what it can make of a list that nobody can read."""
    halves = [{"wavelength": text, "wavelength_units": "Nanometers"} for text in ("450", "455", "0", "460")]
    made = [{"CENTRAL_WAVELENGTH_UM": "0.450", "FWHM_UM": "0.005"}] * 4
    names = [f"band {i} ({nm} nm)" for i, nm in enumerate(NM, 1)]
    envi = {"wavelength": "{450;455;460;465}", "fwhm": "{a}", "wavelength_units": "nm"}
    found = read(envi=envi, bands=halves, imagery=made, names=names, header_alone=True)
    assert (found.wavelengths_nm, found.fwhm_nm) == (None, None)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([f"band {i} ({nm / 1000:.6f} Micrometers)" for i, nm in enumerate(NM, 1)], NM),
        ([f"B{i}: {nm:g}nm" for i, nm in enumerate(NM, 1)], NM),
        (["450 nm", "455 NM", "0.46 \u00b5m", "465 nanometers"], NM),
        (["450 nm", "455 nm", "460 nm", "NIR"], None),
        (["450-455 nm", "455-460 nm", "460-465 nm", "465-470 nm"], None),
        ([f"{nm:g} nm, FWHM 5 nm" for nm in NM], None),
        ([f"band {i} at 10 m" for i in range(4)], None),
    ],
)
def test_wavelengths_in_all_names_are_read(names: list[str], expected: tuple[float, ...] | None) -> None:
    found = read(names=names)
    assert found.wavelengths_nm == expected
    assert found.names == tuple(names)
    tagged = read(names=names, envi={"wavelength": "{500, 510, 520, 530}", "wavelength_units": "nm"})
    assert tagged.wavelengths_nm == (500, 510, 520, 530)
