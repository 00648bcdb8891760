//! What a value-aware model loss may ask of an agent: its values, and where they are steep.
//!
//! The trait stands here so that the world model and the agent need not know each other.

use burn::tensor::Tensor;

/// A state-value function with `N` heads, V_n(s) = Q_n(s, a(s)) for an actor-critic.
///
/// The action is held fixed: it is computed at `s` and enters the critics as a constant, so that a gradient is the
/// partial derivative of Q with respect to the state (as in VaGraM, pairlab/vagram @ f20a0a3).
pub trait ValueView {
    /// Heads, `N`.
    fn heads(&self) -> usize;

    /// `[B, O] -> [N, B]`, differentiable in `states` when they are tracked; the critics' weights are constants.
    fn values(&self, states: Tensor<2>) -> Tensor<2>;

    /// `[B, O] -> [N, B, O]`: ∂V_n/∂s at every row, outside autodiff.
    fn value_gradients(&self, states: Tensor<2>) -> Tensor<3>;
}
