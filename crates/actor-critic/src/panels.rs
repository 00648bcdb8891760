//! Helpers for updates in host memory: a network's weights as a slice, and access to panels of rows stored one after
//! another ([`foresee_nn::cpu::panels`]).

use foresee_nn::cpu::{Layout, PANEL_ROWS};

/// A network's layout, and the weights `[E, P]` of its `E` members with `P` parameters each.
#[derive(Clone, Copy)]
pub(crate) struct Net<'a> {
    /// The layout of one member's weights.
    pub(crate) layout: &'a Layout,
    /// `[E, P]`
    pub(crate) weights: &'a [f32],
}

impl<'a> Net<'a> {
    /// Weights of one member, `[P]`.
    pub(crate) fn member(&self, member: usize) -> &'a [f32] {
        self.layout.member(self.weights, member)
    }
}

/// Returns panel number `panel` from an array of panels with `width` features each.
pub(crate) fn panel_at(all: &[f32], panel: usize, width: usize) -> &[f32] {
    &all[panel * width * PANEL_ROWS..][..width * PANEL_ROWS]
}

/// Returns panel number `panel` from an array of panels with `width` features each, mutable.
pub(crate) fn panel_at_mut(all: &mut [f32], panel: usize, width: usize) -> &mut [f32] {
    &mut all[panel * width * PANEL_ROWS..][..width * PANEL_ROWS]
}
