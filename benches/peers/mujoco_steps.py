"""Times our MuJoCo tasks and Gymnasium's in turn, one thread each, under the same actions, and prints how they compare.

    cargo build --release -p foresee-env --example steps
    python benches/peers/mujoco_steps.py --steps-program target/release/examples/steps [--rounds 61] [--steps 2000]
        [--envs Hopper-v5,Walker2d-v5] [--out results.json]

Actions are drawn beforehand, uniformly from the action space. Both sides begin with the same seeded reset and reset at
every end; resets are in the time, building the environment is not. A round times both, the first one in turn. A ratio
is Gymnasium's time over ours within a round: above 1 we are faster. Rounds are many and short, because a shared machine
is slow for seconds at a time, and such a phase should affect both sides of a round. Both programs must have begun as
many episodes, and their rewards must have one sum, or the comparison ends.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import gymnasium
import mujoco
import numpy as np

ENVS = "InvertedPendulum-v5,Reacher-v5,Swimmer-v5,Hopper-v5,Walker2d-v5,HalfCheetah-v5"
SEED = 0


def play(env: gymnasium.Env, actions: np.ndarray) -> tuple[float, int]:
    """Returns the sum of all rewards, and the number of episodes that were begun."""
    env.reset(seed=SEED)
    total, episodes = 0.0, 1
    for action in actions:
        _, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        if terminated or truncated:
            env.reset()
            episodes += 1
    return total, episodes


def gymnasiums(env: gymnasium.Env, actions: np.ndarray) -> dict:
    """Makes one measurement of Gymnasium, in this process."""
    play(env, actions[: len(actions) // 10])
    start = time.perf_counter()
    total, episodes = play(env, actions)
    return {"seconds": time.perf_counter() - start, "reward": total, "episodes": episodes}


def ours(process: subprocess.Popen) -> dict:
    """Makes one measurement of our program, which waits for a line before each measurement."""
    process.stdin.write("\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def measured(program: str, name: str, steps: int, rounds: int, folder: Path) -> dict:
    """Measures both programs on one task."""
    # The checker only examines the first step; without it Gymnasium has one wrapper less.
    env = gymnasium.make(name, disable_env_checker=True)
    space = env.action_space
    actions = np.random.default_rng(SEED).uniform(space.low, space.high, (steps, *space.shape)).astype(np.float32)
    path = folder / f"{name}.f32"
    actions.astype("<f4").tofile(path)
    pairs = []
    command = [program, name, str(path), str(SEED)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for number in range(rounds):
        turns = [lambda: ("ours", ours(process)), lambda: ("gymnasium", gymnasiums(env, actions))]
        pair = dict(turn() for turn in (turns if number % 2 == 0 else reversed(turns)))
        same = math.isclose(pair["ours"]["reward"], pair["gymnasium"]["reward"], rel_tol=1e-12)
        if not same or pair["ours"]["episodes"] != pair["gymnasium"]["episodes"]:
            sys.exit(f"{name}: our task and Gymnasium's differ in episodes or in the sum of rewards: {pair}")
        pairs.append(pair)
    env.close()
    process.stdin.close()
    process.wait()
    rate = {side: steps / median(pair[side]["seconds"] for pair in pairs) for side in ("ours", "gymnasium")}
    ratios = [pair["gymnasium"]["seconds"] / pair["ours"]["seconds"] for pair in pairs]
    return {
        "env": name,
        "steps": steps,
        "episodes": pairs[0]["ours"]["episodes"],
        "ours_per_s": round(rate["ours"]),
        "gymnasium_per_s": round(rate["gymnasium"]),
        "ratio": round(median(ratios), 3),
        "ratio_least": round(min(ratios), 3),
        "ratio_greatest": round(max(ratios), 3),
    }


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps-program", required=True, help="the example `steps` of foresee-env")
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--envs", default=ENVS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    print("| task | ours, steps/s | Gymnasium, steps/s | ratio | least to greatest |\n|---|---:|---:|---:|---:|")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.envs.split(","):
            row = measured(args.steps_program, name, args.steps, args.rounds, Path(folder))
            rows.append(row)
            spread = f"{row['ratio_least']:.2f} to {row['ratio_greatest']:.2f}"
            rates = f"{row['ours_per_s']:,} | {row['gymnasium_per_s']:,}"
            print(f"| {name} | {rates} | {row['ratio']:.2f} | {spread} |", flush=True)
    if args.out:
        versions = {module.__name__: module.__version__ for module in (gymnasium, mujoco, np)}
        args.out.write_text(json.dumps({"versions": versions, "rounds": args.rounds, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
