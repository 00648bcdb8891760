//! Numbers that change at every step, uploaded to a device for some hundred steps together.
//!
//! A launch with a scalar value that no earlier launch had writes a new buffer for it, and so does every upload. In
//! this module, one upload serves `STEPS` steps, and each launch gets the part of the buffer that belongs to its
//! step.

use burn::tensor::{DType, Device};

use crate::cube::CubeTensor;
use crate::cube::tensor::empty;

/// Number of steps that one upload serves.
const STEPS: u64 = 256;

/// The numbers of several steps on a device: `N` 32-bit words per step.
#[derive(Clone, Debug, Default)]
pub struct StepTable {
    /// The first step of the table.
    first: u64,
    /// One part per step, at distances at which the device can bind them.
    table: Option<CubeTensor>,
}

impl StepTable {
    /// Returns the words of a step, `[N]`, on the device of `like`. `words` returns the words of any step; its result
    /// must depend on the step only.
    pub fn at<const N: usize>(
        &mut self,
        like: &CubeTensor,
        step: u64,
        dtype: DType,
        words: impl Fn(u64) -> [u32; N],
    ) -> CubeTensor {
        let bytes = N * size_of::<u32>();
        let part = bytes.next_multiple_of((like.client.properties().memory.alignment as usize).max(size_of::<u32>()));
        let uploaded = self.first..self.first.saturating_add(STEPS);
        let table = match self.table.take().filter(|_| uploaded.contains(&step)) {
            Some(table) => table,
            None => {
                self.first = step;
                let mut all = vec![0; STEPS as usize * part];
                for (i, part) in all.chunks_exact_mut(part).enumerate() {
                    let words = words(step.saturating_add(i as u64));
                    part.chunks_exact_mut(size_of::<u32>())
                        .zip(words)
                        .for_each(|(to, w)| to.copy_from_slice(&w.to_le_bytes()));
                }
                let (client, device) = (like.client.clone(), like.device.clone());
                let (handle, shape) = (client.create_from_slice(&all), vec![all.len() / size_of::<u32>()]);
                CubeTensor::new_contiguous(client, device, shape.into(), handle, dtype)
            }
        };
        let (before, all) = ((step - self.first) as usize * part, STEPS as usize * part);
        assert_eq!(
            table.meta.num_elements() * size_of::<u32>(),
            all,
            "the parts of the table have another size: an earlier call had another number of words per step"
        );
        let handle = table.handle.clone().offset_start(before as u64).offset_end((all - before - bytes) as u64);
        let words =
            CubeTensor::new_contiguous(table.client.clone(), table.device.clone(), vec![N].into(), handle, dtype);
        self.table = Some(table);
        words
    }
}

/// Uploads host numbers as buffers of these shapes, all in one upload.
///
/// # Panics
/// If numbers do not fill their shape.
#[track_caller]
#[must_use]
pub fn upload<const N: usize>(parts: [(&[f32], &[usize]); N], device: &Device) -> [CubeTensor; N] {
    let one = empty(&[1], device);
    let alignment = (one.client.properties().memory.alignment as usize).max(size_of::<f32>());
    let mut all = Vec::new();
    for (numbers, shape) in parts {
        assert_eq!(numbers.len(), shape.iter().product::<usize>(), "numbers of shape {shape:?}");
    }
    let ranges = parts.map(|(numbers, _)| {
        all.resize(all.len().next_multiple_of(alignment), 0);
        let start = all.len();
        numbers.iter().for_each(|number| all.extend_from_slice(&number.to_le_bytes()));
        start..all.len()
    });
    let (client, size) = (one.client.clone(), all.len());
    let handle = client.create_from_slice(&all);
    let mut shapes = parts.into_iter().map(|(_, shape)| shape);
    ranges.map(|range| {
        let part = handle.clone().offset_start(range.start as u64).offset_end((size - range.end) as u64);
        let shape = shapes.next().expect("one shape per part").to_vec();
        CubeTensor::new_contiguous(client.clone(), one.device.clone(), shape.into(), part, DType::F32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cube::tensor::tensor;
    use crate::{device, tensors};

    #[test]
    fn every_step_has_its_own_words_whatever_the_order() {
        let Some(gpu) = device::wgpu_of_test("every_step_has_its_own_words_whatever_the_order") else { return };
        let like = empty(&[1], &gpu);
        let mut table = StepTable::default();
        for step in [0, 1, 255, 256, 300, 299, 1 << 40, u64::MAX] {
            let words = |step: u64| [(step as f32).to_bits(), 2.5_f32.to_bits()];
            let got = tensors::to_vec(tensor::<1>(table.at(&like, step, DType::F32, words)));
            assert_eq!(got, [step as f32, 2.5], "step {step}");
        }
    }

    #[test]
    fn parts_that_are_uploaded_together_stay_apart() {
        let Some(gpu) = device::wgpu_of_test("parts_that_are_uploaded_together_stay_apart") else { return };
        let [a, b] = upload([(&[1.0, 2.0, 3.0], &[1, 3]), (&[4.0], &[1])], &gpu);
        assert_eq!(tensors::to_vec(tensor::<2>(a)), [1.0, 2.0, 3.0]);
        assert_eq!(tensors::to_vec(tensor::<1>(b)), [4.0]);
    }
}
