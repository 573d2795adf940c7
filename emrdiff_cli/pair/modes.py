"""What is asked of a pair's geometry; see `pair.registration.register`."""

from __future__ import annotations

from typing import Literal, NamedTuple

Register = Literal["auto", "off", "shift", "full"]


class AskedGeometry(NamedTuple):
    """How much of a geometry is looked for, and what is given in place of that: `register`'s arguments."""

    register: Register = "auto"
    shift: tuple[float, float] | None = None
    psf_fwhm: tuple[float, float] | None = None
