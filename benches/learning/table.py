"""Tables and drawings of the finished runs, group by group, between two markers of a document.

A cell is the mean over seeds of an evaluation's mean return, with its 95 % interval by Student's t. A published
number has the standard deviation over its seeds, if its source gives one. Columns are the steps in `at` of the
group, or all steps at which a run was evaluated.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from learning import curves, results
from learning.entries import Anchor, Group, Refused, Row, WantedList
from learning.student import interval

BEGIN, END = "<!-- wanted: begin -->", "<!-- wanted: end -->"


@dataclass
class Measured:
    """A method's finished runs, and the seeds without one."""

    row: Row
    runs: list[results.Outcome]
    missing: list[int]


def collect(group: Group, folder: Path) -> list[Measured]:
    """Returns the finished runs of every method, by frames. A file of another config or of other overrides is refused.
    """
    found = []
    for row in group.rows:
        runs, missing = [], []
        for seed in sorted(row.seeds):
            file = folder / group.name / row.method / f"seed-{seed}.csv"
            outcome = results.read(file, seed)
            if outcome is None:
                missing.append(seed)
                continue
            if not outcome.fits(row.config, row.overrides):
                hint = "remove the file to run it again, or give the method another name"
                raise Refused(f"`{file}` is of another config or of other overrides than the list's\nhint: {hint}")
            for point in outcome.points:
                point.step *= group.frames
            runs.append(outcome)
        found.append(Measured(row, runs, missing))
    return found


def thousands(value: float) -> str:
    """Formats a number as `12,345`."""
    return f"{value:,.0f}".replace("-", "−")


def cell(runs: list[results.Outcome], step: int) -> str:
    """Formats a cell as `354 ± 93`, with the number of seeds if not all have the step."""
    values = [point.mean for run in runs if (point := run.at(step))]
    if not values:
        return ""
    mean, half = interval(values)
    few = f" ({len(values)} seeds)" if len(values) < len(runs) else ""
    return thousands(mean) + ("" if half is None else f" ± {thousands(half)}") + few


def published(anchor: Anchor, step: int) -> str:
    """Formats a published number as `595 (sd 347)`, with `~` before a number between published points."""
    if step not in anchor.points:
        return ""
    mean, deviation = anchor.points[step]
    sign = "~" if step in anchor.interpolated else ""
    return sign + thousands(mean) + ("" if deviation is None else f" (sd {thousands(deviation)})")


def seeds_cell(measured: Measured) -> str:
    """Formats the seeds as `2 of 3; 2 missing`: the number of seeds, and the missing ones."""
    there, wanted = len(measured.runs), len(measured.row.seeds)
    if not measured.missing:
        return str(there)
    return f"{there} of {wanted}; missing: {', '.join(map(str, measured.missing))}"


def seconds_cell(runs: list[results.Outcome]) -> str:
    """Formats seconds as `5,123 (5,010)`: the mean wall time of a run, and the mean processor time if it is known for
    every run.
    """
    if not runs:
        return ""
    used = [float(run.about["cpu"].removesuffix(" s")) for run in runs if "cpu" in run.about]
    return thousands(fmean(run.seconds for run in runs)) + (
        f" ({thousands(fmean(used))})" if len(used) == len(runs) else ""
    )


def line(cells: list[str]) -> str:
    """Returns a row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def notes(measured: list[Measured]) -> list[str]:
    """Returns a line for every method: its config and overrides, and the origin of its runs."""
    found = []
    for each in measured:
        command = " ".join([f"`{each.row.config}`", *(f"`{text}`" for text in each.row.overrides)])
        parts = [f"`{each.row.method}`: {command}"]
        for key, word in (("env", ""), ("machine", ""), ("commit", "commit ")):
            values = sorted({run.about[key] for run in each.runs if key in run.about})
            if values:
                parts.append(word + ", ".join(values))
        configs = {run.config for run in each.runs}
        if len(configs) > 1:
            parts.append(f"**the seeds have {len(configs)} different configs**")
        found.append(f"* {'; '.join(parts)}")
    return found


def group_text(group: Group, measured: list[Measured], drawing: str | None) -> str:
    """Returns a group's table, with its sources and its drawing."""
    evaluated = sorted({point.step for each in measured for run in each.runs for point in run.points})
    steps = group.at or evaluated
    head = ["method", "seeds", *(thousands(step) for step in steps), "seconds per run (CPU seconds)"]
    rows = [line(head), line(["---", "---", *("---:" for _ in steps), "---:"])]
    for each in measured:
        returns = [cell(each.runs, step) for step in steps]
        rows.append(line([f"`{each.row.method}`", seeds_cell(each), *returns, seconds_cell(each.runs)]))
    for number, anchor in enumerate(group.anchors, 1):
        cells = [f"{anchor.name} [{number}]", str(anchor.seeds), *(published(anchor, step) for step in steps), ""]
        rows.append(line(cells))
    unit = f", by frames ({group.frames} a step)" if group.frames > 1 else ""
    parts = [f"### {group.title}{unit}", "\n".join(rows), "\n".join(notes(measured))]
    if group.anchors:
        sources = [f"{n}. {anchor.name}: {anchor.source}" for n, anchor in enumerate(group.anchors, 1)]
        parts.append("Published:\n\n" + "\n".join(sources))
    if drawing:
        parts.append(f"![returns of {group.title} by steps and by seconds]({drawing})")
    return "\n\n".join(part for part in parts if part)


def replaced(document: str, content: str, where: Path) -> str:
    """Returns the document with new text between its markers."""
    if document.count(BEGIN) != 1 or document.count(END) != 1 or document.index(END) < document.index(BEGIN):
        raise Refused(
            f"`{where}` needs exactly one line `{BEGIN}` and after it exactly one line `{END}`\n"
            "hint: add them where the tables belong"
        )
    before, rest = document.split(BEGIN)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{rest.split(END)[1]}"


def make(wanted: WantedList, folder: Path, into: Path) -> int:
    """Writes the tables to the document, and the drawings to files beside it."""
    try:
        document = into.read_text()
    except OSError as error:
        raise Refused(
            f"cannot read `{into}`: {error}\nhint: name a document with --into, with two markers in it"
        ) from None
    texts = []
    drawings = {}
    for group in wanted.groups:
        measured = collect(group, folder)
        name = None
        if any(each.runs for each in measured):
            name = f"{into.stem}/{group.name}.svg"
            drawings[into.parent / name] = curves.drawing(group, [(each.row.method, each.runs) for each in measured])
        texts.append(group_text(group, measured, name))
    text = replaced(document, "\n\n".join(texts), into)
    try:
        for path, svg in drawings.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(svg)
        temporary = into.with_suffix(".tmp")
        temporary.write_text(text)
        os.replace(temporary, into)
    except OSError as error:
        raise Refused(
            f"cannot write `{into}` or the drawings next to it: {error}\nhint: name another document with --into"
        ) from None
    print(f"{into}: {len(texts)} tables, {len(drawings)} drawings", file=sys.stderr)
    return 0
