//! The agent's values as decision-aware losses see them: V_n(s) = Q_n(s, tanh mu(s)), the action held fixed.
//!
//! Heads, in this order: critics 1 and 2, target critics 1 and 2; or the target critics alone (VaGraM's order).

use burn::tensor::Tensor;
use foresee_nn::ValueView;
use foresee_nn::host::is_host;

use crate::critic::Critic;
use crate::policy::Policy;

mod host;

/// A view of a policy and some critics.
#[derive(Clone, Debug)]
pub struct AgentValues<'a> {
    policy: &'a Policy,
    critics: Vec<&'a Critic>,
}

impl<'a> AgentValues<'a> {
    /// A view whose heads are the members of `critics`, in order.
    #[must_use]
    pub fn new(policy: &'a Policy, critics: Vec<&'a Critic>) -> Self {
        Self { policy, critics }
    }

    /// [`ValueView::value_gradients`] through autodiff, on any device.
    fn by_autodiff(&self, states: Tensor<2>) -> Tensor<3> {
        let states = states.inner();
        let action = self.policy.mean_action(states.clone());
        let gradients = self.critics.iter().map(|critic| {
            // One copy of the states a critic, so that no head's gradient is added to another's.
            let copies = states.clone().unsqueeze_dim::<3>(0).repeat(&[critic.members(), 1, 1]);
            let leaf = copies.autodiff().require_grad();
            let mut gradients = critic.values_at(leaf.clone(), action.clone()).sum().backward();
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
        let action = self.policy.mean_action(states.clone().inner());
        let values = self.critics.iter().map(|critic| critic.values(states.clone(), action.clone()));
        Tensor::cat(values.collect(), 0)
    }

    fn value_gradients(&self, states: Tensor<2>) -> Tensor<3> {
        if is_host(&states.device()) {
            host::value_gradients(self.policy, &self.critics, states.inner())
        } else {
            self.by_autodiff(states)
        }
    }
}
