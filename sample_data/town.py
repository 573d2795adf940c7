"""Houses, streets, cars, factories, solar farms and schools."""

from __future__ import annotations

import numpy as np
from canvas import Canvas, Frame, Rect, intervals
from nature import grass, tree

_ROOFS = ("concrete_tile", "comp_shingle", "tile", "metal", "coating", "white_paint")
_ROOF_SHARES = (0.22, 0.22, 0.12, 0.08, 0.32, 0.04)


def road(canvas: Canvas, frame: Frame, rect: Rect, lined: bool = False) -> None:
    """A road along the rectangle's longer side: worn asphalt, repairs, and lines on the wide ones."""
    rng, bank = canvas.rng, canvas.bank
    if min(rect.length, rect.width) <= 0:
        return
    patch = canvas.rectangle(frame, rect)
    old, new = bank.pick(rng, "road"), bank.pick(rng, str(rng.choice(["road", "asphalt", "parking_lot"])))
    repaired = np.clip(0.5 + canvas.noise(patch, 30.0), 0.0, 1.0)
    canvas.fill(patch, [(old, 1 - repaired), (new, repaired)], 0.95 + 0.05 * canvas.noise(patch, 2.5))
    along_u = rect.length >= rect.width
    across = patch.v - rect.centre[1] if along_u else patch.u - rect.centre[0]
    half = (rect.width if along_u else rect.length) / 2
    if lined:
        kerb = patch.where(np.abs(across) > half - 1.6)
        canvas.fill(kerb, [(bank.pick(rng, "sidewalk"), 1.0)], 0.9)
        line = (np.abs(across) < 0.3) & (((patch.u if along_u else patch.v) % 10.0) < 6.0)
        canvas.fill(patch.where(line), [(bank.pick(rng, "white_paint"), 0.5), (old, 0.5)])
    _traffic(canvas, frame, rect, along_u, half)


def _traffic(canvas: Canvas, frame: Frame, rect: Rect, along_u: bool, half: float) -> None:
    rng = canvas.rng
    long = max(rect.length, rect.width)
    for _ in range(rng.poisson(long * half / 500)):
        place, side = rng.uniform(0, long), rng.choice((-0.45, 0.45)) * half
        u, v = (
            (rect.u0 + place, rect.centre[1] + side) if along_u else (rect.centre[0] + side, rect.v0 + place)
        )
        car(canvas, frame.at(u, v, 0.0 if along_u else np.pi / 2))


def car(canvas: Canvas, frame: Frame) -> None:
    """A car along u: painted body around dark glass; now and then a lorry."""
    rng, bank = canvas.rng, canvas.bank
    long, wide = (8.5, 2.4) if rng.random() < 0.06 else (float(rng.uniform(3.6, 4.9)), 1.75)
    paint = bank.pick(
        rng, str(rng.choice(["white_paint", "coating", "coating", "paint", "metal", "asphalt"]))
    )
    body = canvas.rectangle(frame, Rect(-long / 2, long / 2, -wide / 2, wide / 2))
    canvas.fill(body, [(paint, 1.0)], float(rng.uniform(0.7, 1.4)), 1.5)
    glass = canvas.rectangle(frame, Rect(long * 0.1, long * 0.28, -wide / 2, wide / 2))
    canvas.fill(glass, [(bank.pick(rng, "panel"), 1.0)], 1.0, 1.5)


def house(canvas: Canvas, frame: Frame, long: float, wide: float, height: float) -> None:
    """A house centred on the frame, its ridge along u: gabled or hipped, each face lit by its slope."""
    rng, bank = canvas.rng, canvas.bank
    material = str(rng.choice(_ROOFS, p=_ROOF_SHARES))
    first, second = rng.choice(bank.family(rng, material), 2)
    patch = canvas.rectangle(frame, Rect(-long / 2, long / 2, -wide / 2, wide / 2))
    tilt, hipped = float(rng.uniform(0.3, 0.6)), rng.random() < 0.55
    to_end = long / 2 - np.abs(patch.u) if hipped else np.full_like(patch.u, 1e3)
    to_eave = wide / 2 - np.abs(patch.v)
    on_end = to_end < to_eave
    tops = height + np.tan(tilt) * np.minimum(to_end, to_eave)
    blend = np.clip(0.5 + 0.4 * canvas.noise(patch, 2.5), 0.0, 1.0)
    wear = rng.uniform(0.75, 1.15) * (1.0 + 0.04 * canvas.noise(patch, 0.7))
    sides = ((0.5, ~on_end & (patch.v < 0)), (1.5, ~on_end & (patch.v >= 0)), (0.0, on_end & (patch.u < 0)))
    for quarter, face in (*sides, (1.0, on_end & (patch.u >= 0))):
        # A face's azimuth: u's own is the frame's angle + 90 degrees clockwise from north.
        facing = frame.angle + np.pi / 2 + {0.0: np.pi, 1.0: 0.0, 0.5: -np.pi / 2, 1.5: np.pi / 2}[quarter]
        gain = wear * canvas.sun.slope_gain(facing, tilt)
        canvas.fill(patch.where(face), [(int(first), blend), (int(second), 1 - blend)], gain, tops)
    if rng.random() < 0.15:
        _rooftop_panels(canvas, frame, Rect(-long / 2 + 1, long / 2 - 1, 0.6, wide / 2 - 0.6), height + 1.0)


def _rooftop_panels(canvas: Canvas, frame: Frame, rect: Rect, height: float) -> None:
    panel = canvas.bank.pick(canvas.rng, "panel")
    canvas.fill(canvas.rectangle(frame, rect), [(panel, 1.0)], 1.0, height)


def homes(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """A residential district: streets, and two rows of lots between each pair of them."""
    rng = canvas.rng
    canvas.fill(canvas.rectangle(frame, rect), [(canvas.bank.pick(rng, "sidewalk"), 1.0)], 0.8)
    depth = float(rng.uniform(14, 19))
    for v in np.arange(rect.v0, rect.v1, 2 * depth + 5.5):
        for low in (v, v + depth):
            _row_of_lots(canvas, frame, Rect(rect.u0, rect.u1, low, min(low + depth, rect.v1)))
        road(canvas, frame, Rect(rect.u0, rect.u1, v + 2 * depth, min(v + 2 * depth + 5.5, rect.v1)))
    for u in np.arange(rect.u0 + float(rng.uniform(30, 60)), rect.u1 - 20, float(rng.uniform(70, 110))):
        road(canvas, frame, Rect(u, u + 4.5, rect.v0, rect.v1))


def _row_of_lots(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    rng, start = canvas.rng, rect.u0
    while rect.u1 - start > 6 and rect.width > 6:
        end = start + float(rng.uniform(10, 17))
        _lot(canvas, frame, Rect(start, min(end, rect.u1), rect.v0, rect.v1).inset(0.3))
        start = end


def _lot(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """A garden or yard, mostly with a house, a car or two, shrubs and a hedge."""
    rng, bank = canvas.rng, canvas.bank
    ground = canvas.rectangle(frame, rect)
    if rng.random() < 0.5:
        grass(canvas, ground, float(rng.uniform(0.15, 0.9)))
    else:
        yard = bank.pick(rng, str(rng.choice(["gravel", "driveway", "soil", "sidewalk", "dirt"])))
        canvas.fill(ground, [(yard, 1.0)], 0.8 + 0.06 * canvas.noise(ground, 0.7))
    if rng.random() < 0.07:
        return
    drive = Rect(rect.u0, rect.u0 + 3.2, rect.v0, rect.v1)
    canvas.fill(canvas.rectangle(frame, drive), [(bank.pick(rng, "driveway"), 1.0)], 0.8)
    if rng.random() < 0.7:
        car(canvas, frame.at(rect.u0 + 1.6, rect.v0 + float(rng.uniform(3, 8)), np.pi / 2))
    _house_on(canvas, frame, Rect(rect.u0 + 3.2, rect.u1, rect.v0, rect.v1))
    _garden(canvas, frame, rect)


def _house_on(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    rng = canvas.rng
    long, wide = min(rect.length - 0.8, rng.uniform(8, 13)), min(rect.width - 3.0, rng.uniform(7, 10.5))
    u, v = rect.centre
    place = frame.at(u, v + float(rng.uniform(-1.5, 1.5)), float(rng.normal(0, 0.02)))
    if long < 3 or wide < 3:
        return
    height = float(rng.choice((3.2, 6.0), p=(0.3, 0.7)))
    if wide > long:
        house(canvas, place.at(0, 0, np.pi / 2), wide, long, height)
    else:
        house(canvas, place, long, wide, height)
    if rng.random() < 0.35:
        house(canvas, place.at(long * 0.32, wide * 0.42), long * 0.5, wide * 0.5, 3.0)


def _garden(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    rng = canvas.rng
    for _ in range(rng.poisson(2.5)):
        u = (
            rng.choice((rect.u0 + 0.8, rect.u1 - 0.8))
            if rng.random() < 0.5
            else rng.uniform(rect.u0, rect.u1)
        )
        v = rng.choice((rect.v0 + 1.2, rect.v1 - 1.2))
        tree(canvas, *frame.to_xy(float(u), float(v)), float(rng.uniform(0.6, 2.0)))
    if rng.random() < 0.35:
        hedge = canvas.rectangle(frame, Rect(rect.u0, rect.u1, rect.v1 - 1.0, rect.v1))
        canvas.fill(hedge, [(canvas.bank.pick(rng, "tree"), 1.0)], 0.75, 1.6)


def farmstead(canvas: Canvas, frame: Frame) -> None:
    """A farmhouse with barns in a yard, sheltered by tall trees on its north and west."""
    rng, bank = canvas.rng, canvas.bank
    size = float(rng.uniform(15, 24))
    yard = canvas.rectangle(frame, Rect(-size, size, -size, size))
    grass(canvas, yard, 0.5)
    inner = canvas.rectangle(frame, Rect(-size + 5, size - 3, -size + 6, size - 3))
    canvas.fill(inner, [(bank.pick(rng, "dirt"), 0.6), (bank.pick(rng, "gravel"), 0.4)], 0.85)
    house(canvas, frame.at(0, -2), float(rng.uniform(13, 17)), float(rng.uniform(9, 11)), 5.0)
    house(canvas, frame.at(size * 0.6, 4, np.pi / 2), float(rng.uniform(8, 14)), 6.0, 3.5)
    house(canvas, frame.at(-size * 0.5, size * 0.6), 8.0, 5.0, 3.0)
    car(canvas, frame.at(2, size * 0.5, float(rng.uniform(0, 3))))
    for u in np.arange(-size, size, 3.2):
        tree(canvas, *frame.to_xy(float(u), -size + float(rng.normal(0, 1.2))), float(rng.uniform(1.8, 3.4)))
        tree(canvas, *frame.to_xy(-size + float(rng.normal(0, 1.2)), float(u)), float(rng.uniform(1.2, 3.0)))


def works(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """An industrial estate: plots of halls, yards, tanks and car parks."""
    rng = canvas.rng
    canvas.fill(canvas.rectangle(frame, rect), [(canvas.bank.pick(rng, "parking_lot"), 1.0)], 0.95)
    for low, high in intervals(rng, rect.v0, rect.v1, (50.0, 90.0), 5.0):
        for start, end in intervals(rng, rect.u0, rect.u1, (55.0, 110.0), 5.0):
            _plot(canvas, frame, Rect(start, end, low, high))


def _plot(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    rng, bank = canvas.rng, canvas.bank
    ground = canvas.rectangle(frame, rect)
    first, second = (
        bank.pick(rng, "parking_lot"),
        bank.pick(rng, str(rng.choice(["sidewalk", "gravel", "dirt"]))),
    )
    worn = np.clip(0.5 + 0.5 * canvas.noise(ground, 8.0), 0.0, 1.0)
    canvas.fill(ground, [(first, worn), (second, 1 - worn)], 0.95)
    split = rect.u0 + rect.length * float(rng.uniform(0.4, 0.75))
    depth = rect.v0 + rect.width * float(rng.uniform(0.55, 0.95))
    _hall(canvas, frame, Rect(rect.u0 + 2, split, rect.v0 + 2, depth))
    _car_park(canvas, frame, Rect(split + 4, rect.u1 - 1, rect.v0 + 1, rect.v1 - 1))
    for u in np.arange(rect.u0 + 2, split, float(rng.uniform(5, 14))):
        tree(canvas, *frame.to_xy(float(u), rect.v1), float(rng.uniform(1.0, 2.4)))


def _hall(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """A large low-pitched roof with ribs, rust, skylight strips and ventilators."""
    rng, bank = canvas.rng, canvas.bank
    if rect.length < 6 or rect.width < 6:
        return
    patch = canvas.rectangle(frame, rect)
    material = str(rng.choice(["metal", "white_paint", "coating", "coating", "bridge", "paint"]))
    rust = np.clip(0.3 * canvas.noise(patch, 8.0) + 0.2 * canvas.noise(patch, 2.5) - 0.25, 0.0, 0.6)
    side = np.sign(patch.v - rect.centre[1]) * float(rng.uniform(0.02, 0.12))
    gain = rng.uniform(0.8, 1.2) * (
        1.0 + side + 0.05 * np.cos(patch.u * 3.1) + 0.03 * canvas.noise(patch, 0.7)
    )
    top = float(rng.uniform(6, 12))
    canvas.fill(patch, [(bank.pick(rng, material), 1 - rust), (bank.pick(rng, "soil"), rust)], gain, top)
    strips = (patch.u % float(rng.uniform(8, 16))) < (1.2 if rng.random() < 0.6 else 0.0)
    canvas.fill(patch.where(strips), [(bank.pick(rng, "film"), 1.0)], 1.0, top)
    for _ in range(rng.poisson(rect.length * rect.width / 150)):
        unit = frame.at(rng.uniform(rect.u0 + 2, rect.u1 - 2), rng.uniform(rect.v0 + 2, rect.v1 - 2))
        box = canvas.rectangle(unit, Rect(-1.2, 1.2, -0.9, 0.9))
        canvas.fill(box, [(bank.pick(rng, "metal"), 1.0)], float(rng.uniform(0.8, 1.6)), top + 1.5)


def _car_park(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """Bays with lines, most of them taken."""
    rng, bank = canvas.rng, canvas.bank
    taken = float(rng.uniform(0.2, 0.9))
    for v in np.arange(rect.v0 + 3, rect.v1 - 3, 8.5):
        for u in np.arange(rect.u0 + 1.5, rect.u1 - 1, 2.6):
            line = canvas.rectangle(frame, Rect(u - 1.45, u - 1.15, v - 2.5, v + 2.5))
            canvas.fill(line, [(bank.pick(rng, "white_paint"), 0.6), (bank.pick(rng, "parking_lot"), 0.4)])
            if rng.random() < taken:
                car(canvas, frame.at(float(u), float(v), np.pi / 2))


def solar_farm(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """Rows of panels on gravel and grass."""
    rng, bank = canvas.rng, canvas.bank
    grass(canvas, canvas.rectangle(frame, rect), float(rng.uniform(0.2, 0.8)))
    inner, period = rect.inset(5), float(rng.uniform(5.5, 8.0))
    patch = canvas.rectangle(frame, inner)
    rows = (patch.v % period < period * 0.5) & (patch.u % 41.0 < 38.0)
    canvas.fill(
        patch.where(rows), [(bank.pick(rng, "panel"), 0.96), (bank.pick(rng, "metal"), 0.04)], 1.0, 1.6
    )


def school(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """Homes around a sand playground ringed by trees, with a flat-roofed block, a gymnasium and a pool."""
    rng, bank = canvas.rng, canvas.bank
    homes(canvas, frame, rect)
    rect = Rect(rect.u0, min(rect.u0 + 105, rect.u1), rect.v0, min(rect.v0 + 85, rect.v1))
    ground = canvas.rectangle(frame, rect)
    canvas.fill(ground, [(bank.pick(rng, "sand"), 0.7), (bank.pick(rng, "dirt"), 0.3)], 0.9)
    _hall(canvas, frame, Rect(rect.u0 + 5, rect.u0 + rect.length * 0.65, rect.v0 + 5, rect.v0 + 17))
    _hall(canvas, frame, Rect(rect.u1 - 30, rect.u1 - 6, rect.v0 + 6, rect.v0 + 26))
    pool = canvas.rectangle(frame, Rect(rect.u1 - 32, rect.u1 - 7, rect.v0 + 32, rect.v0 + 42))
    canvas.fill(pool, [(bank.pick(rng, "water"), 0.6), (bank.pick(rng, "coating"), 0.4)], 1.1)
    for u in np.arange(rect.u0 + 2, rect.u1 - 2, 5.0):
        tree(canvas, *frame.to_xy(float(u), rect.v1 - 2), float(rng.uniform(1.5, 3.0)))
