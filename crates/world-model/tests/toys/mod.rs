//! A value function in closed form.

use burn::tensor::{Device, Tensor};
use foresee_core::Stream;
use foresee_nn::cpu::PANEL_ROWS;
use foresee_nn::{ValueView, tensors};

/// The value function V_n(s) = Σ_d (½ curvature_nd s_d² + slope_nd s_d).
pub(crate) struct Quadratic {
    pub heads: usize,
    pub obs_dim: usize,
    /// `[N, O]`
    pub curvature: Vec<f32>,
    /// `[N, O]`
    pub slope: Vec<f32>,
}

impl Quadratic {
    /// Returns a value function with standard normal coefficients.
    pub(crate) fn random(heads: usize, obs_dim: usize) -> Self {
        let draw = |name| Stream::new(11, name).normals(0, heads, obs_dim);
        Self { heads, obs_dim, curvature: draw("curvature"), slope: draw("slope") }
    }

    fn coefficients(&self, values: &[f32], device: &Device) -> Tensor<3> {
        tensors::from_vec(values.to_vec(), [self.heads, 1, self.obs_dim], device)
    }
}

impl ValueView for Quadratic {
    fn heads(&self) -> usize {
        self.heads
    }

    fn values(&self, states: Tensor<2>) -> Tensor<2> {
        let (states, device) = (states.clone().unsqueeze_dim::<3>(0), states.device().inner());
        let bend = self.coefficients(&self.curvature, &device).mul_scalar(0.5) * states.clone().square();
        (bend + self.coefficients(&self.slope, &device) * states).sum_dim(2).squeeze_dim(2)
    }

    /// Computes the gradients head by head by autodiff of [`ValueView::values`], as a second way to the closed form.
    fn value_gradients(&self, states: Tensor<2>) -> Tensor<3> {
        let gradients = (0..self.heads).map(|head| {
            let leaf = states.clone().autodiff().require_grad();
            let gradients = self.values(leaf.clone()).narrow(0, head, 1).sum().backward();
            leaf.grad(&gradients).expect("values depend on the states").unsqueeze_dim(0)
        });
        Tensor::cat(gradients.collect(), 0)
    }

    /// Computes the closed form without allocating memory.
    fn of_panel(&self, states: &[f32], values: &mut [f32], mut gradients: Option<&mut [f32]>) {
        values.fill(0.0);
        for (i, (curvature, slope)) in self.curvature.iter().zip(&self.slope).enumerate() {
            let (head, d) = (i / self.obs_dim, i % self.obs_dim);
            for (j, s) in states[d * PANEL_ROWS..][..PANEL_ROWS].iter().enumerate() {
                values[head * PANEL_ROWS + j] += 0.5 * curvature * s * s + slope * s;
                if let Some(gradients) = &mut gradients {
                    gradients[i * PANEL_ROWS + j] = curvature * s + slope;
                }
            }
        }
    }
}
