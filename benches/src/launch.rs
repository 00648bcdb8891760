//! The cost of a launch on a GPU: the time of thousands of launches of a kernel with one thread, divided by their
//! number. The host waits once, after the last launch.
//!
//! A launch whose scalar argument differs from the previous launch's also needs a staging buffer. Its cost is the
//! difference of `launch_scalar` and `launch`.

use burn::tensor::Device;

use crate::compute::{Repeat, Timing};

/// Returns the milliseconds per launch of a tiny kernel, whose argument is constant or, with `changing`, new each time.
#[cfg(feature = "wgpu")]
pub(crate) fn run(device: &Device, changing: bool, repeat: Repeat) -> Timing {
    use cubecl::prelude::{CubeCount, CubeDim};
    use foresee_nn::cube::tensor;

    /// Number of launches before a wait: a multiple of every number of tasks that may be submitted together.
    const LAUNCHES: usize = 1920;

    let out = tensor::empty(&[1], device);
    let (client, mut number) = (out.client.clone(), 0_u32);
    let ms = crate::compute::time(repeat, 5, LAUNCHES as f64, || {
        for _ in 0..LAUNCHES {
            number += u32::from(changing);
            let (count, dim) = (CubeCount::Static(1, 1, 1), CubeDim::new_1d(1));
            kernel::write::launch(&client, count, dim, out.clone().into_buffer_arg(), number as f32);
        }
        crate::compute::wait(device);
    });
    Timing { ms, flops: None, transitions: None }
}

/// Is never called without the feature `wgpu`, where no GPU can be opened.
#[cfg(not(feature = "wgpu"))]
pub(crate) fn run(_: &Device, _: bool, _: Repeat) -> Timing {
    unreachable!("a build without GPUs opens none")
}

#[cfg(feature = "wgpu")]
#[allow(missing_docs, reason = "of what the kernel macros write")]
mod kernel {
    use cubecl::prelude::*;

    /// Writes one number.
    #[cube(launch)]
    pub(super) fn write(out: &mut [f32], number: f32) {
        out[0] = number;
    }
}
