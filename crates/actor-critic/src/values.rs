//! The agent's values as decision-aware losses see them: V_n(s) = Q_n(s, tanh mu(s)).
//!
//! Heads, in this order: critics 1 and 2, target critics 1 and 2; or the target critics alone (VaGraM's order). A
//! derivative by the state holds the action fixed, unless it is asked to go [through the
//! policy](AgentValues::through_policy).

use burn::tensor::Tensor;
use foresee_nn::host::is_host;
use foresee_nn::{Parameters, ValueView};

use crate::critic::Critic;
use crate::policy::Policy;

mod host;

/// A view of a policy and some critics.
#[derive(Debug)]
pub struct AgentValues<'a> {
    policy: &'a Policy,
    critics: Vec<&'a Critic>,
    through_policy: bool,
    /// The same networks, where memory is the host's.
    host: Option<host::Networks>,
}

impl<'a> AgentValues<'a> {
    /// A view whose heads are the members of `critics`, in order.
    #[must_use]
    pub fn new(policy: &'a Policy, critics: Vec<&'a Critic>) -> Self {
        let host = is_host(&policy.slot().get().device()).then(|| host::Networks::new(policy, &critics));
        Self { policy, critics, through_policy: false, host }
    }

    /// Whether a derivative by the state includes what the policy's action does: dQ/ds = ∂Q/∂s + ∂Q/∂a ∂a/∂s.
    #[must_use]
    pub fn through_policy(self, through_policy: bool) -> Self {
        Self { through_policy, ..self }
    }

    /// The mean action at states `[B, O]`, `[B, A]`: a constant to autodiff, or not.
    fn action(&self, states: Tensor<2>) -> Tensor<2> {
        self.policy.mean_action(if self.through_policy { states } else { states.inner() })
    }

    /// [`ValueView::value_gradients`] through autodiff, on any device.
    fn by_autodiff(&self, states: Tensor<2>) -> Tensor<3> {
        let states = states.inner();
        let [rows, obs_dim] = states.dims();
        let gradients = self.critics.iter().map(|critic| {
            // One copy of the states a critic, so that no head's gradient is added to another's.
            let members = critic.members();
            let leaf = states.clone().unsqueeze_dim::<3>(0).repeat(&[members, 1, 1]).autodiff().require_grad();
            let action = self.action(leaf.clone().reshape([members * rows, obs_dim]));
            let action_dim = action.dims()[1];
            let values = critic.values_at(leaf.clone(), action.reshape([members, rows, action_dim]));
            let mut gradients = values.sum().backward();
            leaf.grad_remove(&mut gradients).expect("the critics depend on the state")
        });
        Tensor::cat(gradients.collect(), 0)
    }
}

impl ValueView for AgentValues<'_> {
    fn heads(&self) -> usize {
        self.critics.iter().map(|critic| critic.members()).sum()
    }

    fn values(&self, states: Tensor<2>) -> Tensor<2> {
        let action = self.action(states.clone());
        let values = self.critics.iter().map(|critic| critic.values(states.clone(), action.clone()));
        Tensor::cat(values.collect(), 0)
    }

    fn value_gradients(&self, states: Tensor<2>) -> Tensor<3> {
        match &self.host {
            Some(networks) => networks.value_gradients(states.inner(), self.through_policy),
            None => self.by_autodiff(states),
        }
    }

    fn of_panel(&self, states: &[f32], values: &mut [f32], gradients: Option<&mut [f32]>) {
        let networks = self.host.as_ref().expect("panels are of host memory, where the networks are too");
        networks.of_panel(states, values, gradients, self.through_policy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AgentConfig;
    use burn::tensor::Device;
    use foresee_core::Stream;
    use foresee_nn::tensors;

    #[test]
    fn value_gradients_by_autodiff_and_in_host_memory_are_the_same() {
        let config = AgentConfig { hidden: vec![16, 16], ..AgentConfig::default() };
        let device = Device::flex();
        let (policy, critic) = (Policy::new(&config, [5, 2], 1, &device), Critic::new(&config, [5, 2], 2, &device));
        let states = tensors::from_vec(Stream::new(3, "states").normals(0, 37, 5), [37, 5], &device);
        let gradients = [false, true].map(|through_policy| {
            let view = AgentValues::new(&policy, vec![&critic, &critic]).through_policy(through_policy);
            let want = tensors::to_vec(view.by_autodiff(states.clone()));
            let got = tensors::to_vec(view.value_gradients(states.clone()));
            assert_eq!(got.len(), 4 * 37 * 5);
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                assert!((got - want).abs() <= 1e-6 * (1.0 + want.abs()), "[{i}]: {got}, expected {want}");
            }
            got
        });
        assert_ne!(gradients[0], gradients[1]);
    }
}
