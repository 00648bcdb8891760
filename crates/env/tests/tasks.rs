//! A program's own tasks: the layers around them, compared with a task stepped by hand and with the shipped tasks; and
//! the message for each mistake.

use std::sync::Arc;

use foresee_core::termination::Bound;
use foresee_core::{State, Stream, Termination};
use foresee_env::classic::Pendulum;
use foresee_env::config::{EnvConfig, FamilyConfig, GymConfig, MujocoConfig, Range, Steps};
use foresee_env::{
    Autoreset, BoxSpace, EnvError, EnvFactory, Environment, Info, Physics, Reset, Spec, Step, Tasks, VectorEnvironment,
    check_environment, make, wrap_task,
};

/// A task that moves by half of its action, which is in [-2, 2], from a start that depends on the seed.
struct Drift {
    spec: Spec,
    /// The seed of the next reset without a seed.
    seed: u64,
    x: f32,
}

impl Drift {
    fn spec() -> Spec {
        let everywhere = BoxSpace::symmetric(&[f32::INFINITY; 2]);
        Spec::new("Drift-v0", everywhere, BoxSpace::symmetric(&[2.0]), Termination::never())
    }

    fn boxed(spec: Spec) -> Box<dyn Environment> {
        Box::new(Self { spec, seed: 0, x: 0.0 })
    }

    fn obs(&self) -> Vec<f32> {
        vec![self.x, self.x.sin()]
    }
}

impl Environment for Drift {
    fn spec(&self) -> &Spec {
        &self.spec
    }
    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        let seed = seed.unwrap_or(self.seed);
        self.x = (seed % 1000) as f32 / 1000.0;
        self.seed = seed.wrapping_mul(5).wrapping_add(1);
        Ok(Reset { obs: self.obs(), info: Info::new() })
    }
    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.spec.check_action(action)?;
        let before = self.x;
        self.x += 0.5 * self.spec.action_space.clamp(action)[0];
        let obs = self.obs();
        let terminated = match self.spec.id.as_str() {
            "Fall-v0" => obs[0] > 3.0,
            "Leap-v0" => obs[0] - before < -0.9,
            _ => false,
        };
        Ok(Step { obs, reward: f64::from(self.x), terminated, truncated: false, info: Info::new() })
    }
    fn save(&self) -> State {
        let mut state = State::new();
        state.put("seed", self.seed);
        state.put("x", vec![self.x]);
        state
    }
    fn restore(&mut self, mut state: State) -> Result<(), EnvError> {
        let read = || {
            let found = (state.u64("seed")?, state.f32s("x")?.1[0]);
            state.finish().map(|()| found)
        };
        let found = read().map_err(|source| EnvError::BadState { id: self.spec.id.clone(), source })?;
        (self.seed, self.x) = found;
        Ok(())
    }
}

/// Adds one task with this spec under this id.
fn with(id: &str, limit: Option<u32>, spec: Spec) -> Tasks {
    let mut tasks = Tasks::default();
    tasks.add(id, limit, move || Ok(Drift::boxed(spec.clone())));
    tasks
}

#[test]
fn three_of_an_added_task_saved_and_restored_are_the_bare_task_stepped_by_hand() {
    const LIMIT: u64 = 20;
    let factory = EnvConfig::new("Drift-v0").factory(&with("Drift-v0", Some(LIMIT as u32), Drift::spec()), 0);
    let vector = || VectorEnvironment::new(&factory, 3, Autoreset::SameStep).unwrap();
    let mut envs = vector();
    assert_eq!(envs.spec().action_space, BoxSpace::symmetric(&[1.0]));
    let seeds = [11, 22, 33];
    let mut bare = seeds.map(|_| Drift::boxed(Drift::spec()));
    let first = envs.reset(&seeds.map(Some)).unwrap();
    for i in 0..3 {
        assert_eq!(first[i], bare[i].reset(Some(seeds[i])).unwrap());
    }
    for t in 1..=50 {
        let actions = Stream::new(0, "test/action").uniforms(t, 3, 1);
        let steps = envs.step(&actions).unwrap();
        for i in 0..3 {
            let mut want = bare[i].step(&[2.0 * actions[i]]).unwrap();
            want.truncated = t % LIMIT == 0;
            let last = want.truncated.then(|| Reset { obs: want.obs.clone(), info: Info::new() });
            if want.truncated {
                want.obs = bare[i].reset(None).unwrap().obs;
            }
            assert_eq!((&steps[i].step, &steps[i].last), (&want, &last), "environment {i}, step {t}");
        }
        // Within an episode, and at the end of one.
        if [7, 40].contains(&t) {
            let saved = envs.save();
            envs = vector();
            envs.restore(saved).unwrap();
        }
    }
}

#[test]
fn a_shipped_task_that_is_added_under_its_own_id_gets_the_layers_that_it_has() {
    let mut tasks = Tasks::default();
    tasks.add("Pendulum-v1", Some(200), || Ok(Box::new(Pendulum::new())));
    let family = FamilyConfig {
        mass: Range::Uniform([0.8, 1.2]),
        delay: Steps::Uniform([0, 3]),
        sensor_noise: Range::Uniform([0.01, 0.1]),
        ..FamilyConfig::default()
    };
    let plain = EnvConfig::new("Pendulum-v1");
    for config in [
        plain.clone(),
        EnvConfig { first_entries: Some(2), ..plain.clone() },
        EnvConfig { distractors: 4, family, first_entries: Some(2), ..plain },
    ] {
        let [mut shipped, mut added] = [Tasks::default(), tasks.clone()].map(|tasks| {
            let scaled = config.factory(&tasks, 5)().unwrap();
            [scaled, config.unscaled_factory(&tasks, 5)().unwrap()]
        });
        for (shipped, added) in shipped.iter_mut().zip(&mut added) {
            assert_eq!(shipped.spec(), added.spec());
            assert_eq!(shipped.reset(Some(3)).unwrap(), added.reset(Some(3)).unwrap());
            for t in 0..200 {
                let action = Stream::new(1, "test/action").uniforms(t, 1, 1);
                assert_eq!(shipped.step(&action).unwrap(), added.step(&action).unwrap());
            }
            assert_eq!(shipped.save(), added.save());
            assert!(matches!(added.step(&[0.0]), Err(EnvError::NeedsReset { .. })));
        }
    }
}

#[test]
fn a_dressed_task_is_the_one_that_its_id_makes() {
    let mut dressed = wrap_task(Box::new(Pendulum::new()), Some(200)).unwrap();
    let mut made = make("Pendulum-v1").unwrap();
    assert_eq!(dressed.spec(), made.spec());
    for env in [&mut dressed, &mut made] {
        env.reset(Some(1)).unwrap();
        (0..200).for_each(|_| drop(env.step(&[0.3]).unwrap()));
    }
    assert_eq!(dressed.save(), made.save());
    let message = wrap_task(Drift::boxed(Drift::spec()), Some(0)).err().unwrap().to_string();
    assert!(message.starts_with("`Drift-v0` cannot be used: its time limit is 0 steps\nhint: "), "{message}");
}

#[test]
fn an_added_task_takes_the_place_of_one_with_its_id_in_its_list_alone() {
    let mut tasks = Tasks::default();
    let shipped = tasks.ids().map(str::to_owned).collect::<Vec<_>>();
    tasks.add("Pendulum-v1", Some(9), || Ok(Box::new(Pendulum::new())));
    for limit in [5, 7] {
        tasks.add("Drift-v0", Some(limit), || Ok(Drift::boxed(Drift::spec())));
    }
    let limit = |id: &str| EnvConfig::new(id).factory(&tasks, 0)().unwrap().spec().max_episode_steps;
    assert_eq!(["Pendulum-v1", "Drift-v0", "CartPoleContinuous-v0"].map(limit), [Some(9), Some(7), Some(500)]);
    assert_eq!(make("Pendulum-v1").unwrap().spec().max_episode_steps, Some(200));
    let ids: Vec<_> = tasks.ids().collect();
    assert_eq!(
        (&ids[..shipped.len()], &ids[shipped.len()..]),
        (&shipped.iter().map(String::as_str).collect::<Vec<_>>()[..], &["Drift-v0"][..])
    );
}

#[test]
fn an_unknown_id_is_answered_with_added_ones_too() {
    let tasks = with("Drift-v0", None, Drift::spec());
    let problem = EnvConfig::new("drift-v1").problem_with(&tasks).unwrap();
    assert!(
        problem.starts_with("`env.id`: unknown environment `drift-v1`\nhint: the nearest known ids are `Drift-v0`, ")
    );
    assert!(EnvConfig::new("Drift-v0").problem().unwrap().starts_with("`env.id`: unknown environment `Drift-v0`"));
    assert_eq!(EnvConfig::new("Drift-v0").problem_with(&tasks), None);
}

#[test]
fn an_added_task_that_cannot_be_meant_is_refused_with_a_hint() {
    let spec = Drift::spec;
    let bound = |index: usize, low, high| {
        Some(Termination::outside(vec![Bound { quantity: index.into(), low, high, closed: false }]))
    };
    let actions = |low: f32, high: f32| BoxSpace { low: vec![low], high: vec![high] };
    let none = || BoxSpace::symmetric(&[]);
    for (limit, spec, problem, hint) in [
        (
            None,
            Spec { id: "Drift-v1".into(), ..spec() },
            "it was added under this id, but its spec has the id `Drift-v1`",
            "pass the id of the spec",
        ),
        (Some(0), spec(), "its time limit is 0 steps", "a limit is at least 1 step, or `None`"),
        (
            None,
            Spec { max_episode_steps: Some(0), ..spec() },
            "its time limit is 0 steps",
            "a limit is at least 1 step, or `None`",
        ),
        (
            Some(20),
            Spec { max_episode_steps: Some(30), ..spec() },
            "its spec has a time limit of 30 steps, but the argument `max_episode_steps` is 20",
            "pass `None` for a task that truncates",
        ),
        (
            None,
            Spec { termination: bound(2, 0.0, 1.0), ..spec() },
            "its termination rule has the bound `obs[2] in (0, 1)`, but observations have 2 entries",
            "`index` must be below 2",
        ),
        (
            None,
            Spec { termination: bound(1, 1.0, 0.0), ..spec() },
            "its termination rule is not valid: the bound `obs[1] in (1, 0)` contains no number",
            "`low` must be below `high`",
        ),
        (
            None,
            Spec { action_space: actions(1.0, -1.0), ..spec() },
            "its action space, from [1.0] to [-1.0], is not valid",
            "a space needs at least one",
        ),
        (
            None,
            Spec { action_space: none(), ..spec() },
            "its action space, from [] to [], is not valid",
            "a space needs at least",
        ),
        (
            None,
            Spec { observation_space: none(), ..spec() },
            "its observation space, from [] to [], is not valid",
            "a space needs",
        ),
    ] {
        let message = EnvConfig::new("Drift-v0").problem_with(&with("Drift-v0", limit, spec)).expect(problem);
        let want = format!("`env.id`: `Drift-v0` cannot be used: {problem}\nhint: {hint}");
        assert!(message.starts_with(&want), "{message}\n{want}");
    }
    let unbounded = Spec { action_space: actions(0.0, f32::INFINITY), ..spec() };
    let message = EnvConfig::new("Drift-v0").problem_with(&with("Drift-v0", None, unbounded)).unwrap();
    assert!(
        message.starts_with("`env.id`: entry 0 of the action space of `Drift-v0` is unbounded: [0, inf]\nhint: "),
        "{message}"
    );
    let message = EnvConfig::new("gym:Drift-v0").problem_with(&with("gym:Drift-v0", None, spec())).unwrap();
    assert!(
        message
            .starts_with("`env.id`: `gym:Drift-v0` cannot be used: its id is that of an environment in Python\nhint: ")
    );
}

#[test]
fn keys_that_an_added_task_does_not_read_are_refused() {
    let tasks = with("Drift-v0", None, Drift::spec());
    let plain = EnvConfig::new("Drift-v0");
    let mujoco = MujocoConfig { library: Some("it.so".into()), assets: None };
    let gym = GymConfig { restarts: 0, ..GymConfig::default() };
    for (key, config) in
        [("mujoco.library", EnvConfig { mujoco, ..plain.clone() }), ("gym", EnvConfig { gym, ..plain.clone() })]
    {
        let hint = "hint: this program supplies the task itself: remove the key";
        assert_eq!(config.problem_with(&tasks).unwrap(), format!("`env.{key}` does not apply to `Drift-v0`\n{hint}"));
    }
    let heavier = FamilyConfig { mass: Range::Fixed(2.0), ..FamilyConfig::default() };
    let problem = EnvConfig { family: heavier, ..plain }.problem_with(&tasks).unwrap();
    assert!(
        problem.starts_with("`env.family.mass`: the mass of `Drift-v0` cannot be multiplied by 2\nhint: "),
        "{problem}"
    );
    let mut bare = Drift::boxed(Drift::spec());
    assert!(bare.set_physics(Physics { mass: 2.0, ..Physics::default() }).is_err());
}

#[test]
fn a_task_without_a_rule_takes_that_of_the_config_and_one_with_a_rule_does_not() {
    let rule = Termination {
        bounds: vec![Bound { quantity: 0.into(), low: f32::NEG_INFINITY, high: 3.0, closed: true }],
        ..Termination::never()
    };
    let given = EnvConfig { termination: Some(rule.clone()), ..EnvConfig::new("Fall-v0") };
    let spec = |termination| Spec { id: "Fall-v0".into(), termination, ..Drift::spec() };

    let tasks = with("Fall-v0", Some(40), spec(None));
    let factory = given.factory(&tasks, 0);
    assert_eq!(factory().unwrap().spec().termination, Some(rule.clone()));
    check_environment(&*factory).unwrap();
    // The rule is inside the other layers.
    let few = EnvConfig { first_entries: Some(1), distractors: 2, ..given.clone() };
    check_environment(&*few.factory(&tasks, 0)).unwrap();
    assert_eq!(EnvConfig::new("Fall-v0").factory(&tasks, 0)().unwrap().spec().termination, None);

    let problem = given.problem_with(&with("Fall-v0", None, spec(Some(rule.clone())))).unwrap();
    let what = "`env.termination` is set, but the spec of `Fall-v0` already has a termination rule";
    assert_eq!(problem, format!("{what}\nhint: remove the key"));
    let far = Termination::outside(vec![Bound { quantity: 2.into(), ..rule.bounds[0].clone() }]);
    let problem = EnvConfig { termination: Some(far), ..given.clone() }.problem_with(&tasks).unwrap();
    let hint = "hint: `index` must be below 2, the number of observation entries of `Fall-v0`";
    assert_eq!(problem, format!("`env.termination` has a bound on obs[2]\n{hint}"));
    for (rule, message) in [
        (
            "goal = [{ distance = [0, 3], to = [1, 0], high = 1 }]",
            "`env.termination` has a bound on obs[3]\nhint: every index in `distance` and `to` must be below 2, the number of observation entries of `Fall-v0`",
        ),
        (
            "goal = [{ distance = [0, 1], to = [1], high = 1 }]",
            "`env.termination`: a bound has 2 entries in `distance` and 1 in `to`\nhint: both ends of a distance need equally many entries, at least one",
        ),
        (
            "bounds = [{ distance = [0], point = [0], high = -1 }]",
            "`env.termination`: the bound `distance of obs[0] to (0) in (-inf, -1)` contains no distance\nhint: a distance is at least 0, so `high` must be above 0 and above `low`; a rule without bounds never ends an episode",
        ),
    ] {
        let rule = toml::from_str(rule).expect("a rule");
        let problem = EnvConfig { termination: Some(rule), ..given.clone() }.problem_with(&tasks).unwrap();
        assert_eq!(problem, message);
    }
}

/// `Leap-v0` ends where a step moves it down by more than 0.9, whatever its place.
#[test]
fn a_rule_on_the_change_is_checked_against_the_observation_before_the_step() {
    let check = |rule: &str| {
        let termination = Some(toml::from_str(rule).expect("a rule"));
        let tasks = with("Leap-v0", Some(40), Spec { id: "Leap-v0".into(), termination, ..Drift::spec() });
        check_environment(&*EnvConfig::new("Leap-v0").factory(&tasks, 0)).map_err(|failure| failure.to_string())
    };
    assert_eq!(check("bounds = [{ index = 0, of = 'change', low = -0.9, closed = true }]"), Ok(()));
    for other in ["change', low = -0.5", "change', low = -1.5", "next', low = -0.9", "previous', low = -0.9"] {
        let message = check(&format!("bounds = [{{ index = 0, of = '{other} }}]")).expect_err(other);
        assert!(message.contains("but the termination rule gives "), "{other}: {message}");
        assert_eq!(message.contains("] after ["), !other.starts_with("next"), "{other}: {message}");
    }
}

#[test]
fn a_factory_of_ones_own_is_opened_where_the_config_goes_with_it() {
    let factory: EnvFactory = Arc::new(|| wrap_task(Drift::boxed(Drift::spec()), Some(20)));
    let plain = EnvConfig { count: 3, ..EnvConfig::new("Drift-v0") };
    assert_eq!(plain.open_from(&factory).unwrap().spec().max_episode_steps, Some(20));

    let bare: EnvFactory = Arc::new(|| Ok(Drift::boxed(Drift::spec())));
    let broken: EnvFactory = Arc::new(|| Err(EnvError::Config("no more\nhint: wait".into())));
    let other = |id: &str| EnvConfig::new(id);
    for (config, factory, message) in [
        (EnvConfig { count: 0, ..plain.clone() }, &factory, "`env.count` is 0; it must be 1 to 1024\nhint: "),
        (
            EnvConfig { distractors: 1, ..plain.clone() },
            &factory,
            "`env.distractors` does not apply to `Drift-v0`\nhint: this program creates",
        ),
        (
            EnvConfig { first_entries: Some(1), ..plain.clone() },
            &factory,
            "`env.first_entries` does not apply to `Drift-v0`\nhint: ",
        ),
        (
            other("Pendulum-v1"),
            &factory,
            "`env.id` is `Pendulum-v1`, but this program's environment is `Drift-v0`\nhint: set ",
        ),
        (
            plain.clone(),
            &bare,
            "`env.id`: `Drift-v0` cannot be used: its action space is from [-2.0] to [2.0], but an agent's actions are in [-1, 1]\nhint: `foresee_env::wrap_task`",
        ),
        (plain.clone(), &broken, "no more\nhint: wait"),
    ] {
        let problem = config.open_from(factory).err().expect(message);
        assert!(problem.starts_with(message), "{problem}");
    }
}
