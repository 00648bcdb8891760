//! Encoding of arrays as little-endian bytes, and of several arrays as one safetensors file.

use std::borrow::Cow;

use foresee_core::State;
use foresee_core::state::{Array, Data};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View};

/// Returns the number of bytes of the numbers.
pub(super) fn byte_length(data: &Data) -> usize {
    match data {
        Data::F32(v) => size_of_val(&v[..]),
        Data::F64(v) => size_of_val(&v[..]),
        Data::U64(v) => size_of_val(&v[..]),
        Data::U8(v) => v.len(),
    }
}

/// Returns the type's name in safetensors files and manifests.
pub(super) fn kind(data: &Data) -> Dtype {
    match data {
        Data::F32(_) => Dtype::F32,
        Data::F64(_) => Dtype::F64,
        Data::U64(_) => Dtype::U64,
        Data::U8(_) => Dtype::U8,
    }
}

/// Calls `piece` with the bytes of the numbers, at most `size` bytes (a multiple of eight) at a time.
pub(super) fn pieces<E>(data: &Data, size: usize, mut piece: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    macro_rules! each {
        ($values:expr, $type:ty) => {
            $values.chunks(size / size_of::<$type>()).try_for_each(|chunk| {
                let bytes: Vec<u8> = chunk.iter().flat_map(|value| value.to_le_bytes()).collect();
                piece(&bytes)
            })
        };
    }
    match data {
        Data::F32(v) => each!(v, f32),
        Data::F64(v) => each!(v, f64),
        Data::U64(v) => each!(v, u64),
        Data::U8(v) => v.chunks(size).try_for_each(piece),
    }
}

/// Decodes an array from its type's name, its shape and its bytes. The error describes what is wrong with them.
pub(super) fn array(kind: &str, shape: &[usize], bytes: &[u8]) -> Result<Array, String> {
    macro_rules! numbers {
        ($variant:ident, $type:ty) => {{
            let (chunks, rest) = bytes.as_chunks::<{ size_of::<$type>() }>();
            let values = chunks.iter().map(|&chunk| <$type>::from_le_bytes(chunk)).collect::<Vec<_>>();
            (values.len(), rest, Data::$variant(values))
        }};
    }
    let (count, rest, data) = match kind {
        "F32" => numbers!(F32, f32),
        "F64" => numbers!(F64, f64),
        "U64" => numbers!(U64, u64),
        "U8" => numbers!(U8, u8),
        other => return Err(format!("unknown type {other}")),
    };
    let size = shape.iter().try_fold(1_usize, |size, &axis| size.checked_mul(axis));
    if size != Some(count) || !rest.is_empty() {
        return Err(format!("{} bytes of {kind} do not fill shape {shape:?}", bytes.len()));
    }
    Ok(Array::new(shape.to_vec(), data))
}

struct Tensor<'a>(&'a Array);

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        kind(&self.0.data)
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut all = Vec::with_capacity(self.data_len());
        let Ok(()) = pieces(&self.0.data, 1 << 20, |piece| {
            all.extend_from_slice(piece);
            Ok::<(), core::convert::Infallible>(())
        });
        Cow::Owned(all)
    }

    fn data_len(&self) -> usize {
        byte_length(&self.0.data)
    }
}

/// Encodes arrays as a safetensors file. They are ordered by type and name, so that equal arrays give equal bytes.
pub(super) fn to_safetensors(arrays: Vec<(&str, &Array)>) -> Result<Vec<u8>, SafeTensorError> {
    safetensors::serialize(arrays.into_iter().map(|(name, array)| (name, Tensor(array))), None)
}

/// Decodes the arrays of a safetensors file. The error describes what is wrong with it.
pub(super) fn from_safetensors(bytes: &[u8]) -> Result<State, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    tensors
        .iter()
        .map(|(name, view)| {
            let array = array(&view.dtype().to_string(), view.shape(), view.data());
            Ok((name.to_owned(), array.map_err(|why| format!("`{name}`: {why}"))?))
        })
        .collect()
}
