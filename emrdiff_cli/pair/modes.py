"""How much of a pair's geometry is looked for; see `pair.registration.register`."""

from __future__ import annotations

from typing import Literal

Register = Literal["auto", "off", "shift", "full"]
