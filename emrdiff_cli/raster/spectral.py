"""Wavelengths and FWHM in nm from what a file states: numbers with units, and whether both can be true."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from statistics import median

from emrdiff_cli.core.band_numbers import numbered_bands

_log = logging.getLogger(__name__)

_POWER_TO_NM = {
    **dict.fromkeys(("nanometers", "nanometer", "nanometres", "nanometre", "nm"), 0),
    **dict.fromkeys(("micrometers", "micrometer", "micrometres", "micrometre", "microns", "micron"), 3),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm"), 3),
    **dict.fromkeys(("millimeters", "millimeter", "mm"), 6),
    **dict.fromkeys(("meters", "meter", "metres", "metre", "m"), 9),
}
_SHORT = {0: "nm", 3: "um"}
_NOT_A_LENGTH = {"index", "wavenumber", "ghz", "mhz", "hertz"}

LEAST_NM, MOST_NM = 100.0, 100_000.0
"""No optical wavelength lies beyond these."""
_LEAST_FWHM_NM = 0.1
_NARROW_NM = 1.0  # spectrometers so fine are rare, and then sample as finely
_FAR_BELOW_SPACING = 20.0
_FAR_ABOVE_SPACING = 300.0
_NEAR_SPACING = 10.0

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_WITH_UNIT = re.compile(rf"({_NUMBER})\s*([^\W\d_]*)")
_UNITS_IN_NAMES = "|".join(unit for unit, power in _POWER_TO_NM.items() if power in _SHORT)
_IN_NAME = re.compile(rf"(?<![\w.])(\d+(?:\.\d+)?)\s*({_UNITS_IN_NAMES})(?![^\W\d_])", re.IGNORECASE)
_OF_A_WIDTH = re.compile(r"fwhm|width|\d\s*(?:-|\u2013|to)\s*\d", re.IGNORECASE)


@dataclass(frozen=True)
class Stated:
    """Numbers of all bands, each with its unit as written; `label` names them to the user."""

    numbers: tuple[Decimal, ...]
    units: tuple[str, ...]
    label: str


def parse_numbers(texts: Iterable[str]) -> list[Decimal] | None:
    """Read finite numbers; None where one is none, or without any."""
    try:
        numbers = [Decimal(text.strip()) for text in texts]
    except InvalidOperation:
        return None
    finite = bool(numbers) and all(number.is_finite() and number.adjusted() < 300 for number in numbers)
    return numbers if finite else None


def parse_lengths(texts: Sequence[str], unit: str, label: str) -> Stated | None:
    """Read numbers that may carry their unit, `503 nm`; else they are in `unit`. None where one is no number."""
    found = [_WITH_UNIT.fullmatch(text.strip()) for text in texts]
    numbers = parse_numbers(match[1] for match in found if match)
    if numbers is None or len(numbers) < len(texts):
        return None
    return Stated(tuple(numbers), tuple(match[2] or unit for match in found if match), label)


def lengths_in_names(names: Sequence[str]) -> Stated | None:
    """Read the wavelengths in names such as `band 1 (0.4554 Micrometers)`; None unless each has just one.

    A name that speaks of a width or a range has none.
    """
    found = [[] if _OF_A_WIDTH.search(name) else _IN_NAME.findall(name) for name in names]
    if not found or any(len(lengths) != 1 for lengths in found):
        return None
    texts = [" ".join(lengths[0]) for lengths in found]
    return parse_lengths(texts, "", "wavelengths in the bands' names")


def wavelengths_nm(stated: Stated) -> tuple[float, ...] | None:
    """Wavelengths in nm; None, with a warning, where they cannot be any: 0 is an unknown one.

    A unit that contradicts the values gives way, with a warning, to nm or um, whichever makes light of them.
    """
    powers = _powers(stated)
    if powers is None or not _all_known(stated):
        return None
    told = None not in powers
    values = _scaled(stated.numbers, powers)
    if told and _of_light(values):
        return values
    if _are_band_numbers(stated.numbers):
        _log.warning("%s: the bands' numbers, not wavelengths: ignored", stated.label)
        return None
    power = 0 if max(stated.numbers) > LEAST_NM else 3
    return _otherwise(stated, power, told, _of_light)


def fwhm_nm(stated: Stated, wavelengths: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """FWHM in nm, as `wavelengths_nm` reads wavelengths; held against these where they are known."""

    def plausible(values: Sequence[float]) -> bool:
        return _may_be_widths(values, wavelengths)

    powers = _powers(stated)
    if powers is None or not _all_known(stated):
        return None
    told = None not in powers
    values = _scaled(stated.numbers, powers)
    if told and plausible(values):
        return values
    return _otherwise(stated, 0 if max(stated.numbers) > 1 else 3, told, plausible)


def are_spectral(wavelengths: Sequence[float] | None, fwhm: Sequence[float] | None) -> bool:
    """Whether numbers may be wavelengths and FWHM of bands in nm, so that a file of them is believed."""
    return (wavelengths is None or _of_light(wavelengths)) and (
        fwhm is None or _may_be_widths(fwhm, wavelengths)
    )


def _otherwise(
    stated: Stated, power: int, told: bool, plausible: Callable[[Sequence[float]], bool]
) -> tuple[float, ...] | None:
    """The numbers in nm or um, said with a warning; None where they cannot be in that. `told`: another unit was."""
    values = _scaled(stated.numbers, [power] * len(stated.numbers))
    unit = ", ".join(repr(unit) for unit in dict.fromkeys(stated.units))
    span = f"{min(stated.numbers)} to {max(stated.numbers)}"
    found = f"{span} cannot be in the unit stated ({unit})" if told else f"no known unit ({unit})"
    if plausible(values):
        _log.warning("%s: %s: taken as %s", stated.label, found, _SHORT[power])
        return values
    nor = ", nor in nm or um" if told else f", and {span} cannot be in nm or um"
    _log.warning("%s: %s%s: ignored", stated.label, found, nor)
    return None


def _powers(stated: Stated) -> list[int | None] | None:
    """Powers of ten to nm, None for a unit that is not known; None, with a warning, for what is no length."""
    units = [unit.strip().lower() for unit in stated.units]
    for unit in units:
        if unit in _NOT_A_LENGTH:
            _log.warning("%s: in the unit '%s', not a wavelength: ignored", stated.label, unit)
            return None
    return [_POWER_TO_NM.get(unit) for unit in units]


def _all_known(stated: Stated) -> bool:
    unknown = [band for band, number in enumerate(stated.numbers, 1) if number <= 0]
    if unknown:
        bands = numbered_bands(unknown)
        _log.warning("%s: unknown (0 or less) in %s: ignored in all bands", stated.label, bands)
    return not unknown


def _of_light(values: Sequence[float]) -> bool:
    return all(LEAST_NM <= value <= MOST_NM for value in values)


def _scaled(numbers: Sequence[Decimal], powers: Sequence[int | None]) -> tuple[float, ...]:
    """Convert in decimal, so that 0.5584 um is 558.4 nm and not 558.4000000000001 nm."""
    return tuple(float(number.scaleb(power or 0)) for number, power in zip(numbers, powers, strict=True))


def _are_band_numbers(numbers: Sequence[Decimal]) -> bool:
    return (
        len(numbers) > 2
        and list(numbers) == [numbers[0] + i for i in range(len(numbers))]
        and numbers[0] <= 1
    )


def _may_be_widths(values: Sequence[float], wavelengths: Sequence[float] | None) -> bool:
    """Whether bands can be so wide: against their wavelengths, and against how far apart they lie."""
    usual, widest = median(values), max(values)
    if usual < _LEAST_FWHM_NM or min(values) < _LEAST_FWHM_NM / 10 or widest > MOST_NM:
        return False
    if wavelengths is None or len(set(wavelengths)) < 2:
        return widest <= max(wavelengths or [MOST_NM])
    spacing = median(b - a for a, b in pairwise(sorted(set(wavelengths))))
    if widest > max(*wavelengths, _NEAR_SPACING * spacing) or usual > _FAR_ABOVE_SPACING * spacing:
        return False
    if usual >= _NARROW_NM or usual * _FAR_BELOW_SPACING >= spacing:
        return True
    return not spacing / _NEAR_SPACING <= usual * 1000 <= spacing * _NEAR_SPACING
