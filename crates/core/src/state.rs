//! Saved state: named arrays, the one form in which every part of a run is stored.
//!
//! A part that has state writes its arrays into a [`State`] under short names. The owner of the part nests that state
//! under the part's name. Reading removes the arrays from the state, so that the owner can check at the end that none
//! is left over.

use std::collections::BTreeMap;

use thiserror::Error;

/// The errors of reading a saved state.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum StateError {
    /// An array is missing.
    #[error("the saved state has no array `{0}`")]
    Missing(String),
    /// An array has another type or shape than expected.
    #[error("`{path}` in the saved state is {found}, expected {expected}")]
    Mismatch {
        /// Its name.
        path: String,
        /// The stored type or shape.
        found: String,
        /// The expected type or shape.
        expected: String,
    },
    /// An array is left that no part has read.
    #[error("the saved state contains the unknown array `{0}`")]
    Leftover(String),
}

/// The numbers of an array.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Tensors and buffers.
    F32(Vec<f32>),
    /// Environment states and accumulators.
    F64(Vec<f64>),
    /// Counters and indices.
    U64(Vec<u64>),
    /// Flags.
    U8(Vec<u8>),
}

impl Data {
    fn describe(&self) -> (&'static str, usize) {
        match self {
            Self::F32(v) => ("f32", v.len()),
            Self::F64(v) => ("f64", v.len()),
            Self::U64(v) => ("u64", v.len()),
            Self::U8(v) => ("u8", v.len()),
        }
    }
}

/// A dense row-major array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The lengths of the axes; empty for a single number.
    pub shape: Vec<usize>,
    /// The numbers, row-major.
    pub data: Data,
}

impl Array {
    /// Creates an array of this shape.
    ///
    /// # Panics
    /// If the number of values does not fill the shape.
    #[track_caller]
    #[must_use]
    pub fn new(shape: Vec<usize>, data: Data) -> Self {
        let (kind, length) = data.describe();
        let size: usize = shape.iter().product();
        assert_eq!(size, length, "{length} {kind} numbers do not fill shape {shape:?}");
        Self { shape, data }
    }

    /// Whether the array holds neither a NaN nor an infinity.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        match &self.data {
            Data::F32(values) => values.iter().all(|x| x.is_finite()),
            Data::F64(values) => values.iter().all(|x| x.is_finite()),
            Data::U64(_) | Data::U8(_) => true,
        }
    }
}

macro_rules! typed {
    ($type:ty, $variant:ident, $scalar:ident, $take:ident, $name:literal) => {
        impl From<Vec<$type>> for Array {
            fn from(values: Vec<$type>) -> Self {
                Self::new(vec![values.len()], Data::$variant(values))
            }
        }

        impl From<$type> for Array {
            fn from(value: $type) -> Self {
                Self::new(vec![], Data::$variant(vec![value]))
            }
        }

        impl State {
            #[doc = concat!("Takes an array of ", $name, " out, with its shape.")]
            ///
            /// # Errors
            /// If it is missing or of another type.
            pub fn $take(&mut self, name: &str) -> Result<(Vec<usize>, Vec<$type>), StateError> {
                let array = self.take(name)?;
                match array.data {
                    Data::$variant(values) => Ok((array.shape, values)),
                    other => Err(StateError::Mismatch {
                        path: name.into(),
                        found: other.describe().0.into(),
                        expected: $name.into(),
                    }),
                }
            }

            #[doc = concat!("Takes a single ", $name, " out.")]
            ///
            /// # Errors
            /// If it is missing, of another type, or more than one number.
            pub fn $scalar(&mut self, name: &str) -> Result<$type, StateError> {
                let (shape, values) = self.$take(name)?;
                if let [value] = values[..] {
                    return Ok(value);
                }
                Err(StateError::Mismatch {
                    path: name.into(),
                    found: format!("of shape {shape:?}"),
                    expected: "a single number".into(),
                })
            }
        }
    };
}

typed!(f32, F32, f32, f32s, "f32");
typed!(f64, F64, f64, f64s, "f64");
typed!(u64, U64, u64, u64s, "u64");
typed!(u8, U8, u8, u8s, "u8");

/// Named arrays. Names are paths: `agent.critic.weight.0`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    arrays: BTreeMap<String, Array>,
}

impl State {
    /// An empty state.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores an array.
    ///
    /// # Panics
    /// If the name is already in use.
    #[track_caller]
    pub fn put(&mut self, name: &str, array: impl Into<Array>) {
        let old = self.arrays.insert(name.to_owned(), array.into());
        assert!(old.is_none(), "`{name}` is stored twice");
    }

    /// Stores all arrays of a part, each under `name.` and its own name.
    ///
    /// # Panics
    /// If one of these names is already in use.
    #[track_caller]
    pub fn nest(&mut self, name: &str, part: Self) {
        for (inner, array) in part.arrays {
            self.put(&format!("{name}.{inner}"), array);
        }
    }

    /// Removes an array and returns it.
    ///
    /// # Errors
    /// If it is missing.
    pub fn take(&mut self, name: &str) -> Result<Array, StateError> {
        self.arrays.remove(name).ok_or_else(|| StateError::Missing(name.into()))
    }

    /// Removes the arrays of a part and returns them, without the leading `name.`.
    #[must_use]
    pub fn part(&mut self, name: &str) -> Self {
        let prefix = format!("{name}.");
        let mut part = Self::new();
        self.arrays.retain(|path, array| match path.strip_prefix(&prefix) {
            Some(inner) => {
                let data = core::mem::replace(&mut array.data, Data::U8(Vec::new()));
                part.arrays.insert(inner.to_owned(), Array { shape: core::mem::take(&mut array.shape), data });
                false
            }
            None => true,
        });
        part
    }

    /// Whether the state holds no array.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arrays.is_empty()
    }

    /// Iterates over all arrays in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.arrays.iter().map(|(name, array)| (name.as_str(), array))
    }

    /// Checks that every array has been taken out.
    ///
    /// # Errors
    /// If an array is left; the error names the first one.
    pub fn finish(self) -> Result<(), StateError> {
        match self.arrays.into_keys().next() {
            Some(name) => Err(StateError::Leftover(name)),
            None => Ok(()),
        }
    }
}

impl FromIterator<(String, Array)> for State {
    fn from_iter<I: IntoIterator<Item = (String, Array)>>(arrays: I) -> Self {
        Self { arrays: arrays.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_as_they_were_nested() {
        let mut part = State::new();
        part.put("weight", Array::new(vec![2, 1], Data::F32(vec![1.0, 2.0])));
        part.put("time", 7_u64);
        let mut whole = State::new();
        whole.nest("agent", part.clone());
        whole.put("agents", 1.0_f64);
        assert_eq!(whole.part("agent"), part);
        assert_eq!(whole.f64("agents"), Ok(1.0));
        assert_eq!(whole.finish(), Ok(()));
    }

    #[test]
    fn errors_name_the_array() {
        let mut state = State::new();
        state.put("a", vec![1.0_f32, 2.0]);
        state.put("b", 1_u64);
        assert_eq!(state.u64("c"), Err(StateError::Missing("c".into())));
        assert!(
            state.clone().u64s("a").unwrap_err().to_string().contains("`a` in the saved state is f32, expected u64")
        );
        assert!(state.clone().f32("a").unwrap_err().to_string().contains("a single number"));
        assert_eq!(state.finish(), Err(StateError::Leftover("a".into())));
    }
}
