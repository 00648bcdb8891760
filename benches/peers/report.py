"""The report of `compare.py`: the machine and versions, and the results as Markdown tables."""

import os
import platform
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


@dataclass
class Entry:
    """One workload: times in ms, and ratios of peer time to our time as (median, minimum, maximum)."""

    workload: str
    ours_ms: float | None
    peers: dict[str, tuple[float, str]] = field(default_factory=dict)
    ratios: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    share_of_peak: float | None = None


@dataclass
class Rollout:
    """Transitions per second by program: with members drawn anew at each step, and with fixed members."""

    workload: str
    drawn: dict[str, float]
    fixed: dict[str, float]


@dataclass
class End:
    """Whole runs of one program."""

    name: str
    ms_a_step: list[float] = field(default_factory=list)
    peak_rss_mb: list[float] = field(default_factory=list)
    mean_return: list[float] = field(default_factory=list)

    def add(self, result: dict[str, Any]) -> None:
        """Adds one run."""
        self.ms_a_step.append(result["median_ms"])
        for values, key in ((self.peak_rss_mb, "peak_rss_mb"), (self.mean_return, "mean_return")):
            if result.get(key) is not None:
                values.append(result[key])


def processor() -> str:
    """Returns the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def commit() -> str:
    """Returns the commit of the working tree, with `+` if it was changed since."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        dirty = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short", "HEAD") + ("+" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def environment(workers: dict[str, dict[str, Any]], threads: int) -> dict[str, Any]:
    """Returns a description of the machine and the versions."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "commit": commit(),
        "versions": {program: about["version"] for program, about in workers.items()},
        "python": platform.python_version(),
    }


def table(header: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table with right-aligned numbers."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def peer_time(entry: Entry, program: str) -> str:
    """Formats a peer's time: `6.08 (jit, 7 dots)`."""
    if program not in entry.peers:
        return "–"
    ms, variant = entry.peers[program]
    return f"{ms:.2f} ({variant})"


def ratio(values: tuple[float, float, float] | None) -> str:
    """Formats a ratio: `1.30 [1.25–1.36]`."""
    return "–" if values is None else f"{values[0]:.2f} [{values[1]:.2f}–{values[2]:.2f}]"


def number(value: float | None, form: str) -> str:
    """Formats a number that may be missing."""
    return "–" if value is None else format(value, form)


def end_rows(ends: list[End]) -> list[list[str]]:
    """Returns the rows of whole runs: medians over runs, and ratios to ours run by run."""
    ours = ends[0].ms_a_step
    rows = []
    for end in ends:
        pairs = list(zip(end.ms_a_step, ours)) if len(end.ms_a_step) == len(ours) else []
        ratios = [theirs / own for theirs, own in pairs]
        middle = lambda values: median(values) if values else None
        rows.append(
            [
                end.name,
                number(middle(end.ms_a_step), ".1f"),
                ratio((median(ratios), min(ratios), max(ratios)) if ratios else None),
                number(middle(end.peak_rss_mb), ".0f"),
                number(middle(end.mean_return), ".0f"),
            ]
        )
    return rows


def markdown(
    about: dict[str, Any],
    rounds: int,
    entries: list[Entry],
    rollouts: list[Rollout],
    peaks: dict[str, tuple[float, str]],
    ends: list[End],
) -> str:
    """Returns the whole report."""
    versions = ", ".join(f"{program} {version}" for program, version in about["versions"].items())
    head = f"{about['processor']}, {about['cores']} cores, {about['threads']} threads; commit {about['commit']}; "
    parts = [f"{head}{versions}, python {about['python']}; {rounds} rounds. Ratios are the peer's time over ours."]
    if entries:
        header = ["workload", "ours ms", "JAX ms (variant)", "PyTorch ms (variant)"]
        header += ["ratio to JAX [min–max]", "ratio to PyTorch [min–max]", "our share of peak"]
        rows = [
            [
                f"`{e.workload}`",
                number(e.ours_ms, ".2f"),
                peer_time(e, "jax"),
                peer_time(e, "torch"),
                ratio(e.ratios.get("jax")),
                ratio(e.ratios.get("torch")),
                number(e.share_of_peak, ".0%"),
            ]
            for e in entries
        ]
        parts.append(table(header, rows))
    if rollouts:
        header = ["1000 transitions a second", "ours", "JAX", "PyTorch", "JAX, fixed members", "PyTorch, fixed members"]
        rows = []
        for r in rollouts:
            rates = [r.drawn.get("ours"), *(side.get(p) for side in (r.drawn, r.fixed) for p in ("jax", "torch"))]
            rows.append([f"`{r.workload}`", *(number(rate and rate / 1e3, ".0f") for rate in rates)])
        parts.append(table(header, rows))
    if peaks:
        ranked = sorted(peaks.items(), key=lambda item: -item[1][0])
        rates = "; ".join(f"{p} {rate:.0f}" + (f" ({variant})" if variant else "") for p, (rate, variant) in ranked)
        parts.append(f"`sgemm`, best GFLOP/s: {rates}. The fastest is the peak.")
    if ends:
        header = ["`pendulum_mbpo`", "ms a real step", "ratio to ours [min–max]", "peak memory MB", "mean return"]
        parts.append(table(header, end_rows(ends)))
    return "\n\n".join(parts)
