"""Parts shared by `gpu_torch.py` and `gpu_jax.py`: sizes, checks, and answers to `gpu.py`, one JSON object per line.

Only the standard library is imported here, since a worker sets up its environment before torch or jax are loaded.

| request | answer |
|---|---|
| `{"list": true}` | the program, its hardware, its jobs `[workload, variant, precision]`, the most promising first |
| `{"job": [..], "warm": true}` | seconds to build and run the job once |
| `{"job": [..], "seconds": 1.0}` | its times |
| `{"drop": [..]}` | nothing: the job's memory is freed |

A list contains under `warm` the jobs that compile, and under `slow` those whose compilation takes minutes. A job is
built on first use and kept. A failure becomes `error`, with `fatal` if the process cannot be used after it, as after
an illegal access on the device.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import common
from common import EPOCHS, Runner, measure, rollout_flops

#: Number of steps between two waits for the device.
STEPS = 20
#: Precisions of the products of single-precision workloads.
PRECISIONS = ("f32", "tf32")
#: Part of the name of variants that take minutes to compile.
SLOW = "max-autotune"
#: Precision of workloads without products.
NO_PRODUCTS = "none"
#: Largest relative error of a product against double precision.
ERRORS = {"f32": 2e-5, "tf32": 5e-3, "bf16": 5e-2}
#: Number of columns of a product that are compared with double precision.
COLUMNS = 64

Job = tuple[str, str, str]


@dataclass(frozen=True)
class Sizes:
    """The sizes of the workloads."""

    #: Number of products per wait, by n.
    gemm: dict[int, int]
    #: Starts and horizon by workload.
    rollouts: dict[str, tuple[int, int]]
    #: Number of epochs of a training call of `vagram_step`.
    epochs: int
    #: Number of kernels of a call of `launch`.
    launches: int


FULL = Sizes(
    gemm={1024: 200, 2048: 50, 8192: 5},
    rollouts={name: common.ROLLOUTS[name] for name in ("rollout_100k_5", "rollout_10k_5")},
    epochs=EPOCHS,
    launches=1000,
)
#: Sizes for a rehearsal on the CPU. The programs are unchanged, but the times have no meaning.
SMALL = Sizes(
    gemm={64: 20, 128: 20, 256: 5},
    rollouts={"rollout_100k_5": (700, 5), "rollout_10k_5": (70, 5)},
    epochs=1,
    launches=100,
)


@dataclass
class Checked(Runner):
    """A variant with a check, which makes one further call, raises `Wrong`, or returns numbers for the record."""

    check: Callable[[], dict[str, Any]] = dict
    #: Number of transitions of an iteration.
    transitions: int | None = None


class Wrong(Exception):
    """A variant ran but did not do its work."""


def trains(runner: Runner, count: Callable[[], int], loss: Callable[[], float], first: float) -> dict[str, Any]:
    """Checks that a call takes the stated number of steps, and that the loss is lower than before the first step."""
    before = count()
    runner.call()
    steps, after = count() - before, loss()
    if steps != runner.steps:
        raise Wrong(f"a call took {steps} optimiser steps instead of {runner.steps}: its time means nothing")
    if not (math.isfinite(after) and after < first):
        raise Wrong(f"the loss is {after} after {count()} steps and was {first} before them: the steps do not train")
    return {}


def updates(runner: Runner, count: Callable[[], int], log_temperature: Callable[[], float]) -> dict[str, Any]:
    """Checks that a call makes the stated number of updates, and that they move the temperature by a plausible amount.
    """
    before, was = count(), log_temperature()
    runner.call()
    made, moved = count() - before, abs(log_temperature() - was)
    if made != runner.steps:
        raise Wrong(f"a call made {made} updates instead of {runner.steps}: its time means nothing")
    # Adam moves it by about its learning rate per update, at most.
    if not 0 < moved <= 2 * common.AGENT_LR * made:
        raise Wrong(f"{made} updates changed log α by {moved}, which is not plausible, so they are not complete updates")
    return {}


def follows(sums: Callable[[], list[tuple[float, float]]], runner: Runner) -> dict[str, Any]:
    """Checks that each step of a rollout starts from the rows at which the step before ended, by the sums of the rows.

    `sums` returns for each step the sum of all states that it started from, and of those at which the step before
    ended.
    """
    runner.call()
    for step, (start, end) in enumerate(sums()):
        if not (math.isfinite(start) and abs(start - end) <= 1e-3 * max(1.0, abs(end))):
            raise Wrong(f"step {step} does not start at the states where the step before ended: sums {start} and {end}")
    return {}


def precise(precision: str, error: float) -> dict[str, Any]:
    """Checks that a product's relative error is within that of the precision, and returns it for the record."""
    if not error <= ERRORS[precision]:
        raise Wrong(f"a product in {precision} has a relative error of {error:.1e}, more than {ERRORS[precision]}")
    return {"relative_error": error}


@dataclass
class Program:
    """A program's jobs, ordered by rank, the most promising first."""

    name: str
    version: str
    about: dict[str, Any]
    jobs: dict[Job, Callable[[], Checked]]
    #: Whether a job adds something to the caches that no other job adds.
    compiles: Callable[[Job], bool]
    set_precision: Callable[[str], None]
    #: Raises an error if the device can no longer be used.
    probe: Callable[[], None]
    release: Callable[[], object]
    built: dict[Job, tuple[Checked, float, dict[str, Any]]] = field(default_factory=dict)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answers one request."""
        if request.get("list"):
            about = {"program": self.name, "version": self.version, "about": self.about}
            warm = [job for job in self.jobs if self.compiles(job)]
            return about | {"jobs": list(self.jobs), "warm": warm, "slow": [job for job in warm if SLOW in job[1]]}
        if "drop" in request:
            self.built.pop(job_of(request["drop"]), None)
            self.release()
            return {}
        job = job_of(request["job"])
        try:
            # A program is compiled for the current precision, so the job's precision is set at every call.
            self.set_precision(job[2])
            if request.get("warm"):
                started = time.perf_counter()
                self.jobs[job]().call()
                self.release()
                return {"seconds": time.perf_counter() - started}
            return self.time(job, float(request["seconds"]))
        except Exception as error:  # an error of a library in one variant must not end the others
            self.built.pop(job, None)
            answer = {"error": f"{type(error).__name__}: {flat(error)}"}
            try:
                self.release()
                self.probe()
            except Exception as after:
                answer |= {"fatal": True, "error": f"{answer['error']}; after it: {flat(after)}"}
            return answer

    def time(self, job: Job, seconds: float) -> dict[str, Any]:
        """Measures a job. At its first time it is built, run twice and checked."""
        if job not in self.built:
            started = time.perf_counter()
            runner = self.jobs[job]()
            for _ in range(2):
                runner.call()
            notes = runner.check()
            self.built[job] = runner, time.perf_counter() - started, notes
        runner, build, notes = self.built[job]
        result = measure(runner, seconds)
        # The rate of `sgemm` is a peak, so the best call is used; every other rate is that of the median.
        basis = result["min_ms" if job[0] == "sgemm" else "median_ms"]
        answer = result | {"steps_per_sync": runner.steps, "gflops": runner.flops and runner.flops / basis / 1e6}
        if runner.transitions:
            answer["transitions_per_s"] = 1e3 * runner.transitions / result["median_ms"]
        return answer | notes | {"build_s": build}

    def serve(self, answers: Any) -> None:
        """Answers requests, one JSON object per line, until the input ends."""
        for line in sys.stdin:
            answers.write(json.dumps(self.answer(json.loads(line))) + "\n")


def job_of(parts: list[str]) -> Job:
    """Converts a job from JSON."""
    workload, variant, precision = parts
    return workload, variant, precision


def flat(error: Exception) -> str:
    """Returns an error's message as one line, short enough for a table."""
    text = " ".join(str(error).split())
    return text if len(text) <= 500 else text[:300] + " … " + text[-200:]


def ranked(offers: list[tuple[int, Job, Callable[[], Checked]]]) -> dict[Job, Callable[[], Checked]]:
    """Returns jobs by rank; jobs of equal rank stay in the order of the offers."""
    return {job: build for _, job, build in sorted(offers, key=lambda offer: offer[0])}


def rollout_numbers(size: tuple[int, int]) -> dict[str, Any]:
    """Returns operations and transitions of a rollout."""
    return {"flops": rollout_flops(*size), "transitions": size[0] * size[1]}


def arguments(description: str | None) -> argparse.Namespace:
    """Parses a worker's command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--threads", type=int, help="cores to use; default: all")
    return parser.parse_args()


def main(name: str, args: argparse.Namespace, offer: Callable[[argparse.Namespace], Program]) -> None:
    """Serves a program. If the program is unavailable, every answer contains the reason."""
    # Libraries may print, but only answers may be written to the pipe.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        program = offer(args)
    except Exception as error:
        reason = f"{name} cannot be used: {type(error).__name__}: {flat(error)}"
        for _ in sys.stdin:
            answers.write(json.dumps({"error": reason, "fatal": True}) + "\n")
        return
    program.serve(answers)
