"""Times the fixed workloads in PyTorch and JAX on one NVIDIA GPU.

    python benches/peers/gpu.py warm --cache DIR [--device cuda] [--jobs 8] [--budget 300]
    python benches/peers/gpu.py measure --cache DIR --out FILE.jsonl [--device cuda] [--seconds 2] [--budget 300]
        [--commit TEXT]

`warm` compiles all programs into caches that stay in DIR, several at a time, and uses the GPU little. `measure` times
them, one program after the other, each in a process of its own with its share of the budget. A first short pass goes
through all variants, the most promising first and those that `warm` did not reach last; a second one times those that
are at most half again as slow as their program's best in the same workload and precision. Of a variant with two lines
the later one counts.

FILE gets a line for each result as it comes. A variant that fails gives a line with `error`, and the others go on; a
program that cannot be imported gives such a line too. Exit code 2: there is no GPU, or the arguments make no sense.
"""

import argparse
import contextlib
import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

import report

HERE = Path(__file__).resolve().parent
#: Programs, with weights: a program gets its part of the remaining budget, relative to the programs after it.
PROGRAMS = {"torch": 0.6, "jax": 0.4}
#: A variant that is this many times slower than its program's best is not measured again.
SLOWER = 1.5
#: Largest number of seconds per variant in the first pass.
FIRST = 0.3
#: Share of a program's time after which the first pass starts no measurement.
FIRST_PASS = 0.75
#: Workloads of which every variant is measured twice, in a quarter of the time, because they settle sooner.
PARTS = ("sgemm", "launch")
#: Smallest number of seconds of a second measurement, and seconds of overhead of a measurement.
LEAST, BESIDE = 0.2, 0.15
#: Number of times that a program's process is restarted after a variant ended it, and that one way may end it.
RESTARTS, ENDS = 6, 2
#: Seconds for a program's start.
START = 180.0

Record = dict[str, Any]
Job = tuple[str, str, str]


def note(message: str) -> None:
    """Prints progress to standard error."""
    print(message, file=sys.stderr, flush=True)


# The workers.


class Ended(Exception):
    """A worker's process ended, or did not answer in time."""


class Asked(Protocol):
    """The worker's interface for the passes."""

    def ask(self, request: Record, timeout: float) -> Record:
        """Sends one request and returns its answer; raises `Ended`."""

    def restart(self) -> None:
        """Starts a new process."""


def environment(device: str, cache: Path, threads: int | None) -> dict[str, str]:
    """Returns a worker's environment: persistent caches, and no more of the GPU's memory than is used."""
    found = dict(os.environ)
    found |= {
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "PYTHONUNBUFFERED": "1",
    }
    if threads:
        found["TORCHINDUCTOR_COMPILE_THREADS"] = str(threads)
    if device == "cpu":
        found["CUDA_VISIBLE_DEVICES"] = ""
    return found


class Peer:
    """A program's worker in its own process; its output goes to a log."""

    def __init__(self, program: str, options: list[str], env: dict[str, str], log: Path) -> None:
        self.program, self.env, self.log = program, env, log
        self.command = [sys.executable, str(HERE / f"gpu_{program}.py"), *options]
        self.process: subprocess.Popen[str] | None = None
        self.closed, self.lock = False, threading.Lock()
        self.restart()

    def restart(self) -> None:
        """Starts a new process and ends the last one. Raises `Ended` once the worker is closed."""
        with self.lock:
            self._end()
            if self.closed:
                raise Ended("the worker was stopped")
            self._start()

    def _start(self) -> None:
        with self.log.open("a") as log:
            # A separate session, so that the processes it starts end with it.
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1,
                env=self.env, start_new_session=True,
            )  # fmt: skip
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True).start()

    @staticmethod
    def _read(stream: TextIO, lines: queue.Queue[str]) -> None:
        for line in stream:
            lines.put(line)
        lines.put("")

    def ask(self, request: Record, timeout: float) -> Record:
        """Sends one request and returns its answer; raises `Ended`."""
        assert self.process and self.process.stdin
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            line = self.lines.get(timeout=max(0.1, timeout))
        except queue.Empty:
            raise Ended(f"no answer within {timeout:.0f} s") from None
        except (OSError, ValueError):
            line = ""
        if not line:
            raise Ended(f"its process ended: {self.last_words()}")
        return json.loads(line)

    def last_words(self) -> str:
        """Returns how the process ended: its exit code, and the end of the log."""
        try:
            code = self.process.wait(timeout=5) if self.process else None
        except subprocess.TimeoutExpired:
            code = None
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return f"exit code {code}; {lines[-1][-300:] if lines else f'it wrote nothing to {self.log}'}"

    def close(self) -> None:
        """Ends the process and those that it started. It cannot be restarted."""
        with self.lock:
            self.closed = True
            self._end()

    def _end(self) -> None:
        if self.process is None:
            return
        process, self.process = self.process, None
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
        process.wait()


# The passes.


@dataclass
class Passes:
    """A program's measurements within its share of the budget. Records are written as they come."""

    peer: Asked
    write: Callable[[Record], None]
    seconds: float
    #: End of the share, by `clock`.
    deadline: float
    #: Largest number of seconds for one variant, its compilation included.
    limit: float
    clock: Callable[[], float] = time.monotonic
    restarts: int = 0
    #: Number of times that a way, the first words of a variant, ended the process.
    ends: Counter[str] = field(default_factory=Counter)
    #: Results of the first pass.
    results: dict[Job, Record] = field(default_factory=dict)

    def left(self) -> float:
        """Returns the remaining seconds of the share."""
        return self.deadline - self.clock()

    def one(self, job: Job, seconds: float, number: int) -> Record | None:
        """Measures a job and writes the record. Returns the answer, or `None` after a failure, which is written too."""
        fatal, way = False, job[1].split(",")[0]
        if self.ends[way] >= ENDS:
            self.leave_out([job], f"its process ended {ENDS} times in variants that start with `{way}`")
            return None
        try:
            answer = self.peer.ask({"job": job, "seconds": seconds}, min(self.limit, self.left()))
        except Ended as ended:
            answer, fatal = {"error": str(ended)}, True
        self.write(head(job) | answer | ({} if "error" in answer else {"pass": number}))
        if fatal or answer.get("fatal"):
            self.ends[way] += 1
            self.restart()
        return None if "error" in answer else answer

    def restart(self) -> None:
        """Starts a new process for the remaining jobs; raises `Ended` after too many restarts."""
        self.restarts += 1
        if self.restarts > RESTARTS:
            raise Ended(f"gave up after {RESTARTS} restarts")
        if self.left() > 0:
            self.peer.restart()

    def leave_out(self, jobs: list[Job], why: str) -> None:
        """Writes records of jobs that are not measured."""
        for job in jobs:
            self.write(head(job) | {"error": f"left out: {why}"})

    def first(self, jobs: list[Job]) -> None:
        """Makes the first pass. Jobs for which there is no time are written as left out."""
        last = self.clock() + FIRST_PASS * self.left()
        for number, job in enumerate(jobs):
            if self.clock() >= last:
                return self.leave_out(jobs[number:], "the program's share of the budget was spent")
            if answer := self.one(job, min(FIRST, self.seconds), 1):
                self.results[job] = answer

    def second(self) -> None:
        """Makes the second pass, with the fastest variant of every workload first, until the time is used."""
        if self.left() < LEAST + BESIDE:
            return
        chosen = turns(self.results)
        for job in self.results.keys() - set(chosen):
            self.give_back(job)
        for number, job in enumerate(chosen):
            share = self.left() / (len(chosen) - number) - BESIDE
            wanted = self.seconds / 4 if job[0] in PARTS else self.seconds
            if self.left() < LEAST + BESIDE:
                return
            self.one(job, min(wanted, max(LEAST, share)), 2)

    def give_back(self, job: Job) -> None:
        """Lets the worker free a job's memory."""
        try:
            self.peer.ask({"drop": job}, min(self.limit, self.left()))
        except Ended:
            self.restart()


def head(job: Job) -> Record:
    """Returns a record's first fields."""
    return dict(zip(("workload", "variant", "precision"), job))


def turns(results: dict[Job, Record]) -> list[Job]:
    """Returns the jobs that are worth a second measurement, in order: the fastest of every workload and precision, then
    the second ones, and so on.
    """
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in results:
        groups.setdefault((job[0], job[2]), []).append(job)
    ranked = []
    for (workload, _), jobs in groups.items():
        # By the best call, so that a disturbance does not exclude a variant.
        jobs.sort(key=lambda job: results[job]["min_ms"])
        bound = float("inf") if workload in PARTS else SLOWER * results[jobs[0]]["min_ms"]
        ranked += [(place, job) for place, job in enumerate(jobs) if results[job]["min_ms"] <= bound]
    return [job for _, job in sorted(ranked, key=lambda pair: pair[0])]


def share(program: str, programs: list[str], left: float) -> float:
    """Returns the seconds for a program, of those that are left for it and the programs after it."""
    after = programs[programs.index(program) :]
    return left * PROGRAMS[program] / sum(PROGRAMS[name] for name in after)


def warm_first(jobs: list[Job], needed: list[Job], done: set[Job]) -> list[Job]:
    """Returns the jobs in their order, except that those that must be compiled first are last."""
    return sorted(jobs, key=lambda job: job in needed and job not in done)


def selected(jobs: list[list[str]], args: argparse.Namespace) -> list[Job]:
    """Returns the jobs of the requested workloads and precisions."""
    found: list[Job] = [(workload, variant, precision) for workload, variant, precision in jobs]
    return [
        job
        for job in found
        if (not args.workloads or job[0] in args.workloads)
        and (not args.precisions or job[2] in (*args.precisions, "none"))
    ]


# Commands.


class Lines:
    """A file of records, one per line, each written immediately."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file, self.lock = path.open("a"), threading.Lock()

    def write(self, record: Record) -> None:
        """Writes one record, which is on the disk when this returns."""
        with self.lock:
            self.file.write(json.dumps(record, ensure_ascii=False) + "\n")
            self.file.flush()
            os.fsync(self.file.fileno())


def options(args: argparse.Namespace) -> list[str]:
    """Returns a worker's command line."""
    found = ["--device", args.device]
    return found + (["--small"] if args.small else []) + (["--threads", str(args.threads)] if args.threads else [])


def done_before(cache: Path, program: str) -> set[Job]:
    """Returns the jobs that `warm` has compiled into the caches. A line that was cut short by a kill is ignored."""
    path, found = cache / "warmed.jsonl", set()
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError, KeyError):
            record = json.loads(line)
            if record["program"] == program:
                found.add((record["workload"], record["variant"], record["precision"]))
    return found


def measure(args: argparse.Namespace) -> None:
    """Measures one program after another."""
    started, card, out = time.monotonic(), Card.of(args.device), Lines(args.out)
    for program in args.programs:
        seconds = share(program, args.programs, args.budget - (time.monotonic() - started))
        measure_one(program, seconds, args, card, out)


def measure_one(program: str, seconds: float, args: argparse.Namespace, card: "Card", out: Lines) -> None:
    """Measures a program for `seconds`. An error that stops it becomes a record."""
    started = time.monotonic()
    note(f"{program}: {seconds:.0f} s")
    facts: Record = {"program": program, "version": None, "device": card.name, "commit": args.commit}
    if args.small:
        facts["small"] = True

    def write(record: Record) -> None:
        record.pop("fatal", None)
        out.write({"program": program} | record if "error" in record else facts | record)
        what = " ".join(record[key] for key in ("workload", "variant", "precision"))
        outcome = record.get("error") or f"{record['median_ms']:.4g} ms"
        note(f"  {time.monotonic() - started:6.1f} s  {program} {what}: {outcome}")

    log = args.out.with_name(f"{args.out.name}.{program}.log")
    peer = Peer(program, options(args), environment(args.device, args.cache, args.threads), log)
    try:
        about = peer.ask({"list": True}, min(START, seconds))
        if "error" in about:
            raise Ended(about["error"])
        facts["version"] = about["version"]
        ran_on = {"card": card.name, "driver": card.driver} | about["about"] | {"commit": args.commit}
        out.write({"program": program, "about": ran_on})
        jobs, needed = selected(about["jobs"], args), selected(about["warm"], args)
        passes = Passes(peer, write, args.seconds, started + seconds, args.limit)
        done = done_before(args.cache, program)
        slow = set(selected(about["slow"], args)) - done
        passes.leave_out([job for job in jobs if job in slow], "`warm` has not compiled it, which takes minutes")
        passes.first(warm_first([job for job in jobs if job not in slow], needed, done))
        passes.second()
    except Ended as ended:
        write({"workload": "", "variant": "", "precision": "", "error": f"{program} stops here: {ended}"})
    finally:
        peer.close()


def warm(args: argparse.Namespace) -> None:
    """Compiles all programs into the caches, several at a time, each job once."""
    started, done = time.monotonic(), Lines(args.cache / "warmed.jsonl")
    env = environment(args.device, args.cache, args.threads or max(1, (os.cpu_count() or 1) // args.jobs))
    queues: dict[str, queue.Queue[Job]] = {program: queue.Queue() for program in args.programs}
    listed, peers, failed, lock, stopped = set(), [], [], threading.Lock(), threading.Event()

    def work(peer: Peer, program: str) -> None:
        try:
            about = peer.ask({"list": True}, START)
            if "error" in about:
                raise Ended(about["error"])
            with lock:
                if program not in listed:
                    listed.add(program)
                    before = done_before(args.cache, program)
                    for job in selected(about["warm"], args):
                        if job not in before:
                            queues[program].put(job)
            while (left := args.budget - (time.monotonic() - started)) > 0:
                job = queues[program].get_nowait()
                try:
                    answer = peer.ask({"job": job, "warm": True}, left)
                except Ended as ended:
                    answer = {"error": str(ended), "fatal": True}
                what = f"{program} {' '.join(job)}"
                if "error" in answer:
                    failed.append(f"{what}: {answer['error']}")
                else:
                    done.write({"program": program} | head(job) | answer)
                note(f"  {time.monotonic() - started:6.1f} s  {what}: {answer.get('error') or answer['seconds']}")
                if answer.get("fatal"):
                    peer.restart()
        except queue.Empty:
            pass
        except Ended as ended:
            failed.append(f"{program}: {ended}")
        finally:
            peer.close()

    def slot(number: int) -> None:
        # Half of the slots begin with each program. A slot that finds no more jobs helps the other program.
        first = args.programs[number % len(args.programs)]
        for program in (first, *(name for name in args.programs if name != first)):
            if time.monotonic() - started >= args.budget or (program in listed and queues[program].empty()):
                continue
            with lock:
                if stopped.is_set():
                    return
                peers.append(Peer(program, options(args), env, args.cache / f"warm-{number}-{program}.log"))
                peer = peers[-1]
            work(peer, program)

    threads = [threading.Thread(target=slot, args=(number,), daemon=True) for number in range(args.jobs)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        with lock:
            stopped.set()
        for peer in peers:
            peer.close()
    left = sum(jobs.qsize() for jobs in queues.values())
    note(f"warm: {time.monotonic() - started:.0f} s, {left} left out, {len(failed)} failed")
    for line in failed:
        note(f"  {line}")


@dataclass
class Card:
    """The hardware of the workloads."""

    name: str
    driver: str | None = None

    @classmethod
    def of(cls, device: str) -> "Card":
        """Returns the first GPU that nvidia-smi reports, or the CPU; exits with 2 if there is no GPU."""
        if device == "cpu":
            return cls(report.processor())
        command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        try:
            lines = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
        except (OSError, subprocess.SubprocessError):
            lines = []
        if lines and ", " in lines[0]:
            name, driver = lines[0].rsplit(", ", 1)
            return cls(name.strip(), driver.strip())
        if count := gpus():
            return cls(f"NVIDIA GPU, one of {count}")
        note(
            "--device cuda needs an NVIDIA GPU, but neither nvidia-smi nor the driver's libcuda.so.1 shows one\n"
            "hint: install NVIDIA's driver, or rehearse with `--device cpu --small`"
        )
        raise SystemExit(2)


def gpus() -> int:
    """Returns the number of GPUs that the driver's library reports."""
    try:
        driver, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
        return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0
    except (OSError, AttributeError):
        return 0


def names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Parses a list of names, separated by commas."""
    allowed = list(known)

    def read(text: str) -> list[str]:
        found = [name for name in text.split(",") if name]
        for name in found:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"`{name}` is unknown; choose from {', '.join(allowed)}")
        return found

    return read


WORKLOADS = ("sgemm", "launch", "model_step", "vagram_step", "sac_update", "rollout_100k_5", "rollout_10k_5")


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, what in {"warm": "compile into the caches", "measure": "measure and write records"}.items():
        command = verbs.add_parser(verb, help=what)
        command.add_argument("--cache", type=Path, required=True, help="folder for compiled programs")
        command.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
        command.add_argument("--small", action="store_true", help="sizes for a rehearsal; the times mean nothing")
        command.add_argument("--threads", type=int, help="cores a worker may use; default: all")
        command.add_argument("--programs", type=names(PROGRAMS), default=list(PROGRAMS))
        command.add_argument("--workloads", type=names(WORKLOADS), default=[], help="default: all")
        command.add_argument("--precisions", type=names(("f32", "tf32", "bf16")), default=[], help="default: all")
        command.add_argument("--budget", type=float, default=300.0, help="seconds for all programs together")
        if verb == "warm":
            command.add_argument("--jobs", type=int, default=4, help="processes at a time")
        else:
            command.add_argument("--seconds", type=float, default=2.0, help="seconds per variant in the second pass")
            command.add_argument("--limit", type=float, default=60.0, help="limit in seconds per variant, compilation included")
            command.add_argument("--out", type=Path, required=True, help="file for the records, one JSON object per line")
            command.add_argument("--commit", help="commit written to the records; default: that of git")
    args = parser.parse_args(words)
    for name in ("budget", "seconds", "limit", "jobs", "threads"):
        if getattr(args, name, None) is not None and getattr(args, name) <= 0:
            parser.error(f"--{name} is {getattr(args, name)}; it must be positive")
    args.cache = args.cache.resolve()
    return args


def main() -> None:
    """Runs the command."""
    # SIGTERM ends the workers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = parse()
    args.cache.mkdir(parents=True, exist_ok=True)
    if args.verb == "warm":
        Card.of(args.device)
        warm(args)
    else:
        args.commit = args.commit or report.commit()
        measure(args)


if __name__ == "__main__":
    main()
