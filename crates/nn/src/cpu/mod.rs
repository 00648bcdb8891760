//! The lower floor: the primitive on plain slices, for the processor at hand.
//!
//! No tensors, no autodiff. In the order a reader needs it:
//! * [`simd`]: which instructions there are, asked at run time; one source for all levels.
//! * [`math`]: exp, ln, tanh and their kin in a form that vectorises.
//! * [`layout`]: the shape of `E` networks, and where each number stands.
//! * [`panels`]: 32 rows at a time with features outermost, so that vectors run over rows.
//! * `gemm`: register tiles of matrix products.
//! * `layer`: the parts of a pass over one layer.
//! * `norms`: its normalisations.
//! * [`tape`]: one member's forward and backward pass over some panels.
//! * [`update`]: weight gradients, stored or fed to an optimiser step while they are in registers.
//! * [`train`]: a whole step of an ensemble, a member a thread.
//! * [`adam`]: the optimiser's rule, and the averaging of targets.
//! * [`team`]: work shared among threads, without a trace in the results.
//! * [`grouping`]: rows sorted by the member that each of them belongs to.
//! * [`random`]: the draws of a panel.
//! * [`scalar`]: the forward pass as its specification.
//!
//! Why not a packed product from a library: `docs/decisions/0010-the-compute-core.md`.

#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "loops over lanes and features of several arrays at once")]

pub mod adam;
mod gemm;
pub mod grouping;
mod layer;
pub mod layout;
pub mod math;
mod norms;
pub mod panels;
pub mod random;
pub mod scalar;
pub mod simd;
pub mod tape;
pub mod team;
pub mod train;
pub mod update;

/// Rows of a panel.
pub const LANES: usize = 32;

pub use adam::{AdamRule, adam, polyak};
pub use grouping::{Column, Grouping, Scattered};
pub use layout::{Activation, Layout, Part, Shape};
pub use tape::{Scratch, Tape, infer};
pub use train::{Piece, train};
pub use update::{Tapes, Weights, gradients, step};
