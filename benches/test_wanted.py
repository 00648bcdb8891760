"""Tests of `wanted.py`: `python3 -m unittest discover benches`."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

import wanted
from learning import curves, entries, results, table
from learning import work as works
from learning.student import interval, quantile
from learning.work import Work

HERE = Path(__file__).resolve().parent

#: A stand-in for foresee with its run folders, checkpoints, exit codes and signals, which learns nothing. It has five
#: further keys: `pace`, seconds per 100 steps; `fail_at`; `deaf`, which makes it ignore signals; `hold`, at whose
#: multiples it waits for a signal or for the file `go` beside the run folder, so that a test depends on no machine's
#: speed; and `saving`, the seconds that it needs to save after a signal.
FAKE = """#!PYTHON
import json, os, signal, sys, time, tomllib
from pathlib import Path

def refuse(message):
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)

words = sys.argv[1:]
if words == ["--version"]:
    print("foresee 9.8.7")
    sys.exit(0)
verb, target, *rest = words
folder, keys = None, {}
while rest:
    word = rest.pop(0)
    if word == "--run-dir":
        folder = Path(rest.pop(0))
    else:
        key, value = word.split("=", 1)
        keys[key] = value
if verb == "train":
    config = tomllib.loads(Path(target).read_text())
    if folder.exists() and any(folder.iterdir()):
        refuse(f"the run folder {folder} is in use")
    step, wall = 0, 0.0
else:
    folder = Path(target)
    config = tomllib.loads((folder / "config.toml").read_text())
    newest = max((folder / "checkpoints").iterdir())
    step, wall = int(newest.name[5:]), json.loads((newest / "manifest.json").read_text())["manifest"]["extra"]["wall_s"]
config.setdefault("training", {})
for key, value in keys.items():
    if key == "training.env_steps":
        config["training"]["env_steps"] = int(value)
    elif key in ("seed", "threads", "pace", "fail_at", "deaf", "hold", "saving", "lr"):
        config[key] = float(value) if "." in value else int(value)
    else:
        refuse(f"unknown key {key}")
if verb == "train":
    pass
elif any(key != "training.env_steps" for key in keys):
    refuse(f"a resume with {keys}")
elif keys:
    lines = ["[training]", f"env_steps = {config['training']['env_steps']}"]
    (folder / f"config.resume-{1 + len(list(folder.glob('config.resume-*')))}.toml").write_text("\\n".join(lines))
if verb == "train":
    folder.mkdir(parents=True, exist_ok=True)
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    lines = [f"{key} = {value}" for key, value in config.items() if isinstance(value, (int, float))]
    lines += [f"nice = {nice}", "[training]", f"env_steps = {config['training']['env_steps']}"]
    lines += ["[env]", 'id = "Fake-v1"']
    (folder / "config.toml").write_text("\\n".join(lines) + "\\n")
    (folder / "results.csv").write_text("env_step,episode_reward,episode_reward_std,episode_length,episodes\\n")

stop = []
if not config.get("deaf"):
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda *_: os._exit(130) if stop else stop.append(1))

def append(name, line):
    with (folder / name).open("a") as file:
        file.write(line + "\\n")

def save(status):
    path = folder / "checkpoints" / f"step-{step:012}"
    path.mkdir(parents=True, exist_ok=True)
    extra = {"wall_s": wall}
    (path / "manifest.json").write_text(json.dumps({"blake3": "", "manifest": {"step": step, "extra": extra}}))
    manifest = {"program": "foresee", "env": "Fake-v1", "status": status, "env_step": step}
    (folder / "manifest.json").write_text(json.dumps(manifest))

if step == 0:
    save("running")
print("acting", flush=True)
start = step
while step < config["training"]["env_steps"]:
    time.sleep(config.get("pace", 0.0))
    while step > start and step % config.get("hold", 10**9) == 0 and not stop and not (folder.parent / "go").exists():
        time.sleep(0.01)
    if stop:
        time.sleep(config.get("saving", 0.0))
        save("interrupted")
        sys.exit(130)
    step, wall = step + 100, wall + 1.5
    if step == config.get("fail_at"):
        print("error: the simulator broke", file=sys.stderr)
        sys.exit(1)
    append("metrics.jsonl", json.dumps({"env_step": step}))
    if step % 200 == 0:
        append("results.csv", f"{step},{step / 10 + config['seed']},2.5,50.0,10")
    append("timing.jsonl", json.dumps({"env_step": step, "wall_s": wall}))
save("finished")
"""


class Bench(unittest.TestCase):
    """A test with its own list, program and folders."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.program = self.root / "foresee"
        self.program.write_text(FAKE.replace("PYTHON", sys.executable))
        self.program.chmod(0o755)
        (self.root / "fake.toml").write_text("lr = 0.1\n[training]\nenv_steps = 1000\n")
        self.list = self.root / "wanted.toml"
        self.work, self.results = self.root / "work", self.root / "results"

    def wants(self, *runs: str, before: str = "") -> None:
        """Writes a list with one group of these runs; `CONFIG` is replaced by the config's path."""
        text = '[[group]]\nname = "fake"\n' + before
        for run in runs:
            text += f"[[group.run]]\n{run}\n".replace("CONFIG", str(self.root / "fake.toml"))
        self.list.write_text(text)

    def words(self, *words: str) -> list[str]:
        """Returns the command line with this test's folders."""
        places = ["--wanted", str(self.list), "--work", str(self.work), "--results", str(self.results)]
        return [*words, *places, "--foresee", str(self.program)]

    def call(self, *words: str, code: int = 0) -> str:
        """Returns both outputs of a call in a separate process."""
        command = [sys.executable, "-W", "error", str(HERE / "wanted.py"), *self.words(*words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        return done.stdout + done.stderr

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        """Starts a call that continues in the background."""
        command = [sys.executable, "-W", "error", str(HERE / "wanted.py"), *self.words(*words)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(lambda: (process.poll() is None and process.kill(), process.wait(), process.stdout.close()))
        return process

    def cut(self, name: str) -> str:
        """Returns the output of a call that is asked to stop as soon as the run has advanced."""
        before = Work(self.work / name).step()
        process = self.begin("--hours", "1")
        self.wait_for_step(name, before + 100)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, output)
        return output

    def wait_for_step(self, name: str, step: int) -> None:
        """Waits until a run has reached a step."""
        end = time.monotonic() + 60
        while Work(self.work / name).step() < step:
            self.assertLess(time.monotonic(), end, f"{name} does not get on")
            time.sleep(0.02)

    def go(self, name: str) -> None:
        """Lets a run that waits at a multiple of its key `hold` go on."""
        (self.work / name / "go").touch()

    def outcome(self, name: str) -> results.Outcome:
        """Returns the outcome in a result file, which must exist."""
        found = results.read(self.results / f"{name}.csv", int(name.rsplit("-", 1)[1]))
        self.assertIsNotNone(found, name)
        assert found
        return found

    def kinds(self) -> dict[str, str]:
        """Returns the state of every run, by `--list`."""
        lines = self.call("--list").splitlines()[:-1]
        return {line.split()[1]: line.split()[0] for line in lines}


class Runs(Bench):
    """The runner and its program."""

    def test_calls_run_one_missing_run_after_the_other(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0, 1]\nset = ["lr=0.5", "training.env_steps=400"]')
        self.assertEqual(self.kinds(), {"fake/a/seed-0": "missing", "fake/a/seed-1": "missing"})
        self.assertIn("fake/a/seed-0: done, 40.0 at step 400, 6 s", self.call())
        self.assertEqual(self.kinds(), {"fake/a/seed-0": "done", "fake/a/seed-1": "missing"})
        self.call()
        self.assertIn("nothing to run", self.call())
        outcome = self.outcome("fake/a/seed-1")
        points = [(p.step, p.mean, p.std, p.episodes, p.length, p.seconds) for p in outcome.points]
        self.assertEqual(points, [(200, 21.0, 2.5, 10, 50.0, 3.0), (400, 41.0, 2.5, 10, 50.0, 6.0)])
        about = outcome.about
        self.assertEqual((about["program"], about["env"], outcome.seconds), ("9.8.7", "Fake-v1", 6.0))
        self.assertEqual(
            (about["from"], about["with"]), (str(self.root / "fake.toml"), "lr=0.5 training.env_steps=400")
        )
        self.assertRegex(about["cpu"], r"^\d+ s$")
        config = results.config_of(self.work / "fake/a/seed-1" / "run")
        self.assertEqual((config["threads"], config["nice"], config["seed"]), (1, 19, 1))
        self.assertEqual(outcome.config, self.outcome("fake/a/seed-0").config)

    def test_the_result_file_begins_and_ends_its_head_as_the_program_of_the_benches_does(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["training.env_steps=200"]')
        self.call()
        head, columns, row = (self.results / "fake/a/seed-0.csv").read_text().splitlines()
        self.assertRegex(head, r"^# .+, \d+ cores; commit \S+; one thread; .*; config [0-9a-f]{12}; 3 s$")
        self.assertEqual((columns.split(",")[:2], row), (["env_step", "mean_return"], "200,20,2.5,10,50,3"))

    def test_a_run_that_is_cut_by_a_signal_goes_on_and_its_seconds_add_up(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [3]\nset = ["hold=400", "training.env_steps=1000"]')
        for kind, step in ((signal.SIGTERM, 400), (signal.SIGINT, 800)):
            process = self.begin("--hours", "1")
            self.wait_for_step("fake/a/seed-3", step)
            process.send_signal(kind)
            output, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, output)
            self.assertIn(f"seed-3: interrupted; a later call resumes it at step {step} of 1000", output)
            self.assertEqual(self.kinds(), {"fake/a/seed-3": "cut"})
        self.assertIn("resumes at step 800 of 1000", self.call())
        outcome = self.outcome("fake/a/seed-3")
        self.assertEqual([(p.step, p.seconds) for p in outcome.points], [(200 * n, 3.0 * n) for n in range(1, 6)])
        self.assertEqual((outcome.about["segments"], outcome.seconds), ("3", 15.0))
        # A resume to an equal length changes no config.
        self.assertFalse(list((self.work / "fake/a/seed-3" / "run").glob("config.resume-*")))

    def test_the_time_ends_runs_cleanly(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0, 1]\nset = ["pace=0.05", "training.env_steps=100000"]')
        # A program that is stopped before it handles signals has saved nothing. On a busy machine that phase is longer.
        for hours in ("0.0005", "0.002", "0.008"):
            output = self.call("--hours", hours, "--jobs", "2")
            self.assertIn("the hours given by --hours are over: waiting for 2 runs to save and end", output)
            if output.count("interrupted; ") == 2:
                break
        self.assertEqual(set(self.kinds().values()), {"cut"})

    def test_hours_run_all_that_is_missing(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0, 1, 2]\nset = ["training.env_steps=200"]')
        self.call("--hours", "1")
        self.assertEqual(set(self.kinds().values()), {"done"})

    def test_two_runners_take_different_runs(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0, 1]\nset = ["hold=100", "training.env_steps=1000"]')
        names = ["fake/a/seed-0", "fake/a/seed-1"]
        processes = [self.begin() for _ in names]
        for name in names:
            self.wait_for_step(name, 100)
        self.assertEqual(set(self.kinds().values()), {"running"})
        self.assertIn("nothing to run", self.call())
        for name in names:
            self.go(name)
        for process in processes:
            output, _ = process.communicate(timeout=60)
            self.assertEqual((process.returncode, output.count(": done")), (0, 1), output)
        self.assertEqual(set(self.kinds().values()), {"done"})

    def test_what_a_killed_runner_left_is_running_until_its_program_ends_and_then_taken_up(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["hold=500", "training.env_steps=1000"]')
        process = self.begin()
        self.wait_for_step("fake/a/seed-0", 500)
        work = Work(self.work / "fake/a/seed-0")
        lock = work.read("lock")
        process.kill()
        process.wait()
        self.assertEqual(work.holder(), lock["program"]["pid"])
        self.assertIn("nothing to run", self.call())
        os.kill(lock["program"]["pid"], signal.SIGTERM)
        end = time.monotonic() + 60
        while work.holder() is not None:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        self.assertEqual(self.kinds(), {"fake/a/seed-0": "cut"})
        self.call()
        outcome = self.outcome("fake/a/seed-0")
        self.assertNotIn("cpu", outcome.about)
        self.assertEqual((outcome.about["segments"], outcome.points[-1].step), ("2", 1000))

    def test_a_complete_run_that_nobody_kept_is_kept_without_its_program(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["training.env_steps=400"]')
        self.call()
        file = self.results / "fake/a/seed-0.csv"
        before = file.read_bytes()
        file.unlink()
        self.assertNotIn("resumes at", self.call())
        self.assertEqual(file.read_bytes(), before)

    def test_a_longer_run_goes_on_from_the_shorter_one(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["training.env_steps=400"]')
        self.call()
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["training.env_steps=600"]')
        self.assertEqual(self.kinds(), {"fake/a/seed-0": "cut"})
        self.assertIn("resumes at step 400 of 600", self.call())
        self.assertEqual(self.outcome("fake/a/seed-0").points[-1].step, 600)
        self.assertEqual(results.steps_in_force(self.work / "fake/a/seed-0" / "run"), 600)

    def test_a_program_killed_before_its_first_checkpoint_begins_anew(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["training.env_steps=400"]')
        (self.work / "fake/a/seed-0" / "run").mkdir(parents=True)
        (self.work / "fake/a/seed-0" / "run" / "config.toml").write_text("")
        self.call()
        self.assertEqual(self.outcome("fake/a/seed-0").points[-1].step, 400)

    def test_a_failed_run_stays_failed_until_it_is_retried(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["fail_at=300", "training.env_steps=400"]')
        output = self.call(code=1)
        self.assertIn("failed: the program ended with 1\n    acting\n    error: the simulator broke\nhint: ", output)
        self.assertEqual(self.kinds(), {"fake/a/seed-0": "failed"})
        self.assertIn("nothing to run", self.call())
        self.assertIn("the simulator broke", self.call("--retry", code=1))

    def test_a_program_killed_by_the_system_is_cut_and_not_tried_twice_in_a_call(self) -> None:
        self.wants(
            'method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["deaf=1", "hold=100", "training.env_steps=9000"]'
        )
        process = self.begin("--hours", "1")
        self.wait_for_step("fake/a/seed-0", 100)
        os.kill(Work(self.work / "fake/a/seed-0").read("lock")["program"]["pid"], signal.SIGKILL)
        output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, output)
        self.assertIn("was killed by signal 9; a later call resumes it at step 0", output)

    def test_a_second_signal_ends_a_program_at_once(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["hold=100", "saving=50", "training.env_steps=9000"]')
        process = self.begin()
        self.wait_for_step("fake/a/seed-0", 100)
        process.send_signal(signal.SIGINT)
        time.sleep(0.6)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        self.assertIn("second signal: the programs end immediately", output)
        self.assertIn("interrupted; a later call resumes it at step 0 of 9000", output)


class Refusals(Bench):
    """Mistakes in the list or by the user."""

    def test_an_entry_without_a_config_is_named_and_the_next_one_runs(self) -> None:
        self.wants(
            'method = "absent"\nconfig = "configs/absent.toml"\nseeds = [0, 1]\npriority = 1',
            'method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["training.env_steps=200"]',
        )
        output = self.call()
        said = "fake/absent/seed-0: there is no config `configs/absent.toml`\nhint: "
        self.assertEqual((said in output, output.count("hint")), (True, 1), output)
        self.assertEqual(self.kinds()["fake/absent/seed-1"], "refused")
        self.assertIn(said, self.call(code=2))

    def test_a_refusal_of_the_program_is_shown_and_leaves_no_run(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["unknown.key=1"]')
        self.assertIn("fake/a/seed-0: `foresee` refused the config or its overrides\n    error: unknown key unknown.key", self.call(code=2))
        self.assertEqual(self.kinds(), {"fake/a/seed-0": "missing"})

    def test_a_cut_run_of_a_changed_config_is_not_gone_on_with(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["pace=0.05", "training.env_steps=100000"]')
        self.cut("fake/a/seed-0")
        (self.root / "fake.toml").write_text("# A comment is no change.\nlr = 0.1\n[training]\nenv_steps = 10\n")
        self.assertIn("resumes at step", self.cut("fake/a/seed-0"))
        (self.root / "fake.toml").write_text("lr = 0.2\n[training]\nenv_steps = 1000\n")
        self.assertIn("has other settings than its entry in the list\nhint: remove the folder", self.call(code=2))

    def test_a_file_of_other_overrides_is_not_taken_for_the_run(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["lr=0.5", "training.env_steps=200"]')
        self.call()
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0]\nset = ["lr=0.6", "training.env_steps=200"]')
        self.assertIn("is the result of another config or other overrides\nhint: ", self.call(code=2))

    def test_lists_with_mistakes_have_one_message_each(self) -> None:
        good = 'method = "a"\nconfig = "c.toml"\nseeds = [0]'
        for runs, said in [
            (['method = "a"\nconfig = "c.toml"'], "has no `seeds`"),
            ([good + "\ncolour = 1"], "has an unknown key `colour`"),
            ([good.replace('"a"', '"a/b"')], "the name `a/b` of a run of the group `fake` cannot be a folder name"),
            ([good.replace("[0]", "[-1]")], "`seeds` of `fake/a` contains -1"),
            ([good.replace("[0]", "[0, 0]")], "`fake/a` lists the seed 0 twice"),
            ([good + '\nset = ["seed=3"]'], "`set` of `fake/a` contains `seed=3`"),
            ([good + '\nset = ["word"]'], "`set` of `fake/a` contains 'word'"),
            ([good + "\npriority = true"], "`priority` of a run of the group `fake` is True"),
            ([good, good.replace("[0]", "[1]") + '\nset = ["x=1"]'], "two entries of `fake/a` differ"),
            (["method = "], "cannot read the list"),
        ]:
            self.wants(*runs)
            with self.subTest(said):
                with self.assertRaises(entries.Refused) as refused:
                    entries.read(self.list)
                self.assertIn(said, str(refused.exception))
                self.assertEqual(str(refused.exception).count("\nhint: "), 1)

    def test_patterns_places_and_programs_that_are_not_there_are_refused(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0]')
        self.assertIn("no run has `hoper` in its name\nhint: ", self.call("--only", "hoper", code=2))
        for words, said in [
            (["--foresee", "nowhere"], "`nowhere` is not an executable file\nhint: "),
            (["--wanted", "nowhere.toml"], "the list `nowhere.toml` does not exist\nhint: "),
            (["table", "--into", str(self.root / "no.md")], "hint: name a document with --into"),
        ]:
            command = [sys.executable, str(HERE / "wanted.py"), *self.words(), *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, said in done.stderr), (2, True), done.stderr)


class Order(Bench):
    """The order of the runs."""

    def test_priority_comes_first_then_the_seeds_place_then_the_lists(self) -> None:
        self.wants(
            'method = "a"\nconfig = "CONFIG"\nseeds = [0, 1]',
            'method = "b"\nconfig = "CONFIG"\nseeds = [4, 5]',
            'method = "c"\nconfig = "CONFIG"\nseeds = [0]\npriority = 1',
            'method = "a"\nconfig = "CONFIG"\nseeds = [2]\npriority = 9',
        )
        read = entries.read(self.list)
        names = [run.name.removeprefix("fake/").replace("/seed-", "") for run in read.runs]
        self.assertEqual(names, ["c0", "a0", "b4", "a1", "b5", "a2"])
        self.assertEqual(read.groups[0].rows[0].seeds, [0, 1, 2])
        self.assertEqual([run.name for run in wanted.chosen(read, ["b/*5"])], ["fake/b/seed-5"])

    def test_cut_runs_come_before_missing_ones_of_the_same_priority(self) -> None:
        self.wants('method = "a"\nconfig = "CONFIG"\nseeds = [0, 1]\nset = ["training.env_steps=200"]')
        self.call("--only", "seed-1")
        (self.results / "fake/a/seed-1.csv").unlink()
        self.assertRegex(self.call(), "seed-1: done")

    def test_the_shipped_list_is_one(self) -> None:
        read = entries.read(HERE / "wanted.toml")
        self.assertGreater(len(read.runs), 20)
        self.assertEqual(read.runs[0].name, "hopper/dhmbpo-mle/seed-0")
        self.assertEqual(len({run.name for run in read.runs}), len(read.runs))

    def test_steps_are_those_of_the_override_then_of_the_config_then_the_programs(self) -> None:
        for overrides, source, want in [
            (("training.env_steps=5_000",), {"training": {"env_steps": 7}}, 5000),
            ((), {"training": {"env_steps": 7}}, 7),
            ((), {}, entries.ENV_STEPS),
        ]:
            run = entries.Wanted("g", "m", "c", overrides, 0, (0, 0, 0))
            self.assertEqual(entries.env_steps(run, source), want)


class Locks(unittest.TestCase):
    """Locks of runs."""

    def test_a_process_of_the_same_number_that_began_at_another_time_is_another(self) -> None:
        own = works.process(os.getpid())
        self.assertTrue(works.lives(own))
        self.assertFalse(works.lives(own | {"began": "1"}))
        self.assertFalse(works.lives(own | {"boot": "another"}))
        self.assertFalse(works.lives({"pid": 2**22 + 1, "began": None, "boot": works.boot()}))
        self.assertFalse(works.lives(None))


class Numbers(unittest.TestCase):
    """Intervals, clocks and files."""

    def test_quantiles_are_those_of_the_printed_tables(self) -> None:
        table_of = {1: 12.706205, 2: 4.302653, 3: 3.182446, 4: 2.776445, 7: 2.364624, 9: 2.262157, 30: 2.042272}
        for freedom, want in table_of.items():
            self.assertAlmostEqual(quantile(freedom), want, places=5)
        mean, half = interval([1.0, 2.0, 3.0, 4.0, 6.0])
        self.assertAlmostEqual(mean, 3.2)
        self.assertAlmostEqual(half or 0.0, 2.388388, places=6)
        self.assertEqual(interval([5.0]), (5.0, None))

    def test_seconds_between_two_readings_are_interpolated_and_none_are_made_up_after_the_last(self) -> None:
        readings = [(0, 0.0), (100, 10.0), (300, 50.0)]
        found = [results.seconds_at(readings, step) for step in (0, 50, 100, 200, 300, 400)]
        self.assertEqual(found, [0.0, 5.0, 10.0, 30.0, 50.0, None])

    def test_a_file_reads_back_and_older_files_of_two_columns_do(self) -> None:
        points = [results.Point(0, -1.25, 0.5, 10, 1000.0, 0.0), results.Point(500, 1e-3)]
        about = {"machine": "A Processor, 2 cores", "commit": "abc", "from": "c.toml", "with": "a='b c' d=1"}
        outcome = results.Outcome(3, "0123", 12.0, points, about)
        self.assertEqual(results.parse(3, results.text(outcome), "a file"), outcome)
        self.assertEqual(results.text(outcome).splitlines()[2:], ["0,-1.25,0.5,10,1000,0", "500,0.001,,,,"])
        old = "# A Processor, 2 cores; commit abc; one thread; config 0123; 12 s\nenv_step,mean_return\n500,7\n"
        self.assertEqual(results.parse(3, old, "a file").points, [results.Point(500, 7.0)])
        for broken in ("", "# no end\nenv_step,mean_return\n", old + "600\n", old.replace("500,7", "500,x")):
            with self.assertRaises(entries.Refused):
                results.parse(3, broken, "a file")

    def test_a_fingerprint_leaves_out_seed_threads_and_length(self) -> None:
        of = results.fingerprint
        config = {"seed": 1, "threads": 1, "lr": 0.1, "training": {"env_steps": 5, "eval_every": 2}}
        self.assertEqual(of(config), of(config | {"seed": 2, "training": {"env_steps": 9, "eval_every": 2}}))
        self.assertNotEqual(of(config), of(config | {"lr": 0.2}))

    def test_a_renamed_key_counts_under_its_old_name(self) -> None:
        old = {"agent": {"actor_every": 2, "tau": 0.5}, "rollout": {"retain": 1, "horizon": 3}}
        new = {"agent": {"policy_delay": 2, "tau": 0.5}, "rollout": {"retain_epochs": 1, "horizon": 3}}
        self.assertEqual(entries.old_names(new), old)
        self.assertEqual(results.fingerprint(new), results.fingerprint(old))
        self.assertNotEqual(results.fingerprint(new), results.fingerprint(new | {"agent": {"policy_delay": 3}}))
        overrides = ["agent.target_update_interval=1", "agent.critic_lr=1e-3", "seed=3"]
        self.assertEqual(entries.identity(overrides), ["agent.critic_lr=1e-3", "agent.target_every=1"])
        self.assertEqual(entries.identity(["agent.target_every=1"]), ["agent.target_every=1"])

    def test_ticks_are_round_and_inside(self) -> None:
        self.assertEqual(curves.ticks(0, 50_000), [0, 10_000, 20_000, 30_000, 40_000, 50_000])
        self.assertEqual(curves.ticks(-130, 260), [-100, 0, 100, 200])


class Tables(Bench):
    """The document with the tables."""

    def setUp(self) -> None:
        super().setUp()
        self.document = self.root / "doc.md"
        self.document.write_text(f"Before.\n\n{table.BEGIN}\nold\n{table.END}\n\nAfter.\n")
        anchor = '[[group.anchor]]\nname = "Theirs"\nsource = "their files"\nseeds = 8\ninterpolated = [400]\n'
        anchor += "points = [[200, 30, 2.4], [400, 50]]\n"
        run = 'config = "CONFIG"\nset = ["training.env_steps=400"]'
        self.wants(
            f'method = "a"\nseeds = [0, 2, 7]\n{run}',
            f'method = "b"\nseeds = [0]\n{run}',
            before="at = [200, 400]\n" + anchor,
        )

    def made(self) -> str:
        """Returns the document after the command."""
        self.call("table", "--into", str(self.document))
        # The processor time varies from run to run.
        return re.sub(r"(?<=\d) \(\d+\) \|\n", " (?) |\n", self.document.read_text())

    def test_means_intervals_missing_seeds_and_published_numbers_stand_in_a_table(self) -> None:
        for name in ("a/seed-0", "a/seed-2"):
            self.call("--only", name)
        text = self.made()
        self.assertTrue(text.startswith("Before.\n") and text.endswith("\nAfter.\n") and "old" not in text)
        for row in (
            "| method | seeds | 200 | 400 | seconds per run (CPU seconds) |",
            # The values are 20 and 22: the standard deviation is √2, so half the width is 12.7062.
            "| `a` | 2 of 3; missing: 7 | 21 ± 13 | 41 ± 13 | 6 (?) |",
            "| `b` | 0 of 1; missing: 0 |  |  |  |",
            "| Theirs [1] | 8 | 30 (sd 2) | ~50 |  |",
            "1. Theirs: their files",
            "![returns of fake by steps and by seconds](doc/fake.svg)",
        ):
            self.assertIn(row + "\n", text)
        self.assertEqual(text, self.made())
        drawing = xml.fromstring((self.root / "doc" / "fake.svg").read_text())
        texts = [each.text for each in drawing.iter() if each.tag.endswith("text")]
        for label in ("real environment steps", "seconds", "a, 2 seeds", "Theirs, published"):
            self.assertIn(label, texts)
        numbers = re.findall(r"-?\d+\.\d+", (self.root / "doc" / "fake.svg").read_text())
        self.assertTrue(all(abs(float(number)) < 2000 for number in numbers))

    def test_where_a_step_has_several_frames_the_table_counts_frames(self) -> None:
        self.list.write_text(self.list.read_text().replace("at = [200, 400]", "at = [400, 800]\nframes = 2"))
        self.call("--only", "b/")
        text = self.made()
        for row in (
            "### fake, by frames (2 a step)",
            "| `b` | 1 | 20 | 40 | 6 (?) |",
            "| Theirs [1] | 8 | ~50 |  |  |",
        ):
            self.assertIn(row + "\n", text)
        self.assertIn(">frames of the real environment<", (self.root / "doc" / "fake.svg").read_text())

    def test_nothing_done_gives_tables_without_numbers_and_no_drawing(self) -> None:
        text = self.made()
        self.assertIn("| `a` | 0 of 3; missing: 0, 2, 7 |  |  |  |", text)
        self.assertNotIn("![", text)

    def test_seeds_of_different_configs_are_told(self) -> None:
        self.call("--only", "a/seed-0")
        self.call("--only", "a/seed-2")
        file = self.results / "fake/a/seed-2.csv"
        file.write_text(re.sub(r"config [0-9a-f]{12}; (?=\d+ s)", "config 000000000000; ", file.read_text()))
        self.assertIn("**the seeds have 2 different configs**", self.made())

    def test_a_document_without_markers_is_left_alone(self) -> None:
        self.document.write_text("No markers.\n")
        self.assertIn("hint: add them where the tables belong", self.call("table", "--into", str(self.document), code=2))
        self.assertEqual(self.document.read_text(), "No markers.\n")


if __name__ == "__main__":
    unittest.main()
