//! Tiny runs of every kind, and access to their saved states.

pub(crate) mod double_horizon;
pub(crate) mod scalar;
pub(crate) mod worlds;

use std::collections::BTreeMap;

use foresee_actor_critic::AgentConfig;
use foresee_core::State;
use foresee_core::state::{Array, Data};
use foresee_dyna::config::{DoubleHorizonConfig, EnvConfig, RolloutConfig, TrainingConfig};
use foresee_dyna::schedule::Schedule;
use foresee_dyna::{Algo, Config, Record, Run};
use foresee_world_model::config::{EnsembleConfig, FitConfig};
use foresee_world_model::{LossConfig, ModelConfig};

/// Every kind of run: without a model, and with a model under each loss.
pub(crate) const KINDS: [Option<&'static str>; 6] =
    [None, Some("mle"), Some("mse"), Some("vagram"), Some("itervaml"), Some("value_weighted")];

/// Every kind of run of [`KINDS`], and runs in blocks.
pub(crate) const WITH_BLOCKS: [Option<&'static str>; 8] = [
    None,
    Some("mle"),
    Some("mse"),
    Some("vagram"),
    Some("itervaml"),
    Some("value_weighted"),
    Some("dhmbpo mle"),
    Some("dhmbpo vagram"),
];

/// Returns [`tiny`] or, if `dhmbpo` is before the loss, a run with two blocks. The blocks have 2 · 9 and 9 updates
/// after 4 of the critics alone. A refill takes two calls of rollouts, and the pool wraps around.
pub(crate) fn tiny_of(kind: Option<&'static str>) -> Config {
    let Some(loss) = kind.and_then(|kind| kind.strip_prefix("dhmbpo ")) else { return tiny(kind) };
    let mut config = tiny(Some(loss));
    config.algo = Algo::Dhmbpo;
    config.agent = agent(&[8], 8);
    config.training.updates_per_step = Some(1);
    config.training.explore_steps = 190;
    config.model.ensemble.normalize_targets = true;
    config.double_horizon = DoubleHorizonConfig {
        block: 9,
        first_block: 2,
        critic_updates: 4,
        rollouts: 4,
        horizon: 3,
        refill_every: 5,
        refill: 20,
        pool: 70,
        ..DoubleHorizonConfig::default()
    };
    config
}

/// Returns a run of 205 real steps, of which 195 explore, beyond the time limit at step 200.
///
/// Updates and fits take more than one slice. The horizon grows from 1 to 3, and the imagined buffer grows with it:
/// from 12 rows over 24, which are filled, to 36, which wrap around. During the run the squared error is dropped from
/// the value-aware losses.
pub(crate) fn tiny(loss: Option<&'static str>) -> Config {
    Config {
        seed: 3,
        device: Default::default(),
        threads: 0,
        algo: if loss.is_some() { Algo::Mbpo } else { Algo::ModelFree },
        env: EnvConfig::new("Pendulum-v1"),
        training: TrainingConfig {
            env_steps: 205,
            explore_steps: 195,
            updates_per_step: Some(60),
            epoch_length: 6,
            eval_every: 70,
            eval_episodes: 2,
            log_every: 4,
            ..TrainingConfig::default()
        },
        agent: agent(&[8], 8),
        model: ModelConfig {
            ensemble: EnsembleConfig { members: 3, elites: 2, hidden: vec![8, 8], ..EnsembleConfig::default() },
            loss: LossConfig { add_mse_until: 5, ..LossConfig::named(loss.unwrap_or("mse")) },
            fit: FitConfig { every: 3, batch: 32, max_steps: 60, ..FitConfig::default() },
            ..ModelConfig::default()
        },
        rollout: RolloutConfig {
            starts_per_step: 2,
            horizon: Schedule::Linear([1.0, 3.0, 195.0, 204.0]),
            real_ratio: Schedule::Linear([1.0, 0.5, 195.0, 204.0]),
            ..RolloutConfig::default()
        },
        double_horizon: DoubleHorizonConfig::default(),
    }
}

/// Returns the config of SAC with hidden layers of these widths.
pub(crate) fn agent(hidden: &[usize], batch: usize) -> AgentConfig {
    let widths: Vec<toml::Value> = hidden.iter().map(|&width| toml::Value::Integer(width as i64)).collect();
    AgentConfig { batch, keys: toml::Table::from_iter([("hidden".into(), widths.into())]), ..AgentConfig::default() }
}

/// Continues a run to its end, and returns its records.
pub(crate) fn finish(run: &mut Run) -> Vec<Record> {
    let mut records = Vec::new();
    while !run.is_done() {
        run.advance(&mut records).expect("a tiny run goes well");
    }
    records
}

/// Makes a whole run, and returns its records and its last state.
pub(crate) fn whole(config: &Config) -> (Vec<Record>, State) {
    let mut run = Run::new(config).expect("a possible configuration");
    (finish(&mut run), run.snapshot().expect("a device that answers"))
}

/// Asserts that a run that is saved and restored before every slice has the records and the last state of an
/// uninterrupted one.
#[track_caller]
pub(crate) fn assert_cuts_change_nothing(config: &Config, records: &[Record], state: &State, what: &str) {
    let mut run = Run::new(config).expect("a possible configuration");
    let mut cut_records = Vec::new();
    while !run.is_done() {
        run = Run::restore(config, run.snapshot().expect("a device that answers")).expect("its own state");
        run.advance(&mut cut_records).expect("a tiny run goes well");
    }
    assert_eq!(cut_records, records, "{what}");
    assert_eq!(differing(&run.snapshot().expect("a device that answers"), state), [""; 0], "{what}");
}

/// Returns the array with this name.
#[track_caller]
pub(crate) fn array<'a>(state: &'a State, name: &str) -> &'a Array {
    let found = state.iter().find(|(path, _)| *path == name);
    found.unwrap_or_else(|| panic!("the state has no `{name}`")).1
}

/// Returns the numbers of the array with this name, of any type.
#[track_caller]
pub(crate) fn numbers(state: &State, name: &str) -> Vec<f64> {
    match &array(state, name).data {
        Data::F32(values) => values.iter().map(|&x| f64::from(x)).collect(),
        Data::F64(values) => values.clone(),
        Data::U64(values) => values.iter().map(|&x| x as f64).collect(),
        Data::U8(values) => values.iter().map(|&x| f64::from(x)).collect(),
    }
}

/// Returns the names of arrays that differ in any bit, or are in only one of the states.
pub(crate) fn differing(a: &State, b: &State) -> Vec<String> {
    let [a, b] = [a, b].map(|state| state.iter().map(|(name, array)| (name, bits(array))).collect::<BTreeMap<_, _>>());
    let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
    names.filter(|name| a.get(*name) != b.get(*name)).map(|&name| name.to_owned()).collect()
}

/// Returns shape, type and bits of an array. Unlike `==` on floats, a NaN equals itself, and −0 differs from 0.
fn bits(array: &Array) -> (&[usize], u8, Vec<u64>) {
    let (kind, bits) = match &array.data {
        Data::F32(values) => (0, values.iter().map(|x| u64::from(x.to_bits())).collect()),
        Data::F64(values) => (1, values.iter().map(|x| x.to_bits()).collect()),
        Data::U64(values) => (2, values.clone()),
        Data::U8(values) => (3, values.iter().map(|&x| u64::from(x)).collect()),
    };
    (&array.shape, kind, bits)
}

/// Returns the real steps at which a metric was reported, with its values.
pub(crate) fn reported(records: &[Record], metric: &str) -> Vec<(u64, f64)> {
    let value = |record: &Record| record.values.iter().find(|(name, _)| *name == metric).map(|&(_, value)| value);
    records.iter().filter_map(|record| value(record).map(|value| (record.env_step, value))).collect()
}
