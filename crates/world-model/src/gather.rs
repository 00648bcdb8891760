//! Selection of rows by their numbers, on a device.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Sends row numbers to a device, `[rows]`.
pub(crate) fn numbers(rows: &[u32], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.iter().map(|&row| i32::try_from(row).expect("fewer than 2^31 rows")).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

/// Gathers rows of `[rows, width]` by numbers `[E, B]`: `[E, B, width]`.
pub(crate) fn gather(all: &Tensor<2>, rows: &Tensor<2, Int>) -> Tensor<3> {
    let ([members, batch], width) = (rows.dims(), all.dims()[1]);
    all.clone().select(0, rows.clone().reshape([members * batch])).reshape([members, batch, width])
}

/// Gathers rows of `[N, rows, width]` by numbers `[E, B]`: `[N, E, B, width]`.
pub(crate) fn gather_heads(all: &Tensor<3>, rows: &Tensor<2, Int>) -> Tensor<4> {
    let ([members, batch], [heads, _, width]) = (rows.dims(), all.dims());
    all.clone().select(1, rows.clone().reshape([members * batch])).reshape([heads, members, batch, width])
}
