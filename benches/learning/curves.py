"""Learning curves as an SVG: returns by steps and, beside them, by seconds of wall time.

A thick line is the mean over seeds, its area the 95 % interval, and a thin line a seed. A diamond is a published
mean, with a bar of one standard deviation over seeds to either side. By seconds, a mean is drawn at the mean of the
seeds' seconds at that step.
"""

import math
from dataclasses import dataclass, field
from html import escape
from statistics import fmean

from learning.entries import Group
from learning.results import Outcome
from learning.student import interval

#: The colours of Okabe and Ito, which colour-blind readers can distinguish.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
WIDTH, HEIGHT = 1000, 420
LEFT, TOP, BOTTOM, GAP, RIGHT = 64, 36, 48, 72, 20
LEGEND = 20

Series = list[tuple[float, float]]


@dataclass
class Curve:
    """A method in one panel."""

    label: str
    colour: str
    mean: Series = field(default_factory=list)
    low: Series = field(default_factory=list)
    high: Series = field(default_factory=list)
    seeds: list[Series] = field(default_factory=list)


@dataclass
class Mark:
    """A published mean."""

    at: tuple[float, float]
    deviation: float
    colour: str


def curve(label: str, colour: str, runs: list[Outcome], by_seconds: bool) -> Curve:
    """Returns a method's means, intervals and seeds."""
    made = Curve(label, colour)
    for step in sorted({point.step for run in runs for point in run.points}):
        points = [point for run in runs if (point := run.at(step))]
        if by_seconds:
            points = [point for point in points if point.seconds is not None]
        if not points:
            continue
        x = fmean(point.seconds or 0.0 for point in points) if by_seconds else float(step)
        mean, half = interval([point.mean for point in points])
        made.mean.append((x, mean))
        made.low.append((x, mean - (half or 0.0)))
        made.high.append((x, mean + (half or 0.0)))
    for run in runs:
        kept = [point for point in run.points if not by_seconds or point.seconds is not None]
        made.seeds.append([(point.seconds or 0.0 if by_seconds else float(point.step), point.mean) for point in kept])
    return made


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Returns round numbers between two others: multiples of 1, 2 or 5 times a power of ten."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * k for k in (1, 2, 5, 10, 20) if span / (power * k) <= most)
    first = math.ceil(low / step - 1e-9)
    return [step * n for n in range(first, math.floor(high / step + 1e-9) + 1)]


class Panel:
    """A pair of axes."""

    def __init__(self, left: float, width: float, x_most: float, y: tuple[float, float]) -> None:
        self.left, self.width, self.height = left, width, HEIGHT - TOP - BOTTOM
        self.x_most, (self.low, self.high) = max(x_most, 1e-9), y

    def at(self, point: tuple[float, float]) -> str:
        """Returns the position of a point, clipped to the axes."""
        y = min(max(point[1], self.low), self.high)
        across = self.left + self.width * point[0] / self.x_most
        return f"{across:.1f},{TOP + self.height * (self.high - y) / (self.high - self.low):.1f}"

    def axes(self, label: str) -> list[str]:
        """Draws frame, grid and numbers."""
        bottom, parts = TOP + self.height, []
        for value in ticks(0.0, self.x_most):
            x = self.left + self.width * value / self.x_most
            parts.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="#e5e5e5"/>')
            parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{value:,.10g}</text>')
        for value in ticks(self.low, self.high):
            y = float(self.at((0.0, value)).split(",")[1])
            parts.append(f'<path d="M{self.left} {y:.1f}h{self.width:.1f}" stroke="#e5e5e5"/>')
            parts.append(f'<text x="{self.left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,.10g}</text>')
        parts.append(
            f'<rect x="{self.left}" y="{TOP}" width="{self.width:.1f}" height="{self.height}" '
            'fill="none" stroke="#888"/>'
        )
        middle = self.left + self.width / 2
        parts.append(f'<text x="{middle:.1f}" y="{bottom + 36}" text-anchor="middle">{escape(label)}</text>')
        return parts

    def line(self, series: Series, colour: str, style: str) -> str:
        """Draws a line through points."""
        points = " ".join(map(self.at, series))
        return f'<polyline points="{points}" fill="none" stroke="{colour}" {style}/>' if series else ""

    def draw(self, made: Curve) -> list[str]:
        """Draws area, seeds and mean of a method."""
        parts = []
        if len(made.seeds) > 1:
            points = " ".join(map(self.at, made.high + made.low[::-1]))
            parts.append(f'<polygon points="{points}" fill="{made.colour}" fill-opacity="0.15"/>')
        parts += [self.line(series, made.colour, 'stroke-opacity="0.4"') for series in made.seeds]
        parts.append(self.line(made.mean, made.colour, 'stroke-width="2.5"'))
        return parts

    def mark(self, mark: Mark) -> list[str]:
        """Draws a diamond with its bar."""
        x, y = mark.at
        ends = [self.at((x, y + sign * mark.deviation)) for sign in (-1, 1)]
        a, b = (float(v) for v in self.at(mark.at).split(","))
        return [
            f'<path d="M{ends[0]}L{ends[1]}" stroke="{mark.colour}" stroke-dasharray="3 2"/>',
            f'<path d="M{a} {b - 5}l5 5l-5 5l-5 -5z" fill="white" stroke="{mark.colour}" stroke-width="1.5"/>',
        ]


def drawing(group: Group, methods: list[tuple[str, list[Outcome]]]) -> str:
    """Returns the SVG of a group."""
    methods = [(method, runs) for method, runs in methods if runs]
    colours = {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(method for method, _ in methods)}
    by_steps, by_seconds = (
        [curve(method, colours[method], runs, seconds) for method, runs in methods] for seconds in (False, True)
    )
    last = max(point.step for _, runs in methods for run in runs for point in run.points)
    longest = max((x for made in by_seconds for series in made.seeds for x, _ in series), default=1.0)
    names = [*colours, *(anchor.name for anchor in group.anchors)]
    marks, published = [], {}
    for n, anchor in enumerate(group.anchors):
        colour = published[anchor.name] = COLOURS[(len(colours) + n) % len(COLOURS)]
        for step, (mean, deviation) in anchor.points.items():
            if step <= last:
                marks.append(Mark((float(step), mean), deviation or 0.0, colour))

    values = [point.mean for _, runs in methods for run in runs for point in run.points]
    values += [mark.at[1] + sign * mark.deviation for mark in marks for sign in (-1, 1)]
    margin = 0.05 * max(max(values) - min(values), 1.0)
    y = (min(values) - margin, max(values) + margin)
    height = HEIGHT + LEGEND * math.ceil(len(names) / 3)
    width = (WIDTH - LEFT - GAP - RIGHT) / 2
    panels = [Panel(LEFT, width, float(last), y), Panel(LEFT + width + GAP, width, longest, y)]

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{escape(group.title)}: mean return of an evaluation</text>',
    ]
    by = "real environment steps" if group.frames == 1 else "frames of the real environment"
    for panel, label, made in zip(panels, (by, "seconds"), (by_steps, by_seconds)):
        parts += panel.axes(label)
        for each in made:
            parts += panel.draw(each)
    for mark in marks:
        parts += panels[0].mark(mark)
    for n, name in enumerate(names):
        x, y_of = LEFT + 310 * (n % 3), HEIGHT + LEGEND * (n // 3) + 8
        if name in colours:
            count = sum(len(runs) for method, runs in methods if method == name)
            parts.append(f'<path d="M{x} {y_of - 4}h20" stroke="{colours[name]}" stroke-width="2.5"/>')
            label = f"{name}, {count} seed{'' if count == 1 else 's'}"
        else:
            parts.append(f'<path d="M{x + 10} {y_of - 9}l5 5l-5 5l-5 -5z" fill="white" stroke="{published[name]}"/>')
            label = f"{name}, published"
        parts.append(f'<text x="{x + 26}" y="{y_of}">{escape(label)}</text>')
    return "\n".join(part for part in [*parts, "</svg>"] if part) + "\n"
