//! An agent of one's own in tensor operations only. It learns to act by the gradient of one imagined step, from the
//! action through the world model to the value of the predicted state (stochastic value gradients with a horizon of
//! one, SVG(1); Heess et al. 2015).
//!
//! The critic minimises mean (Q(s, a) − r − γ c Q̄(s', μ(s')))². The actor minimises −mean(r̂ + γ ĉ Q(ŝ', μ(ŝ'))) with
//! (r̂, ŝ', ĉ) from the model's step from s under μ(s). c is 0 if s' is terminal and 1 otherwise, and ĉ is
//! the same for ŝ'; a time limit does not count. Without a model the actor minimises −mean Q(s, μ(s)).
//!
//! ```text
//! cargo run --release -p foresee --example own_agent
//! ```

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use foresee::agent::{Actor, Agent, AgentFactory, AgentValues, Body, Critic, Update};
use foresee::nn::{Adam, AdamConfig, Init, Mlp, Parameters, StepDraws, ValueHeads, ValueView};
use foresee::tensor::{Device, Tensor, to_f32};
use foresee::{Config, Kind, Parts, Run, State, StateError, Stream, config, metrics};
use serde::{Deserialize, Serialize};

/// The keys of the agent in `[agent]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SvgConfig {
    /// Widths of the hidden layers of actor and critic.
    hidden: Vec<usize>,
    /// Discount factor.
    discount: f64,
    /// Step size of actor and critic.
    lr: f64,
    /// Standard deviation of the exploration noise on actions.
    exploration: f64,
}

impl Default for SvgConfig {
    fn default() -> Self {
        Self { hidden: vec![64, 64], discount: 0.99, lr: 1e-3, exploration: 0.1 }
    }
}

impl AgentFactory for SvgConfig {
    fn build(&self, dims: [usize; 2], seed: u64, device: &Device) -> Box<dyn Agent> {
        Box::new(Svg::new(self, dims, seed, device))
    }

    fn resolved(&self, _: [usize; 2]) -> toml::Table {
        toml::Table::try_from(self).expect("plain numbers")
    }
}

/// The actor μ(s) = tanh net(s), with noise for exploration.
#[derive(Clone)]
struct Deterministic {
    /// The network, `[1, B, O]` -> `[1, B, A]`.
    net: Mlp,
    /// Standard deviation of the exploration noise.
    exploration: f64,
}

impl Deterministic {
    /// Returns a copy of the actor whose weights are tracked by autodiff.
    fn tracked(&self) -> Self {
        Self { net: self.net.tracked(), ..*self }
    }
}

impl Actor for Deterministic {
    fn action_dim(&self) -> usize {
        self.net.layout().shape().outputs
    }

    fn sample(&self, obs: Tensor<2>, noise: Tensor<2>) -> Tensor<2> {
        (self.mean(obs) + noise.mul_scalar(self.exploration)).clamp(-1.0, 1.0)
    }

    fn mean(&self, obs: Tensor<2>) -> Tensor<2> {
        self.net.forward(obs.unsqueeze_dim(0)).squeeze_dim::<2>(0).tanh()
    }
}

/// The agent.
struct Svg {
    /// The keys.
    config: SvgConfig,
    /// Lengths of an observation and of an action, `[O, A]`.
    dims: [usize; 2],
    /// The device of the networks.
    device: Device,
    /// The actor.
    actor: Deterministic,
    /// The critic Q.
    critic: Critic,
    /// The target critic Q̄.
    target: Critic,
    /// The actor's optimiser.
    actor_adam: Adam,
    /// The critic's optimiser.
    critic_adam: Adam,
    /// Number of updates.
    updates: u64,
    /// The losses of critic and actor at the last update.
    losses: Option<[Tensor<1>; 2]>,
}

impl Svg {
    /// Returns an agent with random weights.
    fn new(config: &SvgConfig, dims: [usize; 2], seed: u64, device: &Device) -> Self {
        let body = Body { hidden: config.hidden.clone(), ..Body::default() };
        let stream = Stream::new(seed, "svg/actor/init");
        let net = Mlp::new(body.shape(1, dims[0], dims[1]), Init::Orthogonal, &stream, device);
        let actor = Deterministic { net, exploration: config.exploration };
        let critic = Critic::new(1, &body, dims, seed, device);
        let adam = AdamConfig::new(config.lr);
        Self {
            actor_adam: Adam::new(adam, &actor.net),
            critic_adam: Adam::new(adam, &critic),
            target: critic.clone(),
            config: config.clone(),
            dims,
            device: device.clone(),
            actor,
            critic,
            updates: 0,
            losses: None,
        }
    }

    /// Computes the value of each state under the actor's action by one critic, `[B]`.
    fn value(critic: &Critic, actor: &Deterministic, obs: Tensor<2>) -> Tensor<1> {
        critic.values(obs.clone(), actor.mean(obs)).squeeze_dim(0)
    }
}

impl Agent for Svg {
    fn update(&mut self, Update { batch, noise, dynamics, .. }: Update<'_>) {
        self.updates += 1;
        let batch = batch.tensors(self.dims, &self.device);
        let rows = batch.rows();
        if rows == 0 {
            return;
        }

        // Critic.
        let next = Self::value(&self.target, &self.actor, batch.next_obs).mul_scalar(self.config.discount);
        let target_value = batch.reward + batch.not_terminated * next;
        let critic = self.critic.tracked();
        let critic_loss =
            (critic.values(batch.obs.clone(), batch.action).squeeze_dim(0) - target_value).square().mean();
        let gradient = critic.gradient(&mut critic_loss.backward());
        self.critic_adam.step(&mut self.critic, gradient);

        // Actor, through the model's step if there is a model. The weights of model and critic are constants here.
        let actor = self.actor.tracked();
        let value = match dynamics {
            Some(model) => {
                let action = actor.mean(batch.obs.clone());
                let noise_width = model.noise_width();
                let draws = StepDraws {
                    words: noise.words("svg/member", rows),
                    noise: noise.normals("svg/model", [rows, noise_width], &self.device),
                };
                let step = model.step(batch.obs, action, &draws);
                let next = Self::value(&self.critic, &actor, step.next_obs).mul_scalar(self.config.discount);
                step.reward + step.not_terminated * next
            }
            None => Self::value(&self.critic, &actor, batch.obs),
        };
        let actor_loss = value.mean().neg();
        let gradient = actor.net.gradient(&mut actor_loss.backward());
        self.actor_adam.step(&mut self.actor.net, gradient);

        self.target.polyak(&self.critic, 0.01);
        self.losses = Some([critic_loss.inner(), actor_loss.inner()]);
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn report(&self) -> Vec<(&'static str, f64)> {
        let Some(losses) = &self.losses else { return Vec::new() };
        let number = |loss: &Tensor<1>| f64::from(to_f32(loss.clone()));
        vec![("train/critic_loss", number(&losses[0])), ("train/actor_loss", number(&losses[1]))]
    }

    fn actor(&self) -> &dyn Actor {
        &self.actor
    }

    fn values(&self, heads: ValueHeads, through_policy: bool) -> Box<dyn ValueView + '_> {
        Box::new(AgentValues::of(heads, &self.actor, &self.critic, &self.target).through_policy(through_policy))
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.nest("actor", self.actor.net.save());
        state.nest("critic", self.critic.save());
        state.nest("target", self.target.save());
        state.nest("actor_adam", self.actor_adam.save(&self.actor.net));
        state.nest("critic_adam", self.critic_adam.save(&self.critic));
        state.put("updates", self.updates);
        state
    }

    fn load(&mut self, mut state: State) -> Result<(), StateError> {
        self.actor.net.load(state.part("actor"))?;
        self.critic.load(state.part("critic"))?;
        self.target.load(state.part("target"))?;
        self.actor_adam.load(&self.actor.net, state.part("actor_adam"))?;
        self.critic_adam.load(&self.critic, state.part("critic_adam"))?;
        self.updates = state.u64("updates")?;
        state.finish()
    }
}

/// The config of the run, which selects the agent by its name.
const CONFIG: &str = r#"
seed = 0
env.id = "Pendulum-v1"
training = { env_steps = 1500, explore_steps = 300, updates_per_step = 4, eval_every = 500, eval_episodes = 10 }
agent = { kind = "svg", batch = 128 }

[model]
ensemble = { members = 3, elites = 2, hidden = [64, 64] }
loss.kind = "mse"
fit = { every = 100, max_steps = 500 }

[rollout]
starts_per_step = 20
real_ratio = 0.2
"#;

/// Trains the agent and returns the mean returns of the evaluations. A rod that hangs down has about −1500, one that is
/// held upright about −150.
pub(crate) fn run(out: &mut impl Write) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut parts = Parts::default();
    parts.agents.add(Kind::new("svg", "one imagined step's value gradient (SVG(1))", |keys: SvgConfig| {
        Ok(Arc::new(keys) as Arc<dyn AgentFactory>)
    }));

    let config: Config = config::from_text(CONFIG, &[])?;
    let mut run = Run::begin(config.open_with(&parts)?)?;
    let mut records = Vec::new();
    while !run.is_done() {
        run.advance(&mut records)?;
    }

    writeln!(out, "{:>5} {:>12}", "step", "mean return")?;
    let mut returns = Vec::new();
    for record in &records {
        if let Some(&(_, mean)) = record.values.iter().find(|(name, _)| *name == metrics::EVAL_RETURN) {
            writeln!(out, "{:>5} {mean:>12.1}", record.env_step)?;
            returns.push(mean);
        }
    }
    Ok(returns)
}

fn main() -> Result<(), Box<dyn Error>> {
    run(&mut std::io::stdout()).map(drop)
}
