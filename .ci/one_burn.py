#!/usr/bin/env python3
"""Checks that packages built alone, and a crate outside the workspace, share one build of Burn with a build of all.

Cargo builds a package once for each set of features. A package built alone asks only for its own features, and each of
its dependencies that lacks one feature is built a second time, with all that stands on it. foresee-nn therefore asks for
the features that the workspace asks for (`Cargo.toml`), and this check compares what cargo resolves.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = ROOT / "crates/foresee/tests/outside"
#: The packages that stand on Burn.
ALONE = ["foresee-cli", "foresee-benches", "foresee", "foresee-dyna", "foresee-actor-critic", "foresee-world-model", "foresee-nn"]


def resolved(folder: Path, *words: str) -> set[str]:
    """Returns the packages from elsewhere that a build includes, each with its version and features."""
    command = ["cargo", "tree", "--offline", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}|{f}", *words]
    lines = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    # `(*)` marks a repeated line, and a path marks a package of this repository.
    return {line.removesuffix(" (*)") for line in lines if line and "(/" not in line}


def main() -> int:
    everything = ["--workspace", "--features", "foresee-cli/full,foresee-benches/wgpu"]
    workspace = resolved(ROOT, "--workspace")
    cases = {package: (resolved(ROOT, "-p", package), workspace) for package in ALONE}
    cases["the crate outside the workspace"] = (resolved(OUTSIDE), resolved(ROOT, *everything))
    differ = {name: sorted(alone - shared) for name, (alone, shared) in cases.items() if alone - shared}
    for name, lines in differ.items():
        print(f"error: {name} builds again, with other features: {', '.join(lines)}", file=sys.stderr)
    if differ:
        print("hint: add the features that are missing to the list `Not used` of Cargo.toml and of crates/nn", file=sys.stderr)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
