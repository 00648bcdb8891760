//! The primitive as one operation of Burn: autodiff sees one node with two parents, the input and the parameters.
//!
//! It is implemented on the Flex backend, and on GPUs by the kernels of `cube` (feature `wgpu`). [`Mlp`](crate::Mlp)
//! checks `supports` before it calls this module, since an operation without an implementation on a backend cannot
//! run there.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout as FlexLayout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Bytes, DType, Tensor};

use crate::cpu::{self, Layout, PANEL_ROWS, Scratch, Tape, Tapes, panels, team};
use crate::host::{self, HostTensor};

/// Maximum number of panels that one thread passes through a network together.
const GROUP: usize = 4;

/// Computes the networks: input `[E, B, I]` or `[1, B, I]`, and parameters `[E, 1, P]`, to output `[E, B, O]`.
pub(crate) fn mlp(x: Tensor<3>, parameters: Tensor<3>, layout: Arc<Layout>) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as MlpOps>::mlp(x.into_dispatch(), parameters.into_dispatch(), layout))
}

/// Whether the operation is implemented for the device of these parameters and for networks of this layout.
pub(crate) fn supports(parameters: &Tensor<3>, layout: &Layout) -> bool {
    let device = parameters.device();
    #[cfg(feature = "wgpu")]
    if crate::cube::is_cube(&device) {
        return crate::cube::supports(&crate::cube::buffer(parameters.clone().inner()), layout);
    }
    #[cfg(not(feature = "wgpu"))]
    let _ = layout;
    host::is_host(&device)
}

/// The forward operation that a backend implements.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "wgpu"))]
pub trait MlpOps: Backend {
    /// The forward pass without data for a backward pass.
    fn mlp(x: FloatTensor<Self>, parameters: FloatTensor<Self>, layout: Arc<Layout>) -> FloatTensor<Self>;
}

/// The operations that a backend implements for gradients.
pub trait MlpGradients: MlpOps {
    /// Data of the forward pass that the backward pass needs.
    type Saved: Clone + Send + std::fmt::Debug + 'static;

    /// The forward pass; returns the output and the data that the backward pass needs.
    fn forward(
        x: FloatTensor<Self>,
        parameters: FloatTensor<Self>,
        layout: Arc<Layout>,
    ) -> (FloatTensor<Self>, Self::Saved);

    /// The gradients at the input and at the parameters, for those that are `wanted`.
    fn backward(saved: Self::Saved, gradient: FloatTensor<Self>, wanted: [bool; 2]) -> [Option<FloatTensor<Self>>; 2];
}

impl<B: MlpGradients, C: CheckpointStrategy> MlpOps for Autodiff<B, C> {
    fn mlp(x: FloatTensor<Self>, parameters: FloatTensor<Self>, layout: Arc<Layout>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct MlpBackward;

        impl<B: MlpGradients> Backward<B, 2> for MlpBackward {
            type State = B::Saved;

            fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let output_gradient = gradients.consume::<B>(&ops.node);
                let wanted = [ops.parents[0].is_some(), ops.parents[1].is_some()];
                let parent_gradients = B::backward(ops.state, output_gradient, wanted);
                for (parent, gradient) in ops.parents.into_iter().zip(parent_gradients) {
                    if let (Some(parent), Some(gradient)) = (parent, gradient) {
                        gradients.register::<B>(parent.id, gradient);
                    }
                }
            }
        }

        match MlpBackward.prepare::<C>([x.node(), parameters.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (y, saved) = <B as MlpGradients>::forward(x.into_primitive(), parameters.into_primitive(), layout);
                prepared.finish(saved, y)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::mlp(x.into_primitive(), parameters.into_primitive(), layout))
            }
        }
    }
}

/// The buffers of one thread.
#[derive(Default)]
struct InferBuffers {
    input: Vec<f32>,
    output: Vec<f32>,
    scratch: Scratch,
}

thread_local! {
    static BUFFERS: RefCell<InferBuffers> = RefCell::default();
}

/// `[E, B]` cut into pieces: each is one member and a range of rows.
#[derive(Clone, Copy, Debug)]
struct Pieces {
    members: usize,
    rows: usize,
    /// Maximum number of rows of a piece.
    group: usize,
}

impl Pieces {
    fn new(members: usize, rows: usize) -> Self {
        let share = (members * panels::count(rows)).div_ceil(team::threads());
        Self { members, rows, group: share.clamp(1, GROUP) * PANEL_ROWS }
    }

    /// Number of pieces per member.
    fn per_member(&self) -> usize {
        self.rows.div_ceil(self.group)
    }

    fn count(&self) -> usize {
        self.members * self.per_member()
    }

    /// The member and the rows of a piece.
    fn get(&self, i: usize) -> (usize, Range<usize>) {
        let (member, start) = (i / self.per_member(), i % self.per_member() * self.group);
        (member, start..(start + self.group).min(self.rows))
    }

    /// The range of a piece within `[E, B, width]`.
    fn part(&self, i: usize, width: usize) -> Range<usize> {
        let (member, rows) = self.get(i);
        (member * self.rows + rows.start) * width..(member * self.rows + rows.end) * width
    }

    /// The range of a piece within the input `[input_members, B, width]`, where `input_members` is `E`, or 1 for an
    /// input that all members share.
    fn input_part(&self, i: usize, width: usize, input_members: usize) -> Range<usize> {
        let Range { start, end } = self.part(i, width);
        let skipped = if input_members == 1 { self.get(i).0 * self.rows * width } else { 0 };
        start - skipped..end - skipped
    }
}

impl MlpOps for Flex {
    fn mlp(x: FlexTensor, parameters: FlexTensor, layout: Arc<Layout>) -> FlexTensor {
        let [input_members, rows] = [x.layout().shape()[0], x.layout().shape()[1]];
        let (x, parameters) = (HostTensor::from_flex(x), HostTensor::from_flex(parameters));
        let (x, parameters) = (x.get(), parameters.get());
        let shape = layout.shape();
        let (inputs, outputs) = (shape.inputs, shape.outputs);
        let pieces = Pieces::new(shape.members, rows);
        let mut y = vec![0.0; shape.members * rows * outputs];
        let work = |i: usize, (): &mut (), y: &mut [f32]| {
            let (member, range) = pieces.get(i);
            let weights = layout.member(parameters, member);
            let x = &x[pieces.input_part(i, inputs, input_members)];
            BUFFERS.with_borrow_mut(|InferBuffers { input, output, scratch }| {
                let count = panels::count(range.len());
                input.resize(count * inputs * PANEL_ROWS, 0.0);
                output.resize(count * outputs * PANEL_ROWS, 0.0);
                for (x, panel) in x.chunks(PANEL_ROWS * inputs).zip(input.chunks_exact_mut(inputs * PANEL_ROWS)) {
                    panels::pack(x, inputs, panel);
                }
                cpu::infer(&layout, weights, input, output, scratch);
                for (y, panel) in y.chunks_mut(PANEL_ROWS * outputs).zip(output.chunks_exact(outputs * PANEL_ROWS)) {
                    panels::unpack(panel, outputs, y);
                }
            });
        };
        team::for_each_with(&mut vec![(); pieces.count()], &mut y, |i| pieces.part(i, outputs), work);
        tensor(y, vec![shape.members, rows, outputs])
    }
}

/// The data of a forward pass that the backward pass needs: the tapes of every member, and the weights at that time.
#[derive(Clone, Debug)]
pub struct Saved(Arc<SavedTapes>);

#[derive(Debug)]
struct SavedTapes {
    layout: Arc<Layout>,
    pieces: Pieces,
    /// Number of members of the input: `E`, or 1 if all members share it.
    input_members: usize,
    tapes: Vec<Tape>,
    parameters: HostTensor,
}

impl Tapes for SavedTapes {
    fn members(&self) -> Range<usize> {
        0..self.pieces.members
    }

    fn parts(&self) -> usize {
        self.pieces.per_member()
    }

    fn tape(&self, member: usize, part: usize) -> &Tape {
        &self.tapes[member * self.parts() + part]
    }
}

impl MlpGradients for Flex {
    type Saved = Saved;

    fn forward(x: FlexTensor, parameters: FlexTensor, layout: Arc<Layout>) -> (FlexTensor, Saved) {
        let [input_members, rows] = [x.layout().shape()[0], x.layout().shape()[1]];
        let (x, parameters) = (HostTensor::from_flex(x), HostTensor::from_flex(parameters));
        let shape = layout.shape();
        let (inputs, outputs) = (shape.inputs, shape.outputs);
        let pieces = Pieces::new(shape.members, rows);
        let mut tapes: Vec<Tape> = (0..pieces.count()).map(|i| Tape::new(&layout, pieces.get(i).1.len())).collect();
        let mut y = vec![0.0; shape.members * rows * outputs];
        let work = |i: usize, tape: &mut Tape, y: &mut [f32]| {
            tape.set_input(&x.get()[pieces.input_part(i, inputs, input_members)]);
            tape.forward(layout.member(parameters.get(), pieces.get(i).0));
            for (panel, y) in y.chunks_mut(PANEL_ROWS * outputs).enumerate() {
                panels::unpack(tape.output(panel), outputs, y);
            }
        };
        team::for_each_with(&mut tapes, &mut y, |i| pieces.part(i, outputs), work);
        let y = tensor(y, vec![shape.members, rows, outputs]);
        (y, Saved(Arc::new(SavedTapes { layout, pieces, input_members, tapes, parameters })))
    }

    fn backward(saved: Saved, gradient: FlexTensor, [to_input, to_parameters]: [bool; 2]) -> [Option<FlexTensor>; 2] {
        // A node is consumed once, and nothing else holds its saved data.
        let mut saved = Arc::try_unwrap(saved.0).expect("one backward pass per forward pass");
        let (layout, pieces) = (saved.layout.clone(), saved.pieces);
        let (members, rows) = (pieces.members, pieces.rows);
        let (inputs, outputs) = (layout.shape().inputs, layout.shape().outputs);
        let gradient = HostTensor::from_flex(gradient);
        let mut dx = vec![0.0; if to_input { members * rows * inputs } else { 0 }];
        let parameters = &saved.parameters;
        let work = |i: usize, tape: &mut Tape, dx: &mut [f32]| {
            let gradient = &gradient.get()[pieces.part(i, outputs)];
            for (panel, gradient) in gradient.chunks(PANEL_ROWS * outputs).enumerate() {
                panels::pack(gradient, outputs, tape.output_gradient_mut(panel).1);
            }
            let weights = layout.member(parameters.get(), pieces.get(i).0);
            if !to_input {
                return tape.backward(weights);
            }
            tape.backward_to_input(weights);
            for (panel, dx) in dx.chunks_mut(PANEL_ROWS * inputs).enumerate() {
                panels::unpack(tape.input_gradient(panel), inputs, dx);
            }
        };
        let width = if to_input { inputs } else { 0 };
        team::for_each_with(&mut saved.tapes, &mut dx, |i| pieces.part(i, width), work);
        let of_parameters = to_parameters.then(|| {
            let mut all = vec![0.0; members * layout.parameters()];
            cpu::gradients(&layout, &saved, &mut all);
            tensor(all, vec![members, 1, layout.parameters()])
        });
        let of_input = to_input.then(|| {
            if saved.input_members == members {
                return tensor(dx, vec![members, rows, inputs]);
            }
            // All members shared one input, so their gradients are summed.
            let (sum, rest) = dx.split_at_mut(rows * inputs);
            for one in rest.chunks_exact((rows * inputs).max(1)) {
                sum.iter_mut().zip(one).for_each(|(sum, x)| *sum += x);
            }
            dx.truncate(rows * inputs);
            tensor(dx, vec![1, rows, inputs])
        });
        [of_input, of_parameters]
    }
}

fn tensor(values: Vec<f32>, shape: Vec<usize>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), FlexLayout::contiguous(shape.into()), DType::F32)
}
