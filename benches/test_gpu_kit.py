"""Tests of the GPU kit's Python: `python3 -m unittest discover benches`."""

import contextlib
import copy
import io
import json
import re
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "gpu"))

import parity  # noqa: E402
import results as kept  # noqa: E402
import table  # noqa: E402

CARD = {"name": "A Card", "kind": "discrete GPU", "api": "Vulkan", "driver": "NVIDIA 580.1", "software": False}


def timed(workload: str, ms: float, build: str = "wgsl", tasks: int = 32, **more: object) -> table.Entry:
    """Returns a line of our results."""
    line = {"workload": workload, "median_ms": ms, "build": build, "max_tasks": tasks, "rehearsal": False, "adapter": CARD}
    return line | more


def peer(program: str, workload: str, precision: str, variant: str, ms: float, **more: object) -> table.Entry:
    """Returns a line of a peer's results."""
    return {
        "program": program,
        "version": "1.0",
        "workload": workload,
        "precision": precision,
        "variant": variant,
        "median_ms": ms,
        "rehearsal": False,
    } | more


def recorded() -> table.Results:
    """Returns the results of a small run on a GPU."""
    about = {"rehearsal": False, "adapter": CARD, "commit": "abc1234", "processor": "A Processor", "cores": 16}
    own = [
        timed("model_step", 1.0, gflops=1000.0),
        timed("model_step", 0.9, "spirv"),
        timed("model_step", 1.1, tasks=16),
        timed("rollout_100k_5", 8.0, transitions_per_s=62.5e6),
        timed("launch", 0.0075),
    ]
    peers = [
        {"program": "torch", "version": "2.11", "about": {"card": "A Card"}},
        peer("torch", "model_step", "f32", "eager", 0.9),
        peer("torch", "model_step", "f32", "graph", 0.1),
        peer("torch", "model_step", "f32", "graph", 0.5, **{"pass": 2}),
        peer("torch", "model_step", "tf32", "graph", 0.2),
        peer("jax", "model_step", "highest", "scan", 0.4),
        peer("jax", "sac_update", "f32", "scan", 0.3),
        {"program": "jax", "workload": "model_step", "variant": "broken", "precision": "f32", "error": "no memory"},
        peer("torch", "sgemm", "f32", "n = 4096", 2.0, gflops=50_000.0),
        peer("torch", "launch", "none", "one after the other", 0.005),
        peer("torch", "sgemm", "tf32", "n = 4096", 0.4, gflops=400_000.0),
    ]
    return table.Results(about, own, peers)


def row(text: str, first: str) -> list[str]:
    """Returns the cells of the first row that begins with the given text."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


class Table(unittest.TestCase):
    """The GPU table."""

    def test_card_driver_commit_and_precisions_stand_with_the_numbers(self) -> None:
        text = table.markdown(recorded(), rehearsal=False)
        for words in ("A Card (discrete GPU)", "Vulkan, driver NVIDIA 580.1", "commit abc1234", "torch 1.0", "JAX ms, TF32"):
            self.assertIn(words, text)
        self.assertNotIn("ehearsal", text)

    def test_the_fastest_variant_of_each_precision_counts_and_a_ratio_is_the_peers_time_over_ours(self) -> None:
        cells = row(table.markdown(recorded(), rehearsal=False), "`model_step`")
        self.assertEqual(cells[1:6], ["1.000", "0.400 (scan)", "0.500 (graph)", "", "0.200 (graph)"])
        self.assertEqual(cells[6:], ["0.40", "0.20", "2%"])

    def test_what_was_not_measured_is_empty(self) -> None:
        text = table.markdown(recorded(), rehearsal=False)
        self.assertEqual(row(text, "`vagram_step`")[1:], [""] * 8)
        self.assertEqual(row(text, "`sac_update`")[1:4], ["", "0.300 (scan)", ""])
        self.assertEqual(row(text, "`rollout_100k_5`")[1:3], ["8.000", ""])
        empty = table.Results(recorded().about, [], [])
        self.assertEqual(row(table.markdown(empty, rehearsal=False), "`model_step`")[1:], [""] * 8)

    def test_builds_and_launches_have_a_table_of_their_own(self) -> None:
        text = table.markdown(recorded(), rehearsal=False)
        self.assertEqual(row(text, "ours, ms")[1:], ["WGSL, 32 tasks", "SPIR-V, 32 tasks", "WGSL, 16 tasks"])
        self.assertEqual(row(text, "a launch, µs")[1:], ["7.50", "", ""])
        self.assertIn("f32 50.0 TFLOP/s (PyTorch); TF32 400.0 TFLOP/s (PyTorch)", text)
        self.assertIn("`rollout_100k_5` 62.50", text)
        self.assertIn("µs: PyTorch 5.00 (one after the other)", text)

    def test_what_is_not_a_gpus_is_refused_and_else_says_so(self) -> None:
        def altered(change: str) -> table.Results:
            results = copy.deepcopy(recorded())
            software, gl = CARD | {"software": True}, CARD | {"api": "OpenGL"}
            match change:
                case "about":
                    results.about["rehearsal"] = True
                case "software":
                    results.about["adapter"] = software
                case "line":
                    results.ours[2]["adapter"] = software
                case "peer":
                    results.peers[1]["rehearsal"] = True
                case "small":
                    results.peers[1]["small"] = True
                case "gl":
                    results.about["adapter"] = gl
                case "nothing":
                    results.about["adapter"] = None
            return results

        for change in ("about", "software", "line", "peer", "small", "gl", "nothing"):
            with self.assertRaises(table.Refused, msg=change) as refused:
                table.markdown(altered(change), rehearsal=False)
            self.assertIn("\nhint: ", str(refused.exception))
            self.assertTrue(table.markdown(altered(change), rehearsal=True).startswith("**A rehearsal, and not a GPU's"))

    def test_the_table_replaces_what_stands_between_the_markers(self) -> None:
        document = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
        self.assertEqual(table.put(document, "new"), f"before\n{table.BEGIN}\nnew\n{table.END}\nafter\n")
        self.assertEqual(table.put(table.put(document, "one"), "new"), table.put(document, "new"))
        for broken in ("", table.BEGIN, f"{table.END}\n{table.BEGIN}"):
            with self.assertRaises(table.Refused):
                table.put(broken, "new")
        table.put((HERE.parent / "docs" / "results" / "compute.md").read_text(), "new")

    def test_the_command_ends_with_2_for_a_rehearsal_and_writes_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            document = folder / "document.md"
            document.write_text(f"{table.BEGIN}\n{table.END}\n")
            results = recorded()
            (folder / "about.json").write_text(json.dumps(results.about | {"rehearsal": True}))
            (folder / "compute.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in results.ours))

            def command(*words: str) -> subprocess.CompletedProcess[str]:
                line = [sys.executable, str(HERE / "gpu" / "table.py"), *words, "--into", str(document)]
                return subprocess.run(line, capture_output=True, text=True, check=False)

            refused = command(name)
            self.assertEqual((refused.returncode, document.read_text()), (2, f"{table.BEGIN}\n{table.END}\n"))
            self.assertIn("hint: ", refused.stderr)
            self.assertEqual(command(name, "--rehearsal").returncode, 0)
            self.assertIn("A rehearsal", document.read_text())
            self.assertEqual(command(str(folder / "nothing")).returncode, 2)


#: Stand-in for the test program: a test by name, in `Program`.
PROGRAM = """#!{python}
import os, sys, time
tests = ["a::good", "a::bad", "a::crash", "a::after", "b_launches::counts", "b_launches::more"]
if "--list" in sys.argv:
    print(*(name + ": test" for name in tests), sep="\\n")
    sys.exit()
asked = [word for word in sys.argv[1:] if not word.startswith("--")]
with open(os.environ["CALLS"], "a") as calls:
    print(*asked, file=calls)
code = 0
for name in tests:
    if name not in asked:
        continue
    sys.stdout.write("test " + name + " ... ")
    sys.stdout.flush()
    if name == "a::crash":
        sys.stderr.write("device lost\\n")
        os._exit(139)
    if name == "a::bad" or (name == "a::after" and len(asked) > 1 and "a::bad" in asked):
        sys.stderr.write("\\nthread 'x' panicked: 3 is not 4")
        print("FAILED", flush=True)
        code = 101
    else:
        sys.stderr.write("at most half of the tolerance\\n")
        print("ok", flush=True)
print("\\ntest result: done")
sys.exit(code)
"""


class Parity(unittest.TestCase):
    """Running tests one after another, even after failures."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.program = self.folder / "program"
        self.program.write_text(PROGRAM.format(python=sys.executable))
        self.program.chmod(0o755)

    def run_all(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Runs the command, and returns its result and its calls."""
        command = [sys.executable, str(HERE / "gpu" / "parity.py"), "--program", str(self.program)]
        command += ["--out", str(self.folder), *more]
        calls = {"CALLS": str(self.folder / "calls"), "PATH": ""}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=calls)

    def test_a_failure_and_a_crash_stop_nothing(self) -> None:
        done = self.run_all()
        self.assertEqual(done.returncode, 1, done.stderr)
        whole = json.loads((self.folder / "parity.json").read_text())
        verdicts = {test["name"]: test["result"] for test in whole["tests"]}
        self.assertEqual(
            verdicts,
            {
                "b_launches::counts": "ok",
                "b_launches::more": "ok",
                "a::good": "ok",
                "a::bad": "failed",
                "a::crash": "crashed",
                "a::after": "ok",
            },
        )
        said = {test["name"]: test["message"] for test in whole["tests"]}
        self.assertIn("3 is not 4", said["a::bad"])
        self.assertIn("device lost", said["a::crash"])
        self.assertIn("ended with 139", said["a::crash"])
        calls = (self.folder / "calls").read_text().splitlines()
        # Tests that count launches have one process each, and the tests of a file share one. After the crash the
        # remaining tests run in a new process. Failures are repeated.
        self.assertEqual(calls[:2], ["b_launches::counts", "b_launches::more"])
        self.assertEqual(calls[2:], ["a::good a::bad a::crash a::after", "a::after", "a::bad", "a::crash"])
        alone = {test["name"]: test["alone"]["result"] for test in whole["tests"] if "alone" in test}
        self.assertEqual(alone, {"a::bad": "failed", "a::crash": "crashed"})
        text = (self.folder / "parity.txt").read_text()
        self.assertTrue(text.startswith("on a GPU\n"), text)
        self.assertIn("== failed: a::bad", text)
        self.assertFalse(whole["rehearsal"])

    def test_processes_side_by_side_run_every_test_once(self) -> None:
        done = self.run_all("--jobs", "3")
        self.assertEqual(done.returncode, 1, done.stderr)
        whole = json.loads((self.folder / "parity.json").read_text())
        self.assertEqual([test["result"] for test in whole["tests"]], ["ok", "failed", "crashed", "ok", "ok", "ok"])

    def test_the_longest_come_last(self) -> None:
        tests = ["d::a_run_is_cut", "d::b", "n_launches::x", "e::c", "d::f"]
        self.assertEqual(parity.groups_of(tests), [["n_launches::x"], ["d::b", "d::f"], ["e::c"], ["d::a_run_is_cut"]])

    def test_chosen_tests_and_a_rehearsal(self) -> None:
        done = self.run_all("--test", "good", "--test", "counts", "--rehearsal")
        self.assertEqual(done.returncode, 0, done.stderr)
        whole = json.loads((self.folder / "parity.json").read_text())
        self.assertEqual((whole["passed"], len(whole["tests"]), whole["rehearsal"]), (2, 2, True))
        self.assertIn("no GPU's", (self.folder / "parity.txt").read_text())
        self.assertEqual(self.run_all("--test", "of no name").returncode, 2)

    def test_what_the_time_does_not_allow_is_told(self) -> None:
        slow = self.folder / "slow"
        slow.write_text(f"#!{sys.executable}\nimport time\nprint('test one ... ', end='', flush=True)\ntime.sleep(60)\n")
        slow.chmod(0o755)
        began = time.monotonic()
        found = parity.all_of(str(slow), ["one", "two"], began + 1.0, lambda _: None)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual([result["result"] for result in found], ["cut off", "not run"])


class Kept(unittest.TestCase):
    """Result files that come back."""

    def test_an_adapter_is_a_gpu_through_vulkan_or_none(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            file = Path(name, "adapter.jsonl")
            for seen, code in ((CARD, 0), (CARD | {"software": True}, 3), (CARD | {"api": "OpenGL"}, 3), (None, 3)):
                file.write_text(json.dumps(seen) + "\n" if seen else "")
                with contextlib.redirect_stdout(io.StringIO()):
                    self.assertEqual(kept.adapter(file), code)

    def test_lines_are_marked_and_broken_ones_dropped(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            file = Path(name, "lines.jsonl")
            file.write_text('{"a": 1}\nwhat a program printed\n{"a": 2, "b"')
            with contextlib.redirect_stdout(io.StringIO()) as said:
                kept.mark(file, ["rehearsal=true", "max_tasks=16", "build=wgsl"])
            self.assertEqual(said.getvalue(), "wgsl 16\n")
            self.assertEqual(kept.lines(file), [{"a": 1, "rehearsal": True, "max_tasks": 16, "build": "wgsl"}])

    def test_large_files_are_cut(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            large = Path(name, "log.txt")
            large.write_bytes(b"x" * (kept.BYTES + 5))
            with contextlib.redirect_stdout(io.StringIO()):
                self.assertEqual(kept.check(Path(name)), 0)
                self.assertLess(large.stat().st_size, kept.BYTES)
                for i in range(kept.FILES):
                    Path(name, f"{i}").touch()
                self.assertEqual(kept.check(Path(name)), 1)


class Harness(unittest.TestCase):
    """The test program."""

    def test_it_has_every_file_of_tests_that_asks_for_a_gpu(self) -> None:
        text = (HERE / "tests" / "gpu.rs").read_text()
        has = {Path(HERE, "tests", path).resolve() for path in re.findall(r'#\[path = "(.*)"\]', text)}
        crates = HERE.parent / "crates"
        asks = {
            path
            for pattern in ("*/tests/*.rs", "*/src/**/*.rs")
            for path in crates.glob(pattern)
            if re.search(r"\bwgpu_of_test\(\"", path.read_text())
        }
        # These tests start the program `foresee`, or belong to the device.
        left_out = {crates / "cli" / "tests" / "on_wgpu.rs", crates / "nn" / "src" / "device.rs"}
        self.assertEqual(asks - left_out, has)


if __name__ == "__main__":
    unittest.main()
