//! Number-by-number comparison with the SAC that the reference vendors: both blocks of `sac.json`, and the value
//! gradients of `losses.json`.

use burn::tensor::{Device, Tensor};
use foresee_core::State;
use foresee_core::state::{Array, Data};
use foresee_nn::{Parameters, ValueHeads, tensors};
use serde_json::{Value, json};

use super::files::{
    agent, assert_close, assert_number, assert_state, assert_tensor, batch, count, fixture, floats, list, number,
    numbers, rows, stacked,
};
use super::random::{self, Recorded};
use crate::agent::Agent;
use crate::batch::TensorBatch;
use crate::critic::Reduction;
use crate::sac::{Sac, SacConfig, UpdateForm};

/// The two blocks of `sac.json` and of the values in `losses.json`, and whether their features are normalised.
const BLOCKS: [(&str, bool); 2] = [("plain", false), ("normalized_features", true)];

/// Returns the file's hyper-parameters.
fn config(meta: &Value, normalized_features: bool) -> SacConfig {
    // These are not configurable here: they are constants of the policy and of Adam.
    assert_eq!(meta["log_std_bounds"], json!([-5, 2]));
    assert_eq!(meta["betas"], json!([0.9, 0.999]));
    SacConfig {
        hidden: vec![count(&meta["hidden"]); count(&meta["hidden_depth"])],
        discount: number(&meta["discount"]),
        tau: number(&meta["tau"]),
        critic_lr: number(&meta["critic_lr"]),
        actor_lr: number(&meta["actor_lr"]),
        temperature_lr: number(&meta["alpha_lr"]),
        initial_temperature: number(&meta["init_temperature"]),
        learn_temperature: true,
        target_entropy: Some(number(&meta["target_entropy"])),
        policy_delay: count(&meta["actor_update_frequency"]) as u64,
        target_update_interval: count(&meta["critic_target_update_frequency"]) as u64,
        normalized_features,
        ..SacConfig::default()
    }
}

fn dims(meta: &Value) -> [usize; 2] {
    [count(&meta["obs_dim"]), count(&meta["act_dim"])]
}

/// Returns the batch of step `step` as tensors, and its noise at next observations and at observations.
fn step(file: &Value, step: usize) -> (TensorBatch, Tensor<2>, Tensor<2>) {
    let data = &file["batches"][step];
    let batch = TensorBatch::new(&batch(data), dims(&file["meta"]), &Device::flex());
    (batch, rows(&data["eps_next"]), rows(&data["eps_cur"]))
}

/// The forms that run in host memory.
const FORMS: [UpdateForm; 2] = [UpdateForm::Tensors, UpdateForm::Host];

/// Returns the noise of update number `i` of the file.
fn recorded(file: &Value, i: usize) -> Recorded {
    let data = &file["batches"][i];
    Recorded([floats(&data["eps_next"]), floats(&data["eps_cur"])])
}

/// Makes update number `i` of the file. Returns the critics' loss and, if the actor was updated, its loss and the
/// entropy.
fn update(sac: &mut Sac, form: UpdateForm, file: &Value, i: usize) -> (f64, Option<[f64; 2]>) {
    sac.form = form;
    match random::update(sac, &batch(&file["batches"][i]), &recorded(file, i))[..] {
        [critic, _] => (critic, None),
        [critic, _, actor, entropy] => (critic, Some([actor, entropy])),
        ref other => panic!("{other:?}"),
    }
}

/// Returns the gradients of an optimiser's first step by the names of the parameters. After it Adam's first moment is
/// (1 − β₁) g.
fn first_gradients(sac: &Sac, adam: &str, beta_1: f64) -> State {
    let mut moments = sac.save().part(adam);
    let names: Vec<String> =
        moments.iter().filter_map(|(name, _)| name.strip_suffix(".moment_1").map(str::to_owned)).collect();
    let gradient = |name: String| {
        let (shape, moment) = moments.f32s(&format!("{name}.moment_1")).expect("a moment");
        let gradient = moment.into_iter().map(|m| (f64::from(m) / (1.0 - beta_1)) as f32).collect();
        (name, Array::new(shape, Data::F32(gradient)))
    };
    names.into_iter().map(gradient).collect()
}

#[test]
fn the_policys_actions_and_log_probabilities_match_the_fixtures() {
    let file = fixture("sac.json");
    for (block, normalized) in BLOCKS {
        let sac = agent(&config(&file["meta"], normalized), dims(&file["meta"]), &file["nets"]);
        let want = &file[block]["policy_on_obs"];
        let (batch, _, noise) = step(&file, 0);
        let (mu, log_std) = sac.policy().distribution(batch.obs.clone());
        let bounded: Vec<f64> = numbers(&want["raw_log_std"]).iter().map(|x| -5.0 + 3.5 * (x.tanh() + 1.0)).collect();
        assert_close(&format!("{block} policy log_std"), &tensors::to_vec(log_std.clone()), &bounded);
        assert_tensor(&format!("{block} policy std"), log_std.clone().exp(), &want["std"]);
        assert_tensor(&format!("{block} policy mu"), mu.clone(), &want["mu"]);
        assert_tensor(&format!("{block} policy pre_tanh"), mu + log_std.exp() * noise.clone(), &want["pre_tanh"]);
        assert_tensor(
            &format!("{block} policy mean"),
            sac.policy().mean_action(batch.obs.clone()),
            &want["mean_action"],
        );
        let sampled = sac.policy().sample(batch.obs, noise);
        assert_tensor(&format!("{block} policy action"), sampled.action, &want["action"]);
        assert_tensor(&format!("{block} policy log_prob"), sampled.log_prob, &want["log_prob"]);
    }
}

#[test]
fn the_critics_target_matches_the_fixtures() {
    let file = fixture("sac.json");
    for (block, normalized) in BLOCKS {
        let sac = agent(&config(&file["meta"], normalized), dims(&file["meta"]), &file["nets"]);
        let want = &file[block]["critic_target"];
        let (batch, noise_next, _) = step(&file, 0);
        let next = sac.policy().sample(batch.next_obs.clone(), noise_next);
        assert_tensor(&format!("{block} target next_action"), next.action.clone(), &want["next_action"]);
        assert_tensor(&format!("{block} target next_log_prob"), next.log_prob.clone(), &want["next_log_prob"]);
        let lowest = Reduction::Min.of(sac.target().values(batch.next_obs.clone(), next.action.clone()));
        let target_v = lowest - sac.temperature() * next.log_prob;
        assert_tensor(&format!("{block} target target_v"), target_v, &want["target_v"]);
        let of_target = sac.target().values(batch.next_obs.clone(), next.action);
        let of_critic = sac.critic().values(batch.obs.clone(), batch.action.clone());
        for (values, names) in [(of_target, ["target_q1", "target_q2"]), (of_critic, ["q1", "q2"])] {
            for (n, name) in names.into_iter().enumerate() {
                assert_tensor(&format!("{block} target {name}"), values.clone().narrow(0, n, 1), &want[name]);
            }
        }
        assert_tensor(&format!("{block} target y"), sac.critic_target(&batch, &recorded(&file, 0)), &want["y"]);
    }
}

#[test]
fn the_three_losses_and_their_gradients_match_the_fixtures() {
    let file = fixture("sac.json");
    for (block, normalized) in BLOCKS {
        for form in FORMS {
            // The critics' step size is below the rounding of every weight, so the actor is trained against the initial
            // critics, as in this part of the file.
            let config = SacConfig { critic_lr: 1e-30, ..config(&file["meta"], normalized) };
            let mut sac = agent(&config, dims(&file["meta"]), &file["nets"]);
            let (critic_loss, of_actor) = update(&mut sac, form, &file, 0);
            let beta_1 = number(&file["meta"]["betas"][0]);
            let [critic, actor, alpha] = ["critic_loss", "actor_loss", "alpha_loss"].map(|name| &file[block][name]);
            let what = format!("{block} {form:?}");

            assert_number(&format!("{what} critic_loss"), critic_loss, &critic["loss"]);
            let gradients = stacked(&[&critic["grad_q1"], &critic["grad_q2"]]);
            let got = first_gradients(&sac, "critic_adam", beta_1);
            assert_state(&format!("{what} critic_loss grad"), got, &gradients);

            let [loss, entropy] = of_actor.expect("the first update moves the actor");
            assert_number(&format!("{what} actor_loss"), loss, &actor["loss"]);
            assert_number(&format!("{what} actor_loss entropy"), entropy, &actor["entropy"]);
            let gradients = stacked(&[&actor["grad"]]);
            let got = first_gradients(&sac, "actor_adam", beta_1);
            assert_state(&format!("{what} actor_loss grad"), got, &gradients);

            let mut gradient = first_gradients(&sac, "temperature_adam", beta_1);
            let (_, gradient) = gradient.f32s("log_temperature").expect("a gradient");
            assert_close(&format!("{what} alpha_loss grad"), &gradient, &numbers(&alpha["grad_log_alpha"]));
            // The derivative of the temperature's loss with respect to log α equals the loss.
            assert_close(&format!("{what} alpha_loss"), &gradient, &numbers(&alpha["loss"]));
        }
    }
}

#[test]
fn five_updates_end_at_the_weights_of_the_fixtures() {
    let file = fixture("sac.json");
    for (block, normalized) in BLOCKS {
        for form in FORMS {
            let config = config(&file["meta"], normalized);
            let mut sac = agent(&config, dims(&file["meta"]), &file["nets"]);
            for (i, want) in list(&file[block]["update_sequence"]).iter().enumerate() {
                assert_eq!(want["step"], sac.updates());
                let what = format!("{block} {form:?} update {i}");
                let alpha = f64::from(tensors::to_f32(sac.temperature()));
                let (critic_loss, of_actor) = update(&mut sac, form, &file, i);
                assert_number(&format!("{what} critic"), critic_loss, &want["train_critic"]);
                assert_eq!(of_actor.is_some(), !want["train_actor"].is_null(), "{what}: the actor's turn");
                if let Some([loss, entropy]) = of_actor {
                    assert_number(&format!("{what} actor"), loss, &want["train_actor"]);
                    let target_entropy = config.target_entropy.expect("from the file");
                    let loss = alpha * (entropy - target_entropy);
                    assert_number(&format!("{what} alpha"), loss, &want["train_alpha"]);
                }
                assert_tensor(&format!("{what} log_alpha"), sac.temperature().log(), &want["log_alpha_after"]);
                assert_weight(&format!("{what} q1"), sac.critic(), &want["q1_last_w_after"]);
                assert_weight(&format!("{what} q1_target"), sac.target(), &want["q1_target_last_w_after"]);
                assert_weight(&format!("{what} policy"), sac.policy(), &want["actor_last_w_after"]);
            }
            let nets = &file[block]["final_weights"];
            let what = format!("{block} {form:?} final");
            assert_state(&format!("{what} actor"), sac.policy().save(), &stacked(&[&nets["actor"]]));
            assert_state(&format!("{what} critic"), sac.critic().save(), &stacked(&[&nets["q1"], &nets["q2"]]));
            let targets = stacked(&[&nets["q1_target"], &nets["q2_target"]]);
            assert_state(&format!("{what} target"), sac.target().save(), &targets);
        }
    }
}

/// Applies [`assert_close`] to the weight of the output layer of the first member, `[I, O]`.
fn assert_weight(what: &str, net: &impl Parameters, want: &Value) {
    let last = net.parts().len() / 2 - 1;
    let (shape, weight) = net.save().f32s(&format!("weight.{last}")).expect("a weight");
    assert_close(what, &weight[..shape[1] * shape[2]], &numbers(want));
}

#[test]
fn values_and_value_gradients_match_the_fixtures_head_by_head() {
    let file = fixture("losses.json");
    let order = json!(["critic.q1", "critic.q2", "critic_target.q1", "critic_target.q2"]);
    assert_eq!(file["value"]["head_order"], order);
    let states = rows(&file["inputs"]["next_obs"]);
    for (block, normalized_features) in BLOCKS {
        let meta = &file["meta"];
        let hidden = vec![count(&meta["hidden"]); count(&meta["hidden_layers"])];
        let config = SacConfig { hidden, normalized_features, ..SacConfig::default() };
        let sac = agent(&config, dims(meta), &file["sac_nets"]);
        let want = &file["value"][block];
        assert_tensor(
            &format!("{block} value mean_action"),
            sac.policy().mean_action(states.clone()),
            &want["mean_action"],
        );
        let (all, targets) = (sac.values(ValueHeads::All, false), sac.values(ValueHeads::Target, false));
        assert_tensor(&format!("{block} value values"), all.values(states.clone()), &want["values"]);
        assert_tensor(&format!("{block} value grad"), all.value_gradients(states.clone()), &want["grad_next_obs"]);
        // The heads of the targets are the last two.
        let half = |name: &str| Value::from(list(&want[name])[all.heads() - targets.heads()..].to_vec());
        assert_tensor(&format!("{block} value target values"), targets.values(states.clone()), &half("values"));
        let gradients = targets.value_gradients(states.clone());
        assert_tensor(&format!("{block} value target grad"), gradients, &half("grad_next_obs"));
        let gradients = sac.values(ValueHeads::All, true).value_gradients(states.clone());
        assert_tensor(&format!("{block} value grad through policy"), gradients, &want["grad_next_obs_through_policy"]);
        let gradients = all.value_gradients(states.clone() - rows(&file["inputs"]["obs"]));
        assert_tensor(&format!("{block} value grad at delta"), gradients, &want["grad_at_delta"]);
    }
}

#[test]
fn values_at_predicted_and_at_sampled_states_match_the_fixtures() {
    let file = fixture("losses.json");
    let meta = &file["meta"];
    let hidden = vec![count(&meta["hidden"]); count(&meta["hidden_layers"])];
    let sac = agent(&SacConfig { hidden, ..SacConfig::default() }, dims(meta), &file["sac_nets"]);
    let view = sac.values(ValueHeads::All, false);
    let predicted =
        rows(&file["inputs"]["obs"]) + rows(&file["forward"]["deterministic"]["mean"]).narrow(1, 0, dims(meta)[0]);
    let want = &file["losses"]["itervaml_detached_action"];
    assert_tensor("values_pred", view.values(predicted), &want["values_pred"]);
    assert_tensor("values_true", view.values(rows(&file["inputs"]["next_obs"])), &want["values_true"]);
    let samples = &file["gaussian_samples"];
    assert_tensor("values_samples", view.values(rows(&samples["next_obs_samples"])), &samples["values_samples"]);
    assert_tensor("values_true", view.values(rows(&file["inputs"]["next_obs"])), &samples["values_true"]);
}
