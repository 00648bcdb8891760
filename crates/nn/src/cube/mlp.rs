//! The primitive on a GPU. A forward pass is one launch. A backward pass is three: transposes, rows and weights; a
//! fourth one sums the input gradients if all members share an input.

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::net_shape::NetShape;
use super::passes::{add_members, backward_rows, forward_rows, infer_rows};
use super::tape::TapeShape;
use super::tile::Tile;
use super::weights::{self, Jobs};
use super::{buffer, elementwise, empty, rows, zeros};
use crate::cpu::Layout;
use crate::extension::{MlpGradients, MlpOps};
use crate::mlp::Mlp;
use crate::parameters::Parameters;

/// Maximum number of cubes along one axis that every device supports.
const MOST_CUBES: usize = 65_535;

/// The form of a launch over the rows of all members.
#[derive(Clone, Debug)]
struct Plan {
    net: NetShape,
    tile: Tile,
    members: usize,
    /// Number of rows of a member, `B`.
    rows: usize,
    /// Number of inputs: one per member, or 1 if all members share one.
    given: usize,
}

impl Plan {
    fn new(x: &CubeTensor, layout: &Layout) -> Self {
        let (net, members) = (NetShape::from(layout), layout.shape().members);
        let [given, rows] = [x.meta.shape()[0], x.meta.shape()[1]];
        let tile = tile_of(x, &net).expect("a network that fits").spread(members, rows);
        Self { net, tile, members, rows, given }
    }

    fn shown(&self) -> bool {
        self.given == 1
    }

    /// Numbers of tiles of a member along x and z. Some of the last tiles may be empty.
    fn tiles(&self) -> [usize; 2] {
        let tiles = self.rows.div_ceil(self.tile.rows);
        let x = tiles.min(MOST_CUBES);
        [x, tiles.div_ceil(x)]
    }

    fn cubes(&self) -> CubeCount {
        let [x, z] = self.tiles();
        CubeCount::Static(x as u32, self.members as u32, z as u32)
    }

    fn threads(&self) -> CubeDim {
        CubeDim::new_1d(self.tile.threads as u32)
    }
}

/// The tallest tile for a network on the device of a buffer.
fn tile_of(buffer: &CubeTensor, net: &NetShape) -> Option<Tile> {
    Tile::tallest(&buffer.client.properties().hardware, &[net], 0)
}

impl MlpOps for CubeBackend {
    fn mlp(x: FloatTensor<Self>, parameters: FloatTensor<Self>, layout: Arc<Layout>) -> FloatTensor<Self> {
        let (x, parameters) = (rows(x), rows(parameters));
        let plan = Plan::new(&x, &layout);
        let y = empty(&x, &[plan.members, plan.rows, plan.net.outputs()]);
        if plan.rows > 0 {
            let client = x.client.clone();
            // Safety: rows beyond the last are neither read nor written, and all offsets are within a member's row.
            unsafe {
                infer_rows::launch_unchecked(
                    &client,
                    plan.cubes(),
                    plan.threads(),
                    plan.tile.lanes(),
                    x.into_buffer_arg(),
                    parameters.into_buffer_arg(),
                    y.clone().into_buffer_arg(),
                    plan.rows as u32,
                    plan.shown(),
                    plan.net,
                    plan.tile,
                );
            }
        }
        y
    }
}

/// The data that the backward pass needs: the tape, and the weights at the time of the forward pass.
#[derive(Clone, Debug)]
pub struct Saved {
    plan: Plan,
    tape: CubeTensor,
    parameters: CubeTensor,
}

impl MlpGradients for CubeBackend {
    type Saved = Saved;

    fn saved(
        x: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        layout: Arc<Layout>,
    ) -> (FloatTensor<Self>, Self::Saved) {
        let (x, parameters) = (rows(x), rows(parameters));
        let plan = Plan::new(&x, &layout);
        let shape = TapeShape::new(&plan.net);
        let y = empty(&x, &[plan.members, plan.rows, plan.net.outputs()]);
        let tiles = if plan.rows > 0 { plan.tiles().iter().product() } else { 0 };
        let tape = empty(&x, &[plan.members, tiles, shape.size, plan.tile.rows]);
        if plan.rows > 0 {
            let client = x.client.clone();
            // Safety: as in `mlp` above, and the tape has a part for every cube.
            unsafe {
                forward_rows::launch_unchecked(
                    &client,
                    plan.cubes(),
                    plan.threads(),
                    plan.tile.lanes(),
                    x.into_buffer_arg(),
                    parameters.clone().into_buffer_arg(),
                    y.clone().into_buffer_arg(),
                    tape.clone().into_buffer_arg(),
                    plan.rows as u32,
                    plan.shown(),
                    plan.net.clone(),
                    shape,
                    plan.tile,
                );
            }
        }
        (y, Saved { plan, tape, parameters })
    }

    fn backward(
        saved: Self::Saved,
        gradient: FloatTensor<Self>,
        [to_input, to_parameters]: [bool; 2],
    ) -> [Option<FloatTensor<Self>>; 2] {
        let Saved { plan, tape, parameters } = saved;
        let (members, count, width) = (plan.members, plan.rows, plan.net.parameters);
        let all = [members, count, plan.net.inputs()];
        if count == 0 {
            let dx = empty(&tape, &[plan.given, count, plan.net.inputs()]);
            return [to_input.then_some(dx), to_parameters.then(|| zeros(&tape, &[members, 1, width]))];
        }
        let (client, gradient) = (tape.client.clone(), rows(gradient));
        let (shape, turns) = (TapeShape::new(&plan.net), Jobs::turns(&plan.net));
        let transposed = empty(&tape, &[members, width]);
        let dx = empty(&tape, if to_input { &all } else { &[0] });
        // Safety: as in `mlp` above; blocks beyond a weight are neither read nor written.
        unsafe {
            weights::transpose::launch_unchecked(
                &client,
                CubeCount::Static(turns.count() as u32, members as u32, 1),
                CubeDim::new_1d(weights::TURNING_THREADS as u32),
                parameters.clone().into_buffer_arg(),
                transposed.clone().into_buffer_arg(),
                plan.net.clone(),
                turns,
            );
            backward_rows::launch_unchecked(
                &client,
                plan.cubes(),
                plan.threads(),
                plan.tile.lanes(),
                gradient.into_buffer_arg(),
                parameters.into_buffer_arg(),
                transposed.into_buffer_arg(),
                tape.clone().into_buffer_arg(),
                dx.clone().into_buffer_arg(),
                count as u32,
                to_input,
                plan.net.clone(),
                shape.clone(),
                plan.tile,
            );
        }
        let of_parameters = to_parameters.then(|| {
            let (sum, jobs) = (empty(&tape, &[members, 1, width]), Jobs::gradients(&plan.net));
            // Safety: the tape has this number of tiles, and the numbers of every job are within a member's row.
            unsafe {
                weights::gradients::launch_unchecked(
                    &client,
                    CubeCount::Static(jobs.count() as u32, members as u32, 1),
                    CubeDim::new_1d(weights::THREADS as u32),
                    plan.tile.lanes(),
                    tape.clone().into_buffer_arg(),
                    sum.clone().into_buffer_arg(),
                    plan.tiles().iter().product::<usize>() as u32,
                    plan.net.clone(),
                    shape,
                    jobs,
                    plan.tile.vectors(),
                );
            }
            sum
        });
        [to_input.then(|| if plan.given == members { dx } else { sum_of_members(dx, &all) }), of_parameters]
    }
}

/// Sums the gradients `[E, B, I]` of the members, which all shared one input.
fn sum_of_members(dx: CubeTensor, &[members, count, inputs]: &[usize; 3]) -> CubeTensor {
    let sum = empty(&dx, &[1, count, inputs]);
    let client = dx.client.clone();
    let (cubes, threads) = elementwise(count * inputs);
    // Safety: a thread beyond the last number does nothing.
    unsafe {
        add_members::launch_unchecked(
            &client,
            cubes,
            threads,
            dx.into_buffer_arg(),
            sum.clone().into_buffer_arg(),
            members,
        );
    }
    sum
}

/// The forward pass of a network without a tape: `[E or 1, B, I] -> [E, B, O]`.
#[must_use]
pub fn infer(net: &Mlp, x: CubeTensor) -> CubeTensor {
    CubeBackend::mlp(x, buffer(net.slot().get().clone()), net.layout().clone())
}

/// The forward pass; returns the output and the data that the backward pass needs.
#[must_use]
pub fn forward(net: &Mlp, x: CubeTensor) -> (CubeTensor, Saved) {
    CubeBackend::saved(x, buffer(net.slot().get().clone()), net.layout().clone())
}

/// Computes the loss's gradients at the input `[E or 1, B, I]` and at the parameters `[E, 1, P]`, for those that are
/// `wanted`, from the gradient at the output `[E, B, O]`.
#[must_use]
pub fn backward(saved: Saved, gradient: CubeTensor, wanted: [bool; 2]) -> [Option<CubeTensor>; 2] {
    <CubeBackend as MlpGradients>::backward(saved, gradient, wanted)
}

/// Number of rows per member whose tape fits into the largest buffer of the parameters' device; at least one tile.
pub(crate) fn rows_of_one_pass(parameters: &CubeTensor, layout: &Layout) -> usize {
    let numbers = TapeShape::new(&NetShape::from(layout)).size * layout.shape().members * size_of::<f32>();
    let most = parameters.client.properties().memory.max_page_size as usize / numbers.max(1);
    // The last tile of every member may contain only one row.
    const TALLEST: usize = 32;
    (most / TALLEST).max(2) * TALLEST - TALLEST
}

/// Whether the kernels support networks of this layout on this device.
pub(crate) fn takes(buffer: &CubeTensor, layout: &Layout) -> bool {
    layout.shape().hidden_norms.is_empty() && tile_of(buffer, &NetShape::from(layout)).is_some()
}
