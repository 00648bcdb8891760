//! MuJoCo's data of a model, with the functions that read and advance it, as safe Rust.

use core::ffi::{CStr, c_int};
use core::ptr::NonNull;
use std::path::Path;
use std::sync::Arc;

use super::library::MjData;
use super::model::Model;
use crate::error::MujocoError;

/// `mjData` of a model, with the functions that use both.
pub(super) struct Data {
    pointer: NonNull<MjData>,
    model: Arc<Model>,
}

// SAFETY: data is not tied to the thread that made it, the pointer is the only one to it, and the model is `Sync`.
// `Data` is not `Sync`, so that no two threads use the same data.
#[allow(unsafe_code, reason = "MuJoCo's own promise about threads")]
unsafe impl Send for Data {}

#[allow(unsafe_code, reason = "calls into MuJoCo")]
impl Data {
    /// Makes the data of a model, in the state of the model file. `path` is the file, for the error.
    pub(super) fn new(model: Arc<Model>, path: &Path) -> Result<Self, MujocoError> {
        // SAFETY: the model is live, because `model` owns it.
        let pointer = unsafe { (model.library.make_data)(model.pointer.as_ptr()) };
        let Some(pointer) = NonNull::new(pointer) else {
            return Err(MujocoError::Model { path: path.into(), reason: "not enough memory for its data".into() });
        };
        Ok(Self { pointer, model })
    }

    pub(super) fn reset(&mut self) {
        // SAFETY: `self` owns model and data, so both are live. The data was made from this model, and `&mut self`
        // excludes any other use of it.
        unsafe { (self.model.library.reset_data)(self.model.pointer.as_ptr(), self.pointer.as_ptr()) }
    }

    pub(super) fn forward(&mut self) {
        // SAFETY: `self` owns model and data, so both are live. The data was made from this model, and `&mut self`
        // excludes any other use of it.
        unsafe { (self.model.library.forward)(self.model.pointer.as_ptr(), self.pointer.as_ptr()) }
    }

    pub(super) fn step(&mut self) {
        // SAFETY: `self` owns model and data, so both are live. The data was made from this model, and `&mut self`
        // excludes any other use of it.
        unsafe { (self.model.library.step)(self.model.pointer.as_ptr(), self.pointer.as_ptr()) }
    }

    /// Copies the parts of the state with these bits.
    #[track_caller]
    pub(super) fn get(&self, bits: c_int, values: &mut [f64]) {
        self.check(bits, values.len());
        let (model, data) = (self.model.pointer.as_ptr(), self.pointer.as_ptr());
        // SAFETY: `self` owns model and data, so both are live, and the data was made from this model. The call reads
        // the data and writes `mj_stateSize(model, bits)` values, which is the length of the buffer, as checked above.
        unsafe { (self.model.library.get_state)(model, data, values.as_mut_ptr(), bits) }
    }

    /// Sets the parts of the state with these bits.
    #[track_caller]
    pub(super) fn set(&mut self, bits: c_int, values: &[f64]) {
        self.check(bits, values.len());
        let (model, data) = (self.model.pointer.as_ptr(), self.pointer.as_ptr());
        // SAFETY: `self` owns model and data, so both are live, the data was made from this model, and `&mut self`
        // excludes any other use of it. The call reads `mj_stateSize(model, bits)` values, which is the length of the
        // buffer, as checked above.
        unsafe { (self.model.library.set_state)(model, data, values.as_ptr(), bits) }
    }

    #[track_caller]
    fn check(&self, bits: c_int, length: usize) {
        assert_eq!(length, self.model.state_size(bits), "values for the state signature {bits:#b}");
    }

    /// Returns the position of a body as MuJoCo last computed it; `None` if the model has no such body.
    pub(super) fn body_position(&self, name: &CStr) -> Option<[f64; 3]> {
        let body = self.model.body(name)?;
        let (mut position, mut frame) = ([0.0; 3], [0.0; 9]);
        let (origin, identity, sameframe) = ([0.0; 3], [1.0, 0.0, 0.0, 0.0], 0);
        let (to, turned, library) = (position.as_mut_ptr(), frame.as_mut_ptr(), self.model.library);
        // SAFETY: `self` owns the data, so it is live. The call only reads it, and its model has a body of this id. The
        // arrays have the lengths that `mujoco.h` declares: 3 and 9 values are written, 3 and 4 are read.
        unsafe {
            (library.local_to_global)(
                self.pointer.as_ptr(),
                to,
                turned,
                origin.as_ptr(),
                identity.as_ptr(),
                body,
                sameframe,
            );
        }
        Some(position)
    }
}

impl Drop for Data {
    #[allow(unsafe_code, reason = "calls into MuJoCo")]
    fn drop(&mut self) {
        // SAFETY: the data was made by `mj_makeData` and is deleted here only. Its model is dropped afterwards.
        unsafe { (self.model.library.delete_data)(self.pointer.as_ptr()) }
    }
}
