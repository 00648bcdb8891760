//! The lower level on the CPU: the primitive on plain slices.
//!
//! It uses no tensors and no autodiff. The modules, in reading order:
//! * [`simd`]: detection of the processor's instructions at run time; one source for all levels of them.
//! * [`math`]: exp, ln, tanh and related functions in a form that vectorises.
//! * [`layout`]: the shape of `E` networks, and the offset of each number.
//! * [`panels`]: 32 rows at a time with features outermost, so that vectors run over rows.
//! * `gemm`: register tiles of matrix products.
//! * `layer`: the parts of a pass over one layer.
//! * `norms`: the normalisations of a layer.
//! * [`tape`]: the forward and backward pass of one member over some panels.
//! * [`update`]: weight gradients, stored or used for an optimiser step while they are in registers.
//! * `sink`: the two receivers of these gradients.
//! * [`train`](mod@train): a complete optimiser step of an ensemble, with one thread per member.
//! * [`adam`](mod@adam): the optimiser's rule, and the averaging of target weights.
//! * [`team`]: work shared among threads; results do not depend on the number of threads.
//! * [`grouping`]: rows sorted by the member to which each of them belongs.
//! * [`random`]: the draws of a panel.
//! * [`scalar`]: the forward pass as a specification.
//!
//! Why it does not use a library's packed matrix product: `docs/decisions/0010-the-compute-core.md`.

#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "loops over rows and features of several arrays at once")]

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
mod sink;
pub mod tape;
pub mod team;
pub mod train;
pub mod update;

/// Number of rows in a panel.
pub const PANEL_ROWS: usize = 32;

pub use adam::{AdamRule, adam, polyak};
pub use grouping::{Column, Grouping, Scattered};
pub use layout::{Activation, Layout, Part, Shape};
pub(crate) use layout::{MIN_NORM, NORM_EPS};
pub use sink::Weights;
pub use tape::{Scratch, Tape, infer};
pub use train::{Piece, train};
pub use update::{Tapes, gradients, step};
