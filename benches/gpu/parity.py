"""Runs the program with every GPU test, one test after another, and keeps what each of them says.

    python3 benches/gpu/parity.py --program gpu-tests --out FOLDER [--limit SECONDS] [--jobs N] [--test WORD ...] [--rehearsal]

Nothing stops at a failure: after a crash, or a test that takes too long, the program is started again with the tests
that are left. Every file of tests has a process, and tests that count launches have one each, since they see all launches
of theirs; the longest come last, by themselves. `--jobs` processes run at a time. A test that failed beside others is run
again by itself at the end, as far as the time allows. Writes `parity.json` and `parity.txt`. Exit code 1 where a test did
not pass, 2 for bad input.
"""

import argparse
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Result = dict[str, Any]

#: Largest number of seconds for one test.
ONE_TEST = 120.0
#: Modules of tests that observe all launches of their process.
ALONE = re.compile(r"_launches::")
#: The tests that take longest.
LONG = re.compile(r"two_hundred_random_worlds|::a_run_")
#: Results that are not failures.
GOOD = ("ok", "ignored")
#: Largest number of characters that are kept of a test's output.
KEPT = 4000


def names(program: str) -> list[str]:
    """Returns the names of a program's tests."""
    listed = subprocess.run([program, "--list", "--format", "terse"], capture_output=True, text=True, timeout=60)
    if listed.returncode != 0:
        raise OSError(f"`{program} --list` ended with {listed.returncode}: {listed.stderr.strip()[-500:]}")
    return [line.removesuffix(": test") for line in listed.stdout.splitlines() if line.endswith(": test")]


def tail(text: str) -> str:
    """Returns a test's output without that of the test harness."""
    text = re.sub(r"\n(failures:|test result:).*", "", text, flags=re.DOTALL).strip()
    return text if len(text) <= KEPT else f"{text[: KEPT // 2]}\n…\n{text[-KEPT // 2 :]}"


class Group:
    """Tests of one process. `results` contains those that have begun, in order."""

    def __init__(self, tests: list[str]) -> None:
        self.tests, self.results, self.said = tests, list[Result](), ""
        self.begun = 0.0

    def hear(self, text: str) -> None:
        """Processes further output: determines which tests it ends and begins."""
        self.said += text
        while True:
            following = [name for name in self.tests if name not in {r["name"] for r in self.results}]
            starts = [(self.said.find(f"test {name} ... "), name) for name in following]
            starts = [(at, name) for at, name in starts if at >= 0]
            if not starts:
                self.finish()
                return
            at, name = min(starts)
            before, self.said = self.said[:at], self.said[at + len(f"test {name} ... ") :]
            self.finish(before)
            self.begun = time.monotonic()
            self.results.append({"name": name, "result": "running", "seconds": 0.0, "message": ""})

    def finish(self, text: str | None = None) -> None:
        """Ends the last test, if its verdict is in the output."""
        if not self.results or self.results[-1]["result"] != "running":
            return
        said = re.split(r"\n(?:failures:|test result:)", self.said if text is None else text)[0]
        verdict = re.search(r"(?:^|\n)(ok|FAILED|ignored)\s*$", said)
        if not verdict and text is not None:
            # The verdict follows output that did not end with a new line.
            verdict = re.search(r"(ok|FAILED|ignored)\s*$", said)
        if verdict:
            self.close(verdict[1].lower(), said[: verdict.start()])
        elif text is not None:
            self.close("crashed", said)

    def close(self, result: str, said: str) -> None:
        """Records the last test's result."""
        self.results[-1] |= {"result": result, "seconds": round(time.monotonic() - self.begun, 2), "message": tail(said)}


def run(program: str, tests: list[str], until: float, tell: Callable[[str], None]) -> list[Result]:
    """Runs tests in one process until the monotonic clock reaches `until`. Returns the results of the tests that began.
    """
    command = [program, "--exact", "--test-threads=1", "--nocapture", *tests]
    environment = os.environ | {"FORESEE_REQUIRE_WGPU": "1", "RUST_BACKTRACE": "0"}
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    assert process.stdout
    heard: queue.Queue[bytes] = queue.Queue()
    source = process.stdout.fileno()

    def listen() -> None:
        while data := os.read(source, 65536):
            heard.put(data)
        heard.put(b"")

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    group, told, stopped = Group(tests), 0, ""
    group.begun = time.monotonic()
    while True:
        try:
            data = heard.get(timeout=0.5)
            if not data:
                break
            group.hear(data.decode(errors="replace"))
        except queue.Empty:
            pass
        for result in group.results[told:]:
            if result["result"] == "running":
                break
            tell(f"{result['result']:<8} {result['seconds']:>7.2f} s  {result['name']}")
            told += 1
        now = time.monotonic()
        if now > until or now - group.begun > ONE_TEST:
            stopped = "cut off" if now > until else "too slow"
            process.kill()
            break
    code = process.wait()
    listener.join(5.0)
    process.stdout.close()
    if group.results and group.results[-1]["result"] == "running":
        if stopped:
            group.close(stopped, group.said)
        else:
            group.finish(f"{group.said}\n(the program ended with {code})" if code not in (0, 101) else group.said)
    if not group.results and not stopped:
        message = f"{tail(group.said)}\n(the program ended with {code} before a test began)"
        group.results.append({"name": tests[0], "result": "crashed", "seconds": 0.0, "message": message})
    for result in group.results[told:]:
        tell(f"{result['result']:<8} {result['seconds']:>7.2f} s  {result['name']}")
    return group.results


def groups_of(tests: list[str]) -> list[list[str]]:
    """Returns the tests of each process, in the order of their start."""
    alone = [[name] for name in tests if ALONE.search(name)]
    long = [[name] for name in tests if LONG.search(name)]
    files: dict[str, list[str]] = {}
    for name in tests:
        if not ALONE.search(name) and not LONG.search(name):
            files.setdefault(name.split("::")[0], []).append(name)
    return [*alone, *files.values(), *long]


def all_of(program: str, tests: list[str], until: float, tell: Callable[[str], None], jobs: int = 1) -> list[Result]:
    """Runs all tests, and returns their results in order; `not run` for those for which there was no time."""
    waiting, lock = groups_of(tests), threading.Lock()
    results: dict[str, Result] = {}
    beside: set[str] = set()

    def work() -> None:
        while True:
            with lock:
                if not waiting or time.monotonic() >= until:
                    return
                group = waiting.pop(0)
            done = run(program, group, until, tell)
            rest = [name for name in group if name not in {result["name"] for result in done}]
            with lock:
                results.update({result["name"]: result for result in done})
                beside.update(name for name in group if len(group) > 1 or jobs > 1)
                if rest and done:
                    waiting.insert(0, rest)

    workers = [threading.Thread(target=work) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for name in tests:
        result = results.setdefault(name, {"name": name, "result": "not run", "seconds": 0.0, "message": ""})
        if name in beside and result["result"] not in GOOD and time.monotonic() < until:
            tell("again, by itself:")
            again = run(program, [name], until, tell)
            result["alone"] = {key: again[0][key] for key in ("result", "seconds", "message")} if again else None
    return [results[name] for name in tests]


def text(results: list[Result], head: str) -> str:
    """Returns a readable report: failed tests with their messages, then all tests."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result["result"]] = counts.get(result["result"], 0) + 1
    lines = [head, ", ".join(f"{count} {result}" for result, count in sorted(counts.items())), ""]
    for result in results:
        if result["result"] not in GOOD:
            lines += [f"== {result['result']}: {result['name']}", result["message"], ""]
            if result.get("alone"):
                lines += [f"-- by itself: {result['alone']['result']}", result["alone"]["message"], ""]
    lines += [f"{r['result']:<8} {r['seconds']:>7.2f} s  {r['name']}" for r in results]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=150.0, help="time limit in seconds for all tests together")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument(
        "--test", action="append", default=[], help="run only tests whose name contains this; may be repeated"
    )
    parser.add_argument("--rehearsal", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()
    try:
        tests = names(options.program)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"the tests cannot be listed: {error}\nhint: build the program with `benches/gpu/build`", file=sys.stderr)
        return 2
    tests = [name for name in tests if not options.test or any(word in name for word in options.test)]
    if not tests:
        words = " or ".join(options.test)
        print(f"no test name contains {words}\nhint: `{options.program} --list` lists the tests", file=sys.stderr)
        return 2
    # Reserves some seconds to write the results.
    results = all_of(options.program, tests, began + options.limit - 3.0, lambda line: print(line, flush=True), max(1, options.jobs))
    head = "a rehearsal: no GPU's results" if options.rehearsal else "on a GPU"
    whole = {
        "rehearsal": options.rehearsal,
        "commit": os.environ.get("FORESEE_COMMIT", "unknown"),
        "seconds": round(time.monotonic() - began, 1),
        "passed": sum(result["result"] == "ok" for result in results),
        "tests": results,
    }
    (options.out / "parity.json").write_text(json.dumps(whole, indent=1) + "\n")
    (options.out / "parity.txt").write_text(text(results, head))
    print(f"{whole['passed']} of {len(results)} tests passed")
    return 0 if all(result["result"] in GOOD for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
