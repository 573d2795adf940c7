"""Band centres as a user gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from emrdiff_cli.conversion.wavelengths import read_wavelengths
from emrdiff_cli.errors import InputError, UsageError


def test_ranges_include_the_stop() -> None:
    assert read_wavelengths("400:700:10").wavelengths_nm == tuple(range(400, 701, 10))
    assert read_wavelengths("400.4:400.6:0.1").wavelengths_nm == (400.4, 400.5, 400.6)
    assert read_wavelengths("400:425:10").wavelengths_nm == (400, 410, 420)


@pytest.mark.parametrize(
    "text",
    [
        *("none.csv", "400:700", "400:700:0", "700:400:10", "400:700:-10"),
        *("0:10:1", "0.4:0.6:0.1", "1:1e9:1", "a:b:c", "1:nan:1", "1:inf:1"),
    ],
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(UsageError, match=f"--wavelengths {text}: "):
        read_wavelengths(text)


def test_csv_with_and_without_fwhm(tmp_path: Path) -> None:
    table = tmp_path / "centres.csv"
    table.write_text("\ufeffwavelength_nm,fwhm_nm\n# of the camera\n450.5,20\n550, 25\n\n650,30.5\n", "utf-8")
    bands = read_wavelengths(str(table))
    assert (bands.wavelengths_nm, bands.fwhm_nm) == ((450.5, 550, 650), (20, 25, 30.5))
    table.write_text(",\n450\r\n550;\n")
    bands = read_wavelengths(str(table))
    assert (bands.count, bands.wavelengths_nm, bands.fwhm_nm) == (2, (450, 550), None)


@pytest.mark.parametrize(
    "text", ["", "nm\n", "450,20\n550\n", "450,2,3\n", "450\nx\n", "450\n-5\n", "450\nnan\n", ",\n;\n"]
)
def test_what_is_no_csv_of_centres(tmp_path: Path, text: str) -> None:
    table = tmp_path / "centres.csv"
    table.write_text(text)
    with pytest.raises(InputError, match="every line needs a centre in nm"):
        read_wavelengths(str(table))
