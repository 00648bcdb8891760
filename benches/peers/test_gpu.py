"""Tests of `gpu.py` and its workers: `python3 -m unittest discover benches/peers`."""

import argparse
import contextlib
import io
import json
import math
import os
import sys
import tempfile
import unittest
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import gpu
import gpu_worker
from gpu_worker import Checked, Program, Wrong

Answer = Callable[[dict, float], dict]


class FakePeer:
    """A worker with its own clock. `answer` returns the answer to a job, and may raise `gpu.Ended`."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.now, self.restarts, self.asked = answer, 0.0, 0, []

    def ask(self, request: dict, timeout: float) -> dict:
        """Records a request and returns its answer."""
        self.asked.append(request)
        return {} if "drop" in request else self.answer(request, timeout)

    def restart(self) -> None:
        """Counts the restarts."""
        self.restarts += 1

    def clock(self) -> float:
        """Returns the seconds so far."""
        return self.now


def passes(peer: FakePeer, deadline: float = 100.0, seconds: float = 2.0) -> tuple[gpu.Passes, list[dict]]:
    """Returns a program's passes, and the list of records that they write."""
    records: list[dict] = []
    return gpu.Passes(peer, records.append, seconds, deadline, limit=60.0, clock=peer.clock), records


def times(peer_of: list[FakePeer], least: dict[str, float], takes: float = 1.0) -> Answer:
    """Returns a function that answers by variant: a NaN is answered with an error, infinity ends the process."""

    def answer(request: dict, _: float) -> dict:
        peer_of[0].now += takes
        ms = least[request["job"][1]]
        if ms == math.inf:
            raise gpu.Ended("its process ended: exit code -11; Segmentation fault")
        return {"error": "RuntimeError: refused"} if math.isnan(ms) else {"median_ms": ms, "min_ms": ms, "n": 3}

    return answer


def fake(least: dict[str, float], takes: float = 1.0) -> FakePeer:
    """Returns a worker whose variants have the given times."""
    peers: list[FakePeer] = []
    peers.append(FakePeer(times(peers, least, takes)))
    return peers[0]


class Selection(unittest.TestCase):
    """The choice and the order of measurements."""

    def test_the_second_pass_has_the_fast_ones_and_the_fastest_of_each_workload_first(self) -> None:
        results = {
            ("a", "slow", "f32"): {"min_ms": 16.0},
            ("a", "fast", "f32"): {"min_ms": 10.0},
            ("a", "near", "f32"): {"min_ms": 14.9},
            ("a", "fast", "tf32"): {"min_ms": 1.0},
            ("b", "only", "f32"): {"min_ms": 99.0},
        }
        chosen = gpu.turns(results)
        self.assertEqual(set(chosen[:3]), {("a", "fast", "f32"), ("a", "fast", "tf32"), ("b", "only", "f32")})
        self.assertEqual(chosen[3:], [("a", "near", "f32")])

    def test_every_size_of_a_product_is_measured_again(self) -> None:
        results = {("sgemm", f"n = {n}", "f32"): {"min_ms": float(n)} for n in (1, 100)}
        self.assertEqual(len(gpu.turns(results)), 2)

    def test_what_would_compile_first_comes_last_in_the_order_of_promise(self) -> None:
        jobs = [("w", name, "f32") for name in ("cold", "eager", "warm", "cold too")]
        needed = [jobs[0], jobs[2], jobs[3]]
        self.assertEqual(
            [job[1] for job in gpu.warm_first(jobs, needed, {jobs[2]})], ["eager", "warm", "cold", "cold too"]
        )

    def test_what_was_compiled_is_read_back_less_a_line_cut_short(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder)
            self.assertEqual(gpu.done_before(cache, "jax"), set())
            line = {"program": "jax", "workload": "w", "variant": "v", "precision": "f32", "seconds": 1.0}
            other = line | {"program": "torch"}
            (cache / "warmed.jsonl").write_text(f'{json.dumps(line)}\n{json.dumps(other)}\n{{"program": "ja')
            self.assertEqual(gpu.done_before(cache, "jax"), {("w", "v", "f32")})

    def test_workloads_without_products_stay_when_a_precision_is_asked_for(self) -> None:
        args = argparse.Namespace(workloads=[], precisions=["f32"])
        jobs = [["launch", "eager", "none"], ["sgemm", "n", "tf32"], ["sgemm", "n", "f32"]]
        self.assertEqual(gpu.selected(jobs, args), [tuple(jobs[0]), tuple(jobs[2])])

    def test_what_one_program_leaves_of_the_budget_the_next_one_has(self) -> None:
        both = ["torch", "jax"]
        self.assertAlmostEqual(gpu.share("torch", both, 100.0), 60.0)
        self.assertAlmostEqual(gpu.share("jax", both, 75.0), 75.0)
        self.assertAlmostEqual(gpu.share("jax", ["jax"], 100.0), 100.0)


class Budget(unittest.TestCase):
    """The passes within a program's share of the budget."""

    def test_failures_are_records_and_end_nothing(self) -> None:
        peer = fake({"bad": math.nan, "good": 1.0})
        run, records = passes(peer)
        run.first([("w", "bad", "f32"), ("w", "good", "f32")])
        run.second()
        self.assertEqual(
            records[0],
            {"workload": "w", "variant": "bad", "precision": "f32", "error": "RuntimeError: refused"},
        )
        self.assertEqual([record.get("pass") for record in records[1:]], [1, 2])
        self.assertEqual(peer.restarts, 0)

    def test_a_process_that_ends_is_started_again_for_the_rest(self) -> None:
        peer = fake({"crash": math.inf, "good": 1.0})
        run, records = passes(peer)
        run.first([("w", "crash", "f32"), ("w", "good", "f32")])
        self.assertIn("exit code -11", records[0]["error"])
        self.assertEqual((peer.restarts, records[1]["median_ms"]), (1, 1.0))

    def test_a_program_that_always_ends_is_given_up(self) -> None:
        peer = fake({f"crash {n}": math.inf for n in range(20)})
        run, _ = passes(peer)
        with self.assertRaises(gpu.Ended):
            run.first([("w", f"crash {n}", "f32") for n in range(20)])
        self.assertEqual(peer.restarts, gpu.RESTARTS)

    def test_a_way_that_ends_the_process_twice_is_left_out(self) -> None:
        peer = fake({"graph, a": math.inf, "graph, b": math.inf, "graph, c": 1.0, "eager, a": 1.0})
        run, records = passes(peer)
        run.first([("w", name, "f32") for name in ("graph, a", "graph, b", "graph, c", "eager, a")])
        self.assertIn("variants that start with `graph`", records[2]["error"])
        self.assertEqual((peer.restarts, records[3]["median_ms"]), (2, 1.0))

    def test_a_device_that_is_of_no_use_any_more_ends_the_process(self) -> None:
        peer = FakePeer(lambda *_: {"error": "RuntimeError: illegal memory access", "fatal": True})
        run, _ = passes(peer)
        run.first([("w", "v", "f32")])
        self.assertEqual(peer.restarts, 1)

    def test_the_first_pass_leaves_time_for_the_second_and_names_what_it_left_out(self) -> None:
        names = [f"v{n}" for n in range(20)]
        peer = fake(dict.fromkeys(names, 1.0))
        run, records = passes(peer, deadline=10.0)
        run.first([("w", name, "f32") for name in names])
        left_out = [record for record in records if "error" in record]
        self.assertEqual((len(records), len(left_out)), (20, 12))
        self.assertTrue(all(record["error"].startswith("left out") for record in left_out))
        run.second()
        self.assertLessEqual(peer.now, 10.0 + 1.0)

    def test_measurements_shrink_to_what_is_left(self) -> None:
        names = [f"v{n}" for n in range(5)]

        def answer(request: dict, _: float) -> dict:
            peer.now += request["seconds"] + 0.1
            return {"median_ms": 1.0, "min_ms": 1.0}

        peer = FakePeer(answer)
        run, _ = passes(peer, deadline=6.0)
        run.first([("w", name, "f32") for name in names])
        run.second()
        asked = [request["seconds"] for request in peer.asked if "seconds" in request][5:]
        self.assertEqual(len(asked), 5)
        self.assertTrue(all(gpu.LEAST <= seconds < 2.0 for seconds in asked), asked)
        self.assertLessEqual(peer.now, 6.0)

    def test_no_answer_is_waited_for_beyond_the_share(self) -> None:
        timeouts = []

        def answer(_: dict, timeout: float) -> dict:
            timeouts.append(timeout)
            peer.now += timeout
            raise gpu.Ended(f"no answer within {timeout:.0f} s")

        peer = FakePeer(answer)
        run, records = passes(peer, deadline=70.0)
        run.first([("w", f"v{n}", "f32") for n in range(4)])
        run.second()
        self.assertEqual(timeouts, [60.0])
        self.assertEqual(len(records), 4)

    def test_the_losers_memory_is_given_back(self) -> None:
        peer = fake({"fast": 1.0, "slow": 9.0})
        run, _ = passes(peer)
        run.first([("w", "fast", "f32"), ("w", "slow", "f32")])
        run.second()
        self.assertIn({"drop": ("w", "slow", "f32")}, peer.asked)


class Workers(unittest.TestCase):
    """Answers of a worker, and its checks."""

    def program(self, jobs: dict, probe: Callable[[], None] = lambda: None) -> Program:
        """Returns a program with the given jobs."""
        return Program("p", "1", {}, jobs, lambda _: True, lambda _: None, probe, lambda: None)

    def test_a_record_has_times_rates_and_notes(self) -> None:
        job = ("rollout_10k_5", "v", "f32")
        runner = Checked(lambda: None, 20, flops=1e6, transitions=50, check=lambda: {"relative_error": 0.5})
        answer = self.program({job: lambda: runner}).answer({"job": list(job), "seconds": 0.01})
        for name in ("median_ms", "p10_ms", "p90_ms", "min_ms", "n", "gflops", "transitions_per_s"):
            self.assertGreater(answer[name], 0, name)
        self.assertEqual((answer["steps_per_sync"], answer["relative_error"]), (20, 0.5))

    def test_a_variant_that_does_not_do_its_work_is_an_error(self) -> None:
        job = ("w", "v", "f32")

        def check() -> dict:
            raise Wrong("a call took 0 optimiser steps")

        program = self.program({job: lambda: Checked(lambda: None, check=check)})
        answer = program.answer({"job": list(job), "seconds": 0.01})
        self.assertEqual(answer, {"error": "Wrong: a call took 0 optimiser steps"})
        self.assertEqual(program.built, {})

    def test_a_broken_device_is_fatal(self) -> None:
        job = ("w", "v", "f32")

        def broken() -> None:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        answer = self.program({job: lambda: 1 / 0}, broken).answer({"job": list(job), "seconds": 0.01})
        self.assertTrue(answer["fatal"])
        self.assertIn("ZeroDivisionError", answer["error"])

    def test_steps_are_counted_and_have_to_train(self) -> None:
        made = [0]

        def call(steps: int) -> Callable[[], None]:
            return lambda: made.__setitem__(0, made[0] + steps)

        right, short = Checked(call(20), 20), Checked(call(1), 20)
        self.assertEqual(gpu_worker.trains(right, lambda: made[0], lambda: 0.5, 1.0), {})
        for runner, after in ((short, 0.5), (right, 2.0), (right, math.nan)):
            with self.assertRaises(Wrong):
                gpu_worker.trains(runner, lambda: made[0], lambda: after, 1.0)

    def test_a_product_in_another_precision_is_found(self) -> None:
        self.assertEqual(gpu_worker.precise("tf32", 3e-4), {"relative_error": 3e-4})
        for precision, error in (("f32", 3e-4), ("tf32", 0.1), ("f32", math.nan)):
            with self.assertRaises(Wrong):
                gpu_worker.precise(precision, error)


def quiet(words: list[str]) -> tuple[int, str]:
    """Runs the command, and returns its exit code and its output to standard error."""
    text = io.StringIO()
    with contextlib.redirect_stderr(text), mock.patch.object(sys, "argv", ["gpu.py", *words]):
        try:
            gpu.main()
        except SystemExit as end:
            return int(end.code or 0), text.getvalue()
    return 0, text.getvalue()


class Command(unittest.TestCase):
    """The command as a whole."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "out.jsonl"

    def words(self, verb: str, *more: str) -> list[str]:
        """Returns a command line."""
        out = ["--out", str(self.out)] if verb == "measure" else []
        return [verb, "--cache", str(self.folder / "cache"), *out, *more]

    def records(self) -> list[dict]:
        """Returns the records that were written."""
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def test_without_a_gpu_the_message_says_what_to_do(self) -> None:
        with mock.patch.object(gpu, "gpus", lambda: 0), mock.patch.dict(os.environ, {"PATH": ""}):
            code, text = quiet(self.words("measure"))
        self.assertEqual(code, 2)
        self.assertIn("hint:", text)
        self.assertIn("--device cpu", text)

    def test_unknown_names_and_numbers_below_zero_are_told(self) -> None:
        for words, what in ((("--programs", "jaxx"), "jaxx"), (("--budget", "0"), "--budget is 0")):
            code, text = quiet(self.words("measure", *words))
            self.assertEqual(code, 2)
            self.assertIn(what, text)

    def test_programs_that_cannot_be_imported_are_a_record_each(self) -> None:
        with mock.patch.object(gpu, "HERE", self.folder):
            for program in gpu.PROGRAMS:
                (self.folder / f"gpu_{program}.py").write_text(f"import no_{program}_here\n")
            code, _ = quiet(self.words("measure", "--device", "cpu", "--commit", "abc"))
        self.assertEqual(code, 0)
        records = self.records()
        self.assertEqual([record["program"] for record in records], list(gpu.PROGRAMS))
        for record in records:
            self.assertIn(f"No module named 'no_{record['program']}_here'", record["error"])

    def measured(self, program: str) -> list[dict]:
        """Returns the records of a short run of two workloads."""
        words = ("--device", "cpu", "--small", "--threads", "1", "--programs", program, "--budget", "120")
        more = ("--workloads", "sgemm,launch", "--precisions", "f32", "--seconds", "0.02", "--commit", "abc")
        code, text = quiet(self.words("measure", *words, *more))
        self.assertEqual(code, 0, text)
        return self.records()

    def check(self, program: str) -> None:
        """Checks the formats of all records of one program."""
        about, *records = self.measured(program)
        self.assertEqual(set(about), {"program", "about"})
        self.assertLessEqual({"card", "driver", "python", program}, set(about["about"]))
        keys = {
            "program", "version", "workload", "variant", "precision", "device", "median_ms", "p10_ms", "p90_ms",
            "min_ms", "n", "steps_per_sync", "gflops", "commit",
        }  # fmt: skip
        self.assertTrue(records)
        for record in records:
            self.assertLessEqual(keys, set(record), record)
            self.assertEqual((record["program"], record["commit"], record["small"]), (program, "abc", True))
        self.assertEqual({record["pass"] for record in records}, {1, 2})

    @unittest.skipUnless(find_spec("torch"), "torch is not installed")
    def test_records_of_torch(self) -> None:
        self.check("torch")

    @unittest.skipUnless(find_spec("jax") and find_spec("optax"), "jax and optax are not installed")
    def test_records_of_jax(self) -> None:
        self.check("jax")


@unittest.skipUnless(find_spec("torch"), "torch is not installed")
class Graphs(unittest.TestCase):
    """The manual capture of a graph, on a mock device that records the calls."""

    def test_a_step_is_warmed_up_captured_once_and_replayed(self) -> None:
        import gpu_torch

        notes: list[str] = []

        @contextlib.contextmanager
        def noted(name: str, *_: object, **__: object):
            notes.append(f"enter {name}")
            yield
            notes.append(f"leave {name}")

        cuda = mock.MagicMock()
        cuda.stream = lambda stream: noted("stream")
        cuda.graph = lambda graph, stream: noted("graph")
        cuda.CUDAGraph.return_value.replay = lambda: notes.append("replay")
        with mock.patch.object(gpu_torch.torch, "cuda", cuda):
            captured = gpu_torch.Captured(lambda: notes.append("step"), warm_up=2)
            captured()
            captured()
        warm_up = ["enter stream", "step", "step", "leave stream"]
        self.assertEqual(notes, [*warm_up, "enter graph", "step", "leave graph", "replay", "replay"])


if __name__ == "__main__":
    unittest.main()
