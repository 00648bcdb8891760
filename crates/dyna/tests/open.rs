//! Tests of parts from outside of the crates in a run: an environment, a loss, a model and a controller.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Tensor;
use common::{array, differing, finish, numbers, reported, tiny, whole};
use foresee_core::{Kind, State, StateError, Stream};
use foresee_dyna::{Config, Controller, Knowledge, Mode, Observed, Parts, Run, metrics};
use foresee_env::classic::Pendulum;
use foresee_env::{EnvError, EnvFactory, Environment, Reset, Spec, Step, wrap_task};
use foresee_nn::{StepDraws, ValueHeads, ValueView, tensors};
use foresee_world_model::loss::{LossInput, ModelLoss};
use foresee_world_model::{
    Diverged, FitReport, FitRequest, ModelFactory, ModelRequest, ModelStep, Trainer, TrainingRows, WorldModel,
};
use serde::{Deserialize, Serialize};

/// Makes a whole run that is saved and restored after every slice.
fn cut(config: &Config, parts: &Parts) -> (Vec<foresee_dyna::Record>, State) {
    let open = || config.clone().open_with(parts).expect("a possible configuration");
    let (mut run, mut records) = (Run::begin(open()).expect("a run"), Vec::new());
    while !run.is_done() {
        run = Run::resume(open(), run.snapshot().expect("a device that answers")).expect("its own state");
        run.advance(&mut records).expect("a tiny run goes well");
    }
    (records, run.snapshot().expect("a device that answers"))
}

fn whole_with(config: &Config, parts: &Parts) -> (Vec<foresee_dyna::Record>, State) {
    let mut run = Run::begin(config.clone().open_with(parts).expect("a possible configuration")).expect("a run");
    (finish(&mut run), run.snapshot().expect("a device that answers"))
}

/// The pendulum under another name, with a reward of 1 at every step.
struct Generous(Pendulum, Spec);

impl Generous {
    fn new() -> Self {
        let task = Pendulum::new();
        let spec = Spec { id: "Generous-v0".into(), ..task.spec().clone() };
        Self(task, spec)
    }
}

impl Environment for Generous {
    fn spec(&self) -> &Spec {
        &self.1
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        self.0.reset(seed)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.0.step(action).map(|step| Step { reward: 1.0, ..step })
    }

    fn save(&self) -> State {
        self.0.save()
    }

    fn restore(&mut self, state: State) -> Result<(), EnvError> {
        self.0.restore(state)
    }
}

#[test]
fn an_environment_of_ones_own_trains_is_evaluated_on_itself_and_resumes_by_name_or_by_a_factory() {
    let mut config = tiny(Some("mse"));
    config.env.id = "Generous-v0".into();
    config.env.count = 3;
    config.training.env_steps = 207;
    let mut named = Parts::default();
    named.tasks.add("Generous-v0", Some(200), || Ok(Box::new(Generous::new())));
    let factory: EnvFactory = Arc::new(|| wrap_task(Box::new(Generous::new()), Some(200)));
    let given = Parts { env: Some(factory), ..Parts::default() };
    for parts in [named, given] {
        let (records, state) = whole_with(&config, &parts);
        // Every step has a reward of 1, unlike any step of the shipped pendulum.
        assert!(reported(&records, metrics::EVAL_RETURN).iter().all(|&(_, mean)| mean == 200.0));
        assert!(numbers(&state, "replay.real.reward").iter().all(|&reward| reward == 1.0));
        let (cut_records, cut_state) = cut(&config, &parts);
        assert_eq!(cut_records, records);
        assert_eq!(differing(&cut_state, &state), [""; 0]);
        let setup = config.clone().open_with(&parts).expect("a possible configuration");
        let (outcome, step) = Run::evaluate_snapshot(setup, state, 3).expect("its own state");
        assert_eq!((outcome.returns, step), (vec![200.0; 3], 207));
    }
    let unknown = config.problem().expect("an unknown id");
    assert!(unknown.starts_with("`env.id`: unknown environment `Generous-v0`\nhint: "), "{unknown}");
}

/// The mean absolute error, doubled if `twice` is set, without a panel form.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Absolute {
    twice: bool,
}

impl ModelLoss for Absolute {
    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
        let error = (input.prediction.mean.clone() - input.target.clone()).abs().mean_dim(2).squeeze_dim(2);
        if self.twice { error.mul_scalar(2.0) } else { error }
    }
}

fn with_absolute() -> Parts {
    let mut parts = Parts::default();
    parts
        .losses
        .add(Kind::new("absolute", "the absolute error", |loss: Absolute| Ok(Arc::new(loss) as Arc<dyn ModelLoss>)));
    parts
}

#[test]
fn a_loss_of_ones_own_trains_without_a_panel_form_by_its_name_and_with_its_keys() {
    let mut config = tiny(Some("absolute"));
    let plain = whole_with(&config, &with_absolute());
    assert_eq!(reported(&plain.0, metrics::MODEL_STEPS).len(), 4);
    assert_eq!(cut(&config, &with_absolute()), plain);
    config.model.loss = config.model.loss.with("twice", true);
    let losses = |records: &[foresee_dyna::Record]| reported(records, metrics::MODEL_TRAIN_LOSS)[0].1;
    assert_ne!(losses(&whole_with(&config, &with_absolute()).0), losses(&plain.0));
    let mut wrong = tiny(Some("absolute"));
    wrong.model.loss = wrong.model.loss.with("thrice", true);
    let problem = wrong.open_with(&with_absolute()).err().expect("a problem");
    assert_eq!(problem.keys, ["model", "loss", "thrice"]);
    assert!(
        problem.to_string().starts_with("unknown key `model.loss.thrice`\nhint: did you mean `twice`?"),
        "{problem}"
    );
}

/// A model that wraps the ensemble and does not reveal it, so that the fused forms cannot be used.
struct Hidden(Trainer);

impl WorldModel for Hidden {
    fn begin_fit(&mut self, rows: TrainingRows<'_>, request: FitRequest<'_>) {
        self.0.begin_fit(rows, request);
    }

    fn advance_fit(&mut self, view: &dyn ValueView) -> Result<Option<FitReport>, Diverged> {
        self.0.advance_fit(view)
    }

    fn save_fit(&self) -> State {
        self.0.save_fit()
    }

    fn resume_fit(&mut self, state: State, rows: TrainingRows<'_>, view: &dyn ValueView) -> Result<(), StateError> {
        self.0.resume_fit(state, rows, view)
    }

    fn noise_width(&self) -> usize {
        self.0.noise_width()
    }

    fn step(&self, obs: Tensor<2>, action: Tensor<2>, draws: &StepDraws) -> ModelStep {
        self.0.step(obs, action, draws)
    }

    fn save(&self) -> State {
        self.0.save()
    }

    fn load(&mut self, state: State) -> Result<(), StateError> {
        self.0.load(state)
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HiddenKeys {
    seed_plus: u64,
}

impl ModelFactory for HiddenKeys {
    fn build(&self, request: &ModelRequest<'_>) -> Box<dyn WorldModel> {
        let ModelRequest { config, loss, dims, seed, device } = *request;
        Box::new(Hidden(Trainer::new(config, Arc::clone(loss), dims, seed + self.seed_plus, device)))
    }
}

fn with_hidden() -> Parts {
    let mut parts = Parts::default();
    parts.models.add(Kind::new("hidden", "an ensemble that nobody sees", |keys: HiddenKeys| {
        Ok(Arc::new(keys) as Arc<dyn ModelFactory>)
    }));
    parts
}

/// Its rollouts are computed in tensors, those of the ensemble in a fused form: the draws are equal, the rounding is
/// not.
#[test]
fn a_model_of_ones_own_imagines_through_tensors_what_the_fused_rollouts_imagine() {
    let mut config = tiny(Some("mle"));
    let want = whole(&config);
    config.model.kind = "hidden".into();
    let got = whole_with(&config, &with_hidden());
    assert_eq!(cut(&config, &with_hidden()), got);
    let first = |records: &[foresee_dyna::Record]| reported(records, metrics::IMAGINED_REWARD)[0].1;
    let (got_reward, want_reward) = (first(&got.0), first(&want.0));
    assert!((got_reward - want_reward).abs() <= 1e-5 * want_reward.abs(), "{got_reward}, expected {want_reward}");
    let rows = |state: &State| array(state, "replay.imagined.rows.obs").shape.clone();
    assert_eq!(rows(&got.1), rows(&want.1));
    config.model.own.insert("seed_plus".into(), 1.into());
    assert_ne!(first(&whole_with(&config, &with_hidden()).0), got_reward);
}

/// A planner that evaluates a few actions of the actor by one step in the model, and takes the one with the best reward
/// plus value. It remembers the number of actions that it has chosen in the current episode of each row id.
struct OneStep {
    calls: Arc<AtomicUsize>,
    chosen: BTreeMap<usize, u64>,
}

impl Controller for OneStep {
    fn act(&mut self, knowledge: &Knowledge<'_>, observed: &Observed<'_>) -> Vec<f32> {
        let Knowledge { agent, model, device, seed, .. } = *knowledge;
        let Observed { mode, ids, steps, obs } = *observed;
        let (n, obs_dim) = (ids.len(), obs.len() / ids.len());
        let (actor, model) = (agent.actor(), model.expect("a model that was fitted"));
        self.calls.fetch_add(1, Ordering::Relaxed);
        for (id, &step) in ids.iter().zip(steps) {
            let chosen = self.chosen.get_mut(id).expect("an episode that was begun");
            assert!(mode == Mode::Explore || *chosen == step, "id {id}: {chosen} actions, {step} steps");
            *chosen += 1;
        }
        let states = tensors::from_vec(obs.to_vec(), [n, obs_dim], device);
        let view = agent.values(ValueHeads::Target, false);
        let mut best: Vec<(f32, Vec<f32>)> = vec![(f32::NEG_INFINITY, vec![]); n];
        for candidate in 0..4 {
            let stream = Stream::new(seed, &format!("test/action/{candidate}"));
            let mut normals = Vec::new();
            for (&id, &step) in ids.iter().zip(steps) {
                let mut draws = stream.at(step, id as u32);
                normals.extend((0..actor.action_dim()).map(|_| draws.normal()));
            }
            let action = actor.sample(states.clone(), tensors::from_vec(normals, [n, actor.action_dim()], device));
            let noise = Tensor::zeros([n, model.noise_width()], device);
            let ahead = model.step(states.clone(), action.clone(), &StepDraws { words: vec![0; n], noise });
            let value = view.values(ahead.next_obs).mean_dim(0).squeeze_dim::<1>(0);
            let (worth, actions) = (tensors::to_vec(ahead.reward + value), tensors::to_vec(action));
            for ((best, worth), action) in best.iter_mut().zip(worth).zip(actions.chunks_exact(actor.action_dim())) {
                if worth > best.0 {
                    *best = (worth, action.to_vec());
                }
            }
        }
        best.into_iter().flat_map(|(_, action)| action).collect()
    }

    fn begin(&mut self, id: usize) {
        self.chosen.insert(id, 0);
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.put("ids", self.chosen.keys().map(|&id| id as u64).collect::<Vec<_>>());
        state.put("chosen", self.chosen.values().copied().collect::<Vec<_>>());
        state
    }

    fn load(&mut self, mut state: State) -> Result<(), StateError> {
        let ids = state.u64s("ids")?.1.into_iter().map(|id| id as usize);
        self.chosen = ids.zip(state.u64s("chosen")?.1).collect();
        state.finish()
    }

    fn needs_model(&self) -> bool {
        true
    }
}

#[test]
fn a_planner_acts_in_training_and_evaluation_and_eval_loads_the_model_for_it() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let parts = Parts {
        controller: Arc::new(move || {
            Box::new(OneStep { calls: Arc::clone(&counter), chosen: BTreeMap::new() }) as Box<dyn Controller>
        }),
        ..Parts::default()
    };
    let mut config = tiny(Some("mse"));
    config.training.eval_every = 1000;
    let (records, state) = whole_with(&config, &parts);
    // Ten real steps after exploration, and two episodes of 200 steps side by side.
    assert_eq!(calls.swap(0, Ordering::Relaxed), 10 + 200);
    assert_eq!(cut(&config, &parts), (records.clone(), state.clone()));
    // There are ten actions after exploration, but the count restarted at the reset of the time limit.
    assert_eq!(numbers(&state, "controller.chosen"), [5.0]);
    calls.store(0, Ordering::Relaxed);
    let open = |parts: &Parts| config.clone().open_with(parts).expect("a possible configuration");
    let (outcome, _) = Run::evaluate_snapshot(open(&parts), state.clone(), 2).expect("its own state");
    assert_eq!(calls.load(Ordering::Relaxed), 200);
    let last = reported(&records, metrics::EVAL_RETURN).pop().expect("an evaluation").1;
    assert_eq!(outcome.mean(), last);
    let (by_the_actor, _) = Run::evaluate_snapshot(open(&Parts::default()), state, 2).expect("its own state");
    assert_ne!(by_the_actor.mean(), last);
}
