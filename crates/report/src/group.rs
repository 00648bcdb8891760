//! Groups: the runs of one config, or one name, with different seeds.
//!
//! Two runs of a task belong to one group if their configs are equal apart from [`APART`]. Groups are named by the keys
//! in which the configs of one task differ: the fewest keys that distinguish them, kinds before other keys. Runs of
//! different tasks belong to one group if the groups have the same name.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::ReportError;
use crate::report::Options;
use crate::run::{FlatConfig, Run, Runs};

/// Keys that do not change the numbers of a run up to a step, except for the seed, over which statistics are computed.
pub(crate) const APART: [&str; 6] =
    ["seed", "threads", "device", "training.env_steps", "training.log_every", "training.checkpoint_every"];
/// Keys that name a group before all others; their values are names by themselves.
const KINDS: [&str; 4] = ["algo", "agent.kind", "model.kind", "model.loss.kind"];
/// The value of a key that a config does not have.
pub(crate) const UNSET: &str = "unset";

/// A group of runs.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    /// The values or names that distinguish the group.
    pub name: String,
    /// The runs by task. Every seed of a task is there once.
    pub runs: BTreeMap<&'a str, Vec<&'a Run>>,
}

/// The keys in which configs differ between groups, each with the values of every group.
pub(crate) type Differences = Vec<(String, Vec<String>)>;

/// Returns the groups in the order of their first runs.
///
/// # Errors
/// If no config has a key to group by.
pub(crate) fn groups<'a>(
    runs: &'a Runs,
    options: &Options,
    notes: &mut Vec<String>,
) -> Result<Vec<Group<'a>>, ReportError> {
    let names = if options.group_by.is_empty() { names(&runs.runs) } else { names_by(&runs.runs, &options.group_by)? };
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (run, name) in runs.runs.iter().zip(names) {
        let at = groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
            groups.push(Group { name, runs: BTreeMap::new() });
            groups.len() - 1
        });
        groups[at].runs.entry(task(run)).or_default().push(run);
    }
    for Group { name, runs } in &mut groups {
        for runs in runs.values_mut() {
            keep_one_per_seed(name, runs, notes);
        }
    }
    Ok(groups)
}

/// Returns the task of a run.
fn task(run: &Run) -> &str {
    run.task.as_deref().expect("a run that was read has a task")
}

/// Keeps the longest run of each seed, because equal configs and seeds give equal numbers. Orders runs by seed. Runs of
/// other configs can be in the group too, if the user chose its keys or its name; then the note says so.
fn keep_one_per_seed(name: &str, runs: &mut Vec<&Run>, notes: &mut Vec<String>) {
    runs.sort_by_key(|run| (run.seed, std::cmp::Reverse(run.span().1)));
    let (mut twice, mut other_configs) = (BTreeSet::new(), false);
    for pair in runs.windows(2).filter(|pair| pair[0].seed == pair[1].seed) {
        twice.extend(pair[0].seed);
        other_configs |= Identity::without_label(pair[0]) != Identity::without_label(pair[1]);
    }
    runs.dedup_by_key(|run| run.seed);
    if !twice.is_empty() {
        let seeds: Vec<String> = twice.iter().map(u64::to_string).collect();
        let reason = if other_configs {
            "their configs differ, and only the longest counts: give one --group-by more, or leave runs out"
        } else {
            "the longest counts, because equal configs and seeds give equal numbers"
        };
        notes.push(format!("`{name}` on {} has several runs of seed {}; {reason}", task(runs[0]), seeds.join(", ")));
    }
}

/// Returns a name for each run, by the values of these keys.
fn names_by(runs: &[Run], keys: &[String]) -> Result<Vec<String>, ReportError> {
    let known: BTreeSet<&str> = runs
        .iter()
        .filter_map(|run| run.config.as_ref())
        .flat_map(|config| config.keys().map(String::as_str))
        .collect();
    for key in keys {
        if !known.contains(key.as_str()) {
            // Keys that end like the given one, else keys with the same last part.
            let ending = |part: &str| -> Vec<&str> {
                known.iter().copied().filter(|known| format!(".{known}").ends_with(&format!(".{part}"))).collect()
            };
            let near = Some(ending(key)).filter(|near| !near.is_empty());
            let near = near.unwrap_or_else(|| ending(key.rsplit('.').next().unwrap_or(key)));
            let hint = match near.is_empty() {
                true => "give a key of their configs, such as model.loss.kind; `foresee list keys` prints all".into(),
                false => format!("give {}", near.join(" or ")),
            };
            return Err(ReportError::input(format!("no config of these runs has the key `{key}`"), hint));
        }
    }
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let name = |run: &Run| match (&run.label, &run.config) {
        (Some(label), _) => label.clone(),
        (None, Some(config)) if !run.by_name => name_of(&keys, &values(config, &keys), &known),
        (None, _) => run.name.clone(),
    };
    Ok(runs.iter().map(name).collect())
}

/// Returns a name for each run, by what differs.
fn names(runs: &[Run]) -> Vec<String> {
    let identities: Vec<Identity> = runs.iter().map(Identity::of).collect();
    let mut cells: Vec<Cell> = Vec::new();
    for (run, identity) in runs.iter().zip(&identities) {
        let known = cells.iter_mut().find(|cell| cell.task == task(run) && cell.identity == identity);
        match known {
            Some(cell) => cell.one_name &= cell.first.name == run.name,
            None => cells.push(Cell { task: task(run), identity, first: run, one_name: true, name: String::new() }),
        }
    }
    name_configs(&mut cells);
    for cell in &mut cells {
        match cell.identity {
            Identity::Label(label) => cell.name.clone_from(label),
            Identity::Name(name, _) => cell.name.clone_from(name),
            Identity::Config(_) => {}
        }
    }
    distinguish(&mut cells);
    let name_of = |run: &Run, identity: &Identity| {
        let cell = cells.iter().find(|cell| cell.task == task(run) && cell.identity == identity);
        cell.expect("every run has a cell").name.clone()
    };
    runs.iter().zip(&identities).map(|(run, identity)| name_of(run, identity)).collect()
}

/// The property that the runs of a group have in common.
#[derive(PartialEq)]
enum Identity {
    /// The name that the user gave.
    Label(String),
    /// The name and the fingerprint of runs without a config.
    Name(String, String),
    /// The config without the keys of `APART` and the task.
    Config(FlatConfig),
}

impl Identity {
    fn of(run: &Run) -> Self {
        run.label.as_ref().map_or_else(|| Self::without_label(run), |label| Self::Label(label.clone()))
    }

    /// Returns the identity that a run has if the user gives no name.
    fn without_label(run: &Run) -> Self {
        match &run.config {
            Some(config) if !run.by_name => {
                let kept = config.iter().filter(|(key, _)| !APART.contains(&key.as_str()) && *key != "env.id");
                Self::Config(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
            }
            _ => Self::Name(run.name.clone(), run.fingerprint.clone()),
        }
    }
}

/// The runs of one task and one identity.
struct Cell<'a> {
    task: &'a str,
    identity: &'a Identity,
    first: &'a Run,
    /// Whether all runs have the same name.
    one_name: bool,
    name: String,
}

impl Cell<'_> {
    fn config(&self) -> Option<&FlatConfig> {
        match self.identity {
            Identity::Config(config) => Some(config),
            _ => None,
        }
    }

    /// Returns a name for runs whose config differs from no other: that of the experiment, else of loss or agent.
    fn own_name(&self) -> String {
        let config = self.config().expect("a cell with a config");
        let kind = match config.get("algo").map(String::as_str) {
            Some("model_free") => config.get("agent.kind"),
            _ => config.get("model.loss.kind"),
        };
        if self.one_name { self.first.name.clone() } else { kind.unwrap_or(&self.first.name).clone() }
    }
}

/// Names the cells that have a config.
fn name_configs(cells: &mut [Cell<'_>]) {
    let with_config: Vec<(&str, &FlatConfig)> =
        cells.iter().filter_map(|cell| Some((cell.task, cell.config()?))).collect();
    let all: BTreeSet<&str> = with_config.iter().flat_map(|(_, config)| config.keys().map(String::as_str)).collect();
    let keys = fewest_keys(&with_config, &all);
    let tuples: Vec<Vec<String>> = with_config.iter().map(|(_, config)| values(config, &keys)).collect();
    let names: Vec<Option<String>> = tuples
        .iter()
        .map(|tuple| {
            let needed = needed(&keys, tuple, &tuples);
            let part = |place: &usize| (keys[*place], tuple[*place].clone());
            let (keys, values): (Vec<&str>, Vec<String>) = needed.iter().map(part).unzip();
            (!keys.is_empty()).then(|| name_of(&keys, &values, &all))
        })
        .collect();
    for (cell, name) in cells.iter_mut().filter(|cell| cell.config().is_some()).zip(names) {
        cell.name = name.unwrap_or_else(|| cell.own_name());
    }
}

/// Returns the places of the keys that a name needs to distinguish its values from all others: the first kinds, if they
/// are enough; else all kinds, and no more of the other keys than necessary.
fn needed(keys: &[&str], own: &[String], all: &[Vec<String>]) -> Vec<usize> {
    let distinguish = |places: &[usize]| {
        all.iter().filter(|other| *other != own).all(|other| places.iter().any(|&place| other[place] != own[place]))
    };
    let kinds = keys.iter().take_while(|key| KINDS.contains(key)).count();
    if let Some(count) = (1..=kinds).find(|&count| distinguish(&(0..count).collect::<Vec<_>>())) {
        return (0..count).collect();
    }
    let mut places: Vec<usize> = (0..keys.len()).collect();
    for place in (kinds..keys.len()).rev() {
        let without: Vec<usize> = places.iter().copied().filter(|&other| other != place).collect();
        if !without.is_empty() && distinguish(&without) {
            places = without;
        }
    }
    places
}

/// Returns the fewest keys that distinguish the configs of each task, chosen one by one: at first kinds, then the key
/// that distinguishes the most.
fn fewest_keys<'a>(configs: &[(&str, &FlatConfig)], all: &BTreeSet<&'a str>) -> Vec<&'a str> {
    let classes = |keys: &[&str]| {
        let classes: BTreeSet<(&str, Vec<String>)> =
            configs.iter().map(|(task, config)| (*task, values(config, keys))).collect();
        classes.len()
    };
    let (mut chosen, mut count) = (Vec::new(), classes(&[]));
    while count < configs.len() {
        let with = |key: &'a str| classes(&[&chosen[..], &[key]].concat());
        let kind = KINDS.iter().find_map(|kind| all.get(kind).copied().filter(|&key| with(key) > count));
        let best = kind.or_else(|| all.iter().copied().rev().max_by_key(|&key| with(key)));
        let Some(best) = best.filter(|&key| with(key) > count) else { break };
        count = with(best);
        chosen.push(best);
    }
    chosen
}

fn values(config: &FlatConfig, keys: &[&str]) -> Vec<String> {
    keys.iter().map(|&key| config.get(key).map_or(UNSET, String::as_str).to_owned()).collect()
}

/// Returns a name such as `vagram, layer_norm=true`.
fn name_of(keys: &[&str], values: &[String], all: &BTreeSet<&str>) -> String {
    let piece = |(key, value): (&&str, &String)| {
        if KINDS.contains(key) && value != UNSET { value.clone() } else { format!("{}={value}", short(key, all)) }
    };
    keys.iter().zip(values).map(piece).collect::<Vec<_>>().join(", ")
}

/// Returns the last part of a key, or the last two if another key has the same last part.
fn short<'a>(key: &'a str, all: &BTreeSet<&str>) -> &'a str {
    let parts: Vec<(usize, &str)> = key.rmatch_indices('.').collect();
    let last = parts.first().map_or(key, |(at, _)| &key[at + 1..]);
    let ambiguous = all.iter().filter(|other| other.rsplit('.').next() == Some(last)).count() > 1;
    if ambiguous { parts.get(1).map_or(key, |(at, _)| &key[at + 1..]) } else { last }
}

/// Gives cells of one task with equal names different ones.
fn distinguish(cells: &mut [Cell<'_>]) {
    let mut taken: BTreeSet<(&str, String)> = BTreeSet::new();
    for cell in cells {
        let name = cell.name.clone();
        for n in 2.. {
            if taken.insert((cell.task, cell.name.clone())) {
                break;
            }
            cell.name = format!("{name} ({n})");
        }
    }
}

/// Returns the keys whose values differ between groups on some task, with each group's values. Keys that name a kind
/// come first. `–` stands for a group without a config.
pub(crate) fn differences(groups: &[Group<'_>]) -> Differences {
    let configs = |group: &Group<'_>, task: &str| {
        let runs = group.runs.get(task).into_iter().flatten();
        runs.filter_map(|run| run.config.clone()).collect::<Vec<FlatConfig>>()
    };
    let tasks: BTreeSet<&str> = groups.iter().flat_map(|group| group.runs.keys().copied()).collect();
    let mut all: Vec<String> = Vec::new();
    for group in groups {
        for config in group.runs.values().flatten().filter_map(|run| run.config.as_ref()) {
            all.extend(config.keys().filter(|key| *key != "seed").cloned());
        }
    }
    all.sort_by_key(|key| (!KINDS.contains(&key.as_str()), key.clone()));
    all.dedup();
    let seen = |group: &Group<'_>, task: &str, key: &str| -> BTreeSet<String> {
        configs(group, task).iter().map(|config| config.get(key).map_or(UNSET, String::as_str).to_owned()).collect()
    };
    let differs = |key: &str| {
        tasks.iter().any(|task| {
            let sets: Vec<_> =
                groups.iter().map(|group| seen(group, task, key)).filter(|set| !set.is_empty()).collect();
            sets.windows(2).any(|pair| pair[0] != pair[1])
        })
    };
    let cell = |group: &Group<'_>, key: &str| {
        let values: BTreeSet<String> = tasks.iter().flat_map(|task| seen(group, task, key)).collect();
        if values.is_empty() { "–".to_owned() } else { values.into_iter().collect::<Vec<_>>().join(" or ") }
    };
    let rows = all.into_iter().filter(|key| differs(key));
    rows.map(|key| (key.clone(), groups.iter().map(|group| cell(group, &key)).collect())).collect()
}
