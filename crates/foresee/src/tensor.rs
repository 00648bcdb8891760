//! Tensors, devices, and the conversion between tensors and plain numbers.
//!
//! A tensor is a [Burn](https://burn.dev) tensor, `Tensor<D>` with `D` axes, on the device of a run. The whole crate
//! Burn is re-exported as [`burn`]. A device is opened by its name in a config ([`DeviceChoice`]).
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
