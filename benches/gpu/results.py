"""What `benches/gpu/run` does with results: one verb a job.

    results.py adapter FILE                     the adapter's JSON line → one line, exit code 0 for a GPU through Vulkan, else 3
    results.py mark FILE key=value …            adds fields to every JSON line of a file; what is no JSON is dropped
    results.py pendulum FOLDER                  what the run in that folder did, in a few lines
    results.py about FOLDER key=value …         writes about.json
    results.py check FOLDER                     files under 16 MiB, and eight at most
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

#: Largest number of files that come back, and largest number of bytes of each.
FILES, BYTES = 8, 16 << 20


def value(word: str) -> Any:
    """Parses `true`, a number, an object, or the word itself."""
    try:
        return json.loads(word)
    except ValueError:
        return word


def fields(words: list[str]) -> dict[str, Any]:
    """Parses `key=value` words."""
    return {key: value(text) for key, _, text in (word.partition("=") for word in words)}


def lines(path: Path) -> list[dict[str, Any]]:
    """Returns the JSON objects of a file; a last line that was cut short is ignored."""
    found = []
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found


def adapter(path: Path) -> int:
    """Whether numbers from this adapter are those of a GPU."""
    found = lines(path)
    if not found:
        print("no graphics adapter")
        return 3
    seen = found[-1]
    print(", ".join(str(seen[key]) for key in ("name", "kind", "api", "driver")))
    return 0 if seen["api"] == "Vulkan" and not seen["software"] else 3


def mark(path: Path, words: list[str]) -> int:
    """Adds fields to every line, and prints a summary of the lines."""
    entries = [entry | fields(words) for entry in lines(path)]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    for entry in entries:
        shown = ("program", "workload", "variant", "precision", "build", "max_tasks", "error")
        line = " ".join(str(entry[key]) for key in shown if key in entry)
        print(f"{line}: {entry['median_ms']:.4f} ms" if "median_ms" in entry else line)
    return 0


def pendulum(folder: Path) -> int:
    """Prints returns, and seconds per real step."""
    results = folder / "results.csv"
    print(results.read_text() if results.exists() else "the run ended before its first evaluation", end="")
    clock = lines(folder / "timing.jsonl")
    for before, after in zip(clock, clock[1:]):
        steps, seconds = (after[key] - before[key] for key in ("env_step", "wall_s"))
        if steps > 0:
            print(f"steps {before['env_step']} to {after['env_step']}: {1e3 * seconds / steps:.2f} ms per real step")
    if clock:
        print(json.dumps(clock[-1]))
    return 0


def said(*command: str) -> str | None:
    """Returns the output of a command; `None` if it cannot be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def processor() -> str:
    """Returns the processor's name."""
    try:
        names = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown processor"


def system() -> str:
    """Returns the distribution and its C library."""
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        name = platform.system()
    return f"{name}, {' '.join(platform.libc_ver())}"


def about(folder: Path, words: list[str]) -> int:
    """Writes the machine, the kit, and the outcome of the steps. `manifest`, `adapter` and `steps` are files to read.
    """
    given = fields(words)
    kit = Path(given.pop("manifest"))
    seen = lines(Path(given.pop("adapter")))
    steps = []
    for line in Path(given.pop("steps")).read_text().splitlines():
        name, seconds, outcome = line.split("\t")
        steps.append({"step": name, "seconds": int(seconds), "outcome": outcome})
    query = "name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit,pstate,vbios_version"
    whole = given | {
        "adapter": seen[-1] if seen else None,
        "nvidia_smi": said("nvidia-smi", f"--query-gpu={query}", "--format=csv"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": system(),
        "python": platform.python_version(),
        "environment": {k: v for k, v in os.environ.items() if k.startswith(("VK_", "CUBECL_", "FORESEE_", "LD_LIBRARY"))},
        "steps": steps,
        "kit": json.loads(kit.read_text()) if kit.exists() else None,
    }
    (folder / "about.json").write_text(json.dumps(whole, indent=1) + "\n")
    return 0


def check(folder: Path) -> int:
    """Removes the middle of files that are too large, and reports if there are too many files."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for path in files:
        if path.stat().st_size >= BYTES:
            data = path.read_bytes()
            path.write_bytes(data[: BYTES // 2 - 1024] + b"\n(cut)\n" + data[-BYTES // 4 :])
            print(f"{path.name} had {len(data)} bytes; its middle was removed")
    if len(files) > FILES:
        print(f"{folder} has {len(files)} files, but only {FILES} can be returned\nhint: remove files that are no results")
        return 1
    return 0


def main() -> int:
    """Runs the command."""
    verbs = {"adapter": adapter, "pendulum": pendulum, "check": check}
    match sys.argv[1:]:
        case [verb, path] if verb in verbs:
            return verbs[verb](Path(path))
        case ["mark", path, *words]:
            return mark(Path(path), words)
        case ["about", path, *words]:
            return about(Path(path), words)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
