"""Charts as inline SVG: lines and bars over one axis, colour bars. Text in, text out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from emrdiff_cli.report.colour import LINE_COLOURS, Limits, viridis

_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 14, 26, 42
_GAP = 5.0  # times the usual distance of neighbours at which a line is broken
_MOST_DECIMALS = 6
_LETTER = 6.6  # width of a letter of the legend

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """A line by its points (x, y); points that are not finite break it, as wide gaps and steps back in x do."""

    name: str
    points: Points
    colour: str = LINE_COLOURS[0]
    dashes: str = ""


@dataclass(frozen=True)
class Area:
    """What lies between two lines: points (x, low, high), broken as a line is."""

    points: Sequence[tuple[float, float, float]]
    colour: str = LINE_COLOURS[0]


@dataclass(frozen=True)
class Chart:
    """Lines, or bars of (left, right, height), over areas and shaded ranges of x, with vertical marks (x, name).

    `tinted` ranges are shaded less than `shaded` ones, `msi` ones in a colour of their own. Marks ascend in x.
    `from_zero`: the y axis starts at 0.
    """

    x_label: str
    y_label: str
    lines: tuple[Line, ...] = ()
    bars: tuple[tuple[float, float, float], ...] = ()
    shaded: tuple[tuple[float, float], ...] = ()
    tinted: tuple[tuple[float, float], ...] = ()
    msi: tuple[tuple[float, float], ...] = ()
    areas: tuple[Area, ...] = ()
    marks: tuple[tuple[float, str], ...] = ()
    from_zero: bool = False

    def svg(self, width: int = 640, height: int = 260) -> str:
        """Draw it; a line of text where there is nothing finite to draw."""
        x, y = self._ranges()
        if not (x and y):
            return '<p class="note">There is nothing to draw: no finite value.</p>'
        frame = _Frame(_padded(x, 0.0), _padded(y, 0.06, self.from_zero), width, height)
        parts = [
            *(frame.shade(*span, "tinted") for span in self.tinted),
            *(frame.shade(*span, "msi") for span in self.msi if frame.meets(*span)),
            *(frame.shade(*span, "bad") for span in self.shaded),
            *frame.axes(self.x_label, self.y_label),
            *(frame.bar(*bar) for bar in self.bars),
            *(text for i, mark in enumerate(self.marks) for text in frame.mark(*mark, first=i == 0)),
            *(text for area in self.areas for text in frame.area(area)),
            *(text for line in self.lines for text in frame.line(line)),
            *self._legend(width),
        ]
        label = escape(self._told(), quote=True)
        head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
        return "".join([head, *parts, "</svg>"])

    def _told(self) -> str:
        """The chart in a sentence, for those who cannot see it."""
        ranges = []
        for line in self.lines:
            heights = [y for x, y in line.points if math.isfinite(x + y)]
            if heights:
                ranges.append(f"{line.name} from {min(heights):.4g} to {max(heights):.4g}")
        ranges += [name for _, name in self.marks if name]
        told = f"{self.y_label} over {self.x_label}"
        return f"{told}: {', '.join(ranges)}" if ranges else told

    def _ranges(self) -> tuple[list[float], list[float]]:
        finite = [p for line in self.lines for p in line.points if math.isfinite(p[0] + p[1])]
        x = [p[0] for p in finite] + [edge for bar in self.bars for edge in bar[:2]]
        edges = [edge for area in self.areas for p in area.points if math.isfinite(sum(p)) for edge in p[1:]]
        return x, [p[1] for p in finite] + [bar[2] for bar in self.bars] + edges

    def _legend(self, width: int) -> Iterator[str]:
        """Names of the lines, from the right; none for a single one."""
        right = width - _RIGHT
        for line in reversed(self.lines if len(self.lines) > 1 else ()):
            right -= round(_LETTER * len(line.name))
            yield _text(right, 15, line.name, "start")
            style = f'stroke="{line.colour}" stroke-width="2" stroke-dasharray="{line.dashes}"'
            yield f'<line x1="{right - 28}" x2="{right - 6}" y1="11" y2="11" {style}/>'
            right -= 44


@dataclass(frozen=True)
class _Frame:
    """The plot's rectangle in the drawing, and the ranges of its axes."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int
    height: int

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self._across(x), self._down(y)

    def _across(self, x: float) -> float:
        inner = self.width - _LEFT - _RIGHT
        return round(_LEFT + inner * (x - self.x[0]) / (self.x[1] - self.x[0]), 2)

    def _down(self, y: float) -> float:
        inner = self.height - _TOP - _BOTTOM
        return round(_TOP + inner * (self.y[1] - y) / (self.y[1] - self.y[0]), 2)

    def axes(self, x_label: str, y_label: str) -> Iterator[str]:
        bottom, right, middle = self.height - _BOTTOM, self.width - _RIGHT, (self.height - _BOTTOM + _TOP) / 2
        for value, label in _labelled(ticks(*self.y, 5)):
            y = self._down(value)
            yield f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y}" y2="{y}"/>'
            yield _text(_LEFT - 6, y + 4, label, "end")
        for value, label in _labelled(ticks(*self.x, self.width // 90)):
            x = self._across(value)
            yield f'<line class="axis" x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 4}"/>'
            yield _text(x, bottom + 17, label, "middle")
        yield f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>'
        yield _text((_LEFT + right) / 2, self.height - 6, x_label, "middle")
        turned = f'transform="rotate(-90 13 {middle})"'
        yield f'<text x="13" y="{middle}" text-anchor="middle" {turned}>{escape(y_label)}</text>'

    def meets(self, start: float, stop: float) -> bool:
        """Whether a range of x lies on the axis, in part at least."""
        return start < self.x[1] and stop > self.x[0]

    def shade(self, start: float, stop: float, kind: str) -> str:
        left, right = (self._across(min(max(x, self.x[0]), self.x[1])) for x in (start, stop))
        size = f'width="{max(right - left, 1):.2f}" height="{self.height - _TOP - _BOTTOM}"'
        return f'<rect class="{kind}" x="{left}" y="{_TOP}" {size}/>'

    def bar(self, start: float, stop: float, value: float) -> str:
        (left, top), (right, bottom) = self.at(start, value), self.at(stop, max(0.0, self.y[0]))
        size = f'width="{max(right - left - 0.5, 0.5):.2f}" height="{bottom - top:.2f}"'
        return f'<rect class="bar" x="{left}" y="{top}" {size}/>'

    def mark(self, x: float, name: str, first: bool) -> Iterator[str]:
        if self.x[0] <= x <= self.x[1]:
            at = self._across(x)
            yield f'<line class="mark" x1="{at}" x2="{at}" y1="{_TOP}" y2="{self.height - _BOTTOM}"/>'
            if name:
                yield _text(at - 3 if first else at + 3, _TOP - 6, name, "end" if first else "start")

    def area(self, area: Area) -> Iterator[str]:
        by_x = {x: (low, high) for x, low, high in area.points}
        for run in _runs([(x, low + high) for x, low, high in area.points]):
            lows = ["{},{}".format(*self.at(x, by_x[x][0])) for x, _ in run]
            highs = ["{},{}".format(*self.at(x, by_x[x][1])) for x, _ in run]
            yield f'<polygon class="area" points="{" ".join([*lows, *highs[::-1]])}" fill="{area.colour}"/>'

    def line(self, line: Line) -> Iterator[str]:
        style = f'stroke="{line.colour}" stroke-dasharray="{line.dashes}"'
        for run in _runs(line.points):
            places = " ".join("{},{}".format(*self.at(*point)) for point in run)
            if len(run) == 1:
                x, y = self.at(*run[0])
                yield f'<circle cx="{x}" cy="{y}" r="2" fill="{line.colour}"/>'
            else:
                yield f'<polyline class="line" points="{places}" {style}/>'


def colour_bar(limits: Limits, label: str, width: int = 360) -> str:
    """The colour map from its lowest to its highest value, with ticks."""
    colours = viridis(32)
    step = (width - 40) / len(colours)
    cells = "".join(
        f'<rect x="{20 + i * step:.2f}" y="2" width="{step + 0.5:.2f}" height="12" fill="rgb({r},{g},{b})"/>'
        for i, (r, g, b) in enumerate(colours.tolist())
    )
    span = (limits.low, limits.high if limits.high > limits.low else limits.low + 1)
    frame = _Frame(span, (0, 1), width - 40 + _LEFT + _RIGHT, 60)
    marks = "".join(
        _text(frame.at(value, 0)[0] - _LEFT + 20, 28, tick, "middle")
        for value, tick in _labelled(ticks(*span, 5))
    )
    told = escape(f"colours of {label}, from {span[0]:.3g} to {span[1]:.3g}", quote=True)
    head = f'<svg viewBox="0 0 {width} 48" role="img" aria-label="{told}">'
    return f"{head}{cells}{marks}{_text(width / 2, 44, label, 'middle')}</svg>"


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values between two, at most so many or one more, in steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min((s for s in (1, 2, 5, 10) if s * power >= rough * (1 - 1e-9)), default=10)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def _runs(points: Points) -> Iterator[Points]:
    """The stretches of a line between points that are not finite, gaps and steps back."""
    distances = sorted(b[0] - a[0] for a, b in pairwise(points) if b[0] >= a[0])
    usual = distances[len(distances) // 2] if distances else 0.0
    run: list[tuple[float, float]] = []
    for point in points:
        step = point[0] - run[-1][0] if run else 0.0
        gap = step < 0 or step > _GAP * usual > 0
        if not math.isfinite(point[0] + point[1]) or gap:
            if run:
                yield run
            run = []
        if math.isfinite(point[0] + point[1]):
            run.append(point)
    if run:
        yield run


def _padded(values: Iterable[float], share: float, from_zero: bool = False) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = share * (high - low) if high > low else abs(high) * 0.1 or 1.0
    if from_zero:
        return min(0.0, low), high + share * (high - min(0.0, low)) if high > 0 else 1.0
    return low - room, high + room


def _labelled(values: Sequence[float]) -> Iterator[tuple[float, str]]:
    """Ticks with their texts, in as many decimals as tell neighbours apart."""
    step = values[1] - values[0] if len(values) > 1 else abs(values[0]) if values else 0.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    for value in values:
        yield value, f"{value:.3g}" if decimals > _MOST_DECIMALS else f"{value + 0.0:.{decimals}f}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
