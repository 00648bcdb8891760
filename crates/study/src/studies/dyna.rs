//! Dyna in a finite process, as the lecture writes it.
//!
//! Source: the lecture, "Dyna Architecture: Finite State/Action Space". The policy `π` is fixed and uniform over the actions,
//! and `Q` is to become `Q^π`. Each real step:
//!
//! 1. takes `A ~ π(·|X)` and sees `R = r(X, A)` and `X' ~ P*(·|X, A)`;
//! 2. counts the transition: `P̂(x'|x, a) = #(x, a, x')/#(x, a)`, and `r̂(x, a)` is the reward seen at the pair;
//! 3. `Q(X, A) ← Q(X, A) + α (R + γ Σ_a π(a|X') Q(X', a) − Q(X, A))`;
//! 4. does `p` times the same with `X̃` from `ν̃`, `Ã ~ π(·|X̃)`, `X̃' ~ P̂(·|X̃, Ã)` and `r̂(X̃, Ã)`.
//!
//! The lecture leaves `ν̃` open. Here `X̃` is uniform over the states that have been left at least once, and a draw of a pair
//! whose reward has not been seen is skipped.
//!
//! With the *wrong* model class, the states form groups of `group` consecutive numbers, and all states of a group share
//! their counts: `P̂(·|x, a) = P̂(·|g(x), a)`. Rewards stay those of the pair. The numbers of the states of a Garnet process
//! mean nothing, so that this model is wrong nearly everywhere. Its own value is `Q̂^π`, the solution for the kernel
//! `Σ_{x ∈ g} w(x) P*(·|x, a)`.
//!
//! The error is `‖Q − Q^π‖₂/‖Q^π‖₂` over all pairs, with `Q^π` from a linear solve.

use crate::figure::{Axis, Figure, Panel, Series};
use crate::linear::{Matrix, dot, minus, norm};
use crate::mdp::families::Garnet;
use crate::mdp::planning::evaluate;
use crate::mdp::{FiniteMdp, Policy};
use crate::random::Random;
use crate::study::{Expectation, Parameter, Quantity, Record, Settings, Study};

/// The study.
pub static STUDY: Study = Study {
    name: "dyna",
    revision: 1,
    claim: "Planning steps with a learned model reach a given error of the values in fewer real steps, and more of them in \
            fewer. With a wrong model class more planning steps end in a larger error.",
    source: "lecture, slide \"Dyna Architecture: Finite State/Action Space\" and learning objective \"Effect of model error?\"",
    parameters: &[
        Parameter::count("states", 20, [2, 500], "states of a random MDP"),
        Parameter::count("actions", 3, [1, 20], "actions"),
        Parameter::count("branching", 3, [1, 500], "states that can follow a pair of state and action"),
        Parameter::real("gamma", 0.9, [0.0, 0.999], "discount"),
        Parameter::real("rate", 0.1, [0.001, 1.0], "learning rate α of TD(0)"),
        Parameter::real("threshold", 0.3, [0.01, 0.99], "relative error that counts as reached"),
        Parameter::count("group", 4, [2, 500], "states that share their counts in the wrong model class"),
        Parameter::count("steps", 20_000, [100, 10_000_000], "real steps"),
    ],
    quantities: &[
        Quantity::expected(
            "doublings_0_5",
            "log₂ of the real steps to the threshold without planning, over those with p = 5 (never: the last step)",
            Expectation::AtLeast(1.0),
        ),
        Quantity::expected(
            "doublings_5_50",
            "log₂ of the real steps to the threshold with p = 5, over those with p = 50 (never: the last step)",
            Expectation::AtLeast(0.5),
        ),
        Quantity::expected(
            "wrong_over_plain",
            "final error with p = 50 and the wrong model class, over that without planning",
            Expectation::AtLeast(1.5),
        ),
        Quantity::reported("reached_0", "share of seeds that reach the threshold without planning"),
        Quantity::reported("reached_wrong", "share of seeds that reach the threshold with p = 50 and the wrong class"),
        Quantity::reported("final_0", "relative error at the end without planning"),
        Quantity::reported("final_50", "relative error at the end with p = 50"),
        Quantity::reported("final_wrong_50", "relative error at the end with p = 50 and the wrong class"),
    ],
    seeds: [20, 200, 2000],
    check: |settings| {
        let (states, branching) = (settings.count("states"), settings.count("branching"));
        if branching > states {
            return Err(format!(
                "branching={branching} is more than states={states}\nhint: lower branching to {states}, or raise states"
            ));
        }
        Ok(())
    },
    run,
    figure,
};

/// Counts of transitions, shared by groups of states.
#[derive(Clone, Debug)]
pub struct Counts {
    actions: usize,
    group: usize,
    /// The next states seen at each group and action, in order: a uniform draw of them has the frequencies.
    seen: Vec<Vec<usize>>,
    /// The reward seen at each pair.
    reward: Vec<Option<f64>>,
    /// The states that have been left, in the order of the first time.
    left: Vec<usize>,
}

impl Counts {
    /// Counts of nothing yet. Groups have `group` consecutive states.
    #[must_use]
    pub fn new(states: usize, actions: usize, group: usize) -> Self {
        let groups = states.div_ceil(group);
        let (seen, reward) = (vec![Vec::new(); groups * actions], vec![None; states * actions]);
        Self { actions, group, seen, reward, left: Vec::new() }
    }

    /// Counts a transition.
    pub fn add(&mut self, state: usize, action: usize, reward: f64, next: usize) {
        let pair = state * self.actions + action;
        if (0..self.actions).all(|a| self.reward[state * self.actions + a].is_none()) {
            self.left.push(state);
        }
        self.reward[pair] = Some(reward);
        self.seen[state / self.group * self.actions + action].push(next);
    }

    /// A transition of the model from a state that has been left, or `None` if the pair has no reward yet.
    fn imagine(&self, policy: &Policy, random: &mut Random) -> Option<(usize, usize, f64, usize)> {
        let state = self.left[random.below(self.left.len())];
        let action = random.category(policy.at(state));
        let reward = self.reward[state * self.actions + action]?;
        let seen = &self.seen[state / self.group * self.actions + action];
        Some((state, action, reward, seen[random.below(seen.len())]))
    }

    /// `P̂(·|x, a)` of a pair that has been seen.
    #[must_use]
    pub fn frequencies(&self, state: usize, action: usize, states: usize) -> Vec<f64> {
        let seen = &self.seen[state / self.group * self.actions + action];
        let mut frequencies = vec![0.0; states];
        seen.iter().for_each(|&x| frequencies[x] += 1.0 / seen.len() as f64);
        frequencies
    }
}

/// `Q(x, a) ← Q(x, a) + α (r + γ Σ_b π(b|x') Q(x', b) − Q(x, a))`.
fn learn(
    action_values: &mut [f64],
    policy: &Policy,
    (state, action, reward, next): (usize, usize, f64, usize),
    discount: f64,
    rate: f64,
) {
    let actions = policy.at(next).len();
    let ahead = dot(policy.at(next), &action_values[next * actions..(next + 1) * actions]);
    let entry = &mut action_values[state * actions + action];
    *entry += rate * (reward + discount * ahead - *entry);
}

/// The result of one run of Dyna.
struct Learned {
    /// The first real step whose error is at most the threshold.
    reached: Option<usize>,
    /// The error at the end, a mean over the last tenth of the steps.
    last: f64,
    /// The error at each point of the grid of steps.
    errors: Vec<f64>,
}

/// A process, its policy and the exact action values.
struct Task {
    mdp: FiniteMdp,
    policy: Policy,
    exact: Vec<f64>,
}

impl Task {
    fn draw(settings: &Settings, random: &mut Random) -> Self {
        let garnet = Garnet {
            states: settings.count("states"),
            actions: settings.count("actions"),
            branching: settings.count("branching"),
            absorbing: 0,
            discount: settings.real("gamma"),
        };
        let mdp = garnet.draw(random);
        let policy = Policy::uniform(garnet.states, garnet.actions);
        let exact = mdp.backup(&evaluate(&mdp, &policy));
        Self { mdp, policy, exact }
    }

    fn dyna(&self, settings: &Settings, planning: usize, group: usize, grid: &[usize], seed: u64) -> Learned {
        let (steps, rate) = (settings.count("steps"), settings.real("rate"));
        let (states, actions, discount) = (self.mdp.states(), self.mdp.actions(), self.mdp.discount());
        let mut action_values = vec![0.0; states * actions];
        let mut counts = Counts::new(states, actions, group);
        // All runs of a seed see the same real transitions.
        let mut real = Random::new(seed, "study/dyna/real", 0);
        let mut imagined = Random::new(seed, "study/dyna/imagined", (planning * 1000 + group) as u64);
        let mut state = real.below(states);
        let mut learned = Learned { reached: None, last: 0.0, errors: Vec::new() };
        let late = steps - steps / 10;
        for step in 1..=steps {
            let action = real.category(self.policy.at(state));
            let next = real.category(self.mdp.next(state, action));
            let reward = self.mdp.reward()[state * actions + action];
            counts.add(state, action, reward, next);
            learn(&mut action_values, &self.policy, (state, action, reward, next), discount, rate);
            for _ in 0..planning {
                if let Some(transition) = counts.imagine(&self.policy, &mut imagined) {
                    learn(&mut action_values, &self.policy, transition, discount, rate);
                }
            }
            state = next;
            let error = norm(&minus(&action_values, &self.exact)) / norm(&self.exact);
            if learned.reached.is_none() && error <= settings.real("threshold") {
                learned.reached = Some(step);
            }
            if step > late {
                learned.last += error / (steps - late) as f64;
            }
            if grid.contains(&step) {
                learned.errors.push(error);
            }
        }
        learned
    }
}

const PLANNING: [usize; 3] = [0, 5, 50];

fn run(settings: &Settings, seed: u64) -> Record {
    let mut random = Random::new(seed, "study/dyna", 0);
    let task = Task::draw(settings, &mut random);
    let steps = settings.count("steps");
    let mut grid: Vec<usize> =
        (10..).map(|k| 10.0_f64.powf(f64::from(k) / 10.0).round() as usize).take_while(|step| *step <= steps).collect();
    grid.dedup();
    let mut record = Record::default();
    let mut reached = Vec::new();
    let mut add = |name: &str, learned: &Learned| {
        for (&step, error) in grid.iter().zip(&learned.errors) {
            record.point(name, step as f64, *error);
        }
        record.set(&format!("final_{name}"), learned.last);
    };
    for planning in PLANNING {
        let learned = task.dyna(settings, planning, 1, &grid, seed);
        add(&planning.to_string(), &learned);
        reached.push(learned.reached);
    }
    let mut wrong_reached = None;
    for planning in &PLANNING[1..] {
        let learned = task.dyna(settings, *planning, settings.count("group"), &grid, seed);
        add(&format!("wrong_{planning}"), &learned);
        wrong_reached = learned.reached;
    }
    // A run that does not reach the threshold counts as if it had reached it at the last step.
    let doublings = |slow: usize, fast: usize| {
        let at = |i: usize| reached[i].unwrap_or(steps) as f64;
        (at(slow) / at(fast)).log2()
    };
    record.set("doublings_0_5", doublings(0, 1));
    record.set("doublings_5_50", doublings(1, 2));
    record.set("reached_0", f64::from(u8::from(reached[0].is_some())));
    record.set("reached_wrong", f64::from(u8::from(wrong_reached.is_some())));
    let ratio = record.values["final_wrong_50"] / record.values["final_0"];
    record.set("wrong_over_plain", ratio);
    record
}

fn figure(settings: &Settings, records: &[Record]) -> Figure {
    let panel = |title: String, lines: &[(&str, &str)]| Panel {
        title,
        x: Axis::log("real steps"),
        y: Axis::log("relative error of Q"),
        series: lines.iter().map(|(curve, name)| Series::of(records, curve, name)).collect(),
    };
    let plain = ("0", "no planning");
    let group = settings.real("group");
    Figure {
        panels: vec![
            panel("The model counts every pair".into(), &[plain, ("5", "p = 5"), ("50", "p = 50")]),
            panel(
                format!("Wrong class: groups of {group} states share counts"),
                &[plain, ("wrong_5", "p = 5"), ("wrong_50", "p = 50")],
            ),
        ],
    }
}

/// The kernel of the certainty-equivalent model of counts in which every pair has been seen, `[S·A, S]`.
#[must_use]
pub fn counted_kernel(counts: &Counts, states: usize) -> Matrix {
    let rows: Vec<Vec<f64>> = (0..states * counts.actions)
        .map(|z| counts.frequencies(z / counts.actions, z % counts.actions, states))
        .collect();
    Matrix::from_fn(rows.len(), states, |z, x| rows[z][x])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(overrides: &[&str]) -> Settings {
        Settings::new(&STUDY, overrides).unwrap()
    }

    /// Counts with `samples` transitions of each pair.
    fn full_counts(mdp: &FiniteMdp, group: usize, samples: usize, random: &mut Random) -> Counts {
        let mut counts = Counts::new(mdp.states(), mdp.actions(), group);
        for z in 0..mdp.reward().len() {
            for _ in 0..samples {
                let next = random.category(mdp.kernel().row(z));
                counts.add(z / mdp.actions(), z % mdp.actions(), mdp.reward()[z], next);
            }
        }
        counts
    }

    #[test]
    fn planning_alone_finds_the_value_of_the_counted_model() {
        // With a falling learning rate TD(0) converges to the solution for the model's own kernel, also with shared counts.
        for group in [1, 3] {
            let mut random = Random::new(7, "test/dyna", group as u64);
            let task = Task::draw(&settings(&["states=6", "actions=2", "gamma=0.8"]), &mut random);
            let counts = full_counts(&task.mdp, group, 5, &mut random);
            let model = task.mdp.with_kernel(counted_kernel(&counts, 6));
            let exact = model.backup(&evaluate(&model, &task.policy));
            let mut action_values = vec![0.0; 12];
            for step in 0..400_000 {
                let transition = counts.imagine(&task.policy, &mut random).unwrap();
                let rate = 1.0 / (1.0 + f64::from(step) / 200.0).powf(0.75);
                learn(&mut action_values, &task.policy, transition, 0.8, rate);
            }
            let error = norm(&minus(&action_values, &exact)) / norm(&exact);
            assert!(error < 0.02, "group {group}: {error}");
            if group == 3 {
                // The model is wrong, so that its value is not that of the process.
                assert!(norm(&minus(&exact, &task.exact)) > 0.1 * norm(&task.exact));
            }
        }
    }

    #[test]
    fn frequencies_are_shares_of_counts() {
        let mut counts = Counts::new(4, 1, 2);
        for (state, next) in [(0, 1), (0, 1), (1, 2), (2, 3), (0, 0)] {
            counts.add(state, 0, 1.0, next);
        }
        // States 0 and 1 share four transitions.
        assert_eq!(counts.frequencies(0, 0, 4), [0.25, 0.5, 0.25, 0.0]);
        assert_eq!(counts.frequencies(1, 0, 4), counts.frequencies(0, 0, 4));
        assert_eq!(counts.frequencies(2, 0, 4), [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(counts.left, [0, 1, 2]);
    }

    #[test]
    fn a_deterministic_process_ends_in_the_same_values_with_and_without_planning() {
        // Without noise TD(0) converges at a constant rate. A pair that is never visited keeps Q = 0 in both runs.
        let settings = settings(&["states=5", "actions=2", "branching=1", "gamma=0.7", "steps=20000", "rate=0.5"]);
        let task = Task::draw(&settings, &mut Random::new(3, "test/dyna", 0));
        let errors = [0, 5].map(|planning| task.dyna(&settings, planning, 1, &[20_000], 3).errors[0]);
        assert!((errors[0] - errors[1]).abs() < 1e-6 && errors[0] < 0.9, "{errors:?}");
    }

    #[test]
    fn real_transitions_do_not_depend_on_planning() {
        let settings = settings(&["steps=500"]);
        let task = Task::draw(&settings, &mut Random::new(1, "test/dyna", 0));
        let first = task.dyna(&settings, 0, 1, &[500], 1).errors;
        // Groups are used in planning only.
        assert_eq!(first, task.dyna(&settings, 0, 4, &[500], 1).errors);
    }
}
