//! What updates in host memory share: weights at hand, and panels of rows one after another
//! ([`foresee_nn::cpu::panels`]).

use foresee_nn::cpu::{LANES, Layout};

/// A network's layout and weights `[E, P]`.
#[derive(Clone, Copy)]
pub(crate) struct Net<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) weights: &'a [f32],
}

impl<'a> Net<'a> {
    /// One network's weights, `[P]`.
    pub(crate) fn member(&self, member: usize) -> &'a [f32] {
        &self.weights[member * self.layout.parameters()..][..self.layout.parameters()]
    }
}

/// Panel `panel` of panels of `width` features.
pub(crate) fn of_panel(all: &[f32], panel: usize, width: usize) -> &[f32] {
    &all[panel * width * LANES..][..width * LANES]
}

/// The same, to be changed.
pub(crate) fn of_panel_mut(all: &mut [f32], panel: usize, width: usize) -> &mut [f32] {
    &mut all[panel * width * LANES..][..width * LANES]
}
