"""Spectral metadata: units, sources in their order, scale, and headers from strangers."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emrdiff_cli.errors import InputError
from emrdiff_cli.raster.metadata import (
    StoredTags,
    band_tags,
    common_value,
    envi_lists,
    fits_dtype,
    format_factor,
    join_list,
    parse_factor,
    read_bands,
    read_scale,
    split_list,
)
from emrdiff_cli.raster_info import Bands


def tags(envi: dict[str, str] | None = None, **others: Any) -> StoredTags:
    given: dict[str, Any] = {
        "dataset": {},
        "envi": envi or {},
        "bands": [{}, {}],
        "imagery": [{}, {}],
        "names": ["", ""],
    }
    return StoredTags(**(given | others))


@pytest.mark.parametrize(
    ("unit", "text", "expected"),
    [
        ("Nanometers", "{558.4, 1000}", (558.4, 1000.0)),
        ("nm", "{558.4, 1000}", (558.4, 1000.0)),
        ("NANOMETER", "{558.4, 1000}", (558.4, 1000.0)),
        ("Micrometers", "{ 0.5584,\n 1.0 }", (558.4, 1000.0)),
        ("micrometre", "{0.5584, 1e0}", (558.4, 1000.0)),
        ("um", "{0.5584, 1}", (558.4, 1000.0)),
        ("\u00b5m", "{0.5584, 1}", (558.4, 1000.0)),
        ("\u03bcm", "{0.5584, 1}", (558.4, 1000.0)),
    ],
)
def test_units_are_understood_and_converted_without_rounding_noise(
    unit: str, text: str, expected: tuple[float, float]
) -> None:
    bands = read_bands(tags({"wavelength": text, "wavelength_units": unit}))
    assert bands.wavelengths_nm == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("{0.45, 2.4}", (450.0, 2400.0)), ("{450, 2400}", (450.0, 2400.0))]
)
def test_missing_unit_is_guessed_and_said(
    text: str, expected: tuple[float, float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_bands(tags({"wavelength": text})).wavelengths_nm == expected
    assert "taken as" in caplog.text


def test_envi_list_wins_over_band_tags_and_those_over_imagery() -> None:
    imagery = [{"CENTRAL_WAVELENGTH_UM": "0.1", "FWHM_UM": "0.005"}] * 2
    banded = [
        {"wavelength": "500", "fwhm": "5.1", "wavelength_units": "nm", "bbl": "0"},
        {"wavelength": "600"},
    ]
    own = {"wavelength": "{700, 800}", "wavelength_units": "nm"}
    everything = read_bands(tags(own, bands=banded, imagery=imagery))
    assert everything.wavelengths_nm == (700, 800)
    assert everything.fwhm_nm == (5, 5)  # the second band has no tag
    assert everything.good is None
    assert read_bands(tags(bands=banded, imagery=imagery)).wavelengths_nm == (500, 600)
    assert read_bands(tags(imagery=imagery)).wavelengths_nm == (100, 100)


def test_list_that_does_not_fit_the_bands_is_ignored_and_said(caplog: pytest.LogCaptureFixture) -> None:
    banded = [{"wavelength": "500", "wavelength_units": "nm"}, {"wavelength": "600"}]
    assert read_bands(tags({"wavelength": "{1, 2, 3}"}, bands=banded)).wavelengths_nm == (500, 600)
    assert "3 entries" in caplog.text
    assert read_bands(tags({"fwhm": "{a, b}", "wavelength_units": "nm"})).fwhm_nm is None
    assert read_bands(tags({"wavelength": "{1, 2}", "wavelength_units": "Wavenumber"})).wavelengths_nm is None


def test_bad_bands_and_names() -> None:
    read = read_bands(tags({"bbl": "{1.0, 0}"}, names=["NIR", "Band 2"]))
    assert read.good == (True, False)
    assert read.names == ("NIR", "Band 2")
    assert read_bands(tags(names=["Band 1", "Band 2"])).names is None


@given(st.text(max_size=40), st.text(max_size=10), st.text(max_size=20))
@settings(deadline=None)
def test_no_header_text_makes_the_parser_fail(numbers: str, unit: str, factor: str) -> None:
    envi = {"wavelength": numbers, "fwhm": "{" + numbers + "}", "bbl": numbers, "wavelength_units": unit}
    read = read_bands(tags(envi))
    assert read.count == 2
    scale, _, recorded = read_scale(tags({"reflectance_scale_factor": factor}), (1.0, 0.0))
    assert scale > 0
    assert recorded or scale == 1


@given(st.floats(min_value=1e-12, max_value=1e12))
@settings(deadline=None)
def test_scale_survives_as_reflectance_scale_factor(scale: float) -> None:
    assert parse_factor(format_factor(scale)) == scale


def test_usual_scales_are_written_in_short() -> None:
    assert format_factor(1e-4) == "10000"
    assert format_factor(1.0) == "1"


def test_scale_sources_in_their_order() -> None:
    factor = {"reflectance_scale_factor": "10000"}
    assert read_scale(tags(factor), (0.5, 2.0)) == (1e-4, 0.0, True)
    assert read_scale(tags(dataset=factor), (0.5, 2.0)) == (0.5, 2.0, True)
    assert read_scale(tags(dataset=factor), (1.0, 0.0)) == (1e-4, 0.0, True)
    assert read_scale(tags(), (1.0, 0.0)) == (1.0, 0.0, False)


def two(low: float, high: float) -> st.SearchStrategy[tuple[float, ...]]:
    return st.lists(st.floats(low, high), min_size=2, max_size=2).map(tuple)


@given(two(100, 1e5), two(1, 100))
@settings(deadline=None)
def test_lists_and_band_tags_give_the_numbers_back(
    wavelengths: tuple[float, ...], fwhm: tuple[float, ...]
) -> None:
    bands = Bands(2, wavelengths, fwhm, (True, False))
    assert read_bands(tags(envi_lists(bands))) == bands
    written = [band_tags(bands, i) for i in range(2)]
    assert read_bands(tags(bands=[own for own, _ in written])) == bands
    imagery = read_bands(tags(imagery=[imagery for _, imagery in written]))
    assert (imagery.wavelengths_nm, imagery.fwhm_nm) == (wavelengths, fwhm)


def test_lists_are_split_as_joined() -> None:
    assert split_list(join_list(["a b", 1.5])) == ["a b", "1.5"]
    assert split_list("{}") == []


def test_bands_that_differ_are_an_error() -> None:
    assert common_value([float("nan"), float("nan")], "nodata values", "x") != 0
    with pytest.raises(InputError, match=r"x: its bands have different nodata values \(-99.0, None\)"):
        common_value([None, -99.0], "nodata values", "x")


@pytest.mark.parametrize(
    ("value", "dtype", "fits"),
    [
        (-9999, "int16", True),
        (-9999, "uint16", False),
        (0.5, "int16", False),
        (float("nan"), "uint8", False),
        (float("nan"), "float32", True),
        (-3.4e38, "float32", True),
        (-1.8e308, "float32", True),
        (-1.7e308, "float32", False),
    ],
)
def test_nodata_fits_dtype(value: float, dtype: str, fits: bool) -> None:
    assert fits_dtype(value, dtype) is fits
