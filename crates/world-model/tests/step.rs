//! One step of the ensemble under given actions and draws, compared with a scalar program and with finite differences;
//! and its form on panels compared with its form in tensors.

use burn::tensor::{Device, Tensor};
use foresee_core::Stream;
use foresee_core::stream::below;
use foresee_nn::cpu::panels::{pack, unpack};
use foresee_nn::cpu::{PANEL_ROWS, scalar};
use foresee_nn::host::HostTensor;
use foresee_nn::{PanelDynamics, Parameters, StepDraws, tensors};
use foresee_world_model::config::{EnsembleConfig, Predicted};
use foresee_world_model::normalizer::Normalizer;
use foresee_world_model::panels::EnsemblePanels;
use foresee_world_model::{Ensemble, Head, ModelStep};

const OBS: usize = 3;
const ACT: usize = 2;
const ROWS: usize = 11;

fn draw(name: &str, columns: usize) -> Vec<f32> {
    Stream::new(8, name).normals(0, ROWS, columns)
}

fn rows(values: Vec<f32>, columns: usize) -> Tensor<2> {
    tensors::from_vec(values, [ROWS, columns], &Device::flex())
}

/// Head, predicted quantity, and whether the layers are normalised.
const KINDS: [(Head, Predicted, bool); 4] = [
    (Head::Deterministic, Predicted::Change, false),
    (Head::Gaussian, Predicted::Change, true),
    (Head::Deterministic, Predicted::NextObs, true),
    (Head::Gaussian, Predicted::NextObs, false),
];

fn ensemble((head, predict, layer_norm): (Head, Predicted, bool)) -> Ensemble {
    let hidden = vec![9, 7];
    let config = EnsembleConfig { members: 5, elites: 3, hidden, predict, layer_norm, ..EnsembleConfig::default() };
    let mut ensemble = Ensemble::new(&config, head, [OBS, ACT], 8, &Device::flex());
    ensemble.elites = vec![4, 0, 3];
    let data: Vec<f32> = Stream::new(8, "data").normals(0, 40, OBS + ACT).iter().map(|x| 1.5 * x - 0.2).collect();
    ensemble.normalizer = Normalizer::from_rows(&data, OBS + ACT);
    ensemble
}

fn draws(ensemble: &Ensemble) -> StepDraws {
    let words = (0..ROWS as u32).map(|row| Stream::new(8, "elite").at(0, row).bits()).collect();
    StepDraws { words, noise: rows(draw("noise", ensemble.noise_width()), ensemble.noise_width()) }
}

/// Computes next observation and reward of one row in f64.
fn reference(ensemble: &Ensemble, member: usize, obs: &[f64], action: &[f64], noise: &[f32]) -> Vec<f64> {
    let [mean, std] = ensemble.normalizer.moments();
    let pair = obs.iter().chain(action).zip(mean.iter().zip(std));
    let input: Vec<f64> = pair.map(|(x, (&mean, &std))| (x - f64::from(mean)) / f64::from(std)).collect();
    let weights = HostTensor::read(ensemble.net.slot().get().clone());
    let layout = ensemble.net.layout();
    let own = layout.member(weights.get(), member);
    let mut out = scalar::forward(layout, own, &input);
    if let Some(bounds) = &ensemble.bounds {
        let raw = out.split_off(OBS + 1);
        let bounds = HostTensor::read(bounds.slot().get().clone());
        let (low, high) = bounds.get().split_at(OBS + 1);
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        for c in 0..=OBS {
            let (low, high) = (f64::from(low[c]), f64::from(high[c]));
            let logvar = low + softplus(high - softplus(high - raw[c]) - low);
            out[c] += (0.5 * logvar).exp() * f64::from(noise[c]);
        }
    }
    if ensemble.predicted() == Predicted::Change {
        out.iter_mut().zip(obs).for_each(|(change, x)| *change += x);
    }
    out
}

#[test]
fn a_step_under_given_actions_is_that_of_each_rows_own_member_with_its_own_noise() {
    for kind in KINDS {
        let ensemble = ensemble(kind);
        let (obs, action, draws) = (draw("obs", OBS), draw("action", ACT), draws(&ensemble));
        let noise = tensors::to_vec(draws.noise.clone());
        let ModelStep { next_obs, reward } = ensemble.step(rows(obs.clone(), OBS), rows(action.clone(), ACT), &draws);
        let (next_obs, reward) = (tensors::to_vec(next_obs), tensors::to_vec(reward));
        let mut seen = std::collections::BTreeSet::new();
        for row in 0..ROWS {
            let member = ensemble.elites[below(draws.words[row], 3)];
            seen.insert(member);
            let wide = |all: &[f32], width: usize| -> Vec<f64> {
                all[row * width..][..width].iter().map(|&x| f64::from(x)).collect()
            };
            let width = ensemble.noise_width();
            let want =
                reference(&ensemble, member, &wide(&obs, OBS), &wide(&action, ACT), &noise[row * width..][..width]);
            let got = next_obs[row * OBS..][..OBS].iter().chain([&reward[row]]);
            for (got, want) in got.zip(want) {
                let difference = (f64::from(*got) - want).abs();
                assert!(difference <= 1e-5 * (1.0 + want.abs()), "{kind:?}, row {row}: {got}, expected {want}");
            }
        }
        assert_eq!(seen.len(), 3, "every elite imagines");
    }
}

/// Checks the derivative of Σ_d c_d next_obs_d + reward with respect to every observation and action entry.
#[test]
fn a_step_is_differentiable_in_observations_and_actions() {
    for kind in KINDS {
        let ensemble = ensemble(kind);
        let (obs, action, draws) = (draw("obs", OBS), draw("action", ACT), draws(&ensemble));
        let noise = tensors::to_vec(draws.noise.clone());
        let of = [0.3, -1.2, 0.7];
        let leaves = [rows(obs.clone(), OBS), rows(action.clone(), ACT)].map(|rows| rows.autodiff().require_grad());
        let step = ensemble.step(leaves[0].clone(), leaves[1].clone(), &draws);
        let along = tensors::from_vec(of.map(|c| c as f32).to_vec(), [1, OBS], &Device::flex());
        let sum = (step.next_obs * along.autodiff()).sum() + step.reward.sum();
        let gradients = sum.backward();
        let [grad_obs, grad_action] = leaves.map(|leaf| tensors::to_vec(leaf.grad(&gradients).expect("a derivative")));
        for row in 0..ROWS {
            let member = ensemble.elites[below(draws.words[row], 3)];
            let width = ensemble.noise_width();
            let wide = |all: &[f32], width: usize| -> Vec<f64> {
                all[row * width..][..width].iter().map(|&x| f64::from(x)).collect()
            };
            let value = |moved: usize, by: f64| -> f64 {
                let (mut obs, mut action) = (wide(&obs, OBS), wide(&action, ACT));
                *obs.iter_mut().chain(&mut action).nth(moved).expect("an entry") += by;
                let out = reference(&ensemble, member, &obs, &action, &noise[row * width..][..width]);
                out.iter().zip(of.iter().chain([&1.0])).map(|(x, c)| x * c).sum()
            };
            for moved in 0..OBS + ACT {
                let want = (value(moved, 1e-5) - value(moved, -1e-5)) / 2e-5;
                let got = if moved < OBS { grad_obs[row * OBS + moved] } else { grad_action[row * ACT + moved - OBS] };
                let difference = (f64::from(got) - want).abs();
                assert!(
                    difference <= 1e-4 * (1.0 + want.abs()),
                    "{kind:?}, row {row}, entry {moved}: {got}, expected {want}"
                );
            }
        }
    }
}

/// Returns rows `[ROWS, columns]` as a panel.
fn panel(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut panel = vec![0.0; columns * PANEL_ROWS];
    pack(rows, columns, &mut panel);
    panel
}

#[test]
fn the_panel_form_of_a_step_is_the_tensor_form_forward_and_backward() {
    for kind in KINDS {
        let ensemble = ensemble(kind);
        let width = ensemble.noise_width();
        let (obs, action, noise) = (draw("obs", OBS), draw("action", ACT), draw("noise", width));
        let (grad_next_obs, grad_reward) = (draw("grad_next_obs", OBS), draw("grad_reward", 1));
        // On panels one word selects the member of all rows.
        let word = Stream::new(8, "elite").at(0, 5).bits();

        let draws = StepDraws { words: vec![word; ROWS], noise: rows(noise.clone(), width) };
        let leaves = [rows(obs.clone(), OBS), rows(action.clone(), ACT)].map(|rows| rows.autodiff().require_grad());
        let step = ensemble.step(leaves[0].clone(), leaves[1].clone(), &draws);
        let along_next_obs = step.next_obs.clone() * rows(grad_next_obs.clone(), OBS).autodiff();
        let along_reward = step.reward.clone().unsqueeze_dim::<2>(1) * rows(grad_reward.clone(), 1).autodiff();
        let gradients = (along_next_obs.sum() + along_reward.sum()).backward();
        let [want_grad_obs, want_grad_action] =
            leaves.map(|leaf| tensors::to_vec(leaf.grad(&gradients).expect("a derivative")));

        let panels = EnsemblePanels::new(&ensemble);
        let mut got = panels.new_step();
        panels.step(ROWS, word, &panel(&obs, OBS), &panel(&action, ACT), &panel(&noise, width), &mut got);
        let (next_obs, reward) = (got.next_obs.clone(), got.reward);
        let (mut grad_obs, mut grad_action) = (vec![f32::NAN; OBS * PANEL_ROWS], vec![f32::NAN; ACT * PANEL_ROWS]);
        let mut grad_reward_of_panel = [0.0; PANEL_ROWS];
        grad_reward_of_panel[..ROWS].copy_from_slice(&grad_reward);
        let grad_next_obs = panel(&grad_next_obs, OBS);
        panels.backward(&mut got, &grad_next_obs, &grad_reward_of_panel, &mut grad_obs, &mut grad_action);

        for (what, got, want, columns) in [
            ("next observation", &next_obs[..], tensors::to_vec(step.next_obs.inner()), OBS),
            ("reward", &reward[..], tensors::to_vec(step.reward.inner()), 1),
            ("gradient at the observation", &grad_obs[..], want_grad_obs, OBS),
            ("gradient at the action", &grad_action[..], want_grad_action, ACT),
        ] {
            let mut unpacked = vec![0.0; ROWS * columns];
            unpack(got, columns, &mut unpacked);
            for (i, (got, want)) in unpacked.iter().zip(&want).enumerate() {
                assert!(
                    (got - want).abs() <= 1e-5 * (1.0 + want.abs()),
                    "{kind:?}, {what}[{i}]: {got}, expected {want}"
                );
            }
        }
    }
}
