//! The agent's values for decision-aware losses: V_n(s) = Q_n(s, a(s)), where a(s) is the actor's mean action.
//!
//! The heads are the critics followed by the target critics, or the target critics alone; this is VaGraM's order. A
//! derivative with respect to the state holds the action fixed, unless the view goes [through the
//! policy](AgentValues::through_policy).
//!
//! If the actor is a [`Policy`](crate::Policy) in host memory, gradients and panels are computed without tensors and
//! without a graph (`values/host.rs`). Otherwise autodiff computes them.

use std::borrow::Cow;

use burn::tensor::Tensor;
use foresee_nn::host::is_host;
use foresee_nn::{Parameters, ValueHeads, ValueView};

use crate::actor::Actor;
use crate::critic::Critic;
use crate::preparation::Preparation;

mod host;

/// A view of the values of an actor and its critics.
pub struct AgentValues<'a> {
    actor: &'a dyn Actor,
    critics: Vec<Cow<'a, Critic>>,
    through_policy: bool,
    /// Copies of the networks for the host form, if the actor is a policy in host memory.
    host: Option<host::HostNetworks>,
}

impl<'a> AgentValues<'a> {
    /// Returns a view whose heads are the members of `critics`, in order.
    #[must_use]
    pub fn new(actor: &'a dyn Actor, critics: Vec<&'a Critic>) -> Self {
        Self::with(actor, critics.into_iter().map(Cow::Borrowed).collect())
    }

    /// Returns a view of critics that may be owned. An agent whose networks see scaled observations passes converted
    /// copies.
    #[must_use]
    pub fn with(actor: &'a dyn Actor, critics: Vec<Cow<'a, Critic>>) -> Self {
        let policy = actor.policy().filter(|policy| is_host(&policy.slot().get().device()));
        let host = policy.map(|policy| host::HostNetworks::new(policy, &critics));
        Self { actor, critics, through_policy: false, host }
    }

    /// Returns a view of the given heads, for an agent with these critics and target critics.
    #[must_use]
    pub fn of(heads: ValueHeads, actor: &'a dyn Actor, critic: &'a Critic, target: &'a Critic) -> Self {
        Self::new(
            actor,
            match heads {
                ValueHeads::All => vec![critic, target],
                ValueHeads::Target => vec![target],
            },
        )
    }

    /// Returns a view of the given heads, for an agent whose critics see prepared observations and rewards. Its values
    /// are functions of the task's own observations, in the task's own reward units.
    #[must_use]
    pub fn prepared(
        heads: ValueHeads,
        actor: &'a dyn Actor,
        critic: &'a Critic,
        target: &'a Critic,
        preparation: &Preparation,
    ) -> Self {
        if preparation.is_none() {
            return Self::of(heads, actor, critic, target);
        }
        let (scale, unit) = (preparation.scale().map(|scale| &**scale), preparation.unit());
        let critics = match heads {
            ValueHeads::All => vec![critic, target],
            ValueHeads::Target => vec![target],
        };
        Self::with(actor, critics.into_iter().map(|critic| Cow::Owned(critic.folded(scale, [unit, 0.0]))).collect())
    }

    /// Sets whether a derivative with respect to the state includes the change of the action: dQ/ds = ∂Q/∂s + ∂Q/∂a
    /// ∂a/∂s.
    #[must_use]
    pub fn through_policy(self, through_policy: bool) -> Self {
        Self { through_policy, ..self }
    }

    /// The mean actions `[B, A]` at states `[B, O]`; constant for autodiff unless the view goes through the policy.
    fn action(&self, states: Tensor<2>) -> Tensor<2> {
        self.actor.mean(if self.through_policy { states } else { states.inner() })
    }

    /// Computes [`ValueView::value_gradients`] by autodiff, on any device. Rows are processed in pieces that fit the
    /// device's buffers.
    fn by_autodiff(&self, states: Tensor<2>) -> Tensor<3> {
        let states = states.inner();
        let rows = states.dims()[0];
        let actor_rows = self.actor.policy().filter(|_| self.through_policy).and_then(|p| p.net().max_rows_per_pass());
        let largest = self.critics.iter().filter_map(|critic| {
            let actor_rows = actor_rows.map(|rows| (rows / critic.members()).max(1));
            critic.net.max_rows_per_pass().into_iter().chain(actor_rows).min()
        });
        let largest = largest.min().unwrap_or(rows).max(1);
        if rows <= largest {
            return self.gradients_of(states);
        }
        let parts = (0..rows)
            .step_by(largest)
            .map(|at| self.gradients_of(states.clone().narrow(0, at, largest.min(rows - at))));
        Tensor::cat(parts.collect(), 1)
    }

    fn gradients_of(&self, states: Tensor<2>) -> Tensor<3> {
        let [rows, obs_dim] = states.dims();
        let gradients = self.critics.iter().map(|critic| {
            // Each critic has its own copy of the states, so that gradients of different heads are not added up.
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
        match &self.host {
            Some(networks) => networks.of_panel(states, values, gradients, self.through_policy),
            None => ByTensors(self).of_panel(states, values, gradients),
        }
    }
}

/// This view with the default form for panels.
struct ByTensors<'a>(&'a AgentValues<'a>);

impl ValueView for ByTensors<'_> {
    fn heads(&self) -> usize {
        self.0.heads()
    }

    fn values(&self, states: Tensor<2>) -> Tensor<2> {
        self.0.values(states)
    }

    fn value_gradients(&self, states: Tensor<2>) -> Tensor<3> {
        self.0.value_gradients(states)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;
    use crate::policy::Policy;
    use burn::tensor::Device;
    use foresee_core::Stream;
    use foresee_nn::cpu::PANEL_ROWS;
    use foresee_nn::tensors;

    #[test]
    fn value_gradients_by_autodiff_and_in_host_memory_are_the_same() {
        let body = Body { hidden: vec![16, 16], ..Body::default() };
        let device = Device::flex();
        let (policy, critic) = (Policy::new(&body, [5, 2], 1, &device), Critic::new(2, &body, [5, 2], 2, &device));
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

    /// A policy whose `Actor::policy` returns `None`.
    struct Veiled<'a>(&'a Policy);

    impl Actor for Veiled<'_> {
        fn action_dim(&self) -> usize {
            self.0.action_dim()
        }

        fn sample(&self, obs: Tensor<2>, noise: Tensor<2>) -> Tensor<2> {
            self.0.sample(obs, noise).action
        }

        fn mean(&self, obs: Tensor<2>) -> Tensor<2> {
            self.0.mean_action(obs)
        }
    }

    #[test]
    fn any_actor_has_the_values_and_gradients_of_a_policy_with_the_same_actions() {
        let body = Body { hidden: vec![16], ..Body::default() };
        let device = Device::flex();
        let (policy, critic) = (Policy::new(&body, [3, 2], 1, &device), Critic::new(3, &body, [3, 2], 2, &device));
        let veiled = Veiled(&policy);
        let states = Stream::new(3, "states").normals(0, 3, PANEL_ROWS);
        for through_policy in [false, true] {
            let [got, want] = [&veiled as &dyn Actor, &policy].map(|actor| {
                let view = AgentValues::new(actor, vec![&critic]).through_policy(through_policy);
                let (mut values, mut gradients) = (vec![0.0; 3 * PANEL_ROWS], vec![0.0; 3 * states.len()]);
                view.of_panel(&states, &mut values, Some(&mut gradients));
                [values, gradients].concat()
            });
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                assert!((got - want).abs() <= 1e-6 * (1.0 + want.abs()), "[{i}]: {got}, expected {want}");
            }
        }
    }
}
