//! The reference's ensemble, its reduction of a loss and its optimiser, composed of this project's parts.

use burn::tensor::{Device, Tensor};
use foresee_core::Batch;
use foresee_core::Stream;
use foresee_nn::{Activation, AdamConfig, Decay, Init, Mlp, Parameters, Shape, ValueView, tensors};
use foresee_world_model::config::EnsembleConfig;
use foresee_world_model::ensemble::{Bounds, predict};
use foresee_world_model::loss::vagram::clipped_gradients;
use foresee_world_model::loss::{self, CallRows, Extras, LossInput};
use foresee_world_model::{Ensemble, Head, ModelLoss};
use serde_json::Value;

use super::{count, floats, list, number, shape, stacked, tensor, weights};

/// Returns the file's ensemble, `gaussian` or `deterministic`.
pub(crate) fn ensemble(file: &Value, head: Head) -> Ensemble {
    let meta = &file["meta"];
    let config = EnsembleConfig {
        members: count(&meta["ensemble_size"]),
        elites: 1,
        hidden: vec![count(&meta["hidden"]); count(&meta["hidden_layers"])],
        ..EnsembleConfig::default()
    };
    let dims = [count(&meta["obs_dim"]), count(&meta["act_dim"])];
    let mut ensemble = Ensemble::new(&config, head, dims, 0, &Device::flex());
    let layers = match head {
        Head::Gaussian | Head::Homoscedastic => &file["ensemble"]["gaussian"],
        Head::Deterministic => &file["ensemble"]["deterministic"],
    };
    ensemble.net.load(weights(layers)).expect("weights of the file's shapes");
    if head == Head::Gaussian {
        let [min, max] = ["min_logvar", "max_logvar"].map(|name| floats(&file["ensemble"][name]));
        ensemble.bounds = Some(Bounds::new(&min, &max, &Device::flex()));
    }
    ensemble
}

/// A view that returns the file's value gradients, `[H, E, B, D]`. It is valid only for the file's states `[E * B, D]`.
struct Recorded<'a> {
    gradients: &'a [Value],
}

impl ValueView for Recorded<'_> {
    fn heads(&self) -> usize {
        self.gradients.len()
    }

    fn values(&self, _: Tensor<2>) -> Tensor<2> {
        unreachable!("VaGraM asks for gradients alone")
    }

    fn value_gradients(&self, states: Tensor<2>) -> Tensor<3> {
        let [rows, obs_dim] = states.dims();
        let values = self.gradients.iter().flat_map(floats).collect();
        tensors::from_vec(values, [self.heads(), rows, obs_dim], &Device::flex())
    }
}

/// Returns the file's gradients of some heads, clipped and gathered as in the trainer: `[H, E, B, D]`.
pub(crate) fn value_gradients(file: &Value, heads: &[Value], clip_quantile: f64) -> Tensor<4> {
    let next_obs = &file["inputs"]["next_obs"];
    let [members, batch_rows, obs_dim] = shape(next_obs).try_into().expect("[E, B, D]");
    let view = Recorded { gradients: heads };
    let device = Device::flex();
    let batch = Batch { rows: members * batch_rows, next_obs: floats(next_obs), ..Batch::default() };
    let gradients = clipped_gradients(&CallRows::new(&batch, &device), &view, clip_quantile);
    assert_eq!(gradients.width(), obs_dim);
    gradients.gather(&(0..(members * batch_rows) as u32).collect::<Vec<_>>(), members, &device)
}

/// The file's agent: V_h(s) = Q_h(s, tanh mu(s)) for critics 1 and 2 and target critics 1 and 2.
pub(crate) struct Agent {
    actor: Mlp,
    critics: Mlp,
    through_policy: bool,
}

impl Agent {
    /// Loads the networks. `through_policy` says whether gradients also go through the actor.
    pub(crate) fn new(file: &Value, through_policy: bool) -> Self {
        let meta = &file["meta"];
        let [obs, act] = [count(&meta["obs_dim"]), count(&meta["act_dim"])];
        let net = |names: &[&str], inputs: usize, outputs: usize| {
            let shape = Shape {
                members: names.len(),
                inputs,
                hidden: vec![count(&meta["hidden"]); count(&meta["hidden_layers"])],
                outputs,
                activation: Activation::Relu,
                layer_norm: false,
                normalized_features: false,
                hidden_norms: vec![],
            };
            let mut net = Mlp::new(shape, Init::Orthogonal, &Stream::new(0, "agent"), &Device::flex());
            let layers: Vec<&Value> = names.iter().map(|name| &file["sac_nets"][name]).collect();
            net.load(stacked(&layers)).expect("weights of the file's shapes");
            net
        };
        Self {
            actor: net(&["actor"], obs, 2 * act),
            critics: net(&["q1", "q2", "q1_target", "q2_target"], obs + act, 1),
            through_policy,
        }
    }
}

impl ValueView for Agent {
    fn heads(&self) -> usize {
        self.critics.members()
    }

    fn values(&self, states: Tensor<2>) -> Tensor<2> {
        let looked_at = if self.through_policy { states.clone() } else { states.clone().inner() };
        let heads: Tensor<2> = self.actor.reference(looked_at.unsqueeze_dim(0)).squeeze_dim(0);
        let act = heads.dims()[1] / 2;
        let inputs = Tensor::cat(vec![states, heads.narrow(1, 0, act).tanh()], 1);
        self.critics.reference(inputs.unsqueeze_dim(0)).squeeze_dim(2)
    }

    fn value_gradients(&self, _: Tensor<2>) -> Tensor<3> {
        unreachable!("these losses ask for values alone")
    }
}

/// Returns the gradients of critics 1 and 2 and target critics 1 and 2, `[H, E, B, D]`.
pub(crate) fn gradients_of_all_heads(file: &Value) -> &[Value] {
    list(&file["value"]["plain"]["grad_next_obs"])
}

/// Reduces this project's loss per row, `[E, B]`, to a number as the reference does.
fn reference_reduction(
    loss: &dyn ModelLoss,
    per_row: Tensor<2>,
    bounds: Option<&Bounds>,
    channels: usize,
) -> Tensor<1> {
    if loss.fits_variance() {
        // Mean over rows and channels, sum over members, plus the weighted width of the bounds. This project does the
        // same.
        loss::reduce(per_row, bounds)
    } else if loss.is_value_aware() {
        // Mean over members and rows. The mean over channels of the bounded form is already in the rows.
        per_row.mean()
    } else {
        // Sum over members, rows and channels. The rows are means over channels.
        per_row.sum().mul_scalar(channels as f64)
    }
}

/// The information about the agent that a loss uses on the file's batch.
#[derive(Clone)]
pub(crate) struct AgentInfo<'a> {
    /// Row terms, `[N, E, B, K]`.
    pub terms: Option<Tensor<4>>,
    /// The view for values of predicted states.
    pub view: &'a dyn ValueView,
}

/// Computes the reference's loss on the file's batch and its gradients with respect to the parameters of networks and
/// bounds.
pub(crate) fn loss_and_gradients(
    file: &Value,
    ensemble: &Ensemble,
    loss: &dyn ModelLoss,
    info: AgentInfo<'_>,
    add_mse: bool,
) -> (Tensor<1>, Tensor<3>, Option<Tensor<3>>) {
    let (net, bounds) = (ensemble.net.tracked(), ensemble.bounds.as_ref().map(Parameters::tracked));
    let channels = ensemble.obs_dim() + 1;
    let prediction = predict(&net, bounds.as_ref(), tensor(&file["normalizer"]["normalized_model_in"]), channels);
    let AgentInfo { terms, view } = info;
    let obs = Some(tensor(&file["inputs"]["obs"]));
    let input = LossInput { prediction, target: tensor(&file["target"]), terms, state_offset: obs, view };
    let per_row = loss::training_per_row(loss, &input, &Extras { add_mse, ..Extras::default() });
    let loss = reference_reduction(loss, per_row, bounds.as_ref(), channels);
    drop(input);
    let mut gradients = loss.backward();
    let of_net = net.gradient(&mut gradients);
    let of_bounds = bounds.map(|bounds| bounds.gradient(&mut gradients));
    (loss.inner(), of_net, of_bounds)
}

/// First weight and bias, last weight and bias: the parameters whose gradients are in the files.
pub(crate) const ENDS: [&str; 4] = ["first_w", "first_b", "last_w", "last_b"];

/// Returns the part called `name` (one of [`ENDS`]) of numbers in the layout of the network's parameters.
pub(crate) fn end(name: &str, net: &Mlp, all: &Tensor<3>) -> Tensor<3> {
    let parts = net.parts();
    let last = parts.len() - 1;
    let part = &parts[match name {
        "first_w" => 0,
        "first_b" => 1,
        "last_w" => last - 1,
        "last_b" => last,
        _ => unreachable!("{name}"),
    }];
    let [rows, columns] = part.shape;
    all.clone().narrow(2, part.offset, rows * columns).reshape([net.members(), rows, columns])
}

/// Returns torch's Adam with its coupled weight decay.
pub(crate) fn reference_adam(meta: &Value) -> AdamConfig {
    let betas = floats(&meta["betas"]);
    AdamConfig {
        lr: number(&meta["lr"]),
        decay: number(&meta["weight_decay"]),
        decay_form: Decay::Coupled,
        beta_1: betas[0],
        beta_2: betas[1],
        eps: number(&meta["eps"]) as f32,
    }
}
