"""Runs the next missing run of the list of wanted runs, or makes the tables and curves of those that are done.

    python3 benches/wanted.py [--hours H] [--jobs N] [--only PATTERN] [--retry]
    python3 benches/wanted.py --list [--only PATTERN]
    python3 benches/wanted.py table [--into docs/results/sample_efficiency.md]

The list is `benches/wanted.toml`; `benches/learning/entries.py` has its form. A run takes one thread and the lowest
priority. Unfinished runs come before new ones of the same priority. With --jobs, several run side by side; without
--hours each job is one run. When the hours are over, or at SIGINT, SIGTERM or SIGHUP, the programs save and end, and a
later call resumes the runs; a second signal ends them at once, and they keep their newest checkpoints. Runners of one
work folder never take the same run, and the run of a dead runner is continued.

A finished run is a file `docs/results/runs/<group>/<method>/seed-<n>.csv` that can be committed: the returns of all
evaluations with their steps and seconds, and config, machine and commit. Its folder under `results/wanted` stays until
it is removed. A finished run with fewer steps than the list asks for is extended.

Exit codes: 0 for success, 1 if a run failed, 2 for bad input (also if no run of the list can be started), 130 after a
signal. Needs Python 3.11 or later on a Unix, and no packages.
"""

import argparse
import fnmatch
import os
import sys
from pathlib import Path

from learning import table
from learning.entries import Refused, Wanted, WantedList, read
from learning.runner import Runner, find_program
from learning.work import Places, choosing, state

REPOSITORY = Path(__file__).resolve().parent.parent


def positive(text: str) -> float:
    """Parses a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"`{text}` is not a positive, finite number")
    return value


def whole(text: str) -> int:
    """Parses a whole number above 0."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a positive whole number")
    return value


def parse(words: list[str]) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", nargs="?", choices=("run", "table"), default="run")
    parser.add_argument("--list", action="store_true", help="print the state of every run and exit")
    parser.add_argument(
        "--only",
        action="append",
        metavar="PATTERN",
        help="only runs whose name matches PATTERN, such as `hopper` or `*/seed-0`",
    )
    parser.add_argument("--hours", type=positive, help="start runs for this many hours (default: one run per job)")
    parser.add_argument("--jobs", type=whole, default=1, help="number of runs at a time, one thread each")
    parser.add_argument("--retry", action="store_true", help="also resume failed runs")
    parser.add_argument("--foresee", metavar="PATH", help="the program `foresee`; default: target/release/foresee")
    parser.add_argument(
        "--wanted", type=Path, default=REPOSITORY / "benches" / "wanted.toml", help="TOML file with the wanted runs"
    )
    parser.add_argument(
        "--work", type=Path, default=REPOSITORY / "results" / "wanted", help="folder for unfinished runs"
    )
    parser.add_argument(
        "--results", type=Path, default=REPOSITORY / "docs" / "results" / "runs", help="folder for the result files"
    )
    parser.add_argument("--into", type=Path, default=REPOSITORY / "docs" / "results" / "sample_efficiency.md")
    return parser.parse_args(words)


def chosen(wanted: WantedList, patterns: list[str] | None) -> list[Wanted]:
    """Returns the runs whose name contains the pattern, in their order of execution."""
    if not patterns:
        return wanted.runs
    runs = [run for run in wanted.runs if any(fnmatch.fnmatchcase(run.name, f"*{p}*") for p in patterns)]
    if not runs:
        raise Refused(f"no run has `{'`, `'.join(patterns)}` in its name\nhint: --list prints all names")
    return runs


def show(runs: list[Wanted], places: Places) -> None:
    """Prints the state of every run, and the number of runs in each state."""
    counts: dict[str, int] = {}
    for run in runs:
        now = state(run, places)
        counts[now.kind] = counts.get(now.kind, 0) + 1
        step = f"step {now.step}" if now.step else ""
        note = now.note.removeprefix(f"{run.name}: ").split("\nhint: ")[0]
        print(f"{now.kind:<8} {run.name:<44} {' '.join(part for part in (step, note) if part)}".rstrip())
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))


def forgive(runs: list[Wanted], places: Places) -> None:
    """Turns failed runs into cut ones."""
    with choosing(places.work):
        for run in runs:
            if state(run, places).kind == "failed":
                (places.of(run).folder / "failed").unlink(missing_ok=True)


def main(words: list[str]) -> int:
    """Runs the command and returns the exit code."""
    given = parse(words)
    places = Places(REPOSITORY, given.results.resolve(), given.work.resolve())
    try:
        wanted = read(given.wanted)
        if given.verb == "table":
            return table.make(wanted, places.results, given.into)
        runs = chosen(wanted, given.only)
        if given.list:
            show(runs, places)
            return 0
        program = find_program(given.foresee, REPOSITORY)
        if given.retry:
            forgive(runs, places)
        return Runner(places, program, runs, given.jobs, given.hours and given.hours * 3600).run()
    except Refused as refused:
        print(f"error: {refused}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of the list or table has closed the pipe.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
