//! Agents that scale observations and rewards, compared with agents that are given scaled batches.

use burn::tensor::Device;
use foresee_actor_critic::preparation::{Preparation, RealTransitions};
use foresee_actor_critic::{AgentConfig, BatchRef, StreamNoise, TensorBatch, Update, agents, metrics};
use foresee_core::{Batch, Stream};
use foresee_nn::{ValueHeads, tensors};
use toml::Table;

const DIMS: [usize; 2] = [3, 2];

fn batch(rows: usize, update: u64) -> Batch {
    let normals = |name: &str, columns| Stream::new(3, name).normals(update, rows, columns);
    let far = |name: &str| normals(name, DIMS[0]).iter().map(|x| 40.0 + 7.0 * x).collect::<Vec<f32>>();
    Batch {
        rows,
        obs: far("obs"),
        action: normals("action", DIMS[1]).iter().map(|x| x.tanh()).collect(),
        reward: normals("reward", 1).iter().map(|x| 300.0 * x).collect(),
        next_obs: far("next_obs"),
        not_terminated: (0..rows).map(|row| if row % 5 == 0 { 0.0 } else { 1.0 }).collect(),
    }
}

fn agent(kind: &str, more: &str) -> Box<dyn foresee_actor_critic::Agent> {
    let keys: Table = format!("hidden = [16, 16]\ndiscount = 0.9\n{more}").parse().expect("keys");
    let config = AgentConfig { kind: Some(kind.into()), keys, ..AgentConfig::default() };
    let (factory, _) = config.choose(&agents()).expect("known keys");
    factory.build(DIMS, 7, &Device::flex())
}

fn close(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= 2e-5 * largest, "{what}[{i}]: {got}, expected {want}");
    }
}

#[test]
fn an_agent_that_scales_is_one_that_is_given_scaled_batches() {
    let device = Device::flex();
    let real = batch(64, 1000);
    let (ended, env) = (vec![false; 64], vec![0; 64]);
    let seen = RealTransitions { obs: &real.obs, reward: &real.reward, ended: &ended, env: &env };
    // One SAC in host memory, one in tensors, and TD3.
    for (kind, more) in [("sac", ""), ("sac", "actor_reduction = 'mean'"), ("td3", "actor_layer_norm = true")] {
        for (observations, rewards) in [(true, true), (true, false), (false, true)] {
            let what = format!("{kind} {more} {observations} {rewards}");
            let keys = format!("{more}\nnormalize_observations = {observations}\nscale_rewards = {rewards}");
            let (mut own, mut plain) = (agent(kind, &keys), agent(kind, more));
            let mut preparation = Preparation::new(DIMS[0], observations, rewards.then_some(0.9));
            own.observe(seen);
            preparation.observe(seen);
            let unit = preparation.unit() as f32;
            assert_eq!(rewards, unit > 50.0, "{what}: {unit}");
            for update in 0..5 {
                let (batch, noise) = (batch(32, update), StreamNoise { seed: 2, update });
                let given = preparation.prepare_host(&batch);
                let on_device: TensorBatch = BatchRef::Host(&batch).tensors(DIMS, &device);
                let of = |batch| Update { batch, noise: &noise, dynamics: None, critic_only: false };
                own.update(of(if update == 3 { BatchRef::Device(&on_device) } else { BatchRef::Host(&batch) }));
                plain.update(of(BatchRef::Host(&given)));
            }
            let states = batch(9, 77).obs;
            let rows = |states: &[f32]| tensors::from_vec(states.to_vec(), [9, DIMS[0]], &device);
            let mut scaled = states.clone();
            if let Some(scale) = preparation.scale() {
                scale.apply_rows(&mut scaled);
            }
            let act =
                |agent: &dyn foresee_actor_critic::Agent, states| tensors::to_vec(agent.actor().mean(rows(states)));
            close(&what, &act(&*own, &states), &act(&*plain, &scaled));
            let noise = tensors::from_vec(Stream::new(1, "noise").normals(0, 9, 2), [9, 2], &device);
            let sample = |agent: &dyn foresee_actor_critic::Agent, states| {
                tensors::to_vec(agent.actor().sample(rows(states), noise.clone()))
            };
            close(&what, &sample(&*own, &states), &sample(&*plain, &scaled));

            // Values are in the task's own units. So are their gradients, which contain 1 / std by the chain rule.
            for heads in [ValueHeads::All, ValueHeads::Target] {
                let [own, plain] = [&own, &plain].map(|agent| agent.values(heads, false));
                let values = tensors::to_vec(plain.values(rows(&scaled)));
                let want: Vec<f32> = values.iter().map(|value| unit * value).collect();
                close(&what, &tensors::to_vec(own.values(rows(&states))), &want);
                let gradients = tensors::to_vec(plain.value_gradients(rows(&scaled)));
                let std = preparation.scale().map_or(vec![1.0; DIMS[0]], |scale| scale.std.clone());
                let want: Vec<f32> =
                    gradients.iter().zip(std.iter().cycle()).map(|(gradient, std)| unit * gradient / std).collect();
                close(&what, &tensors::to_vec(own.value_gradients(rows(&states))), &want);
            }
            let number = |agent: &dyn foresee_actor_critic::Agent| {
                let report = agent.report();
                let of = |name| report.iter().find(|(metric, _)| *metric == name).map_or(0.0, |&(_, value)| value);
                [of(metrics::TARGET_VALUE), of(metrics::ACTOR_LOSS)].map(|x| x as f32)
            };
            close(&what, &number(&*own), &number(&*plain).map(|x| unit * x));

            // The statistics are saved with the agent.
            let mut again = agent(kind, &keys);
            again.load(own.save()).expect("its own state");
            assert_eq!(act(&*again, &states), act(&*own, &states), "{what}");
            assert_eq!((again.observed(), own.return_parameters()), (Some(64), again.return_parameters()), "{what}");
        }
    }
    for kind in ["sac", "td3"] {
        assert_eq!(agent(kind, "").observed(), None);
        let names: Vec<String> = agent(kind, "").save().iter().map(|(name, _)| name.to_owned()).collect();
        assert!(!names.iter().any(|name| name.starts_with("preparation")), "{names:?}");
    }
}
