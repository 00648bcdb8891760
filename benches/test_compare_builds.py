"""Tests of `compare_builds.py`: `python3 -m unittest discover benches`."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

import compare_builds as cb


def written(arrays: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    """Returns the bytes of a safetensors file, written by the format's own description."""
    header, body = {"__metadata__": {"any": "text"}}, b""
    for name, (kind, shape, data) in arrays.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def run_of(metrics: str, arrays: dict[str, str], checkpoint: str = "step-000000000600") -> cb.Recorded:
    """Returns an outcome in the form that `cb.outcome` returns, with a fixed `results.csv`."""
    texts = {"metrics.jsonl": metrics, "results.csv": "step,mean_return\n600,-3.5\n"}
    files = {name: {"sha256": cb.sha256(text.encode()), "lines": text.splitlines()} for name, text in texts.items()}
    return {"files": files, "checkpoint": checkpoint, "arrays": arrays}


class Checkpoints(unittest.TestCase):
    """Reading of a run's folder."""

    def test_small_and_big_arrays_of_the_newest_checkpoint_are_read(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name in ("step-000000000300", "step-000000000600", "step-000000000600-2", "segments", ".tmp-step"):
                (root / name).mkdir()
            newest = cb.newest_checkpoint(root)
            self.assertEqual(newest.name, "step-000000000600-2")
            (newest / "state.safetensors").write_bytes(
                written({"b": ("F32", [2], b"12345678"), "a": ("U8", [1], b"9")})
            )
            (root / "segments" / "aa").write_bytes(b"first")
            (root / "segments" / "bb").write_bytes(b"second")
            big = {"kind": "F64", "shape": [4, 5], "segments": ["aa", "bb"]}
            (newest / "manifest.json").write_text(json.dumps({"blake3": "", "manifest": {"arrays": {"c": big}}}))
            self.assertEqual(
                cb.arrays(newest),
                {
                    "a": f"U8 [1] {cb.sha256(b'9')}",
                    "b": f"F32 [2] {cb.sha256(b'12345678')}",
                    "c": f"F64 [4, 5] {cb.sha256(b'firstsecond')}",
                },
            )


class Differences(unittest.TestCase):
    """Reports of the differences of two outcomes."""

    def bad(self, before: cb.Recorded, after: cb.Recorded, allowed: cb.Allowed | None = None) -> str:
        """Returns the differences that count, as one text."""
        return "\n".join(cb.differences(before, after, allowed or cb.Allowed()).bad)

    def test_equal_outcomes_do_not_differ_however_often_the_last_step_was_saved(self) -> None:
        arrays = {"x": "F32 [1] 00"}
        self.assertEqual(self.bad(run_of("1\n2\n", arrays), run_of("1\n2\n", arrays, "step-000000000600-1")), "")

    def test_the_first_line_that_differs_is_named(self) -> None:
        self.assertIn("line 2 of 2 and 3", self.bad(run_of("1\n2\n", {}), run_of("1\n5\n3\n", {})))
        said = self.bad(run_of("1\n2\n", {}), run_of("1\n2\n3\n", {}))
        self.assertIn("line 3 of 2 and 3 differs\n      before (no line)\n      after  3", said)

    def test_metrics_by_their_old_names_equal_those_by_their_new_names(self) -> None:
        old = '{"env_step":200,"rollout/ep_rew_mean":-3.5,"rollout/ep_len_mean":200.0}\n{"env_step":250,"model/epochs":3.0}\n'
        new = old.replace("rollout/ep_rew_mean", "episode/return").replace("rollout/ep_len_mean", "episode/length")
        resumed = old.splitlines(keepends=True)[0] + new.splitlines(keepends=True)[0].replace("200", "400")
        for before, after in ((old, new), (old + new, new + new), (resumed, cb.by_new_names(resumed))):
            found = cb.differences(run_of(before, {}), run_of(after, {}), cb.Allowed())
            self.assertEqual((found.bad, found.fine), ([], ["renamed metrics: episode/return, episode/length"]))
        self.assertEqual(cb.differences(run_of(new, {}), run_of(new, {}), cb.Allowed()).fine, [])
        said = self.bad(run_of(old, {}), run_of(new.replace("-3.5", "-3.25"), {}))
        self.assertIn("metrics.jsonl: line 1 of 2 and 2 differs", said)
        self.assertIn('after  {"env_step":200,"episode/return":-3.25,', said)

    def test_arrays_that_are_missing_new_or_of_other_bytes_types_and_shapes_are_named(self) -> None:
        before = {"same": "F32 [1] 00", "gone": "F32 [1] 00", "bytes": "F32 [1] 00", "shape": "F32 [1] 00"}
        after = {"same": "F32 [1] 00", "fresh": "F32 [1] 00", "bytes": "F32 [1] 01", "shape": "F32 [1, 1] 00"}
        said = self.bad(run_of("", before), run_of("", after))
        for line in ("missing: gone", "new: fresh", "bytes: bytes", "shape: shape (F32 [1] → F32 [1, 1])"):
            self.assertIn(line, said)
        self.assertNotIn("same", said)

    def test_renames_and_new_arrays_are_allowed_by_pattern_alone(self) -> None:
        before = run_of("", {"agent.actor.w": "F32 [1] 00", "agent.b": "F32 [1] 01", "old": "F32 [1] 02"})
        after = run_of("", {"a.actor.w": "F32 [1] 00", "a.b": "F32 [1] 01", "now": "F32 [1] 02", "replay.row": "U8 [1] 9"})
        allowed = cb.Allowed([cb.renaming("agent.*=a.*"), cb.renaming("old=now")], ["replay.*"])
        found = cb.differences(before, after, allowed)
        self.assertEqual(found.bad, [])
        self.assertEqual(len(found.fine), 2)
        self.assertIn("new: replay.row", self.bad(before, after, cb.Allowed(allowed.renames, ["real.*"])))
        after["arrays"]["a.b"] = "F32 [1] 05"
        self.assertIn("bytes: a.b", self.bad(before, after, allowed))

    def test_a_renaming_has_one_star_on_both_sides_or_none(self) -> None:
        for text in ("a", "=b", "a=", "a*=b", "a*b*=c*d*"):
            with self.assertRaises(Exception, msg=text):
                cb.renaming(text)


class Speed(unittest.TestCase):
    """The table of speed ratios."""

    def test_the_median_of_the_ratios_of_the_rounds_decides(self) -> None:
        # The ratios are 0.5, 1, 1.25, 1.25 and 2: the median is 1.25 and the quartiles are 1 and 1.25. The ratio of the
        # medians would be 1.
        pairs = [[1.0, 2.0], [10.0, 10.0], [10.0, 8.0], [10.0, 8.0], [20.0, 10.0]]
        for floor, fast in ((1.25, True), (1.26, False)):
            table = io.StringIO()
            with contextlib.redirect_stdout(table):
                self.assertEqual(cb.show_speed({"model_step": pairs}, floor), fast)
            self.assertEqual(table.getvalue().splitlines()[1].split()[3:8], ["1.250", "1.000", "1.250", "0.500", "2.000"])


if __name__ == "__main__":
    unittest.main()
