//! Failures of a GPU during work: an error if the device caused the panic, and otherwise the panic itself.

#![cfg(feature = "wgpu")]

use std::panic;

use burn::tensor::Tensor;
use foresee_nn::cube::tensor::{self, empty};
use foresee_nn::device::{guarded, largest_buffer, wgpu_of_test};
use foresee_nn::tensors;

#[test]
fn a_panic_of_the_work_itself_goes_through_on_a_device_that_answers() {
    let Some(gpu) = wgpu_of_test("a_panic_of_the_work_itself_goes_through_on_a_device_that_answers") else { return };
    assert_eq!(guarded(&gpu, || 3), Ok(3));
    let payload = panic::catch_unwind(|| guarded(&gpu, || panic!("a mistake"))).expect_err("a panic");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"a mistake"));
}

#[test]
fn a_buffer_that_a_device_refuses_is_an_error_and_the_device_goes_on() {
    let Some(gpu) = wgpu_of_test("a_buffer_that_a_device_refuses_is_an_error_and_the_device_goes_on") else { return };
    let most = largest_buffer(&gpu).expect("a GPU's bound") as usize;
    let failure = guarded(&gpu, || {
        let large = tensor::tensor::<1>(empty(&[most / 4 + 1024], &gpu));
        tensors::to_vec(large.add_scalar(1.0).narrow(0, 0, 1))
    });
    let failure = failure.expect_err("a buffer beyond the device's bound");
    assert!(failure.is_out_of_memory() && !failure.reason.contains('\n'), "{failure}");
    assert_eq!(guarded(&gpu, || tensors::to_vec(Tensor::<1>::ones([2], &gpu))), Ok(vec![1.0; 2]));
}
