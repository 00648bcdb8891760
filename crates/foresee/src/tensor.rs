//! Tensors, the devices that they live on, and the ways to and from plain numbers.
//!
//! Tensors are [Burn](https://burn.dev)'s, `Tensor<D>` with `D` axes, for whichever device a run is on; the whole crate
//! is [`burn`]. A device is opened by its word in a config ([`DeviceChoice`]).
//!
//! ```
//! use foresee::tensor::{DeviceChoice, from_vec, to_vec};
//!
//! let device = DeviceChoice::Cpu.open()?;
//! let x = from_vec(vec![1.0, 2.0, 3.0, 4.0], [2, 2], &device);
//! assert_eq!(to_vec(x.square().sum_dim(1)), [5.0, 25.0]);
//! # Ok::<(), foresee::tensor::DeviceError>(())
//! ```

pub use burn;
pub use burn::tensor::{Device, Int, Tensor, activation};
pub use foresee_nn::device::{DeviceChoice, DeviceError};
pub use foresee_nn::tensors::{from_vec, to_f32, to_vec};
