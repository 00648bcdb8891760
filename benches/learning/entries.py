"""The list of wanted runs: groups of methods over seeds, and published numbers for comparison.

    [[group]]                       # a table and a drawing
    name = "hopper"                 # a folder's name
    title = "Hopper-v5"
    at = [10000, 25000, 50000]      # steps of the table's columns
    frames = 1                      # frames per step: if it is more, `at` and points count frames

    [[group.run]]                   # a method: a row of the table
    method = "dhmbpo-mle"           # a folder's name
    config = "configs/dhmbpo/hopper.toml"
    set = ["model.loss.kind=mle"]   # overrides; the runner sets `seed` and `threads`
    seeds = [0, 1, 2]
    priority = 1                    # the lowest comes first; 5 by default

    [[group.anchor]]                # a row of published numbers
    name = "DHMBPO"
    source = "its authors' result files, 8 seeds"
    seeds = 8
    points = [[10000, 595, 347]]    # step, mean over seeds, their standard deviation
    interpolated = [25000]          # steps of points between published ones

A method may be in several entries of one group, with equal config and overrides, to add seeds of another priority.
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PRIORITY = 5
#: Number of real steps of a run whose config and overrides do not give it: the program's own default.
ENV_STEPS = 100_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: Keys that do not belong to a run's identity: the runner sets the first two, and a longer run contains a shorter one.
APART = ("seed", "threads", "training.env_steps")
#: Renamed keys of the program: section, old name, new name. Results are identified by the old names, so that those of
#: older versions count. The list of the program is `RENAMED_KEYS` in crates/foresee/src/config/renamed.rs.
RENAMED = (
    ("agent", "actor_every", "policy_delay"),
    ("agent", "target_every", "target_update_interval"),
    ("rollout", "retain", "retain_epochs"),
)


class Refused(Exception):
    """A user's mistake, with one message and a hint."""


@dataclass(frozen=True)
class Wanted:
    """A run of one seed."""

    group: str
    method: str
    config: str
    overrides: tuple[str, ...]
    seed: int
    #: Rank: priority, then position of the seed in its entry, then position of the entry in the list.
    rank: tuple[int, int, int]

    @property
    def name(self) -> str:
        """Returns a name such as `hopper/dhmbpo-mle/seed-0`: that of its folder under the work folder and of its result
        file.
        """
        return f"{self.group}/{self.method}/seed-{self.seed}"


@dataclass
class Row:
    """A method with all its seeds."""

    method: str
    config: str
    overrides: tuple[str, ...]
    seeds: list[int]


@dataclass
class Anchor:
    """Published numbers."""

    name: str
    source: str
    seeds: int
    #: Mean over seeds by step, with the seeds' standard deviation if it is known.
    points: dict[int, tuple[float, float | None]]
    interpolated: frozenset[int] = frozenset()


@dataclass
class Group:
    """Runs and published numbers of one table."""

    name: str
    title: str
    at: list[int]
    frames: int = 1
    rows: list[Row] = field(default_factory=list)
    anchors: list[Anchor] = field(default_factory=list)


@dataclass
class WantedList:
    """The whole list."""

    path: Path
    groups: list[Group]
    runs: list[Wanted]


def key_of(override: str) -> str:
    """Returns the dotted name that an override assigns."""
    return override.split("=", 1)[0].strip()


def identity(overrides: tuple[str, ...] | list[str]) -> list[str]:
    """Returns the overrides that distinguish one experiment from another, by the old names of their keys."""
    return sorted(old_override(text) for text in overrides if key_of(text) not in APART)


def old_override(override: str) -> str:
    """Returns an override with the old name of its key."""
    for section, old, new in RENAMED:
        if key_of(override) == f"{section}.{new}":
            return override.replace(new, old, 1)
    return override


def old_names(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a config with the old names of its keys."""
    renamed = dict(config)
    for section, old, new in RENAMED:
        table = renamed.get(section)
        if isinstance(table, dict) and new in table:
            renamed[section] = {old if key == new else key: value for key, value in table.items()}
    return renamed


def read(path: Path) -> WantedList:
    """Reads the list in a file; raises `Refused` for every mistake in it."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except FileNotFoundError:
        raise Refused(f"the list `{path}` does not exist\nhint: give its path with --wanted") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"cannot read the list `{path}`: {error}\nhint: benches/wanted.toml shows its form") from None
    reader = Reader(path)
    tables = reader.tables(content, "the list", {"group": list})
    groups = [reader.group(table) for table in tables["group"]]
    names = [group.name for group in groups]
    for name in names:
        if names.count(name) > 1:
            raise reader.refused(f"two groups have the name `{name}`", "give one of them another name")
    return WantedList(path, groups, sorted(reader.runs, key=lambda run: run.rank))


# The types of values, in messages.
KINDS: dict[type, str] = {str: "a string", list: "a list", int: "a whole number"}


class Reader:
    """Checks tables, and collects the runs in them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: list[Wanted] = []
        self.entries = 0

    def refused(self, what: str, hint: str) -> Refused:
        """Returns the error with its message and hint."""
        return Refused(f"in `{self.path}`: {what}\nhint: {hint}")

    def tables(
        self, table: Any, where: str, needed: dict[str, type], optional: dict[str, type] | None = None
    ) -> dict[str, Any]:
        """Returns the tables, if they have only these keys, with values of these types."""
        if not isinstance(table, dict):
            raise self.refused(f"{where} is not a table", "benches/wanted.toml shows the list's form")
        known = needed | (optional or {})
        for key, value in table.items():
            if key not in known:
                raise self.refused(f"{where} has an unknown key `{key}`", f"it can have {', '.join(known)}")
            kind = known[key]
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise self.refused(f"`{key}` of {where} is {value!r}", f"give {KINDS[kind]}")
        for key in needed:
            if key not in table:
                raise self.refused(f"{where} has no `{key}`", "benches/wanted.toml shows the list's form")
        return table

    def folder(self, name: str, where: str) -> str:
        """Returns a name that can be a folder's name."""
        if not NAME.fullmatch(name):
            raise self.refused(
                f"the name `{name}` of {where} cannot be a folder name", "use letters, digits, dots and hyphens"
            )
        return name

    def whole(self, values: list[Any], where: str) -> list[int]:
        """Returns whole numbers that are not negative."""
        for value in values:
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise self.refused(f"{where} contains {value!r}", "give whole numbers from 0 on")
        return values

    def group(self, table: Any) -> Group:
        """Reads a group with its rows and anchors."""
        keys = {"run": list, "anchor": list, "title": str, "at": list, "frames": int}
        table = self.tables(table, "a group", {"name": str}, keys)
        name = self.folder(table["name"], "a group")
        where = f"the group `{name}`"
        frames = table.get("frames", 1)
        if frames < 1:
            raise self.refused(f"`frames` of {where} is {frames}", "give a whole number from 1 on")
        group = Group(name, table.get("title", name), self.whole(table.get("at", []), f"`at` of {where}"), frames)
        for entry in table.get("run", []):
            self.row(group, entry, where)
        group.anchors = [self.anchor(entry, where) for entry in table.get("anchor", [])]
        return group

    def row(self, group: Group, table: Any, where: str) -> None:
        """Reads the runs of an entry, and adds a row, or adds the seeds to an existing row."""
        needed = {"method": str, "config": str, "seeds": list}
        table = self.tables(table, f"a run of {where}", needed, {"set": list, "priority": int})
        method = self.folder(table["method"], f"a run of {where}")
        where = f"`{group.name}/{method}`"
        seeds, overrides = self.whole(table["seeds"], f"`seeds` of {where}"), tuple(table.get("set", []))
        for text in overrides:
            if not isinstance(text, str) or "=" not in text or ";" in text or "\n" in text:
                raise self.refused(
                    f"`set` of {where} contains {text!r}",
                    'give strings of the form "KEY=VALUE", without semicolons',
                )
            if key_of(text) in ("seed", "threads"):
                raise self.refused(
                    f"`set` of {where} contains `{text}`",
                    "remove it: seeds are set by `seeds`, and every run has one thread",
                )
        row = next((row for row in group.rows if row.method == method), None)
        if row is None:
            row = Row(method, table["config"], overrides, [])
            group.rows.append(row)
        elif (row.config, row.overrides) != (table["config"], overrides):
            raise self.refused(f"two entries of {where} differ in `config` or `set`", "give each its own `method`")
        for place, seed in enumerate(seeds):
            if seed in row.seeds:
                raise self.refused(f"{where} lists the seed {seed} twice", "remove one of them")
            row.seeds.append(seed)
            rank = (table.get("priority", PRIORITY), place, self.entries)
            self.runs.append(Wanted(group.name, method, row.config, overrides, seed, rank))
        self.entries += 1

    def anchor(self, table: Any, where: str) -> Anchor:
        """Reads published numbers."""
        needed = {"name": str, "source": str, "seeds": int, "points": list}
        table = self.tables(table, f"an anchor of {where}", needed, {"interpolated": list})
        where = f"the anchor `{table['name']}` of {where}"
        points: dict[int, tuple[float, float | None]] = {}
        for point in table["points"]:
            numbers = isinstance(point, list) and all(isinstance(x, int | float) for x in point)
            if not numbers or len(point) not in (2, 3) or not isinstance(point[0], int):
                raise self.refused(f"{where} has the point {point!r}", "give [step, mean] or [step, mean, deviation]")
            points[point[0]] = (point[1], point[2] if len(point) == 3 else None)
        interpolated = frozenset(self.whole(table.get("interpolated", []), where))
        if not interpolated <= set(points):
            raise self.refused(
                f"`interpolated` of {where} contains a step that is not in `points`", "remove the step"
            )
        return Anchor(table["name"], table["source"], table["seeds"], points, interpolated)


def source_of(wanted: Wanted, repository: Path) -> dict[str, Any]:
    """Returns the entry's config as it is in its file; raises `Refused` with the entry's name if it cannot be read."""
    path = repository / wanted.config
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        message = f"there is no config `{wanted.config}`\nhint: add the file, or leave the entry out of the list"
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"cannot read the config `{wanted.config}`: {error}\nhint: `foresee check {wanted.config}`"
    raise Refused(f"{wanted.name}: {message}")


def env_steps(wanted: Wanted, source: dict[str, Any]) -> int:
    """Returns the number of real steps of a run: an override's, else the config's, else the program's default."""
    training = source.get("training")
    steps = training.get("env_steps", ENV_STEPS) if isinstance(training, dict) else ENV_STEPS
    for text in wanted.overrides:
        if key_of(text) == "training.env_steps":
            steps = text.split("=", 1)[1].strip().replace("_", "")
    try:
        return int(steps)
    except ValueError:
        raise Refused(f"{wanted.name}: training.env_steps is `{steps}`\nhint: give a whole number") from None
