"""Fields: paddies, row crops, bare and mulched soil, orchards, greenhouses, with their tracks and ditches."""

from __future__ import annotations

import numpy as np
from canvas import Array, Canvas, Frame, Patch, Rect, intervals
from nature import grass, tree, water


def fields(canvas: Canvas, frame: Frame, rect: Rect, wet: float) -> None:
    """A consolidated block of farmland: strips between tracks, cut into parcels; `wet` is the paddies' share."""
    rng = canvas.rng
    grass(canvas, canvas.rectangle(frame, rect), 0.75)
    depth = float(rng.uniform(38, 95)) if wet > 0.5 else float(rng.uniform(25, 60))
    widths = (10.0, 32.0) if wet > 0.5 else (5.0, 22.0)
    for strip, lane in intervals(rng, rect.v0, rect.v1, (0.8 * depth, 1.2 * depth), 5.0):
        for start, end in intervals(rng, rect.u0, rect.u1, widths, 0.0):
            parcel = Rect(start, end, strip, lane).inset(float(rng.uniform(0.3, 0.8)))
            _parcel(canvas, frame, parcel, wet)
        track(canvas, frame, Rect(rect.u0, rect.u1, lane + 0.8, lane + 3.8))
        ditch(canvas, frame, Rect(rect.u0, rect.u1, lane + 4.0, lane + 4.9))


def track(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """A farm track: gravel or asphalt with a green middle."""
    rng, bank = canvas.rng, canvas.bank
    patch = canvas.rectangle(frame, rect)
    surface = bank.pick(rng, str(rng.choice(["gravel", "dirt", "road", "sand"])))
    middle = np.abs(patch.v - rect.centre[1]) < 0.4
    green = np.clip(0.5 * middle + 0.15 * canvas.noise(patch, 2.5), 0.0, 0.8) * (rng.random() < 0.7)
    canvas.fill(patch, [(surface, 1 - green), (bank.pick(rng, "grass"), green)], 0.9)


def ditch(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """A concrete channel with water in it."""
    patch = canvas.rectangle(frame, rect)
    canvas.fill(patch, [(canvas.bank.pick(canvas.rng, "sidewalk"), 1.0)], 0.8)
    water(canvas, canvas.rectangle(frame, rect.inset(0.25)))


def _parcel(canvas: Canvas, frame: Frame, rect: Rect, wet: float) -> None:
    """One parcel of a random use."""
    rng = canvas.rng
    if rect.length < 2 or rect.width < 2:
        return
    if rng.random() < wet:
        _paddy(canvas, frame, rect)
        return
    uses = (_row_crop, _bare, _mulched, _stubble, _fallow, _orchard, _tunnels)
    use = rng.choice(len(uses), p=(0.36, 0.2, 0.1, 0.1, 0.1, 0.08, 0.06))
    uses[use](canvas, frame, rect)


def _rows(patch: Patch, rng: np.random.Generator, period: float, along: bool) -> Array:
    """A wave of unit amplitude across the sowing rows."""
    across = patch.v if along else patch.u
    wave: Array = np.cos(across * np.float32(2 * np.pi / period) + np.float32(rng.uniform(0, 6.28)))
    return wave


def _crop(canvas: Canvas, patch: Patch, rows: Array, cover: float, below: int, strength: float) -> None:
    """A crop of two close spectra over the soil or water below, in rows, its vigour varying over the parcel."""
    rng = canvas.rng
    first, second = rng.choice(canvas.bank.family(rng, "crop"), 2)
    blend = np.clip(0.5 + 0.35 * canvas.noise(patch, 8.0) + 0.2 * canvas.noise(patch, 30.0), 0.0, 1.0)
    vigour = cover + strength * rows + 0.09 * canvas.noise(patch, 8.0) + 0.06 * canvas.noise(patch, 2.5)
    green = np.clip(vigour + 0.04 * canvas.noise(patch, 0.7), 0.0, 1.0)
    gain = rng.uniform(0.78, 1.08) * (1.0 + 0.04 * canvas.noise(patch, 2.5) + 0.05 * rows * strength)
    mixture = [(int(first), green * blend), (int(second), green * (1 - blend)), (below, 1 - green)]
    canvas.fill(patch, mixture, gain)


def _paddy(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """Rice over water: from just planted to closed, or drained and yellowing."""
    rng, bank = canvas.rng, canvas.bank
    patch = canvas.rectangle(frame, rect)
    below = bank.pick(rng, "water") if rng.random() < 0.7 else bank.pick(rng, "npv")
    cover = float(rng.choice([0.15, 0.5, 0.75, 0.9, 0.95], p=[0.08, 0.12, 0.25, 0.3, 0.25]))
    rows = _rows(patch, rng, float(rng.uniform(1.3, 2.6)), rect.width > rect.length)
    _crop(canvas, patch, rows, cover, below, float(rng.uniform(0.03, 0.14)))


def _row_crop(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """Vegetables or beans in rows."""
    rng = canvas.rng
    patch = canvas.rectangle(frame, rect)
    rows = _rows(patch, rng, float(rng.uniform(1.3, 4.0)), rng.random() < 0.5)
    _crop(
        canvas,
        patch,
        rows,
        float(rng.uniform(0.25, 0.95)),
        canvas.bank.pick(rng, "soil"),
        float(rng.uniform(0.08, 0.4)),
    )


def _bare(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """Ploughed or harrowed soil: two soils by moisture, furrows lit on one side, some weed."""
    rng = canvas.rng
    patch = canvas.rectangle(frame, rect)
    rows = _rows(patch, rng, float(rng.uniform(1.3, 3.0)), rng.random() < 0.5)
    first, second = rng.choice(canvas.bank.family(rng, "soil"), 2)
    moist = np.clip(0.5 + 0.35 * canvas.noise(patch, 30.0) + 0.25 * canvas.noise(patch, 2.5), 0.0, 1.0)
    weed = np.clip(0.3 * canvas.noise(patch, 2.5) - 0.35, 0.0, 0.4)
    gain = rng.uniform(0.6, 1.0) * (1.0 + rng.uniform(0.02, 0.14) * rows + 0.06 * canvas.noise(patch, 0.7))
    soil = [(int(first), moist * (1 - weed)), (int(second), (1 - moist) * (1 - weed))]
    mixture = [*soil, (canvas.bank.pick(rng, "grass"), weed)]
    canvas.fill(patch, mixture, gain)


def _mulched(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """Beds under white or black film with crop growing through."""
    rng, bank = canvas.rng, canvas.bank
    _bare(canvas, frame, rect)
    patch = canvas.rectangle(frame, rect)
    rows = _rows(patch, rng, float(rng.uniform(1.6, 2.6)), rng.random() < 0.5)
    film = bank.pick(rng, str(rng.choice(["film", "black_film"])))
    green = np.clip(rng.uniform(0.0, 0.7) + 0.15 * canvas.noise(patch, 2.5), 0.0, 1.0)
    canvas.fill(patch.where(rows > -0.1), [(film, 1 - green), (bank.pick(rng, "crop"), green)], 0.95)


def _stubble(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """Straw and stubble in swaths over soil."""
    rng, bank = canvas.rng, canvas.bank
    patch = canvas.rectangle(frame, rect)
    rows = _rows(patch, rng, float(rng.uniform(2.5, 6.0)), rng.random() < 0.5)
    straw = np.clip(rng.uniform(0.4, 0.85) + 0.2 * rows + 0.15 * canvas.noise(patch, 2.5), 0.0, 1.0)
    dry = bank.pick(rng, str(rng.choice(["npv", "litter"])))
    weed = np.clip(0.25 * canvas.noise(patch, 8.0), 0.0, 0.5)
    canvas.fill(
        patch,
        [(dry, straw), (canvas.bank.pick(rng, "soil"), 1 - straw), (bank.pick(rng, "grass"), weed)],
        0.95,
    )


def _fallow(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """Weeds of uneven height with a few bushes."""
    rng = canvas.rng
    grass(canvas, canvas.rectangle(frame, rect), float(rng.uniform(0.4, 0.85)))
    for _ in range(rng.poisson(rect.length * rect.width / 250)):
        x, y = frame.to_xy(rng.uniform(rect.u0, rect.u1), rng.uniform(rect.v0, rect.v1))
        tree(canvas, x, y, float(rng.uniform(0.7, 1.6)), "grass")


def _orchard(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """Fruit trees on a grid over mown grass (pears, chestnuts)."""
    rng = canvas.rng
    grass(canvas, canvas.rectangle(frame, rect), 0.6)
    family, spacing = canvas.bank.family(rng, "tree"), float(rng.uniform(3.2, 6.0))
    for u in np.arange(rect.u0 + spacing / 2, rect.u1 - 1, spacing):
        for v in np.arange(rect.v0 + spacing / 2, rect.v1 - 1, spacing):
            x, y = frame.to_xy(u + rng.normal(0, 0.2), v + rng.normal(0, 0.2))
            tree(canvas, x, y, float(rng.uniform(0.3, 0.48)) * spacing, leaf=int(rng.choice(family)))


def _tunnels(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """Low tunnels and greenhouses side by side along the parcel."""
    rng = canvas.rng
    _bare(canvas, frame, rect)
    turned = rect.width > rect.length
    span = float(rng.uniform(5.0, 7.5))
    start, end = (rect.u0, rect.u1) if turned else (rect.v0, rect.v1)
    for low in np.arange(start + 0.6, end - span, span + float(rng.uniform(0.8, 2.5))):
        if rng.random() < 0.9:
            lane = Rect(low, low + span, rect.v0 + 1, rect.v1 - 1)
            across = Rect(rect.u0 + 1, rect.u1 - 1, low, low + span)
            _greenhouse(canvas, frame, lane if turned else across, turned)


def _greenhouse(canvas: Canvas, frame: Frame, rect: Rect, turned: bool) -> None:
    """A vault of film over soil and crop: brightest where it faces the sun."""
    rng, bank, sun = canvas.rng, canvas.bank, canvas.sun
    patch = canvas.rectangle(frame, rect)
    middle, half = (rect.centre[0], rect.length / 2) if turned else (rect.centre[1], rect.width / 2)
    arch = ((patch.u if turned else patch.v) - middle) / half
    facing = frame.angle + (np.pi / 2 if turned else np.pi)
    lean = arch * np.float32(np.cos(sun.azimuth - facing) / np.tan(sun.elevation))
    gain = np.clip(1.0 + 0.3 * lean + 0.03 * canvas.noise(patch, 2.5), 0.4, 1.6)
    opaque = float(rng.uniform(0.5, 0.95))
    green = np.clip(rng.uniform(-0.2, 1.0) + 0.1 * canvas.noise(patch, 2.5), 0.0, 1.0) * (1 - opaque) * 0.8
    mixture = [(bank.pick(rng, "film"), opaque), (bank.pick(rng, "crop"), green)]
    canvas.fill(
        patch,
        [*mixture, (canvas.bank.pick(rng, "soil"), 1 - opaque - green)],
        gain,
        2.8 * np.sqrt(np.maximum(1 - arch**2, 0.1)),
    )


def greenhouses(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """A horticulture block: parcels mostly under film."""
    rng = canvas.rng
    grass(canvas, canvas.rectangle(frame, rect), 0.6)
    for strip, lane in intervals(rng, rect.v0, rect.v1, (35, 60), 5.0):
        for start, end in intervals(rng, rect.u0, rect.u1, (20, 50), 2.0):
            use = _tunnels if rng.random() < 0.7 else _row_crop
            use(canvas, frame, Rect(start, end, strip, lane))
        track(canvas, frame, Rect(rect.u0, rect.u1, lane + 0.8, lane + 4.0))
