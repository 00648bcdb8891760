//! Tests of TD3 against scalar loops, against finite differences, and against its own saved state.

use foresee_core::state::Data;
use foresee_core::{Batch, Stream};

use super::*;
use crate::batch::BatchRef;
use crate::noise::StreamNoise;

const DIMS: [usize; 2] = [3, 2];
const ROWS: usize = 17;

fn config() -> Td3Config {
    // The noise is wide enough that both clips take effect.
    Td3Config { hidden: vec![8, 5], policy_noise: 0.6, tau: 0.3, ..Td3Config::default() }
}

/// An agent whose target networks differ from its online networks.
fn agent(config: &Td3Config) -> Td3 {
    let device = Device::flex();
    let mut td3 = Td3::new(config, DIMS, 1, &device);
    td3.actor.target = DeterministicActor::new(config, DIMS, 2, &device);
    td3.critic.target = Critic::new(CRITICS, &config.critic_body(), DIMS, 2, &device);
    td3
}

fn batch(step: u64) -> Batch {
    let normals = |name, columns| Stream::new(7, name).normals(step, ROWS, columns);
    Batch {
        rows: ROWS,
        obs: normals("obs", DIMS[0]),
        action: normals("action", DIMS[1]).into_iter().map(f32::tanh).collect(),
        reward: normals("reward", 1),
        next_obs: normals("next_obs", DIMS[0]).into_iter().map(|x| 3.0 * x).collect(),
        not_terminated: normals("ends", 1).into_iter().map(|x| if x > 1.0 { 0.0 } else { 1.0 }).collect(),
    }
}

fn step(td3: &mut Td3, i: u64) -> Vec<(&'static str, f64)> {
    let noise = StreamNoise { seed: 3, update: i };
    td3.update(Update { batch: BatchRef::Host(&batch(i)), noise: &noise, dynamics: None, critic_only: false });
    td3.report()
}

/// One network, evaluated by scalar loops in f64.
#[derive(Clone)]
struct Scalars {
    /// Weight `[I, O]` and bias `[O]` of every layer.
    layers: Vec<[Vec<f64>; 2]>,
}

impl Scalars {
    fn new(net: &impl Parameters, member: usize) -> Self {
        let mut state = net.save();
        let mut part = |name: String| {
            let (shape, values) = state.f32s(&name).expect("a parameter");
            let size = shape[1] * shape[2];
            values[member * size..][..size].iter().map(|&x| f64::from(x)).collect()
        };
        let layers = net.parts().len() / 2;
        Self { layers: (0..layers).map(|l| [part(format!("weight.{l}")), part(format!("bias.{l}"))]).collect() }
    }

    fn forward(&self, mut x: Vec<f64>) -> Vec<f64> {
        for (l, [weight, bias]) in self.layers.iter().enumerate() {
            let outputs = bias.len();
            let sum = |o: usize| bias[o] + x.iter().enumerate().map(|(i, x)| x * weight[i * outputs + o]).sum::<f64>();
            let last = l + 1 == self.layers.len();
            x = (0..outputs).map(sum).map(|y| if last { y } else { y.max(0.0) }).collect();
        }
        x
    }

    fn action(&self, obs: &[f64]) -> Vec<f64> {
        self.forward(obs.to_vec()).into_iter().map(f64::tanh).collect()
    }

    fn value(&self, obs: &[f64], action: &[f64]) -> f64 {
        self.forward([obs, action].concat())[0]
    }
}

fn rows(values: &[f32], columns: usize) -> Vec<Vec<f64>> {
    values.chunks_exact(columns).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect()
}

#[test]
fn the_target_is_that_of_a_scalar_program() {
    let config = config();
    let td3 = agent(&config);
    let batch = batch(0);
    let noise = StreamNoise { seed: 3, update: 0 };
    let got = tensors::to_vec(td3.critic_target(&TensorBatch::new(&batch, DIMS, &Device::flex()), &noise));

    let actor = Scalars::new(&td3.actor.target, 0);
    let critics = [0, 1].map(|member| Scalars::new(&td3.critic.target, member));
    let normals = rows(&Stream::new(3, NOISE_NEXT).normals(0, ROWS, DIMS[1]), DIMS[1]);
    let mut clipped = [0; 2];
    for (row, (obs, normals)) in rows(&batch.next_obs, DIMS[0]).iter().zip(normals).enumerate() {
        let mut action = actor.action(obs);
        for (a, z) in action.iter_mut().zip(normals) {
            let smoothing = (config.policy_noise * z).clamp(-config.noise_clip, config.noise_clip);
            clipped[0] += usize::from(smoothing.abs() == config.noise_clip);
            *a = (*a + smoothing).clamp(-1.0, 1.0);
            clipped[1] += usize::from(a.abs() == 1.0);
        }
        let [first, second] = critics.each_ref().map(|critic| critic.value(obs, &action));
        let not_terminated = f64::from(batch.not_terminated[row]);
        let want = f64::from(batch.reward[row]) + not_terminated * config.discount * first.min(second);
        assert!((f64::from(got[row]) - want).abs() < 1e-5 * (1.0 + want.abs()), "{row}: {}, not {want}", got[row]);
    }
    assert!(clipped.iter().all(|&count| count > 0), "{clipped:?}");
}

#[test]
fn the_actors_gradient_is_that_of_finite_differences() {
    const STEP: f64 = 1e-6;
    // The critics' step size is below the rounding of every weight, so the actor is trained against unchanged critics.
    let mut td3 = agent(&Td3Config { critic_lr: 1e-30, policy_delay: 1, ..config() });
    let (actor, critic) = (Scalars::new(&td3.actor.net, 0), Scalars::new(&td3.critic.net, 0));
    let states = rows(&batch(0).obs, DIMS[0]);
    let loss = |actor: &Scalars| -> f64 {
        -states.iter().map(|obs| critic.value(obs, &actor.action(obs))).sum::<f64>() / ROWS as f64
    };
    let report = step(&mut td3, 0);
    let (_, got) = report.iter().find(|(name, _)| *name == metrics::ACTOR_LOSS).expect("the actor's turn");
    assert!((got - loss(&actor)).abs() < 1e-6, "{got}, expected {}", loss(&actor));

    // After the first step Adam's first moment is (1 − β₁) g.
    let mut moments = td3.actor.adam.save(&td3.actor.net);
    for l in 0..actor.layers.len() {
        for (part, name) in ["weight", "bias"].into_iter().enumerate() {
            let (_, moment) = moments.f32s(&format!("{name}.{l}.moment_1")).expect("a moment");
            for (i, moment) in moment.into_iter().enumerate() {
                let [above, below] = [STEP, -STEP].map(|by| {
                    let mut moved = actor.clone();
                    moved.layers[l][part][i] += by;
                    loss(&moved)
                });
                let (got, want) = (f64::from(moment) / 0.1, (above - below) / (2.0 * STEP));
                assert!((got - want).abs() < 1e-6 + 1e-4 * want.abs(), "{name}.{l}[{i}]: {got}, expected {want}");
            }
        }
    }
}

#[test]
fn the_actor_and_all_targets_move_at_the_actors_turns_alone() {
    let mut td3 = agent(&config());
    let of =
        |td3: &Td3| [td3.actor.net.save(), td3.actor.target.save(), td3.critic.target.save(), td3.critic.net.save()];
    for i in 0..4 {
        let before = of(&td3);
        let report = step(&mut td3, i);
        let turn = i % 2 == 1;
        let moved = [0, 1, 2, 3].map(|n| of(&td3)[n] != before[n]);
        assert_eq!(moved, [turn, turn, turn, true], "update {i}");
        assert_eq!(report.iter().any(|(name, _)| *name == metrics::ACTOR_LOSS), turn, "update {i}");
        assert_eq!(report.last(), Some(&(metrics::UPDATES, (i + 1) as f64)));
    }
}

#[test]
fn a_saved_and_restored_agent_goes_on_bit_for_bit() {
    let mut original = agent(&config());
    (0..5).for_each(|i| drop(step(&mut original, i)));
    let mut restored = Td3::new(&config(), DIMS, 9, &Device::flex());
    restored.load(original.save()).expect("a state of the same shapes");
    assert!(restored.report().is_empty());
    for i in 5..9 {
        assert_eq!(step(&mut original, i), step(&mut restored, i), "update {i}");
    }
    assert!(original.save() == restored.save());
    let finite = |data: &Data| if let Data::F32(values) = data { values.iter().all(|x| x.is_finite()) } else { true };
    assert!(original.save().iter().all(|(_, array)| finite(&array.data)));
}

#[test]
fn an_exploring_action_is_the_mean_action_with_noise_within_the_bounds() {
    let config = Td3Config { exploration_noise: 0.7, ..config() };
    let td3 = Td3::new(&config, DIMS, 1, &Device::flex());
    let tensor = |values: Vec<f32>, columns| tensors::from_vec(values, [ROWS, columns], &Device::flex());
    let (obs, noise) = (batch(0).obs, Stream::new(1, "noise").normals(0, ROWS, DIMS[1]));
    let mean = tensors::to_vec(td3.actor().mean(tensor(obs.clone(), DIMS[0])));
    let got = tensors::to_vec(td3.actor().sample(tensor(obs, DIMS[0]), tensor(noise.clone(), DIMS[1])));
    for (got, (mean, noise)) in got.iter().zip(mean.iter().zip(&noise)) {
        let want = (mean + 0.7 * noise).clamp(-1.0, 1.0);
        assert!((got - want).abs() <= 1e-6, "{got}, expected {want}");
    }
    assert!(got.iter().any(|a| a.abs() == 1.0) && got.iter().any(|a| a.abs() < 1.0));
}

#[test]
fn a_batch_without_rows_moves_nothing_and_values_have_four_heads() {
    let mut td3 = agent(&config());
    let before = td3.save();
    let noise = StreamNoise { seed: 0, update: 0 };
    td3.update(Update { batch: BatchRef::Host(&Batch::default()), noise: &noise, dynamics: None, critic_only: false });
    let (mut before, mut after) = (before, td3.save());
    assert_eq!([&mut before, &mut after].map(|state| state.u64("updates").expect("a count")), [0, 1]);
    assert!(after == before);

    let states = tensors::from_vec(batch(0).obs, [ROWS, DIMS[0]], &Device::flex());
    let action = td3.actor().mean(states.clone());
    let all = tensors::to_vec(td3.values(ValueHeads::All, false).values(states.clone()));
    let [critic, target] = [&td3.critic.net, &td3.critic.target]
        .map(|critic| tensors::to_vec(critic.values(states.clone(), action.clone())));
    assert_eq!(all, [critic, target.clone()].concat());
    assert_eq!(tensors::to_vec(td3.values(ValueHeads::Target, false).values(states)), target);
}

#[test]
fn what_cannot_be_says_so_with_a_hint() {
    assert_eq!(Td3Config::default().problem(), None);
    for (config, want) in [
        (
            Td3Config { hidden: vec![0], ..config() },
            "`agent.hidden` is [0]; it must be a list of at least one layer width",
        ),
        (
            Td3Config { tau: 2.0, ..config() },
            "`agent.tau` is 2; it must be above 0 and at most 1\nhint: the default is",
        ),
        (Td3Config { policy_delay: 0, ..config() }, "`agent.policy_delay` is 0; it must be positive\nhint: "),
        (Td3Config { actor_lr: 0.0, ..config() }, "`agent.actor_lr` is 0; it must be positive\nhint: "),
        (Td3Config { noise_clip: -1.0, ..config() }, "`agent.noise_clip` is -1; it must be at least 0\nhint: "),
    ] {
        let got = config.problem().expect("a problem");
        assert!(got.starts_with(want), "{got}");
    }
}

/// Checks an update against `td3_update` of `agents.json`: a critic step, the actor's step after it, then the targets.
///
/// The file's actions are `max_action` times as wide as ours. The noise is therefore divided by `max_action` here, and
/// the critics' weights of actions are multiplied by it. The first step of Adam changes these weights equally in both,
/// because its size does not depend on the size of the gradient.
#[test]
fn an_update_is_that_of_the_published_code() {
    use crate::published::{assert_close, assert_stepped, entries, floats, part, stacked};
    use serde_json::Value;

    let entry = &entries()["td3_update"];
    let (inputs, outputs) = (&entry["inputs"], &entry["outputs"]);
    let number = |name: &str| inputs[name].as_f64().expect("a number");
    let wide = number("max_action") as f32;
    // The file lists the critics' layers one critic after the other, three layers each.
    let layers = |value: &'_ Value| -> Vec<Vec<Value>> {
        value.as_array().expect("layers").chunks(3).map(<[Value]>::to_vec).collect()
    };
    let network = |value: &Value| {
        let layers = layers(value);
        stacked(&layers.iter().map(Vec::as_slice).collect::<Vec<_>>(), DIMS[0], wide)
    };
    let config = Td3Config {
        hidden: vec![6, 6],
        discount: number("gamma"),
        tau: number("tau"),
        policy_noise: number("policy_noise") / f64::from(wide),
        noise_clip: number("noise_clip") / f64::from(wide),
        policy_delay: 1,
        ..Td3Config::default()
    };
    let mut td3 = Td3::new(&config, DIMS, 0, &Device::flex());
    let before = &inputs["before"];
    td3.actor.net.load(network(&before["actor"])).expect("weights");
    td3.actor.target.load(network(&before["actor_target"])).expect("weights");
    td3.critic.net.load(network(&before["critic"])).expect("weights");
    td3.critic.target.load(network(&before["critic_target"])).expect("weights");
    let batch = Batch {
        rows: 6,
        obs: floats(&inputs["obs"]),
        action: floats(&inputs["action"]).iter().map(|a| a / wide).collect(),
        reward: floats(&inputs["reward"]),
        next_obs: floats(&inputs["next_obs"]),
        not_terminated: floats(&inputs["not_done"]),
    };
    struct Recorded(Vec<f32>);
    impl Noise for Recorded {
        fn normals(&self, _: &str, shape: [usize; 2], device: &Device) -> Tensor<2> {
            tensors::from_vec(self.0.clone(), shape, device)
        }

        fn normals_into(&self, _: &str, _: [usize; 2], out: &mut Vec<f32>) {
            out.clone_from(&self.0);
        }

        fn words(&self, _: &str, _: usize) -> Vec<u32> {
            unreachable!("no subset")
        }
    }
    let noise = Recorded(floats(&inputs["eps"]));
    let on_device = BatchRef::Host(&batch).tensors(DIMS, &Device::flex());
    let target = tensors::to_vec(td3.critic_target(&on_device, &noise));
    assert_close("target", &target, &floats(&outputs["target"]), 1e-5);
    let before_step = td3.critic.net.save();
    td3.update(Update { batch: BatchRef::Host(&batch), noise: &noise, dynamics: None, critic_only: false });

    let [after, before] = [&outputs["critic_after"], &before["critic"]].map(layers);
    let [after, before] = [&after, &before].map(|nets| nets.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_stepped("", &td3.critic.net.save(), &before_step, [&after, &before], DIMS[0]);
    for (net, name) in [(&td3.actor.net, "actor_after"), (&td3.actor.target, "actor_target_after")] {
        let (got, want) = (net.save(), network(&outputs[name]));
        want.iter()
            .for_each(|(path, _)| assert_close(&format!("{name} {path}"), &part(&got, path), &part(&want, path), 1e-5));
    }
}
