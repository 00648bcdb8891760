//! Value gradients compared with oracles: central differences of a second implementation, and autodiff of the values;
//! and tests of what must not influence them.

use burn::tensor::{Device, Tensor};
use foresee_actor_critic::{AgentValues, Body, Critic, Policy};
use foresee_core::Stream;
use foresee_nn::cpu::{PANEL_ROWS, panels};
use foresee_nn::{Parameters, ValueView, tensors};

/// Observation entries, action entries and rows: sizes of one, odd sizes and prime sizes.
const SIZES: [[usize; 3]; 6] = [[1, 1, 1], [3, 2, 1], [1, 3, 5], [4, 1, 7], [5, 3, 13], [11, 2, 3]];

/// A policy, two critics, and two target critics with other weights.
struct Agent {
    policy: Policy,
    critic: Critic,
    target: Critic,
    normalized_features: bool,
}

impl Agent {
    fn new(dims: [usize; 2], normalized_features: bool) -> Self {
        let body = Body { hidden: vec![16, 16], normalized_features, ..Body::default() };
        let device = Device::flex();
        Self {
            policy: Policy::new(&body, dims, 1, &device),
            critic: Critic::new(2, &body, dims, 2, &device),
            target: Critic::new(2, &body, dims, 3, &device),
            normalized_features,
        }
    }

    fn values(&self) -> AgentValues<'_> {
        AgentValues::new(&self.policy, vec![&self.critic, &self.target])
    }
}

fn states(rows: usize, obs_dim: usize) -> Vec<f32> {
    Stream::new(5, "states").normals(0, rows, obs_dim)
}

fn tensor(values: &[f32], columns: usize) -> Tensor<2> {
    tensors::from_vec(values.to_vec(), [values.len() / columns, columns], &Device::flex())
}

/// One critic, evaluated by scalar loops in f64.
struct Reference {
    /// Weight `[I, O]` and bias `[O]` of every layer.
    layers: Vec<(Vec<f64>, Vec<f64>)>,
    normalized_features: bool,
}

impl Reference {
    fn new(critic: &Critic, member: usize, normalized_features: bool) -> Self {
        let mut state = critic.save();
        let mut member_of = |name: String| {
            let (shape, values) = state.f32s(&name).expect("a parameter");
            let size = shape[1] * shape[2];
            values[member * size..][..size].iter().map(|&x| f64::from(x)).collect()
        };
        let layers = (0..critic.parts().len() / 2)
            .map(|i| (member_of(format!("weight.{i}")), member_of(format!("bias.{i}"))))
            .collect();
        Self { layers, normalized_features }
    }

    fn value(&self, state: &[f64], action: &[f64]) -> f64 {
        let mut x = [state, action].concat();
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            let last = i + 1 == self.layers.len();
            if last && self.normalized_features {
                let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
                x.iter_mut().for_each(|x| *x /= norm);
            }
            let outputs = bias.len();
            x = (0..outputs)
                .map(|o| {
                    let y = bias[o] + x.iter().enumerate().map(|(k, x)| x * weight[k * outputs + o]).sum::<f64>();
                    if last { y } else { y.max(0.0) }
                })
                .collect();
        }
        x[0]
    }

    /// Returns ∂Q/∂s at a fixed action by central differences. In f64 a step of 1e-6 has an error of about 1e-10, far
    /// below the resolution of f32. The step is so small that no ReLU kink lies within it at the random states used
    /// here.
    fn state_gradient(&self, state: &[f32], action: &[f32]) -> Vec<f64> {
        const STEP: f64 = 1e-6;
        let widen = |values: &[f32]| -> Vec<f64> { values.iter().map(|&x| f64::from(x)).collect() };
        let (state, action) = (widen(state), widen(action));
        let moved = |d: usize, step: f64| {
            let mut state = state.clone();
            state[d] += step;
            self.value(&state, &action)
        };
        (0..state.len()).map(|d| (moved(d, STEP) - moved(d, -STEP)) / (2.0 * STEP)).collect()
    }
}

/// Asserts equality up to f32 rounding in sums of a few dozen terms of order one; the measured difference is 2e-7.
#[track_caller]
fn assert_near(what: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(got) - want).abs() <= 1e-6 * (1.0 + want.abs()), "{what}[{i}]: {got}, expected {want}");
    }
}

fn widen(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

#[test]
fn value_gradients_are_every_critics_finite_differences_at_the_fixed_mean_action() {
    for [obs_dim, action_dim, rows] in SIZES {
        for normalized in [false, true] {
            let agent = Agent::new([obs_dim, action_dim], normalized);
            let states = states(rows, obs_dim);
            let actions = tensors::to_vec(agent.policy.mean_action(tensor(&states, obs_dim)));
            let got = agent.values().value_gradients(tensor(&states, obs_dim));
            assert_eq!(got.dims(), [4, rows, obs_dim]);
            let heads = [(&agent.critic, 0), (&agent.critic, 1), (&agent.target, 0), (&agent.target, 1)];
            for ((head, (critic, member)), got) in
                heads.into_iter().enumerate().zip(tensors::to_vec(got).chunks_exact(rows * obs_dim))
            {
                let reference = Reference::new(critic, member, agent.normalized_features);
                let pairs = states.chunks_exact(obs_dim).zip(actions.chunks_exact(action_dim));
                let want: Vec<f64> = pairs.flat_map(|(s, a)| reference.state_gradient(s, a)).collect();
                assert_near(&format!("head {head}, {rows} rows, O = {obs_dim}, A = {action_dim}"), got, &want);
            }
        }
    }
}

#[test]
fn value_gradients_are_what_autodiff_of_the_values_gives_head_by_head() {
    for [obs_dim, action_dim, rows] in SIZES {
        for [normalized, through_policy] in [[false, false], [true, false], [false, true], [true, true]] {
            let agent = Agent::new([obs_dim, action_dim], normalized);
            let view = agent.values().through_policy(through_policy);
            let states = tensor(&states(rows, obs_dim), obs_dim);
            let gradients = view.value_gradients(states.clone());
            for head in 0..view.heads() {
                let leaf = states.clone().autodiff().require_grad();
                let backward = view.values(leaf.clone()).narrow(0, head, 1).sum().backward();
                let want = leaf.grad(&backward).expect("values depend on the states");
                let got = tensors::to_vec(gradients.clone().narrow(0, head, 1));
                assert_near(&format!("head {head}, {rows} rows"), &got, &widen(tensors::to_vec(want)));
            }
        }
    }
}

#[test]
fn a_panel_has_the_values_and_the_gradients_of_its_rows() {
    for [obs_dim, action_dim, _] in SIZES {
        for [normalized, through_policy] in [[false, false], [true, false], [false, true], [true, true]] {
            let agent = Agent::new([obs_dim, action_dim], normalized);
            let view = agent.values().through_policy(through_policy);
            let rows = states(PANEL_ROWS, obs_dim);
            let mut panel = vec![0.0; rows.len()];
            panels::pack(&rows, obs_dim, &mut panel);
            let (mut values, mut gradients) = (vec![f32::NAN; 4 * PANEL_ROWS], vec![f32::NAN; 4 * rows.len()]);
            view.of_panel(&panel, &mut values, Some(&mut gradients));
            assert_near("values", &values, &widen(tensors::to_vec(view.values(tensor(&rows, obs_dim)))));
            let want = widen(tensors::to_vec(view.value_gradients(tensor(&rows, obs_dim))));
            let mut got = vec![0.0; gradients.len()];
            for (panel, rows) in gradients.chunks_exact(rows.len()).zip(got.chunks_exact_mut(rows.len())) {
                panels::unpack(panel, obs_dim, rows);
            }
            assert_near("gradients", &got, &want);
            let mut alone = vec![f32::NAN; values.len()];
            view.of_panel(&panel, &mut alone, None);
            assert_eq!(alone, values, "without gradients");
        }
    }
}

#[test]
fn a_rows_value_gradient_depends_on_neither_its_neighbours_nor_its_place() {
    for [obs_dim, action_dim, rows] in SIZES {
        let agent = Agent::new([obs_dim, action_dim], true);
        let view = agent.values();
        let states = states(rows, obs_dim);
        let gradients = |states: &[f32]| tensors::to_vec(view.value_gradients(tensor(states, obs_dim)));
        let together = gradients(&states);
        let order = Stream::new(5, "order").at(0, 0).permutation(rows);
        let shuffled: Vec<f32> = order.iter().flat_map(|&row| &states[row * obs_dim..][..obs_dim]).copied().collect();
        let shuffled = gradients(&shuffled);
        for (place, &row) in order.iter().enumerate() {
            let alone = gradients(&states[row * obs_dim..][..obs_dim]);
            for head in 0..view.heads() {
                let at = |place: usize| (head * rows + place) * obs_dim;
                let want = widen(alone[head * obs_dim..][..obs_dim].to_vec());
                assert_near(&format!("head {head}, row {row} among others"), &together[at(row)..][..obs_dim], &want);
                assert_near(&format!("head {head}, row {row} at {place}"), &shuffled[at(place)..][..obs_dim], &want);
            }
        }
    }
}

#[test]
fn the_heads_are_the_critics_members_in_the_order_they_were_given() {
    let agent = Agent::new([3, 2], false);
    let states = tensor(&states(5, 3), 3);
    let action = agent.policy.mean_action(states.clone());
    let values = agent.values().values(states.clone());
    for (critic, first) in [(&agent.critic, 0), (&agent.target, 2)] {
        let want = tensors::to_vec(critic.values(states.clone(), action.clone()));
        assert_eq!(tensors::to_vec(values.clone().narrow(0, first, 2)), want);
        let alone = AgentValues::new(&agent.policy, vec![critic]);
        assert_eq!(alone.heads(), 2);
        assert_eq!(tensors::to_vec(alone.values(states.clone())), want);
    }
}
