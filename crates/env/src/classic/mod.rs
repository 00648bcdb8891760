//! The classic control tasks, and variants of them. Those with Gymnasium's ids compute the same numbers as Gymnasium,
//! to the last bit.
//!
//! * [`task`]: the shared parts. A task is a state of a few numbers and its equations.
//! * [`pendulum`]: `Pendulum-v1`, swing a rod up and hold it there.
//! * [`mountain_car`]: `MountainCarContinuous-v0`, swing a car out of a valley.
//! * [`cart_pole`]: `CartPoleContinuous-v0`, keep a pole upright on a cart.
//! * [`cart_pole_swing_up`]: `CartPoleSwingUp-v0`, swing the pole of the cart up and keep it upright.
//! * [`acrobot`]: `AcrobotSwingUp-v0`, swing two links up by the joint between them.

pub mod acrobot;
pub mod cart_pole;
pub mod cart_pole_swing_up;
pub mod mountain_car;
pub mod pendulum;
pub mod task;

#[cfg(test)]
mod oracles;

pub use acrobot::AcrobotSwingUp;
pub use cart_pole::CartPoleContinuous;
pub use cart_pole_swing_up::CartPoleSwingUp;
pub use mountain_car::MountainCarContinuous;
pub use pendulum::Pendulum;
