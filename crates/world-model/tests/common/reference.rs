//! The reference's ensemble, its reduction of a loss and its optimiser, put together from our parts.

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

/// The file's ensemble: `gaussian` or `deterministic`.
pub fn ensemble(file: &Value, head: Head) -> Ensemble {
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

/// Value gradients as the file has them, `[H, E, B, D]`: an agent for the states `[E * B, D]` and no others.
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

/// The file's gradients of some heads, through what the trainer keeps them in: `[H, E, B, D]`.
pub fn value_gradients(file: &Value, heads: &[Value], clip_quantile: f64) -> Tensor<4> {
    let next_obs = &file["inputs"]["next_obs"];
    let [members, batch_rows, obs_dim] = shape(next_obs).try_into().expect("[E, B, D]");
    let view = Recorded { gradients: heads };
    let device = Device::flex();
    let batch = Batch { rows: members * batch_rows, next_obs: floats(next_obs), ..Batch::default() };
    let gradients = clipped_gradients(&CallRows::new(&batch, &device), &view, clip_quantile);
    assert_eq!(gradients.width(), obs_dim);
    gradients.gather(&(0..(members * batch_rows) as u32).collect::<Vec<_>>(), members, &device)
}

/// The file's agent: V_h(s) = Q_h(s, tanh mu(s)) of critics 1 and 2 and target critics 1 and 2.
pub struct Agent {
    actor: Mlp,
    critics: Mlp,
    through_policy: bool,
}

impl Agent {
    /// Its networks, and whether a gradient goes through the actor.
    pub fn new(file: &Value, through_policy: bool) -> Self {
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

/// The gradients of critics 1 and 2 and target critics 1 and 2, `[H, E, B, D]`.
pub fn gradients_of_all_heads(file: &Value) -> &[Value] {
    list(&file["value"]["plain"]["grad_next_obs"])
}

/// The reference's reduction of a loss, from our rows `[E, B]`.
fn reference_reduction(
    loss: &dyn ModelLoss,
    per_row: Tensor<2>,
    bounds: Option<&Bounds>,
    channels: usize,
) -> Tensor<1> {
    if loss.fits_variance() {
        // Mean over rows and channels, sum over members, and the pull on the bounds: ours.
        loss::reduce(per_row, bounds)
    } else if loss.is_value_aware() {
        // Mean over members and rows, and over the channels of the bounded form, as in our rows.
        per_row.mean()
    } else {
        // Sum over members, rows and channels; our rows are means over channels.
        per_row.sum().mul_scalar(channels as f64)
    }
}

/// What a loss knows of the agent on the file's batch.
#[derive(Clone)]
pub struct Asked<'a> {
    /// `[N, E, B, K]`
    pub terms: Option<Tensor<4>>,
    /// Who is asked about predicted states.
    pub view: &'a dyn ValueView,
}

/// The reference's loss on the file's batch, with the gradients of the networks' and the bounds' parameters.
pub fn loss_and_gradients(
    file: &Value,
    ensemble: &Ensemble,
    loss: &dyn ModelLoss,
    asked: Asked<'_>,
    add_mse: bool,
) -> (Tensor<1>, Tensor<3>, Option<Tensor<3>>) {
    let (net, bounds) = (ensemble.net.tracked(), ensemble.bounds.as_ref().map(Parameters::tracked));
    let channels = ensemble.obs_dim() + 1;
    let prediction = predict(&net, bounds.as_ref(), tensor(&file["normalizer"]["normalized_model_in"]), channels);
    let Asked { terms, view } = asked;
    let obs = Some(tensor(&file["inputs"]["obs"]));
    let input = LossInput { prediction, target: tensor(&file["target"]), terms, base: obs, view };
    let per_row = loss::training_per_row(loss, &input, &Extras { add_mse, ..Extras::default() });
    let loss = reference_reduction(loss, per_row, bounds.as_ref(), channels);
    drop(input);
    let mut gradients = loss.backward();
    let of_net = net.gradient(&mut gradients);
    let of_bounds = bounds.map(|bounds| bounds.gradient(&mut gradients));
    (loss.inner(), of_net, of_bounds)
}

/// First weight and bias, last weight and bias: the parameters of which the files keep gradients.
pub const ENDS: [&str; 4] = ["first_w", "first_b", "last_w", "last_b"];

/// One of [`ENDS`] among numbers laid out as the network's parameters are.
pub fn end(name: &str, net: &Mlp, all: &Tensor<3>) -> Tensor<3> {
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

/// torch's Adam with its coupled decay.
pub fn reference_adam(meta: &Value) -> AdamConfig {
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
