//! Comparison with published code, number by number. Losses of the reference VaGraM code: `losses.json`. Its early
//! stopping: `protocol.json`. Published uncertainty penalties: `plugins.json`. The model of the double-horizon agent:
//! `agents.json`.

mod common;

use burn::tensor::{Device, Tensor};
use common::reference::{
    Agent, AgentInfo, ENDS, end, ensemble, gradients_of_all_heads, loss_and_gradients, reference_adam, value_gradients,
};
use common::{assert_close, assert_tensor, count, fixture, floats, list, number, numbers, shape, tensor};
use foresee_core::state::{Array, Data};
use foresee_core::{State, Stream};
use foresee_nn::{Activation, Adam, Init, Mlp, NoValues, Parameters, Shape, ValueView, tensors};
use foresee_world_model::config::Snapshot;
use foresee_world_model::early_stopping::EarlyStopping;
use foresee_world_model::loss::itervaml::{self, IterVaml};
use foresee_world_model::loss::mle::Mle;
use foresee_world_model::loss::mse::Mse;
use foresee_world_model::loss::vagram::{Bound, Vagram, clip_to_quantile};
use foresee_world_model::loss::value_weighted::ValueWeighted;
use foresee_world_model::loss::{self, Extras, LossInput};
use foresee_world_model::normalizer::Normalizer;
use foresee_world_model::{Head, Measure, ModelLoss, Prediction};
use serde_json::Value;

/// The inputs of a loss that needs nothing from the agent.
const NOTHING: AgentInfo<'_> = AgentInfo { terms: None, view: &NoValues };

/// Compares loss and gradients with one entry of `losses`.
fn assert_loss(name: &str, head: Head, loss: &dyn ModelLoss, info: AgentInfo<'_>, add_mse: bool) {
    let file = fixture("losses.json");
    let want = &file["losses"][name];
    let ensemble = ensemble(&file, head);
    let (loss, of_net, of_bounds) = loss_and_gradients(&file, &ensemble, loss, info, add_mse);
    assert_tensor(name, loss, &want["loss"]);
    for end_name in ENDS {
        assert_tensor(&format!("{name}: {end_name}"), end(end_name, &ensemble.net, &of_net), &want["grads"][end_name]);
    }
    let channels = ensemble.obs_dim() + 1;
    for (bound, at) in [("min_logvar", 0), ("max_logvar", channels)] {
        if let Some(of_bounds) = &of_bounds {
            let gradient = of_bounds.clone().narrow(2, at, channels);
            assert_tensor(&format!("{name}: {bound}"), gradient, &want["grads"][bound]);
        }
    }
}

#[test]
fn both_heads_predict_what_the_fixtures_say() {
    let file = fixture("losses.json");
    let (forward, inputs) = (&file["forward"], tensor::<3>(&file["normalizer"]["normalized_model_in"]));

    let gaussian = ensemble(&file, Head::Gaussian);
    assert_tensor("raw_head", gaussian.net.forward(inputs.clone()), &forward["gaussian"]["raw_head"]);
    let prediction = gaussian.predict(inputs.clone());
    let logvar = prediction.logvar.expect("a Gaussian head");
    assert_tensor("mean", prediction.mean.clone(), &forward["gaussian"]["mean"]);
    assert_tensor("logvar", logvar, &forward["gaussian"]["logvar"]);
    let obs_dim = gaussian.obs_dim();
    let next_obs = tensor::<3>(&file["inputs"]["obs"]) + prediction.mean.clone().narrow(2, 0, obs_dim);
    assert_tensor("next_obs_mean", next_obs, &forward["gaussian"]["next_obs_mean"]);
    assert_tensor("reward_mean", prediction.mean.narrow(2, obs_dim, 1), &forward["gaussian"]["reward_mean"]);

    let prediction = ensemble(&file, Head::Deterministic).predict(inputs);
    assert!(prediction.logvar.is_none());
    assert_tensor("mean, deterministic", prediction.mean, &forward["deterministic"]["mean"]);
}

#[test]
fn the_normalizer_matches_the_fixtures() {
    let file = fixture("losses.json");
    let want = &file["normalizer"];
    let normalizer = Normalizer::from_rows(&floats(&want["data"]), count(&file["meta"]["in_dim"]));
    let mut saved = normalizer.save();
    assert_close("mean", &saved.f32s("mean").expect("mean").1, &want["mean"]);
    assert_close("std", &saved.f32s("std").expect("std").1, &want["std_unbiased"]);
    let mut rows = floats(&want["raw_model_in"]);
    normalizer.apply_rows(&mut rows);
    assert_close("normalised rows", &rows, &want["normalized_model_in"]);
}

#[test]
fn the_likelihood_and_the_squared_error_match_the_fixtures() {
    assert_loss("mle_nll", Head::Gaussian, &Mle {}, NOTHING, false);
    assert_loss("mse_sum", Head::Deterministic, &Mse {}, NOTHING, false);
}

#[test]
fn the_holdout_score_of_a_likelihood_is_the_squared_error_of_the_fixtures() {
    let file = fixture("losses.json");
    // All members are scored on member 0's rows.
    let shared = |value: &Value| tensor::<3>(value).narrow(0, 0, 1);
    let prediction = ensemble(&file, Head::Gaussian).predict(shared(&file["normalizer"]["normalized_model_in"]));
    let target = shared(&file["target"]);
    let input = LossInput { prediction, target, terms: None, state_offset: None, view: &NoValues };
    let scores = loss::score_per_row(&Mle {}, &input, &Extras::default()).mean_dim(1);
    assert_tensor("eval_score_mse", scores, &file["losses"]["eval_score_mse"]["per_member"]);
}

#[test]
fn gradients_are_shortened_to_the_quantiles_of_the_fixtures() {
    let file = fixture("losses.json");
    let plain = &file["value"]["plain"];
    for (q, key) in [(0.95, "quantile_bound_0.95_per_head"), (0.5, "quantile_bound_0.5_per_head")] {
        let bounds: Vec<f32> = gradients_of_all_heads(&file)
            .iter()
            .map(|head| clip_to_quantile(&mut floats(head), count(&file["meta"]["obs_dim"]), q) as f32)
            .collect();
        assert_close(key, &bounds, &plain[key]);
    }
    // Every quantile of a single gradient is its norm.
    let obs_dim = count(&file["meta"]["obs_dim"]);
    for (head, norms) in gradients_of_all_heads(&file).iter().zip(list(&plain["grad_norms"])) {
        let found: Vec<f32> =
            floats(head).chunks_exact_mut(obs_dim).map(|row| clip_to_quantile(row, obs_dim, 0.5) as f32).collect();
        assert_close("grad_norms", &found, norms);
    }
}

#[test]
fn vagram_matches_the_fixtures_in_every_form() {
    use Bound::{Bounded, Unbounded};
    let file = fixture("losses.json");
    let all = gradients_of_all_heads(&file);
    let targets = &all[all.len() / 2..];
    for (name, form, clip_quantile, heads, add_mse) in [
        ("vagram_bounded", Bounded, 1.0, all, false),
        ("vagram_unbounded", Unbounded, 1.0, all, false),
        ("vagram_bounded_clip95", Bounded, 0.95, all, false),
        ("vagram_unbounded_clip95", Unbounded, 0.95, all, false),
        ("vagram_bounded_clip50", Bounded, 0.5, all, false),
        // The reference's last revision clips nothing below a norm of 1e5.
        ("vagram_bounded_head_default_clip", Bounded, 1.0, all, false),
        ("vagram_bounded_target_heads_only", Bounded, 1.0, targets, false),
        ("vagram_bounded_add_mse", Bounded, 1.0, all, true),
        ("vagram_unbounded_add_mse", Unbounded, 1.0, all, true),
    ] {
        let gradients = value_gradients(&file, heads, clip_quantile);
        let info = AgentInfo { terms: Some(gradients), view: &NoValues };
        assert_loss(name, Head::Deterministic, &Vagram { form, clip_quantile }, info, add_mse);
    }
}

/// Flattens nested lists `[E, B, C]` to rows `[E B, C]`.
fn rows(value: &Value) -> Tensor<2> {
    tensor::<3>(value).flatten(0, 1)
}

#[test]
fn itervaml_matches_the_fixtures_with_the_action_fixed_and_through_the_policy() {
    let file = fixture("losses.json");
    let inputs = &file["inputs"];
    for (name, through_policy) in [("itervaml_detached_action", false), ("itervaml_through_policy", true)] {
        let want = &file["losses"][name];
        let agent = Agent::new(&file, through_policy);
        let target = agent.values(rows(&inputs["next_obs"]));
        assert_tensor(&format!("{name}: values_true"), target.clone(), &want["values_true"]);
        let mean =
            ensemble(&file, Head::Deterministic).predict(tensor(&file["normalizer"]["normalized_model_in"])).mean;
        let [members, batch, _] = mean.dims();
        let predicted = itervaml::predicted_values(&agent, tensor(&inputs["obs"]), mean);
        assert_tensor(&format!("{name}: values_pred"), predicted, &want["values_pred"]);
        let terms = target.reshape([agent.heads(), members, batch, 1]);
        assert_loss(name, Head::Deterministic, &IterVaml {}, AgentInfo { terms: Some(terms), view: &agent }, false);
    }
}

#[test]
fn the_value_weighted_error_matches_the_fixtures_with_the_references_weights() {
    let file = fixture("losses.json");
    let inputs = &file["inputs"];
    // The reference divides the values at next_obs − obs by their sum over the batch.
    let delta = rows(&inputs["next_obs"]) - rows(&inputs["obs"]);
    let sizes = Agent::new(&file, false).values(delta).abs();
    let [members, batch, _] = shape(&inputs["obs"]).try_into().expect("[E, B, D]");
    let weights = (sizes.clone().mean_dim(0) / sizes.sum().unsqueeze()).reshape([1, members, batch, 1]);
    let info = AgentInfo { terms: Some(weights), view: &NoValues };
    assert_loss("value_weighted", Head::Deterministic, &ValueWeighted {}, info, false);
}

#[test]
fn adam_trajectories_match_the_fixtures() {
    let file = fixture("losses.json");
    let clipped = value_gradients(&file, gradients_of_all_heads(&file), 0.95);
    let vagram: &dyn ModelLoss = &Vagram::default();
    for (name, head, loss, info) in [
        ("mle_nll", Head::Gaussian, &Mle {} as &dyn ModelLoss, NOTHING),
        ("vagram_bounded_clip95", Head::Deterministic, vagram, AgentInfo { terms: Some(clipped), view: &NoValues }),
    ] {
        let want = &file["adam_trajectories"][name];
        // The bounds are not trained: `learn_logvar_bounds` is false.
        assert_ne!(want["learn_logvar_bounds"], true);
        let mut ensemble = ensemble(&file, head);
        let mut adam = Adam::new(reference_adam(want), &ensemble.net);
        let mut losses = Vec::new();
        for _ in list(&want["losses_before_step"]) {
            let (loss, of_net, _) = loss_and_gradients(&file, &ensemble, loss, info.clone(), false);
            losses.push(tensors::to_f32(loss));
            adam.step(&mut ensemble.net, of_net);
        }
        assert_close(&format!("adam {name}: losses"), &losses, &want["losses_before_step"]);
        let parameters = ensemble.net.slot().get().clone();
        for end_name in ["first_w", "last_w", "last_b"] {
            assert_tensor(
                &format!("adam {name}: {end_name}"),
                end(end_name, &ensemble.net, &parameters),
                &want[end_name],
            );
        }
    }
}

#[test]
fn early_stopping_follows_the_fixtures_exactly() {
    for (i, case) in list(&fixture("protocol.json")["early_stopping"]["cases"]).iter().enumerate() {
        let scores: Vec<Vec<f64>> = list(&case["scores"]).iter().map(numbers).collect();
        let members = count(&case["ensemble"]);
        let patience = count(&case["patience"]) as u32;
        let mut stopping =
            EarlyStopping::new(Snapshot::Shared, patience, number(&case["threshold"]), scores[0].clone());
        let (mut epochs, mut restored) = (0, None);
        for scores in &scores[1..] {
            epochs += 1;
            let verdict = stopping.update(scores);
            if !verdict.keep.is_empty() {
                assert_eq!(verdict.keep, (0..members).collect::<Vec<_>>(), "case {i}: one keeps everybody");
                restored = Some(epochs);
            }
            if verdict.stop || case["max_epochs"].as_u64() == Some(epochs) {
                break;
            }
        }
        assert_eq!(case["epochs_run"], epochs, "case {i}: epochs");
        // If nothing improves, the last weights stay.
        assert_eq!(case["restored_epoch"], restored.unwrap_or(epochs), "case {i}: restored epoch");
        assert_eq!(case["elites"], Value::from(stopping.elites(count(&case["num_elites"]))), "case {i}: elites");
    }
}

#[test]
fn every_uncertainty_matches_the_fixtures() {
    let file = fixture("plugins.json");
    let penalties = file["penalties"].as_object().expect("penalties");
    let (mean, logvar) = (floats(&penalties["mean"]), floats(&penalties["logvar"]));
    let [members, rows, channels] = shape(&penalties["mean"])[..] else { panic!("[E, B, C]") };
    // Returns one row under every member, `[E, C]`.
    let row = |values: &[f32], b: usize| -> Vec<f32> {
        (0..members).flat_map(|e| values[(e * rows + b) * channels..][..channels].to_vec()).collect()
    };
    let names = [
        (Measure::MaxAleatoric, "max_aleatoric"),
        (Measure::MaxDifferenceFromMean, "max_pairwise_diff_from_mean"),
        (Measure::MaxPairwiseDifference, "morel_disc_max_pairwise"),
        (Measure::EnsembleRms, "ensemble_std_rms"),
        (Measure::EnsembleVariance, "ensemble_variance"),
        (Measure::EnsembleStandardDeviation, "ensemble_standard_deviation"),
        (Measure::LeaveOneOutKlMean, "loo_kl_mean"),
        (Measure::LeaveOneOutKlMax, "loo_kl_max"),
    ];
    assert_eq!(penalties.len(), names.len() + 2, "every entry but the two inputs has its measure");
    for (measure, name) in names {
        let got: Vec<f32> = (0..rows).map(|b| measure.of(&row(&mean, b), Some(&row(&logvar, b)), channels)).collect();
        assert_close(name, &got, &penalties[name]);
    }
}

/// Compares with the model of the double-horizon agent: layer norms, one learned log σ per channel and member, and a
/// weight for every row under every member. In its loss, the term log σ has a lower bound of ln 0.3. Our likelihood has
/// no such bound, so the test adds the part of the loss and of its gradient that the bound changes.
#[test]
fn the_likelihood_of_one_noise_a_channel_is_that_of_the_published_model() {
    let file = fixture("agents.json");
    let (nets, entry) = (&file["entries"]["nets"]["inputs"], &file["entries"]["model_update"]);
    let (given, want) = (&entry["inputs"], &entry["outputs"]);
    let all = |value: &Value| floats(&value["data"]);
    let [members, rows, channels] = [4, 7, 4];
    let device = Device::flex();

    // Targets (reward with noise, change of the observation), normalised, the reward first.
    let [reward, noise, obs, next] = ["reward", "reward_noise", "obs", "next_obs"].map(|name| all(&given[name]));
    let [mean, std] = ["target_mean", "target_std"].map(|name| all(&nets[name]));
    let floor = number(&given["lb_std"]) as f32;
    let target = (0..members * rows).flat_map(|at| {
        let row = at % rows;
        let change = (0..3).map(|d| next[row * 3 + d] - obs[row * 3 + d]);
        let raw: Vec<f32> = [reward[row] + floor * noise[at]].into_iter().chain(change).collect();
        (0..channels).map(|c| (raw[c] - mean[c]) / std[c]).collect::<Vec<_>>()
    });
    let target = tensors::from_vec::<3>(target.collect(), [members, rows, channels], &device);
    let [obs_mean, obs_std] = ["obs_mean", "obs_std"].map(|name| all(&nets[name]));
    let action = all(&given["action"]);
    let input = (0..rows).flat_map(|row| {
        let seen = (0..3).map(|d| (obs[row * 3 + d] - obs_mean[d]) / obs_std[d]);
        seen.chain(action[row * 2..row * 2 + 2].iter().copied()).collect::<Vec<_>>()
    });
    let input = tensors::from_vec::<3>(input.collect(), [1, rows, 5], &device);

    let shape = Shape {
        members,
        inputs: 5,
        hidden: vec![6, 6, 6],
        outputs: channels,
        activation: Activation::Silu,
        layer_norm: false,
        normalized_features: false,
        hidden_norms: vec![0, -1, -2],
    };
    let mut net = Mlp::new(shape, Init::Kaiming, &Stream::new(0, "test"), &device);
    let mut state = State::new();
    for (i, layer) in list(&nets["model_layers"]).iter().enumerate() {
        for (name, key) in [("weight", "W"), ("bias", "b")] {
            let values = all(&layer[key]);
            let outputs = count(&layer["b"]["shape"][1]);
            let shape = vec![members, values.len() / members / outputs, outputs];
            state.put(&format!("{name}.{i}"), Array::new(shape, Data::F32(values)));
        }
    }
    net.load(state).expect("weights of the file's shapes");
    let net = net.tracked();
    let log_noise = tensors::from_vec::<3>(all(&given["log_noise"]), [members, 1, channels], &device);
    let log_noise = log_noise.autodiff().require_grad();

    // The file's weights are one per row and member, `[B, E]`.
    let weight = tensors::from_vec::<2>(all(&given["weight"]), [rows, members], &device).transpose();
    let prediction = Prediction {
        mean: net.forward(input),
        logvar: Some(log_noise.clone().mul_scalar(2.0).expand([members, rows, channels])),
    };
    let input = LossInput { prediction, target, terms: None, state_offset: None, view: &NoValues };
    let extras = Extras { row_weights: Some(weight.clone()), ..Extras::default() };
    let per_row = loss::training_per_row(&Mle {}, &input, &extras);
    drop(input);
    // Our loss is twice the likelihood, and a mean over channels.
    let loss = loss::reduce(per_row, None).mul_scalar(0.5 * channels as f64);
    let mut gradients = loss.backward();
    let of_net = net.gradient(&mut gradients);
    let of_noise = tensors::to_vec(log_noise.grad_remove(&mut gradients).expect("a gradient"));

    let logs = all(&given["log_noise"]);
    let weights = tensors::to_vec(weight.mean_dim(1));
    let below = |i: usize| (floor.ln() - logs[i]).max(0.0);
    let floored: f32 = (0..logs.len()).map(|i| weights[i / channels] * below(i)).sum();
    let got = tensors::to_vec(loss.inner())[0] + floored;
    assert_close("loss", &[got], &want["loss"]);
    let of_noise: Vec<f32> =
        (0..logs.len()).map(|i| of_noise[i] - if below(i) > 0.0 { weights[i / channels] } else { 0.0 }).collect();
    assert!((0..logs.len()).any(|i| below(i) > 0.0) && (0..logs.len()).any(|i| below(i) == 0.0));
    assert_close("log σ", &of_noise, &want["log_noise_grad"]["data"]);
    for part in net.parts() {
        let [rows, columns] = part.shape;
        let got = of_net.clone().narrow(2, part.offset, rows * columns);
        let (name, layer) = part.name.split_once('.').expect("a layer's number");
        let key = if name == "weight" { "W" } else { "b" };
        let layer: usize = layer.parse().expect("a number");
        assert_tensor(&part.name, got, &want["grad"][layer][key]["data"]);
    }
}
