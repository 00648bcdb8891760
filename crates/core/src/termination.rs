//! Termination rules as data: bounds on quantities of a step.
//!
//! terminated(o, o') = some bound is broken, or all bounds of the goal hold (if there is a goal), or some entry of o' is
//! not finite (if the rule includes that check), for a step from the observation o to the observation o'.
//!
//! The quantity of a bound ([`Quantity`]) is an entry or a Euclidean distance, of the next observation o', of the
//! previous one o, or of the change o' − o.
//!
//! An imagined state has no simulator that could report whether the task ended, so the rule has to be known. As data,
//! the rule can be evaluated row by row on the CPU, in tensor operations, and (bounds on entries of o') in a kernel.

use core::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The observation that a bound reads, in a step from one observation to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The observation after the step.
    #[default]
    Next,
    /// The observation before the step.
    Previous,
    /// The observation after the step minus the one before it.
    Change,
}

impl Source {
    /// Returns the entry with this index, of a step from `obs` `[O]` to `next_obs` `[O]`.
    fn entry(self, index: usize, obs: &[f32], next_obs: &[f32]) -> f32 {
        match self {
            Self::Next => next_obs[index],
            Self::Previous => obs[index],
            Self::Change => next_obs[index] - obs[index],
        }
    }

    /// The text before the name of an entry.
    fn prefix(self) -> &'static str {
        match self {
            Self::Next => "",
            Self::Previous => "previous ",
            Self::Change => "change of ",
        }
    }
}

/// The other end of a distance.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Entries of the same observation, as many as the distance begins with.
    Entries(Vec<usize>),
    /// A fixed point, with one number per entry that the distance begins with.
    Point(Vec<f32>),
}

impl Target {
    /// Number of coordinates.
    fn dim(&self) -> usize {
        match self {
            Self::Entries(entries) => entries.len(),
            Self::Point(point) => point.len(),
        }
    }
}

/// The form of a bounded quantity.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// The entry with this index.
    Entry(usize),
    /// The Euclidean distance of the entries with these indices from the target. The squares are added in their order.
    Distance(Vec<usize>, Target),
}

/// The number that a bound is on.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantity {
    /// The observation that is read.
    pub source: Source,
    /// The number that is computed from it.
    pub form: Form,
}

impl From<usize> for Quantity {
    /// The entry of the next observation with this index.
    fn from(index: usize) -> Self {
        Self { source: Source::Next, form: Form::Entry(index) }
    }
}

impl Quantity {
    /// Returns the value in a step from `obs` `[O]` to `next_obs` `[O]`.
    #[must_use]
    pub fn value(&self, obs: &[f32], next_obs: &[f32]) -> f32 {
        let entry = |index| self.source.entry(index, obs, next_obs);
        match &self.form {
            &Form::Entry(index) => entry(index),
            Form::Distance(from, target) => {
                let squares = from.iter().enumerate().map(|(k, &index)| {
                    let end = match target {
                        Target::Entries(to) => entry(to[k]),
                        Target::Point(point) => point[k],
                    };
                    let difference = entry(index) - end;
                    difference * difference
                });
                squares.fold(0.0, |sum: f32, square| sum + square).sqrt()
            }
        }
    }

    /// The index, if the quantity is an entry of the next observation. A kernel evaluates no other quantity.
    #[must_use]
    pub fn next_entry(&self) -> Option<usize> {
        match (self.source, &self.form) {
            (Source::Next, &Form::Entry(index)) => Some(index),
            _ => None,
        }
    }

    /// The indices of all entries that are read.
    pub fn entries(&self) -> impl Iterator<Item = usize> {
        let (from, to): (&[usize], &[usize]) = match &self.form {
            Form::Entry(index) => (std::slice::from_ref(index), &[]),
            Form::Distance(from, Target::Entries(to)) => (from, to),
            Form::Distance(from, Target::Point(_)) => (from, &[]),
        };
        from.iter().chain(to).copied()
    }

    /// The keys of a config that give the indices.
    #[must_use]
    pub fn keys_of_entries(&self) -> &'static str {
        match &self.form {
            Form::Entry(_) => "`index`",
            Form::Distance(_, Target::Entries(_)) => "every index in `distance` and `to`",
            Form::Distance(_, Target::Point(_)) => "every index in `distance`",
        }
    }
}

/// A closed or open interval that a quantity of a step has to stay inside. In a config it is a [table](BoundTable).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "BoundTable", into = "BoundTable")]
pub struct Bound {
    /// The number that has to be inside.
    pub quantity: Quantity,
    /// Lower end, in the quantity's unit; `-inf` for none.
    pub low: f32,
    /// Upper end, in the quantity's unit; `inf` for none.
    pub high: f32,
    /// True if `low` and `high` themselves count as inside.
    pub closed: bool,
}

/// The keys of a [`Bound`] in a config.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BoundTable {
    /// Index of the bounded entry, if the bound is on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// Indices of the entries at one end of a distance, if the bound is on a distance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    distance: Option<Vec<usize>>,
    /// Indices of the entries at the other end of the distance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Vec<usize>>,
    /// The other end of the distance, if it is a fixed point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    point: Option<Vec<f32>>,
    /// The observation that is read: after the step, before it, or its change in the step.
    #[serde(default, skip_serializing_if = "is_next")]
    of: Source,
    /// Lower end, in the quantity's unit; `-inf` for none.
    #[serde(default = "below_all")]
    low: f32,
    /// Upper end, in the quantity's unit; `inf` for none.
    #[serde(default = "above_all")]
    high: f32,
    /// True if `low` and `high` themselves count as inside.
    #[serde(default)]
    closed: bool,
}

fn below_all() -> f32 {
    f32::NEG_INFINITY
}

fn above_all() -> f32 {
    f32::INFINITY
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_next(source: &Source) -> bool {
    *source == Source::Next
}

impl TryFrom<BoundTable> for Bound {
    type Error = &'static str;

    fn try_from(table: BoundTable) -> Result<Self, Self::Error> {
        let BoundTable { index, distance, to, point, of: source, low, high, closed } = table;
        let form = match (index, distance, to, point) {
            (Some(index), None, None, None) => Form::Entry(index),
            (None, Some(from), Some(to), None) => Form::Distance(from, Target::Entries(to)),
            (None, Some(from), None, Some(point)) => Form::Distance(from, Target::Point(point)),
            (None, None, None, None) => return Err("missing field `index`"),
            (Some(_), ..) => {
                return Err("a bound is on the entry `index` or on a `distance`, not on both\n\
                     hint: give each a bound of its own; `to` and `point` belong to a `distance`");
            }
            (None, None, ..) => {
                return Err("`to` and `point` belong to a `distance`, which is not given\n\
                     hint: for example `{distance=[0, 1], to=[2, 3], high=0.05}`");
            }
            (None, Some(_), ..) => {
                return Err("a `distance` has one other end: `to` or `point`\n\
                     hint: for example `{distance=[0, 1], to=[2, 3], high=0.05}` or `{distance=[0, 1], point=[0.5, 0], high=0.05}`");
            }
        };
        Ok(Self { quantity: Quantity { source, form }, low, high, closed })
    }
}

impl From<Bound> for BoundTable {
    fn from(bound: Bound) -> Self {
        let Bound { quantity: Quantity { source: of, form }, low, high, closed } = bound;
        let none = Self { index: None, distance: None, to: None, point: None, of, low, high, closed };
        match form {
            Form::Entry(index) => Self { index: Some(index), ..none },
            Form::Distance(from, Target::Entries(to)) => Self { distance: Some(from), to: Some(to), ..none },
            Form::Distance(from, Target::Point(point)) => Self { distance: Some(from), point: Some(point), ..none },
        }
    }
}

impl Bound {
    /// Returns true if the quantity of the step from `obs` `[O]` to `next_obs` `[O]` is inside the interval. A NaN is
    /// outside.
    fn holds(&self, obs: &[f32], next_obs: &[f32]) -> bool {
        let x = self.quantity.value(obs, next_obs);
        if self.closed { self.low <= x && x <= self.high } else { self.low < x && x < self.high }
    }

    /// The interval in brackets.
    fn interval(&self) -> String {
        let [before, after] = if self.closed { ["[", "]"] } else { ["(", ")"] };
        format!("{before}{}, {}{after}", self.low, self.high)
    }

    /// The reason why the bound is invalid, with a hint, or `None`.
    fn problem(&self) -> Option<[String; 2]> {
        let Self { quantity, low, high, closed } = self;
        let holds_some = low < high || (*closed && low == high);
        let never = "a rule without bounds never ends an episode";
        let Form::Distance(from, target) = &quantity.form else {
            let hint = || format!("`low` must be below `high`; {never}");
            return (!holds_some).then(|| [format!("the bound `{self}` contains no number"), hint()]);
        };
        if from.is_empty() || from.len() != target.dim() {
            let key = if matches!(target, Target::Entries(_)) { "to" } else { "point" };
            let (entries, dim) = (from.len(), target.dim());
            let problem = format!("a bound has {entries} entries in `distance` and {dim} in `{key}`");
            return Some([problem, "both ends of a distance need equally many entries, at least one".into()]);
        }
        if let Target::Point(point) = target
            && let Some(x) = point.iter().find(|x| !x.is_finite())
        {
            return Some([format!("the point of the bound `{self}` has the entry {x}"), "it must be finite".into()]);
        }
        // A distance is at least 0.
        (!holds_some || *high < 0.0 || (!closed && *high == 0.0)).then(|| {
            let hint = format!("a distance is at least 0, so `high` must be above 0 and above `low`; {never}");
            [format!("the bound `{self}` contains no distance"), hint]
        })
    }
}

/// The rule that ends an episode in the task itself: the task continues while every bound holds and the goal is not
/// reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Termination {
    /// Bounds on quantities of a step: the episode ends outside any of them. A bound is a table. Its quantity is
    /// an observation entry, with the number `index`, or the Euclidean distance of the entries `distance` from the
    /// entries `to` or from the fixed `point`: `{distance = [0, 1], to = [2, 3], high = 0.05}`. It is that of the
    /// observation after the step; `of = "previous"` reads the one before the step, `of = "change"` the difference,
    /// after minus before. `low` and `high` are the ends of its interval (`-inf` and `inf` if they are not given),
    /// and `closed = true` counts the ends as inside.
    pub bounds: Vec<Bound>,
    /// Bounds of the goal, tables as in `bounds`: the episode ends where all of them hold together. Empty for a task
    /// without a goal.
    pub goal: Vec<Bound>,
    /// True if a NaN or an infinity in the observation after the step ends the episode.
    pub finite: bool,
}

impl Termination {
    /// The rule of a task that never terminates.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// Whether no state terminates an episode.
    #[must_use]
    pub fn is_never(&self) -> bool {
        *self == Self::never()
    }

    /// A rule from bounds. Observations that are not finite end the episode too.
    #[must_use]
    pub fn outside(bounds: Vec<Bound>) -> Self {
        Self { bounds, finite: true, ..Self::default() }
    }

    /// A rule from a goal. Observations that are not finite end the episode too.
    #[must_use]
    pub fn inside(goal: Vec<Bound>) -> Self {
        Self { goal, finite: true, ..Self::default() }
    }

    /// All bounds: those of `bounds`, then those of the goal.
    pub fn all_bounds(&self) -> impl Iterator<Item = &Bound> {
        self.bounds.iter().chain(&self.goal)
    }

    /// The reason why the rule is invalid, with a hint, or `None`: a bound that contains no number, or a distance
    /// between groups of different sizes.
    #[must_use]
    pub fn problem(&self) -> Option<[String; 2]> {
        self.all_bounds().find_map(Bound::problem)
    }

    /// Returns the first bound that reads an entry that observations of `dim` entries do not have, with the entry.
    #[must_use]
    pub fn beyond(&self, dim: usize) -> Option<(&Bound, usize)> {
        self.all_bounds()
            .find_map(|bound| bound.quantity.entries().find(|&entry| entry >= dim).map(|entry| (bound, entry)))
    }

    /// Returns the largest index of an observation entry that a bound reads.
    #[must_use]
    pub fn last_entry(&self) -> Option<usize> {
        self.all_bounds().flat_map(|bound| bound.quantity.entries()).max()
    }

    /// Returns true if the rule reads the observation before the step.
    #[must_use]
    pub fn reads_previous(&self) -> bool {
        self.all_bounds().any(|bound| bound.quantity.source != Source::Next)
    }

    /// Returns true if every bound is on a single entry of the observation after the step. Kernels evaluate only such
    /// rules.
    #[must_use]
    pub fn is_on_next_entries(&self) -> bool {
        self.all_bounds().all(|bound| bound.quantity.next_entry().is_some())
    }

    /// Returns true if the step from the observation `obs` `[O]` to `next_obs` `[O]` ends the episode. A NaN is outside
    /// of every bound. A rule that does not [read the previous observation](Termination::reads_previous) accepts any
    /// `obs`, also an empty one.
    #[must_use]
    pub fn terminated(&self, obs: &[f32], next_obs: &[f32]) -> bool {
        let holds = |bound: &Bound| bound.holds(obs, next_obs);
        let finite = !self.finite || next_obs.iter().all(|x| x.is_finite());
        let inside = self.bounds.iter().all(holds);
        let reached = !self.goal.is_empty() && self.goal.iter().all(holds);
        !(finite && inside) || reached
    }
}

/// For example `obs[0]`, `change of obs[0]` or `distance of obs[0, 1] to obs[2, 3]`.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list(numbers: &[impl fmt::Display]) -> String {
            numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        let prefix = self.source.prefix();
        match &self.form {
            Form::Entry(index) => write!(f, "{prefix}obs[{index}]"),
            Form::Distance(from, Target::Entries(to)) => {
                write!(f, "distance of {prefix}obs[{}] to {prefix}obs[{}]", list(from), list(to))
            }
            Form::Distance(from, Target::Point(point)) => {
                write!(f, "distance of {prefix}obs[{}] to ({})", list(from), list(point))
            }
        }
    }
}

/// For example `obs[0] in (0.7, inf)`.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.quantity, self.interval())
    }
}

/// One line, such as `when obs[0] leaves (0.7, inf) or obs[1] leaves (-0.2, 0.2)`, or `never`.
impl fmt::Display for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |bounds: &[Bound], verb: &str, conjunction: &str| {
            let clauses = bounds.iter().map(|bound| format!("{} {verb} {}", bound.quantity, bound.interval()));
            (!bounds.is_empty()).then(|| format!("when {}", clauses.collect::<Vec<_>>().join(conjunction)))
        };
        let parts = [
            list(&self.bounds, "leaves", " or "),
            list(&self.goal, "is in", " and "),
            self.finite.then(|| "when any entry is NaN or infinite".into()),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(&if parts.is_empty() { "never".into() } else { parts.join(", or ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_and_closed_ends_differ_exactly_at_the_bound() {
        let rule = |closed| Termination {
            bounds: vec![Bound { quantity: Quantity::from(1), low: -1.0, high: 2.0, closed }],
            ..Termination::never()
        };
        for (x, open, closed) in [(-1.0, true, false), (2.0, true, false), (0.0, false, false), (2.1, true, true)] {
            assert_eq!(rule(false).terminated(&[], &[9.0, x]), open, "open, x = {x}");
            assert_eq!(rule(true).terminated(&[], &[9.0, x]), closed, "closed, x = {x}");
        }
    }

    #[test]
    fn a_bound_that_nothing_is_inside_is_a_problem() {
        let rule =
            |low, high, closed| Termination::inside(vec![Bound { quantity: Quantity::from(3), low, high, closed }]);
        assert_eq!(rule(1.0, 1.0, true).problem(), None);
        assert_eq!(rule(f32::NEG_INFINITY, f32::INFINITY, false).problem(), None);
        for (low, high, closed) in [
            (1.0, 1.0, false),
            (5.0, -5.0, true),
            (f32::NAN, 1.0, true),
            (0.0, f32::NAN, false),
            (f32::INFINITY, f32::INFINITY, false),
        ] {
            assert!(rule(low, high, closed).problem().is_some(), "{low} {high} {closed}");
        }
        assert_eq!(rule(5.0, -5.0, false).problem().unwrap()[0], "the bound `obs[3] in (5, -5)` contains no number");
    }

    #[test]
    fn a_nan_ends_a_bounded_task_and_never_ends_a_boundless_one() {
        assert!(!Termination::never().terminated(&[], &[f32::NAN]));
        assert!(Termination::outside(vec![]).terminated(&[], &[0.0, f32::INFINITY]));
        let bound = Bound { quantity: Quantity::from(0), low: f32::NEG_INFINITY, high: f32::INFINITY, closed: true };
        assert!(Termination { bounds: vec![bound], ..Termination::never() }.terminated(&[], &[f32::NAN]));
    }

    #[test]
    fn a_goal_is_reached_where_all_of_its_bounds_hold_at_once() {
        let above = |index, low| Bound { quantity: Quantity::from(index), low, high: f32::INFINITY, closed: true };
        let rule = Termination::inside(vec![above(0, 0.5), above(1, 0.0)]);
        for (obs, ends) in
            [([0.5, 0.0], true), ([0.4, 1.0], false), ([0.6, -0.1], false), ([-9.0, -9.0], false), ([9.0, 9.0], true)]
        {
            assert_eq!(rule.terminated(&[], &obs), ends, "{obs:?}");
        }
    }

    #[test]
    fn bounds_and_a_goal_end_an_episode_each_by_itself() {
        let between = |low, high| Bound { quantity: Quantity::from(0), low, high, closed: true };
        let rule = Termination { bounds: vec![between(-1.0, 1.0)], ..Termination::inside(vec![between(0.5, 0.7)]) };
        for (x, ends) in [(0.0, false), (0.6, true), (0.8, false), (1.1, true), (-1.1, true)] {
            assert_eq!(rule.terminated(&[], &[x]), ends, "{x}");
        }
    }

    #[test]
    fn a_rule_reads_as_a_line() {
        let hop = |index, low, high, closed| Bound { quantity: Quantity::from(index), low, high, closed };
        let rule = Termination {
            goal: vec![hop(2, 0.0, 1.0, true)],
            ..Termination::outside(vec![hop(0, 0.7, f32::INFINITY, false), hop(1, -0.2, 0.2, false)])
        };
        let line = "when obs[0] leaves (0.7, inf) or obs[1] leaves (-0.2, 0.2), or when obs[2] is in [0, 1], or when any entry is NaN or infinite";
        assert_eq!((rule.to_string(), Termination::never().to_string()), (line.into(), "never".into()));
    }

    #[test]
    fn a_nan_reaches_no_goal_but_is_an_end_where_entries_must_be_finite() {
        let goal = vec![Bound { quantity: Quantity::from(0), low: 0.0, high: 1.0, closed: true }];
        assert!(Termination::inside(goal.clone()).terminated(&[], &[f32::NAN]));
        assert!(!Termination { goal, ..Termination::never() }.terminated(&[], &[f32::NAN]));
    }

    /// The bound of a config's table.
    fn bound(table: &str) -> Bound {
        toml::from_str(table).unwrap_or_else(|error| panic!("{table}: {error}"))
    }

    #[test]
    fn a_table_is_read_as_its_bound_and_written_as_it_was() {
        for (table, quantity, text) in [
            ("index = 2", Quantity::from(2), "obs[2] in (-inf, inf)"),
            (
                "index = 2\nof = 'previous'\nlow = 1",
                Quantity { source: Source::Previous, form: Form::Entry(2) },
                "previous obs[2] in (1, inf)",
            ),
            (
                "index = 0\nof = 'change'\nhigh = 0.5\nclosed = true",
                Quantity { source: Source::Change, form: Form::Entry(0) },
                "change of obs[0] in [-inf, 0.5]",
            ),
            (
                "distance = [0, 1]\nto = [4, 5]\nhigh = 0.05",
                Quantity { source: Source::Next, form: Form::Distance(vec![0, 1], Target::Entries(vec![4, 5])) },
                "distance of obs[0, 1] to obs[4, 5] in (-inf, 0.05)",
            ),
            (
                "distance = [3]\npoint = [0.5]\nof = 'change'\nlow = 2",
                Quantity { source: Source::Change, form: Form::Distance(vec![3], Target::Point(vec![0.5])) },
                "distance of change of obs[3] to (0.5) in (2, inf)",
            ),
        ] {
            let read = bound(table);
            assert_eq!((&read.quantity, read.to_string().as_str()), (&quantity, text));
            let written = toml::to_string(&read).unwrap();
            assert_eq!(bound(&written), read, "{written}");
        }
        // A rule of an older version is written as that version wrote it.
        let written = toml::to_string(&bound("index = 1\nlow = 0.5")).unwrap();
        assert_eq!(written, "index = 1\nlow = 0.5\nhigh = inf\nclosed = false\n");
    }

    #[test]
    fn a_table_without_one_quantity_is_refused() {
        for (table, message) in [
            ("low = 1", "missing field `index`"),
            ("index = 0\ndistance = [1]\nto = [2]", "on the entry `index` or on a `distance`, not on both"),
            ("index = 0\nto = [2]", "`to` and `point` belong to a `distance`"),
            ("to = [2]", "belong to a `distance`, which is not given"),
            ("distance = [2]", "one other end: `to` or `point`"),
            ("distance = [2]\nto = [1]\npoint = [0.0]", "one other end: `to` or `point`"),
            ("index = 0\nof = 'before'", "unknown variant `before`, expected one of `next`, `previous`, `change`"),
            ("index = 0\nmin = 1", "unknown field `min`"),
        ] {
            let error = toml::from_str::<Bound>(table).unwrap_err().to_string();
            assert!(error.contains(message), "{table}: {error}");
        }
    }

    #[test]
    fn a_bound_reads_the_step_before_after_or_its_change() {
        let (obs, next) = ([1.0, 5.0], [3.0, 5.5]);
        for (of, value) in [("next", 3.0), ("previous", 1.0), ("change", 2.0)] {
            let of_entry = bound(&format!("index = 0\nof = '{of}'")).quantity;
            assert_eq!(of_entry.value(&obs, &next), value, "{of}");
        }
        // A jump of more than 1 ends the episode, wherever it is.
        let rule =
            Termination { bounds: vec![bound("index = 1\nof = 'change'\nlow = -1\nhigh = 1")], ..Termination::never() };
        for (before, after, ends) in [(5.0, 5.5, false), (-9.0, -8.5, false), (5.0, 6.5, true), (5.0, 3.9, true)] {
            assert_eq!(rule.terminated(&[0.0, before], &[0.0, after]), ends, "from {before} to {after}");
        }
        assert!(rule.reads_previous() && !rule.is_on_next_entries());
    }

    #[test]
    fn a_distance_is_euclidean_between_entries_and_to_a_point() {
        // 3, 4, 5 and 2, 3, 6, 7.
        let between = bound("distance = [0, 1]\nto = [2, 3]").quantity;
        assert_eq!(between.value(&[], &[1.0, 2.0, 4.0, -2.0]), 5.0);
        let to_point = bound("distance = [3, 0, 1]\npoint = [1, 1, 1]").quantity;
        assert_eq!(to_point.value(&[], &[-2.0, 7.0, 99.0, 3.0]), 7.0);
        let moved = bound("distance = [0, 1]\npoint = [0, 0]\nof = 'change'").quantity;
        assert_eq!(moved.value(&[10.0, 20.0], &[13.0, 16.0]), 5.0);

        let goal =
            Termination { goal: vec![bound("distance = [0, 1]\nto = [2, 3]\nhigh = 5")], ..Termination::never() };
        assert!(!goal.terminated(&[], &[1.0, 2.0, 4.0, -2.0]), "an open end");
        assert!(goal.terminated(&[], &[1.0, 2.0, 3.9, -2.0]));
        assert!(!goal.terminated(&[], &[f32::NAN, 2.0, 3.9, -2.0]), "a NaN is near nothing");
        assert_eq!((goal.last_entry(), goal.reads_previous(), goal.is_on_next_entries()), (Some(3), false, false));
    }

    #[test]
    fn a_distance_that_no_step_can_have_is_a_problem_with_a_hint() {
        let problem = |table: &str| Termination::inside(vec![bound(table)]).problem();
        for sound in ["to = [2, 3]\nhigh = 0.5", "point = [0, 1]\nlow = -1\nhigh = 0\nclosed = true", "to = [2, 3]"] {
            assert_eq!(problem(&format!("distance = [0, 1]\n{sound}")), None, "{sound}");
        }
        for (rest, what, hint) in [
            (
                "to = [2]",
                "a bound has 2 entries in `distance` and 1 in `to`",
                "both ends of a distance need equally many",
            ),
            ("point = [0, 1, 2]", "a bound has 2 entries in `distance` and 3 in `point`", "both ends"),
            (
                "point = [0, nan]",
                "the point of the bound `distance of obs[0, 1] to (0, NaN) in (-inf, inf)` has the entry NaN",
                "it must be finite",
            ),
            (
                "to = [2, 3]\nhigh = 0",
                "the bound `distance of obs[0, 1] to obs[2, 3] in (-inf, 0)` contains no distance",
                "a distance is at least 0",
            ),
            (
                "to = [2, 3]\nhigh = -0.1\nclosed = true",
                "the bound `distance of obs[0, 1] to obs[2, 3] in [-inf, -0.1]` contains no distance",
                "a distance is at least 0",
            ),
            (
                "to = [2, 3]\nlow = 2\nhigh = 1",
                "the bound `distance of obs[0, 1] to obs[2, 3] in (2, 1)` contains no distance",
                "a distance is at least 0",
            ),
        ] {
            let [found, found_hint] = problem(&format!("distance = [0, 1]\n{rest}")).expect(rest);
            assert_eq!(found, what);
            assert!(found_hint.starts_with(hint), "{found_hint}");
        }
        let empty = problem("distance = []\nto = []").expect("no entries");
        assert_eq!(empty[0], "a bound has 0 entries in `distance` and 0 in `to`");
        // An entry has no such limit.
        assert_eq!(problem("index = 0\nhigh = -1"), None);
    }

    #[test]
    fn every_rule_of_the_guide_can_be_read_and_is_valid() {
        let guide = include_str!("../../../docs/guides/add-an-environment.md");
        let section =
            guide.split("\n## ").find(|section| section.starts_with("Termination rules\n")).expect("a section");
        let rules: Vec<Termination> = section
            .lines()
            .filter(|line| line.starts_with("termination = {"))
            .map(|line| {
                let table: toml::Table = line.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
                table["termination"].clone().try_into().unwrap_or_else(|error| panic!("{line}: {error}"))
            })
            .collect();
        assert_eq!(rules.len(), 10);
        assert!(rules.iter().all(|rule| rule.problem().is_none() && rule.beyond(6).is_none()));
        assert_eq!(rules.iter().filter(|rule| rule.is_never()).count(), 1);
        // The rule on the step through 0.
        let crosses = |before: f32, after: f32| rules[5].terminated(&[0.0, 0.0, before], &[0.0, 0.0, after]);
        assert!(crosses(-0.1, 0.0) && !crosses(-0.2, -0.1) && !crosses(0.1, 0.2) && !crosses(0.1, -0.1));
    }

    #[test]
    fn an_entry_beyond_the_observation_is_found_at_either_end() {
        for (table, beyond) in [
            ("index = 4", Some(4)),
            ("index = 3\nof = 'change'", None),
            ("distance = [0, 5]\nto = [2, 3]", Some(5)),
            ("distance = [0, 1]\nto = [2, 4]", Some(4)),
            ("distance = [0, 3]\npoint = [9, 9]", None),
        ] {
            let rule = Termination::outside(vec![bound(table)]);
            assert_eq!(rule.beyond(4).map(|found| found.1), beyond, "{table}");
        }
    }
}
