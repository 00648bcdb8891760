//! Row terms: the numbers that a loss needs from the agent for every row of a training call.

use std::ops::Range;
use std::sync::OnceLock;

use burn::tensor::{Device, Tensor};
use foresee_core::Batch;
use foresee_nn::host::is_host;
use foresee_nn::{ValueView, tensors};

use crate::gather::{gather_heads, numbers};

/// Number of rows whose values are computed together. It bounds the memory of one pass.
pub const VALUE_ROWS_PER_PASS: usize = 8192;

/// Numbers for every row, `[N, rows, K]`: `N` heads with `K` columns each. Their meaning depends on the loss. They are
/// stored in host memory, or on a device until they are first read on the host.
#[derive(Clone, Debug, Default)]
pub struct RowTerms {
    heads: usize,
    width: usize,
    rows: usize,
    /// The numbers in row-major order; read back from the device when they are first needed.
    host: OnceLock<Vec<f32>>,
    /// Parts along the rows, each small enough for the device's largest buffer.
    on_device: Vec<Tensor<3>>,
}

impl RowTerms {
    /// Returns row terms with the numbers `[N, rows, K]` of `heads` heads and `width` columns, in row-major order.
    ///
    /// # Panics
    /// If the numbers do not fill whole rows.
    #[track_caller]
    #[must_use]
    pub fn new(heads: usize, width: usize, values: Vec<f32>) -> Self {
        let size = heads * width;
        let whole = size > 0 && values.len().is_multiple_of(size);
        assert!(whole || values.is_empty(), "{} numbers of {heads} heads with {width} columns", values.len());
        let rows = values.len().checked_div(size).unwrap_or(0);
        Self { heads, width, rows, host: values.into(), on_device: Vec::new() }
    }

    /// Returns row terms with the numbers `[N, rows, K]`, which stay on their device.
    #[must_use]
    pub fn on_device(values: Tensor<3>) -> Self {
        Self::in_parts(vec![values])
    }

    /// Returns row terms from at least one part along the rows, which stay on their device.
    fn in_parts(parts: Vec<Tensor<3>>) -> Self {
        let [heads, _, width] = parts[0].dims();
        let rows = parts.iter().map(|part| part.dims()[1]).sum();
        Self { heads, width, rows, host: OnceLock::new(), on_device: parts }
    }

    /// Returns the number of heads, `N`; 0 if the loss has no terms.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Returns the number of columns per head, `K`.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns true if there are no terms.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads == 0
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns all numbers in row-major order.
    fn values(&self) -> &[f32] {
        self.host.get_or_init(|| {
            let parts = self.on_device.iter().map(|part| tensors::to_vec(part.clone()));
            joined(parts, [self.heads, self.rows, self.width])
        })
    }

    /// Returns one head's numbers, `[rows, K]`.
    #[must_use]
    pub fn head(&self, head: usize) -> &[f32] {
        let size = self.rows * self.width;
        &self.values()[head * size..][..size]
    }

    /// Returns one head's numbers for one row, `[K]`.
    #[must_use]
    pub fn row(&self, head: usize, row: usize) -> &[f32] {
        &self.head(head)[row * self.width..][..self.width]
    }

    /// Returns one head's numbers, `[rows, K]`, for changes in host memory.
    pub fn head_mut(&mut self, head: usize) -> &mut [f32] {
        let size = self.rows * self.width;
        self.values();
        self.on_device.clear();
        &mut self.host.get_mut().expect("numbers that were looked at")[head * size..][..size]
    }

    /// Returns the terms of chosen rows on `device`, `[N, E, B, K]`. `indices` are the rows `[E, B]`, member by member.
    #[must_use]
    pub fn gather(&self, indices: &[u32], members: usize, device: &Device) -> Tensor<4> {
        let rows = numbers(indices, device).reshape([members, indices.len() / members]);
        gather_heads(&self.tensor(device), &rows)
    }

    /// Returns all numbers on a device, `[N, rows, K]`. They are sent there unless they are there already.
    pub(crate) fn tensor(&self, device: &Device) -> Tensor<3> {
        match self.on_device.as_slice() {
            [] => tensors::from_vec(self.values().to_vec(), [self.heads, self.rows, self.width], device),
            [values] => values.clone(),
            parts => Tensor::cat(parts.to_vec(), 1),
        }
    }
}

/// The transitions of the replay buffer on the run's device, in tensors with capacity for `C` rows.
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

/// The rows of a training call, from which a loss computes its row terms.
#[derive(Clone, Copy, Debug)]
pub struct CallRows<'a> {
    batch: &'a Batch,
    on_device: Option<DeviceTransitions<'a>>,
    device: &'a Device,
}

impl<'a> CallRows<'a> {
    /// Returns rows in host memory, for an agent on `device`.
    #[must_use]
    pub fn new(batch: &'a Batch, device: &'a Device) -> Self {
        Self { batch, on_device: None, device }
    }

    /// Adds a copy of the rows that is on the device.
    #[must_use]
    pub(crate) fn with_device_copy(self, on_device: Option<DeviceTransitions<'a>>) -> Self {
        Self { on_device, ..self }
    }

    /// Returns the transitions.
    #[must_use]
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }

    /// Returns the number of observation entries, `O`.
    #[must_use]
    pub fn obs_dim(&self) -> usize {
        self.batch.next_obs.len() / self.batch.rows
    }

    /// Returns the true next states of a range of rows, `[B, O]`.
    #[must_use]
    pub fn next_obs(&self, rows: Range<usize>) -> Tensor<2> {
        let obs_dim = self.obs_dim();
        if let Some(all) = self.on_device {
            return all.next_obs.clone().narrow(0, rows.start, rows.len());
        }
        let states = self.batch.next_obs[rows.start * obs_dim..rows.end * obs_dim].to_vec();
        tensors::from_vec(states, [rows.len(), obs_dim], self.device)
    }

    /// Computes V_n at every true next state, `[N, rows, 1]`.
    #[must_use]
    pub fn values(&self, view: &dyn ValueView) -> RowTerms {
        self.collect(view.heads(), 1, |states| view.values(states).unsqueeze_dim(2))
    }

    /// Computes ∂V_n/∂s at every true next state, `[N, rows, O]`.
    #[must_use]
    pub fn value_gradients(&self, view: &dyn ValueView) -> RowTerms {
        self.collect(view.heads(), self.obs_dim(), |states| view.value_gradients(states))
    }

    /// Computes `of`, `[B, O] -> [N, B, K]`, at all true next states, in parts of the rows: `[N, rows, K]`. On a device
    /// other than the host the result stays there.
    fn collect(&self, heads: usize, width: usize, of: impl Fn(Tensor<2>) -> Tensor<3>) -> RowTerms {
        let rows = self.batch.rows;
        let parts = (0..rows).step_by(VALUE_ROWS_PER_PASS).map(|start| start..(start + VALUE_ROWS_PER_PASS).min(rows));
        if !is_host(self.device) {
            return RowTerms::in_parts(parts.map(|rows| of(self.next_obs(rows))).collect());
        }
        let all = joined(parts.map(|rows| tensors::to_vec(of(self.next_obs(rows)))), [heads, rows, width]);
        RowTerms::new(heads, width, all)
    }
}

/// Joins parts along the rows to numbers `[N, rows, K]`.
fn joined(parts: impl Iterator<Item = Vec<f32>>, [heads, rows, width]: [usize; 3]) -> Vec<f32> {
    let (mut all, mut start) = (vec![0.0; heads * rows * width], 0);
    for part in parts {
        let of_head = part.len() / heads.max(1);
        for (head, numbers) in part.chunks_exact(of_head.max(1)).enumerate() {
            all[head * rows * width + start..][..of_head].copy_from_slice(numbers);
        }
        start += of_head;
    }
    all
}
