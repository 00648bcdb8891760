//! The primitive on a GPU. A forward pass is one launch. A backward pass is two launches, transposes and
//! rows. A third one computes the gradients of the weights, and a fourth one sums the input gradients of members that
//! share an input. Each of these runs only if its result is wanted.

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

/// A launch over the rows of all members.
#[derive(Clone, Debug)]
struct RowLaunch {
    net: NetShape,
    tile: Tile,
    members: usize,
    /// Number of rows of a member, `B`.
    rows: usize,
    /// Number of members of the input: `E`, or 1 if all members share it.
    input_members: usize,
}

impl RowLaunch {
    /// The launch for an input `[E or 1, B, I]`. The kernels run without checks, so that the sizes of their buffers are
    /// checked here.
    ///
    /// # Panics
    /// If the input or the parameters are not of the layout's sizes, or no tile of the network fits.
    #[track_caller]
    fn new(x: &CubeTensor, parameters: &CubeTensor, layout: &Layout) -> Self {
        let (net, members) = (NetShape::from(layout), layout.shape().members);
        let [input_members, rows] = [x.meta.shape()[0], x.meta.shape()[1]];
        assert!(
            (input_members == 1 || input_members == members)
                && x.meta.num_elements() == input_members * rows * net.inputs(),
            "input {:?}, expected [{members} or 1, B, {}]",
            x.meta.shape(),
            net.inputs()
        );
        assert_eq!(parameters.meta.num_elements(), members * net.parameters, "parameters of {members} members");
        let tile = tile_of(x, &net).expect("a network that fits the device").spread(members, rows);
        Self { net, tile, members, rows, input_members }
    }

    fn shares_input(&self) -> bool {
        self.input_members == 1
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

/// Returns the tile with the most rows that the device of a buffer can hold for a network; `None` if none fits.
fn tile_of(buffer: &CubeTensor, net: &NetShape) -> Option<Tile> {
    Tile::tallest(&buffer.client.properties().hardware, &[net], 0)
}

impl MlpOps for CubeBackend {
    fn mlp(x: FloatTensor<Self>, parameters: FloatTensor<Self>, layout: Arc<Layout>) -> FloatTensor<Self> {
        let (x, parameters) = (rows(x), rows(parameters));
        let launch = RowLaunch::new(&x, &parameters, &layout);
        let y = empty(&x, &[launch.members, launch.rows, launch.net.outputs()]);
        if launch.rows > 0 {
            let client = x.client.clone();
            // SAFETY: `RowLaunch::new` has checked the sizes of `x` and `parameters`, and `y` has those of the output.
            // The kernel skips rows beyond B, and the launch has cubes for E members only. The layout's offsets are
            // within a member's row, whose length was checked, and `Tile::tallest` chooses a tile that fits in shared
            // memory.
            unsafe {
                infer_rows::launch_unchecked(
                    &client,
                    launch.cubes(),
                    launch.threads(),
                    launch.tile.lanes(),
                    x.into_buffer_arg(),
                    parameters.into_buffer_arg(),
                    y.clone().into_buffer_arg(),
                    launch.rows as u32,
                    launch.shares_input(),
                    launch.net,
                    launch.tile,
                );
            }
        }
        y
    }
}

/// The data that the backward pass needs: the tape, and the weights at the time of the forward pass.
#[derive(Clone, Debug)]
pub struct Saved {
    launch: RowLaunch,
    tape: CubeTensor,
    parameters: CubeTensor,
}

impl MlpGradients for CubeBackend {
    type Saved = Saved;

    fn forward(
        x: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        layout: Arc<Layout>,
    ) -> (FloatTensor<Self>, Self::Saved) {
        let (x, parameters) = (rows(x), rows(parameters));
        let launch = RowLaunch::new(&x, &parameters, &layout);
        let shape = TapeShape::new(&launch.net);
        let y = empty(&x, &[launch.members, launch.rows, launch.net.outputs()]);
        let tiles = if launch.rows > 0 { launch.tiles().iter().product() } else { 0 };
        let tape = empty(&x, &[launch.members, tiles, shape.size, launch.tile.rows]);
        if launch.rows > 0 {
            let client = x.client.clone();
            // SAFETY: `RowLaunch::new` has checked the sizes of `x` and `parameters`, and `y` has those of the output.
            // The kernel skips rows beyond B, and the launch has cubes for E members only. The tape has room for the
            // `shape.size` features of the rows of every tile.
            unsafe {
                forward_rows::launch_unchecked(
                    &client,
                    launch.cubes(),
                    launch.threads(),
                    launch.tile.lanes(),
                    x.into_buffer_arg(),
                    parameters.clone().into_buffer_arg(),
                    y.clone().into_buffer_arg(),
                    tape.clone().into_buffer_arg(),
                    launch.rows as u32,
                    launch.shares_input(),
                    launch.net.clone(),
                    shape,
                    launch.tile,
                );
            }
        }
        (y, Saved { launch, tape, parameters })
    }

    fn backward(
        saved: Self::Saved,
        gradient: FloatTensor<Self>,
        [to_input, to_parameters]: [bool; 2],
    ) -> [Option<FloatTensor<Self>>; 2] {
        let Saved { launch, tape, parameters } = saved;
        let (members, count, width) = (launch.members, launch.rows, launch.net.parameters);
        let all = [members, count, launch.net.inputs()];
        if count == 0 {
            let dx = empty(&tape, &[launch.input_members, count, launch.net.inputs()]);
            return [to_input.then_some(dx), to_parameters.then(|| zeros(&tape, &[members, 1, width]))];
        }
        let (client, gradient) = (tape.client.clone(), rows(gradient));
        assert_eq!(
            gradient.meta.num_elements(),
            members * count * launch.net.outputs(),
            "gradient {:?} at an output of {members} members and {count} rows",
            gradient.meta.shape()
        );
        let (shape, transposes) = (TapeShape::new(&launch.net), Jobs::transposes(&launch.net));
        let transposed = empty(&tape, &[members, width]);
        let dx = empty(&tape, if to_input { &all } else { &[0] });
        // SAFETY: the parameters and the tape are those of the forward pass, whose sizes were checked; the gradient's
        // size is checked above. `transposed` has a row like that of the parameters for every member, and `dx` has the
        // input's size if it is written. The kernels neither read nor write numbers beyond a weight and rows beyond B.
        unsafe {
            weights::transpose::launch_unchecked(
                &client,
                CubeCount::Static(transposes.count() as u32, members as u32, 1),
                CubeDim::new_1d(weights::TRANSPOSE_THREADS as u32),
                parameters.clone().into_buffer_arg(),
                transposed.clone().into_buffer_arg(),
                launch.net.clone(),
                transposes,
            );
            backward_rows::launch_unchecked(
                &client,
                launch.cubes(),
                launch.threads(),
                launch.tile.lanes(),
                gradient.into_buffer_arg(),
                parameters.into_buffer_arg(),
                transposed.into_buffer_arg(),
                tape.clone().into_buffer_arg(),
                dx.clone().into_buffer_arg(),
                count as u32,
                to_input,
                launch.net.clone(),
                shape.clone(),
                launch.tile,
            );
        }
        let of_parameters = to_parameters.then(|| {
            let (sum, jobs) = (empty(&tape, &[members, 1, width]), Jobs::gradients(&launch.net));
            // SAFETY: the tape has this number of tiles per member, with `shape.size` features each. The jobs cover the
            // parts of a member's row and the numbers between them, and `sum` has a row for every member.
            unsafe {
                weights::gradients::launch_unchecked(
                    &client,
                    CubeCount::Static(jobs.count() as u32, members as u32, 1),
                    CubeDim::new_1d(weights::THREADS as u32),
                    launch.tile.lanes(),
                    tape.clone().into_buffer_arg(),
                    sum.clone().into_buffer_arg(),
                    launch.tiles().iter().product::<usize>() as u32,
                    launch.net.clone(),
                    shape,
                    jobs,
                    launch.tile.vectors(),
                );
            }
            sum
        });
        [to_input.then(|| if launch.input_members == members { dx } else { sum_of_members(dx, &all) }), of_parameters]
    }
}

/// Sums the gradients `[E, B, I]` of the members, which all shared one input.
fn sum_of_members(dx: CubeTensor, &[members, count, inputs]: &[usize; 3]) -> CubeTensor {
    let sum = empty(&dx, &[1, count, inputs]);
    let client = dx.client.clone();
    let (cubes, threads) = elementwise(count * inputs);
    // SAFETY: a thread beyond the B · I numbers of `sum` does nothing. The others read one number of each member of
    // `dx`, which has the size `all` of the backward pass.
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
    <CubeBackend as MlpGradients>::forward(x, buffer(net.slot().get().clone()), net.layout().clone())
}

/// Computes the loss's gradients at the input `[E or 1, B, I]` and at the parameters `[E, 1, P]`, for those that are
/// `wanted`, from the gradient at the output `[E, B, O]`.
#[must_use]
pub fn backward(saved: Saved, gradient: CubeTensor, wanted: [bool; 2]) -> [Option<CubeTensor>; 2] {
    <CubeBackend as MlpGradients>::backward(saved, gradient, wanted)
}

/// Number of rows per member whose tape fits into the largest buffer of the parameters' device; at least one tile.
pub(crate) fn max_rows_per_pass(parameters: &CubeTensor, layout: &Layout) -> usize {
    let numbers = TapeShape::new(&NetShape::from(layout)).size * layout.shape().members * size_of::<f32>();
    let most = parameters.client.properties().memory.max_page_size as usize / numbers.max(1);
    // The last tile of every member may contain only one row.
    const TALLEST: usize = 32;
    (most / TALLEST).max(2) * TALLEST - TALLEST
}

/// Whether the kernels support networks of this layout on this device.
pub(crate) fn supports(buffer: &CubeTensor, layout: &Layout) -> bool {
    layout.shape().hidden_norms.is_empty() && tile_of(buffer, &NetShape::from(layout)).is_some()
}
