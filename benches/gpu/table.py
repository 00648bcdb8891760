"""Makes the GPU table of `docs/results/compute.md` from the files that `benches/gpu/run` left.

    python3 benches/gpu/table.py FOLDER [--into docs/results/compute.md] [--print] [--rehearsal]

The table goes between the markers `<!-- gpu: begin -->` and `<!-- gpu: end -->`. Ours is the plain build: kernels in WGSL,
32 tasks submitted at once. A peer's time at a precision is that of its fastest variant. A ratio is the fastest peer's time
at that precision over ours, so that above 1 we are faster. A share of the peak is the operations of a workload over its
time and the fastest square product in f32 of any program in the same files.

Exit code 2 where there are no results, or where they are not a GPU's: a rehearsal's are taken with --rehearsal alone, and
then the heading says so.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Entry = dict[str, Any]

BEGIN, END = "<!-- gpu: begin -->", "<!-- gpu: end -->"
WORKLOADS = ("rollout_100k_5", "rollout_10k_5", "model_step", "vagram_step", "sac_update")
PEERS = {"jax": "JAX", "torch": "PyTorch"}
#: Names that programs use for one precision.
PRECISIONS = {"highest": "f32", "fp32": "f32", "float32": "f32", "ieee": "f32", "tensorfloat32": "tf32"}
ORDER = ("f32", "tf32")
#: Name of the plain build.
PLAIN = ("wgsl", 32)


class Refused(Exception):
    """The files do not yield a table; the message contains the reason and the remedy."""


@dataclass
class Results:
    """The contents of a folder of results."""

    about: Entry
    ours: list[Entry]
    peers: list[Entry] = field(default_factory=list)

    def latest(self) -> list[Entry]:
        """Returns the peers' measurements; of two of one variant the later one."""
        found: dict[tuple[Any, ...], Entry] = {}
        for entry in self.peers:
            if entry.get("median_ms"):
                key = tuple(entry.get(key) for key in ("program", "workload", "variant"))
                found[(*key, precision(entry))] = entry
        return list(found.values())


def lines(path: Path) -> list[Entry]:
    """Returns the objects of a file with one object per line; empty if the file does not exist."""
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except ValueError as error:
        raise Refused(f"`{path}` is not one JSON object per line: {error}\nhint: use the files unchanged, as `benches/gpu/run` wrote them") from error


def read(folder: Path) -> Results:
    """Reads the files of a run."""
    about = folder / "about.json"
    if not about.exists():
        raise Refused(f"there is no `{about}`\nhint: name the folder that `benches/gpu/run --out` filled")
    try:
        head = json.loads(about.read_text())
    except ValueError as error:
        raise Refused(f"`{about}` is not valid JSON: {error}\nhint: use the files unchanged, as `benches/gpu/run` wrote them") from error
    return Results(head, lines(folder / "compute.jsonl"), lines(folder / "peers.jsonl"))


def rehearsed(results: Results) -> str | None:
    """Returns the reason why these are not a GPU's numbers, or nothing."""
    adapters = [results.about.get("adapter")] + [entry.get("adapter") for entry in results.ours]
    if results.about.get("rehearsal") or any(entry.get("rehearsal") for entry in results.ours + results.peers):
        return "they are a rehearsal's"
    if any(entry.get("small") for entry in results.peers):
        return "the peers ran in the small sizes of a rehearsal"
    for adapter in adapters:
        if not adapter:
            return "they name no adapter"
        if adapter.get("software"):
            return f"`{adapter['name']}` is a processor in software"
        if adapter.get("api") != "Vulkan":
            return f"`{adapter['name']}` was driven through {adapter.get('api')}, not Vulkan"
    return None


def precision(entry: Entry) -> str:
    """Returns `f32`, `tf32` or another word."""
    word = str(entry.get("precision", "f32")).lower()
    return PRECISIONS.get(word, word)


def ours(results: Results, workload: str, build: tuple[str, int] = PLAIN) -> Entry | None:
    """Returns our time of a workload in a build, if it was measured."""
    for entry in results.ours:
        if (entry["workload"], (entry.get("build"), entry.get("max_tasks"))) == (workload, build) and "median_ms" in entry:
            return entry
    return None


def best(results: Results, workload: str, program: str, at: str) -> Entry | None:
    """Returns a program's fastest variant of a workload at a precision, if any was measured."""
    found = [
        entry
        for entry in results.latest()
        if (entry.get("workload"), entry.get("program")) == (workload, program) and precision(entry) == at
    ]
    return min(found, key=lambda entry: entry["median_ms"], default=None)


def precisions(results: Results) -> list[str]:
    """Returns the precisions that peers were measured in, in order; at least those of `ORDER`."""
    seen = {precision(entry) for entry in results.latest() if entry.get("workload") in WORKLOADS}
    return [*ORDER, *sorted(seen - set(ORDER))]


def peak(results: Results, at: str) -> tuple[float, str] | None:
    """Returns GFLOP/s of the fastest square product at a precision, and its program."""
    found = [e for e in results.latest() if e.get("workload") == "sgemm" and e.get("gflops") and precision(e) == at]
    top = max(found, key=lambda entry: entry["gflops"], default=None)
    return top and (top["gflops"], PEERS.get(top["program"], top["program"]))


def milliseconds(entry: Entry | None) -> str:
    """Formats milliseconds as `0.123`; empty for none."""
    return f"{entry['median_ms']:.3f}" if entry else ""


def shown(precision_word: str) -> str:
    """Returns the text of a precision in the table."""
    return precision_word.upper() if precision_word.startswith("tf") else precision_word


def table(header: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table with right-aligned numbers."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def main_table(results: Results) -> str:
    """Returns the table of our times and the peers', by precision."""
    at = precisions(results)
    header = ["workload", "ours ms, f32"]
    header += [f"{PEERS[program]} ms, {shown(p)} (variant)" for p in at for program in PEERS]
    header += [f"ratio to the fastest in {shown(p)}" for p in at] + ["our share of the f32 peak"]
    top, rows = peak(results, "f32"), []
    for workload in WORKLOADS:
        own = ours(results, workload)
        row, ratios = [f"`{workload}`", milliseconds(own)], []
        for p in at:
            times = {program: best(results, workload, program, p) for program in PEERS}
            row += [f"{milliseconds(entry)} ({entry['variant']})" if entry else "" for entry in times.values()]
            fastest = min((entry["median_ms"] for entry in times.values() if entry), default=None)
            ratios.append(f"{fastest / own['median_ms']:.2f}" if fastest and own else "")
        share = f"{own['gflops'] / top[0]:.0%}" if own and own.get("gflops") and top else ""
        rows.append([*row, *ratios, share])
    return table(header, rows)


def builds_table(results: Results) -> str:
    """Returns the table of our times by compiler and by number of tasks submitted together."""
    seen = {(e.get("build"), e.get("max_tasks")) for e in results.ours if "median_ms" in e} - {PLAIN}
    builds = [PLAIN, *sorted(seen, key=str)]
    names = {"wgsl": "WGSL", "spirv": "SPIR-V"}
    header = ["ours, ms"] + [f"{names.get(build, build)}, {tasks} tasks" for build, tasks in builds]
    rows = [[f"`{w}`", *(milliseconds(ours(results, w, build)) for build in builds)] for w in WORKLOADS]
    for workload, words in (("launch", "a launch, µs"), ("launch_scalar", "with an argument of its own, µs")):
        times = [ours(results, workload, build) for build in builds]
        rows.append([words, *(f"{1e3 * entry['median_ms']:.2f}" if entry else "" for entry in times)])
    return table(header, rows)


def heading(results: Results) -> str:
    """Returns the card, its driver, the commit, and the peers' versions."""
    about = results.about
    adapter = about.get("adapter") or {}
    parts = [f"{adapter.get('name', 'no adapter')} ({adapter.get('kind', 'kind unknown')})"]
    parts.append(f"{adapter.get('api', 'unknown API')}, driver {adapter.get('driver') or 'unknown'}")
    parts.append(f"{about.get('processor', 'unknown processor')}, {about.get('cores', '?')} cores")
    parts.append(f"commit {about.get('commit', 'unknown')}")
    versions = {e["program"]: e["version"] for e in results.peers if e.get("version")}
    parts += [f"{program} {version}" for program, version in sorted(versions.items())]
    return "; ".join(parts) + "."


def rates(results: Results) -> str:
    """Returns rates of square products, transitions per second, and the peers' launches."""
    said = []
    measured = {precision(entry) for entry in results.latest() if entry.get("workload") == "sgemm"}
    for p in dict.fromkeys([*precisions(results), *sorted(measured)]):
        if top := peak(results, p):
            said.append(f"{shown(p)} {top[0] / 1e3:.1f} TFLOP/s ({top[1]})")
    text = f"Fastest square products: {'; '.join(said)}. " if said else ""
    moved = [(w, e["transitions_per_s"]) for w in WORKLOADS if (e := ours(results, w)) and e.get("transitions_per_s")]
    if moved:
        text += "Ours, million transitions a second: " + ", ".join(f"`{w}` {rate / 1e6:.2f}" for w, rate in moved) + ". "
    launches = [entry for entry in results.latest() if entry.get("workload") == "launch"]
    if launches:
        each = (f"{PEERS.get(e['program'], e['program'])} {1e3 * e['median_ms']:.2f} ({e['variant']})" for e in launches)
        text += "A launch by the peers, µs: " + ", ".join(each) + "."
    return text.strip()


def markdown(results: Results, rehearsal: bool) -> str:
    """Returns the text between the markers. Raises `Refused` if these are not a GPU's numbers and no rehearsal is
    allowed.
    """
    why = rehearsed(results)
    if why and not rehearsal:
        raise Refused(f"these are not a GPU's numbers: {why}\nhint: run the kit on a GPU, or give --rehearsal to see the form of the table")
    parts = [f"**A rehearsal, and not a GPU's numbers: {why or '--rehearsal was said'}.**"] if rehearsal else []
    parts += [heading(results), main_table(results)]
    parts += [
        "Ours is WGSL with 32 tasks submitted at once, in f32 without tensor cores. A ratio is the fastest peer's time over ours.",
        builds_table(results),
        rates(results),
    ]
    return "\n\n".join(part for part in parts if part)


def put(document: str, text: str) -> str:
    """Returns the document with the text between its markers."""
    if document.count(BEGIN) != 1 or document.count(END) != 1 or document.index(BEGIN) > document.index(END):
        raise Refused(f"the document needs exactly one `{BEGIN}` and after it one `{END}`\nhint: put them around the table's place")
    before, after = document.split(BEGIN)[0], document.split(END)[1]
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> int:
    """Runs the command."""
    here = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--into", type=Path, default=here / "docs" / "results" / "compute.md")
    parser.add_argument("--print", action="store_true", help="print the table and write nothing")
    parser.add_argument("--rehearsal", action="store_true", help="accept results that are not from a GPU, and mark the table as a rehearsal")
    options = parser.parse_args()
    try:
        text = markdown(read(options.folder), options.rehearsal)
        if options.print:
            print(text)
        else:
            document = put(options.into.read_text(), text)
            options.into.write_text(document)
    except (Refused, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
