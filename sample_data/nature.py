"""Trees, woods, grass, rivers and ponds."""

from __future__ import annotations

import numpy as np
from canvas import Canvas, Frame, Mask, Patch, Rect


def tree(
    canvas: Canvas, x: float, y: float, radius: float, kind: str = "tree", leaf: int | None = None
) -> None:
    """A crown: a dome lit from the sun's side, with gaps, on the ground that is there."""
    rng, bank, sun = canvas.rng, canvas.bank, canvas.sun
    patch = canvas.disc(x, y, radius)
    if not patch.inside.any():
        return
    leaf = bank.pick(rng, kind) if leaf is None else leaf
    slope = (patch.u * np.sin(sun.azimuth) - patch.v * np.cos(sun.azimuth)) / max(radius, 0.5)
    dome = np.sqrt(np.maximum(1.0 - (patch.u**2 + patch.v**2) / radius**2, 0.0))
    clumps = 0.16 * canvas.noise(patch, 0.7)
    gain = np.clip(0.62 + 0.38 * slope / np.tan(sun.elevation) + 0.12 * dome + clumps, 0.15, 1.25)
    gain = (gain * rng.uniform(0.75, 1.1)).astype(np.float32)
    height = (radius * rng.uniform(1.4, 2.6) * (0.35 + 0.65 * dome)).astype(np.float32)
    wood = np.clip(0.06 + 0.05 * canvas.noise(patch, 0.7), 0.0, 0.3)
    canvas.fill(patch, [(leaf, 1.0 - wood), (bank.pick(rng, "bark"), wood)], gain, height)


def row_of_trees(canvas: Canvas, frame: Frame, length: float, radius: float, spacing: float) -> None:
    """Trees along the frame's u from its origin, of one kind, with gaps."""
    family = canvas.bank.family(canvas.rng, "tree")
    for u in np.arange(0.0, length, spacing):
        if canvas.rng.random() < 0.9:
            x, y = frame.to_xy(u + canvas.rng.normal(0, spacing / 8), canvas.rng.normal(0, 0.3))
            size = radius * canvas.rng.uniform(0.7, 1.25)
            tree(canvas, x, y, size, leaf=int(canvas.rng.choice(family)))


def grass(canvas: Canvas, patch: Patch, cover: float = 0.8, scale_m: float = 2.5) -> None:
    """Two grasses and soil in patches."""
    rng, bank = canvas.rng, canvas.bank
    first, second = rng.choice(bank.family(rng, "grass"), 2)
    other = bank.pick(rng, "litter") if rng.random() < 0.4 else bank.pick(rng, "soil")
    blend = np.clip(0.5 + 0.5 * canvas.noise(patch, 8.0), 0.0, 1.0)
    green = np.clip(cover + 0.18 * canvas.noise(patch, scale_m) + 0.12 * canvas.noise(patch, 0.7), 0.03, 1.0)
    gain = 0.85 * (1.0 + 0.07 * canvas.noise(patch, 0.7))
    canvas.fill(
        patch, [(int(first), green * blend), (int(second), green * (1 - blend)), (other, 1 - green)], gain
    )


def wood(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """A wood: undergrowth, then crowns of a few families in stands; now and then a clearing."""
    rng, bank = canvas.rng, canvas.bank
    ground = canvas.rectangle(frame, rect)
    grass(canvas, ground, 0.8)
    floor = canvas.rectangle(frame, rect.inset(7))
    canvas.fill(floor, [(bank.pick(rng, "litter"), 0.5), (bank.pick(rng, "tree"), 0.5)], 0.45)
    stands = [bank.family(rng, "tree") for _ in range(4)]
    radii = rng.uniform(1.3, 3.6, len(stands))
    turns = rng.uniform(0, 2 * np.pi, (len(stands), 2))
    spacing = float(radii.mean()) * 1.25
    for v in np.arange(rect.v0, rect.v1, spacing):
        for u in np.arange(rect.u0, rect.u1, spacing):
            stand = int(np.argmax(np.sin(u / 23 + turns[:, 0]) + np.sin(v / 19 + turns[:, 1])))
            ragged = min(u - rect.u0, rect.u1 - u, v - rect.v0, rect.v1 - v) < 9 * abs(
                np.sin(u / 17 + v / 13)
            )
            if rng.random() < (0.35 if ragged else 0.94):
                x, y = frame.to_xy(u + rng.normal(0, spacing / 3), v + rng.normal(0, spacing / 3))
                radius = radii[stand] * rng.uniform(0.6, 1.35)
                tree(canvas, x, y, float(radius), leaf=int(rng.choice(stands[stand])))


def pond(canvas: Canvas, frame: Frame, rect: Rect) -> None:
    """An irrigation pond with a bank of grass or concrete."""
    shore = canvas.rectangle(frame, rect)
    grass(canvas, shore, 0.7)
    inner = rect.inset(min(4.0, rect.width / 6))
    patch = canvas.rectangle(frame, inner)
    u, v = inner.centre
    round_off = ((patch.u - u) / (inner.length / 2)) ** 4 + ((patch.v - v) / (inner.width / 2)) ** 4
    water(canvas, patch.where(round_off + 0.12 * canvas.noise(patch, 8.0) < 1.0))


def water(canvas: Canvas, patch: Patch) -> None:
    """Water of one body: two loads mixing, ripples, weed at random."""
    rng, bank = canvas.rng, canvas.bank
    first, second = (bank.pick(rng, "water") for _ in range(2))
    blend = np.clip(0.5 + 0.4 * canvas.noise(patch, 30.0), 0.0, 1.0)
    weed = np.clip(canvas.noise(patch, 8.0) - 1.6, 0.0, 0.6) * (rng.random() < 0.5)
    mixture = [
        (first, blend * (1 - weed)),
        (second, (1 - blend) * (1 - weed)),
        (bank.pick(rng, "grass"), weed),
    ]
    canvas.fill(patch, mixture, 1.0 + 0.05 * canvas.noise(patch, 2.5), -1.5)


def river(canvas: Canvas, frame: Frame) -> tuple[Mask, Mask]:
    """A river along the frame's u with bars and banks; returns its valley and the cells on its far side."""
    rng = canvas.rng
    whole = canvas.everything(frame)
    phase, bend, wave = rng.uniform((0.0, 6.0, 24.0), (6.3, 22.0, 51.0))
    half = float(rng.uniform(8, 20))
    across = whole.v - bend * np.sin(whole.u / wave + phase)
    edge = np.abs(across) + 0.8 * canvas.noise(whole, 8.0)
    valley = np.abs(across) < half * 1.9
    grass(canvas, whole.where(valley), 0.7)
    track = np.abs(np.abs(across) - half * 1.75) < 1.8
    canvas.fill(whole.where(track), [(canvas.bank.pick(rng, "gravel"), 1.0)], 0.9)
    _bars(canvas, whole.where(edge < half * 1.2))
    water(canvas, whole.where(edge < half * rng.uniform(0.6, 0.9)))
    for u in rng.uniform(-400, 400, rng.integers(20, 140)):
        v = bend * np.sin(u / wave + phase) + rng.choice((-1, 1)) * half * rng.uniform(1.15, 1.6)
        tree(canvas, *frame.to_xy(float(u), float(v)), float(rng.uniform(1.2, 3.5)))
    return valley, np.asarray(across > 0)


def _bars(canvas: Canvas, patch: Patch) -> None:
    """Gravel and sand beside the water, overgrown in places."""
    rng, bank = canvas.rng, canvas.bank
    green = np.clip(0.4 + 0.4 * canvas.noise(patch, 8.0) + 0.2 * canvas.noise(patch, 2.5), 0.0, 1.0)
    mixture = [(bank.pick(rng, "sand"), 0.6 * (1 - green)), (bank.pick(rng, "gravel"), 0.4 * (1 - green))]
    canvas.fill(patch, [*mixture, (bank.pick(rng, "grass"), green)], 0.95 + 0.05 * canvas.noise(patch, 0.7))
