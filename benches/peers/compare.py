"""Runs our programs and the peers' in turn on the same cores, and prints how their times compare.

    python benches/peers/compare.py --bench target/release/foresee-benches [--rounds 5] [--seconds 2]
        [--workloads sgemm,model_step,vagram_step,sac_update,dh_update,dh_critic_update,rollout_10k_5,rollout_100k_1]
        [--end-to-end [--runs 1]] [--out results.json]

Every variant of the peers is warmed up once; those more than half again as slow as their program's best are left out
after that. A round times every program once, in rotating order; the variants of a program follow each other. A
variant's time is the median over rounds of the rounds' medians, and a program's variant is the one with the least of
these. A ratio is taken within a round, and the median over rounds is reported with the least and the greatest. Rollouts
that keep every row's member are measured too, the fastest of each program, and shown beside the table.
"""

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import common
from report import End, Entry, Rollout, environment, markdown

HERE = Path(__file__).resolve().parent
PEERS = ("jax", "torch")
WORKLOADS = ("sgemm", "sgemm_256", "model_step", "vagram_step", "sac_update", "dh_update", "dh_critic_update")
WORKLOADS += tuple(common.ROLLOUTS)
BY_DEFAULT = tuple(name for name in WORKLOADS if name not in common.IF_NAMED)
#: A variant that is this many times slower than its program's best is not measured again.
SLOWER = 1.5
#: Seconds per variant in the warm-up.
WARM_UP = 0.5

Measurement = dict[str, Any]


def note(message: str) -> None:
    """Prints progress to standard error."""
    print(message, file=sys.stderr, flush=True)


def flat(result: Measurement) -> str:
    """Formats a measurement in a few words."""
    return result.get("error") or f"{result['median_ms']:.3f} ms"


class Peer:
    """A worker of another program, idle between requests."""

    def __init__(self, program: str, threads: int) -> None:
        command = [sys.executable, str(HERE / f"{program}_peer.py"), "--threads", str(threads), "--serve"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.program = program
        self.about = self.ask({"list": True})

    def ask(self, request: Measurement) -> Measurement:
        """Sends one request and returns its answer."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the {self.program} worker ended while it handled the request {json.dumps(request)}\nhint: run {self.program}_peer.py by itself")
        return json.loads(line)

    def time(self, workload: str, variant: str, seconds: float) -> Measurement:
        """Makes one measurement."""
        return self.ask({"workload": workload, "variant": variant, "seconds": seconds})

    def close(self) -> None:
        """Ends the worker."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def json_lines(command: list[str]) -> list[Measurement]:
    """Returns the JSON objects that a program prints, one per line; raises an error if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}` ended with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


class Ours:
    """Our bench, with one process per measurement."""

    def __init__(self, bench: str, threads: int) -> None:
        self.bench, self.threads = bench, threads

    def time(self, workload: str, seconds: float) -> Measurement:
        """Makes one measurement; of several lines (the sizes of `sgemm`) the fastest counts."""
        command = [self.bench, "compute", "--json", "--workload", workload]
        command += ["--seconds", str(seconds), "--threads", str(self.threads)]
        try:
            results = [r for r in json_lines(command) if r.get("workload") == workload]
            if not results:
                raise RuntimeError(f"no result for {workload}")
            return max(results, key=lambda r: r.get("gflops") or 0.0)
        except (OSError, RuntimeError, json.JSONDecodeError) as error:
            return {"workload": workload, "error": str(error)}


def candidates(peer: Peer, workload: str, seconds: float) -> list[str]:
    """Warms up all variants, and returns those worth measuring."""
    results = {}
    for variant in peer.about["variants"].get(workload, []):
        result = peer.time(workload, variant, seconds)
        note(f"  warm-up {peer.program} {workload} [{variant}]: {flat(result)}")
        if "error" not in result:
            # By the best call, so that a disturbance does not exclude a variant.
            results[variant] = result["min_ms"]
    if workload == "sgemm":
        return list(results)
    fixed = {variant: ms for variant, ms in results.items() if common.FIXED in variant}
    compared = {variant: ms for variant, ms in results.items() if variant not in fixed}
    fast = [variant for variant, ms in compared.items() if ms <= SLOWER * min(compared.values())]
    return fast + ([min(fixed, key=fixed.__getitem__)] if fixed else [])


def rotated(items: list, by: int) -> list:
    """Returns the items in turn, with another first item in every round."""
    by %= max(1, len(items))
    return items[by:] + items[:by]


def rounds(ours: Ours, peers: list[Peer], args: argparse.Namespace) -> list[dict[str, Measurement]]:
    """Returns the measurements by `program/workload/variant`, round by round."""
    chosen = {
        (peer.program, workload): candidates(peer, workload, min(WARM_UP, args.seconds))
        for peer in peers
        for workload in args.workloads
    }
    all_rounds = []
    for number in range(args.rounds):
        note(f"round {number + 1} of {args.rounds}")
        results: dict[str, Measurement] = {}
        for workload in args.workloads:
            # `sgemm` is a peak and has one size per variant, so it settles in less time.
            seconds = args.seconds / 4 if workload == "sgemm" else args.seconds
            programs: list[Ours | Peer] = [ours, *peers]
            for program in rotated(programs, number):
                if isinstance(program, Ours):
                    turns = {f"ours/{workload}/": partial(ours.time, workload, seconds)}
                else:
                    names = rotated(chosen[program.program, workload], number)
                    turns = {
                        f"{program.program}/{workload}/{name}": partial(program.time, workload, name, seconds)
                        for name in names
                    }
                for key, turn in turns.items():
                    time.sleep(args.pause)
                    results[key] = turn()
                    note(f"  {key}: {flat(results[key])}")
        all_rounds.append(results)
    return all_rounds


def pooled(all_rounds: list[dict[str, Measurement]]) -> dict[str, float]:
    """Returns the median over rounds of the rounds' medians, ms, for variants that succeeded in every round."""
    keys = set.intersection(*(set(r) for r in all_rounds))
    keys = {key for key in keys if not any("error" in r[key] for r in all_rounds)}
    return {key: median(r[key]["median_ms"] for r in all_rounds) for key in keys}


def peaks(all_rounds: list[dict[str, Measurement]]) -> dict[str, tuple[float, str]]:
    """Returns every program's fastest `sgemm`, GFLOP/s, with its variant; numpy, timed by the torch worker, is listed
    separately.
    """
    best: dict[str, tuple[float, str]] = {}
    for key, result in ((k, m) for r in all_rounds for k, m in r.items()):
        program, workload, variant = key.split("/", 2)
        if workload != "sgemm" or "error" in result or not result.get("gflops"):
            continue
        program = "numpy" if variant.startswith("numpy") else program
        best[program] = max(best.get(program, (0.0, "")), (result["gflops"], variant))
    return best


def entries(all_rounds: list[dict[str, Measurement]], workloads: list[str]) -> list[Entry]:
    """Returns the rows of the table."""
    times = pooled(all_rounds)
    peak = max((rate for rate, _ in peaks(all_rounds).values()), default=None)
    rows = []
    for workload in workloads:
        if workload == "sgemm":
            continue
        own = f"ours/{workload}/"
        row = Entry(workload, times.get(own))
        if peak and row.ours_ms:
            row.share_of_peak = common.FLOPS[workload] / row.ours_ms / 1e6 / peak
        for program in PEERS:
            mine = [key for key in times if key.startswith(f"{program}/{workload}/") and common.FIXED not in key]
            if not mine:
                continue
            best = min(mine, key=times.__getitem__)
            row.peers[program] = (times[best], best.split("/", 2)[2])
            if own in times:
                ratios = [r[best]["median_ms"] / r[own]["median_ms"] for r in all_rounds]
                row.ratios[program] = (median(ratios), min(ratios), max(ratios))
        rows.append(row)
    return rows


def rollouts(all_rounds: list[dict[str, Measurement]], rows: list[Entry]) -> list[Rollout]:
    """Returns the rates of the rollouts, in transitions per second."""
    times, found = pooled(all_rounds), []
    for row in (row for row in rows if row.workload in common.ROLLOUTS):
        starts, horizon = common.ROLLOUTS[row.workload]
        best = {"ours": row.ours_ms} | {program: ms for program, (ms, _) in row.peers.items()}
        fixed = {
            program: ms
            for program in PEERS
            for key, ms in times.items()
            if key.startswith(f"{program}/{row.workload}/") and common.FIXED in key
        }
        rates = [{program: 1e3 * starts * horizon / ms for program, ms in side.items() if ms} for side in (best, fixed)]
        found.append(Rollout(row.workload, *rates))
    return found


def end_to_end(args: argparse.Namespace) -> list[End]:
    """Times whole runs in turn: ours, and the PyTorch loop in eager mode and compiled."""
    script = [sys.executable, str(HERE / "torch_mbpo.py"), "--threads", str(args.threads)]
    steps = ["--steps", str(args.steps)] if args.steps else []
    own = [args.bench, "compute", "--json", "--workload", "pendulum_mbpo", "--threads", str(args.threads)]
    commands = {"ours": own, "torch, eager": script + steps, "torch, compile": [*script, *steps, "--compile"]}
    ends = {name: End(name) for name in commands}
    for number in range(args.runs):
        for name in rotated(list(commands), number):
            time.sleep(args.pause)
            try:
                result = json_lines(commands[name])[-1]
            except (OSError, RuntimeError, json.JSONDecodeError, IndexError) as error:
                note(f"  {name}: {error}")
                continue
            note(f"  run {number + 1} of {args.runs}, {name}: {result['median_ms']:.1f} ms a real step")
            ends[name].add(result)
    return list(ends.values())


def parse() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", required=True, help="our bench, built in release")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds per variant and round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pause", type=float, default=0.3, help="seconds before a measurement, for pools to go idle")
    parser.add_argument("--workloads", type=lambda text: text.split(","), default=list(BY_DEFAULT))
    parser.add_argument("--end-to-end", action="store_true", help="whole runs on Pendulum too")
    parser.add_argument("--runs", type=int, default=1, help="whole runs of each program")
    parser.add_argument("--steps", type=int, help="real steps of PyTorch's whole runs; default: as in the workload")
    parser.add_argument("--out", type=Path, help="all measurements, as JSON")
    args = parser.parse_args()
    unknown = [name for name in args.workloads if name and name not in WORKLOADS]
    if unknown:
        parser.error(f"unknown workload {unknown[0]}\nhint: {', '.join(WORKLOADS)}")
    args.workloads = [name for name in args.workloads if name]
    return args


def main() -> None:
    """Measures and prints."""
    args = parse()
    common.pin(args.threads)
    peers = [Peer(program, args.threads) for program in PEERS]
    about = environment({peer.program: peer.about for peer in peers}, args.threads)
    all_rounds = rounds(Ours(args.bench, args.threads), peers, args) if args.workloads and args.rounds else []
    for peer in peers:
        peer.close()
    rows = entries(all_rounds, args.workloads) if all_rounds else []
    best = peaks(all_rounds)
    ends = end_to_end(args) if args.end_to_end else []
    if args.out:
        record = {"about": about, "rounds": all_rounds, "end_to_end": [end.__dict__ for end in ends]}
        args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(markdown(about, args.rounds, rows, rollouts(all_rounds, rows) if rows else [], best, ends))


if __name__ == "__main__":
    main()
