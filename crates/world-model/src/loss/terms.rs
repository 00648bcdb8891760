//! What a loss knows of the agent, row by row of a training call.

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use foresee_core::Batch;
use foresee_nn::{ValueView, tensors};

use crate::gather::{gather_heads, numbers};

/// Rows whose values are taken at once: bounds the memory of one pass.
const ROWS_AT_ONCE: usize = 8192;

/// Numbers of every row, `[N, rows, K]`: `N` heads with `K` columns each. A loss says what they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowTerms {
    heads: usize,
    width: usize,
    values: Vec<f32>,
}

impl RowTerms {
    /// Numbers `[N, rows, K]` of `heads` heads and `width` columns, row-major.
    ///
    /// # Panics
    /// If they do not fill whole rows.
    #[track_caller]
    #[must_use]
    pub fn new(heads: usize, width: usize, values: Vec<f32>) -> Self {
        let whole = heads * width > 0 && values.len().is_multiple_of(heads * width);
        assert!(whole || values.is_empty(), "{} numbers of {heads} heads with {width} columns", values.len());
        Self { heads, width, values }
    }

    /// Heads, `N`; 0 where a loss has no terms.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Columns of a head, `K`.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads == 0
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.heads * self.width).unwrap_or(0)
    }

    /// One head's numbers, `[rows, K]`.
    #[must_use]
    pub fn head(&self, head: usize) -> &[f32] {
        let size = self.rows() * self.width;
        &self.values[head * size..][..size]
    }

    /// One head's numbers of one row, `[K]`.
    #[must_use]
    pub fn row(&self, head: usize, row: usize) -> &[f32] {
        &self.head(head)[row * self.width..][..self.width]
    }

    /// One head's numbers, to be changed, `[rows, K]`.
    pub fn head_mut(&mut self, head: usize) -> &mut [f32] {
        let size = self.rows() * self.width;
        &mut self.values[head * size..][..size]
    }

    /// The numbers of given rows, member by member: `[E, B]` indices -> `[N, E, B, K]`.
    #[must_use]
    pub fn gather(&self, indices: &[u32], members: usize, device: &Device) -> Tensor<4> {
        let rows = numbers(indices, device).reshape([members, indices.len() / members]);
        gather_heads(&self.tensor(device), &rows)
    }

    /// All of them on a device, `[N, rows, K]`.
    pub(crate) fn tensor(&self, device: &Device) -> Tensor<3> {
        tensors::from_vec(self.values.clone(), [self.heads, self.rows(), self.width], device)
    }
}

/// Transitions that are on the run's device already, with room for `C` rows.
#[derive(Clone, Copy, Debug)]
pub struct DeviceTransitions<'a> {
    /// `[C, O]`
    pub obs: &'a Tensor<2>,
    /// `[C, A]`
    pub action: &'a Tensor<2>,
    /// `[C]`
    pub reward: &'a Tensor<1>,
    /// `[C, O]`
    pub next_obs: &'a Tensor<2>,
}

/// The rows of a training call, as a loss asks the agent about them.
#[derive(Clone, Copy, Debug)]
pub struct CallRows<'a> {
    batch: &'a Batch,
    on_device: Option<DeviceTransitions<'a>>,
    device: &'a Device,
}

impl<'a> CallRows<'a> {
    /// Rows in host memory, for an agent on `device`.
    #[must_use]
    pub fn new(batch: &'a Batch, device: &'a Device) -> Self {
        Self { batch, on_device: None, device }
    }

    /// The same rows, which are on the device too.
    #[must_use]
    pub(crate) fn mirrored(self, on_device: Option<DeviceTransitions<'a>>) -> Self {
        Self { on_device, ..self }
    }

    /// The transitions.
    #[must_use]
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }

    /// Observation entries, `O`.
    #[must_use]
    pub fn obs_dim(&self) -> usize {
        self.batch.next_obs.len() / self.batch.rows
    }

    /// The true next states of some rows, `[B, O]`.
    #[must_use]
    pub fn next_obs(&self, rows: Range<usize>) -> Tensor<2> {
        let obs_dim = self.obs_dim();
        if let Some(all) = self.on_device {
            return all.next_obs.clone().narrow(0, rows.start, rows.len());
        }
        let states = self.batch.next_obs[rows.start * obs_dim..rows.end * obs_dim].to_vec();
        tensors::from_vec(states, [rows.len(), obs_dim], self.device)
    }

    /// V_n at every true next state, `[N, rows, 1]`.
    #[must_use]
    pub fn values(&self, view: &dyn ValueView) -> RowTerms {
        self.collect(view.heads(), 1, |states| tensors::to_vec(view.values(states)))
    }

    /// ∂V_n/∂s at every true next state, `[N, rows, O]`.
    #[must_use]
    pub fn value_gradients(&self, view: &dyn ValueView) -> RowTerms {
        self.collect(view.heads(), self.obs_dim(), |states| tensors::to_vec(view.value_gradients(states)))
    }

    /// Numbers `[N, rows, K]` from those of some rows at a time, `[B, O] -> [N, B, K]`.
    fn collect(&self, heads: usize, width: usize, of: impl Fn(Tensor<2>) -> Vec<f32>) -> RowTerms {
        let rows = self.batch.rows;
        let mut all = vec![0.0; heads * rows * width];
        for start in (0..rows).step_by(ROWS_AT_ONCE) {
            let end = (start + ROWS_AT_ONCE).min(rows);
            let part = of(self.next_obs(start..end));
            for (head, part) in part.chunks_exact((end - start) * width).enumerate() {
                all[(head * rows + start) * width..][..part.len()].copy_from_slice(part);
            }
        }
        RowTerms::new(heads, width, all)
    }
}
