//! Dense real matrices and linear solves by LU with partial pivoting, for systems of at most a few hundred unknowns.
//!
//! Source of the factorisation: Golub and Van Loan, "Matrix Computations", 4th edition, algorithm 3.4.1.

use std::ops::{Index, IndexMut};

/// A dense matrix, stored row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    data: Vec<f64>,
}

impl Matrix {
    /// The matrix of zeros `[rows, columns]`.
    #[must_use]
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, data: vec![0.0; rows * columns] }
    }

    /// The identity `[n, n]`.
    #[must_use]
    pub fn identity(n: usize) -> Self {
        Self::from_fn(n, n, |i, j| f64::from(u8::from(i == j)))
    }

    /// The matrix `[rows, columns]` whose entry `(i, j)` is `entry(i, j)`.
    #[must_use]
    pub fn from_fn(rows: usize, columns: usize, mut entry: impl FnMut(usize, usize) -> f64) -> Self {
        let mut data = Vec::with_capacity(rows * columns);
        for i in 0..rows {
            data.extend((0..columns).map(|j| entry(i, j)));
        }
        Self { rows, columns, data }
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Row `i`.
    #[must_use]
    pub fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.columns..(i + 1) * self.columns]
    }

    /// Row `i`, to be changed.
    pub fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.data[i * self.columns..(i + 1) * self.columns]
    }

    /// The transpose.
    #[must_use]
    pub fn transposed(&self) -> Self {
        Self::from_fn(self.columns, self.rows, |i, j| self[(j, i)])
    }

    /// The product with a column vector.
    #[must_use]
    pub fn times(&self, vector: &[f64]) -> Vec<f64> {
        assert_eq!(vector.len(), self.columns, "a vector of another length");
        (0..self.rows).map(|i| dot(self.row(i), vector)).collect()
    }

    /// The product with another matrix.
    #[must_use]
    pub fn product(&self, other: &Self) -> Self {
        assert_eq!(self.columns, other.rows, "matrices of other shapes");
        let mut out = Self::zeros(self.rows, other.columns);
        for i in 0..self.rows {
            for k in 0..self.columns {
                let factor = self[(i, k)];
                if factor != 0.0 {
                    let row = &mut out.data[i * other.columns..(i + 1) * other.columns];
                    row.iter_mut().zip(other.row(k)).for_each(|(out, &entry)| *out += factor * entry);
                }
            }
        }
        out
    }

    /// `self + factor · other`.
    #[must_use]
    pub fn plus(&self, factor: f64, other: &Self) -> Self {
        assert_eq!((self.rows, self.columns), (other.rows, other.columns), "matrices of other shapes");
        let data = self.data.iter().zip(&other.data).map(|(a, b)| a + factor * b).collect();
        Self { data, ..*self }
    }

    /// The operator norm of the supremum norm: the largest sum of the absolute values of a row.
    #[must_use]
    pub fn sup_norm(&self) -> f64 {
        (0..self.rows).map(|i| self.row(i).iter().map(|entry| entry.abs()).sum()).fold(0.0, f64::max)
    }

    /// The factorisation of a square matrix, or `None` if a pivot is exactly zero.
    #[must_use]
    pub fn lu(&self) -> Option<Lu> {
        Lu::new(self.clone())
    }
}

impl Index<(usize, usize)> for Matrix {
    type Output = f64;

    fn index(&self, (i, j): (usize, usize)) -> &f64 {
        &self.data[i * self.columns + j]
    }
}

impl IndexMut<(usize, usize)> for Matrix {
    fn index_mut(&mut self, (i, j): (usize, usize)) -> &mut f64 {
        &mut self.data[i * self.columns + j]
    }
}

/// The factors of a square matrix `A` with its rows permuted: `P A = L U`.
#[derive(Clone, Debug)]
pub struct Lu {
    /// `U` on and above the diagonal, `L` without its diagonal of ones below.
    factors: Matrix,
    /// Row `i` of `P A` is row `order[i]` of `A`.
    order: Vec<usize>,
}

impl Lu {
    fn new(mut a: Matrix) -> Option<Self> {
        assert_eq!(a.rows, a.columns, "only a square matrix has an LU factorisation");
        let n = a.rows;
        let mut order: Vec<usize> = (0..n).collect();
        for k in 0..n {
            let pivot = (k..n).max_by(|&i, &j| a[(i, k)].abs().total_cmp(&a[(j, k)].abs()))?;
            if a[(pivot, k)] == 0.0 {
                return None;
            }
            if pivot != k {
                order.swap(k, pivot);
                let (upper, lower) = a.data.split_at_mut(pivot * n);
                upper[k * n..(k + 1) * n].swap_with_slice(&mut lower[..n]);
            }
            let (upper, lower) = a.data.split_at_mut((k + 1) * n);
            let source = &upper[k * n..];
            for row in lower.chunks_exact_mut(n) {
                if row[k] != 0.0 {
                    let factor = row[k] / source[k];
                    row[k] = factor;
                    row[k + 1..].iter_mut().zip(&source[k + 1..]).for_each(|(entry, from)| *entry -= factor * from);
                }
            }
        }
        Some(Self { factors: a, order })
    }

    /// The solution `x` of `A x = b`.
    #[must_use]
    pub fn solve(&self, b: &[f64]) -> Vec<f64> {
        let n = self.order.len();
        assert_eq!(b.len(), n, "a right-hand side of another length");
        let mut x: Vec<f64> = self.order.iter().map(|&i| b[i]).collect();
        for i in 1..n {
            x[i] -= dot(&self.factors.row(i)[..i], &x[..i]);
        }
        for i in (0..n).rev() {
            let rest = dot(&self.factors.row(i)[i + 1..], &x[i + 1..]);
            x[i] = (x[i] - rest) / self.factors[(i, i)];
        }
        x
    }

    /// The solution `x` of `Aᵀ x = b`.
    #[must_use]
    pub fn solve_transposed(&self, b: &[f64]) -> Vec<f64> {
        let n = self.order.len();
        assert_eq!(b.len(), n, "a right-hand side of another length");
        // Aᵀ = Uᵀ Lᵀ P: first the two triangular systems, column by column, then the permutation.
        let mut y = b.to_vec();
        for i in 0..n {
            y[i] /= self.factors[(i, i)];
            let (done, rest) = y.split_at_mut(i + 1);
            rest.iter_mut().zip(&self.factors.row(i)[i + 1..]).for_each(|(y, u)| *y -= u * done[i]);
        }
        for i in (1..n).rev() {
            let (rest, done) = y.split_at_mut(i);
            rest.iter_mut().zip(&self.factors.row(i)[..i]).for_each(|(y, l)| *y -= l * done[0]);
        }
        let mut x = vec![0.0; n];
        self.order.iter().zip(&y).for_each(|(&i, &y)| x[i] = y);
        x
    }

    /// The inverse of `A`.
    #[must_use]
    pub fn inverse(&self) -> Matrix {
        let n = self.order.len();
        let mut unit = vec![0.0; n];
        let mut inverse = Matrix::zeros(n, n);
        for i in 0..n {
            // Row i of the inverse is the solution of Aᵀ x = eᵢ.
            unit[i] = 1.0;
            inverse.row_mut(i).copy_from_slice(&self.solve_transposed(&unit));
            unit[i] = 0.0;
        }
        inverse
    }
}

/// The inner product.
#[must_use]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The supremum norm of a vector.
#[must_use]
pub fn sup_norm(vector: &[f64]) -> f64 {
    vector.iter().fold(0.0, |most, entry| most.max(entry.abs()))
}

/// `a − b`, entry by entry.
#[must_use]
pub fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    assert_eq!(a.len(), b.len(), "vectors of other lengths");
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// The Euclidean norm of a vector.
#[must_use]
pub fn norm(vector: &[f64]) -> f64 {
    dot(vector, vector).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn the_inverse_of_a_hilbert_matrix_is_its_closed_form() {
        // The inverse of the Hilbert matrix of order 4 has integer entries.
        let hilbert = Matrix::from_fn(4, 4, |i, j| 1.0 / (i + j + 1) as f64);
        let exact = [
            [16.0, -120.0, 240.0, -140.0],
            [-120.0, 1200.0, -2700.0, 1680.0],
            [240.0, -2700.0, 6480.0, -4200.0],
            [-140.0, 1680.0, -4200.0, 2800.0],
        ];
        let inverse = hilbert.lu().unwrap().inverse();
        for (i, row) in exact.iter().enumerate() {
            for (j, entry) in row.iter().enumerate() {
                assert!((inverse[(i, j)] - entry).abs() < 1e-8, "{i} {j}: {}", inverse[(i, j)]);
            }
        }
    }

    #[test]
    fn solutions_satisfy_their_systems() {
        for seed in 0..50 {
            let mut random = Random::new(seed, "test/linear", 0);
            let n = 1 + random.below(25);
            // Zeros on the diagonal force exchanges of rows.
            let a = Matrix::from_fn(n, n, |i, j| if i == j && n > 1 { 0.0 } else { random.normal() });
            let b: Vec<f64> = (0..n).map(|_| random.normal()).collect();
            let lu = a.lu().unwrap();
            let scale = 1e-9 * (1.0 + sup_norm(&lu.solve(&b)) * a.sup_norm());
            assert!(sup_norm(&minus(&a.times(&lu.solve(&b)), &b)) < scale);
            let transposed = a.transposed();
            assert!(sup_norm(&minus(&transposed.times(&lu.solve_transposed(&b)), &b)) < 10.0 * scale);
            let unit = a.product(&lu.inverse()).plus(-1.0, &Matrix::identity(n));
            assert!(unit.sup_norm() < 1e-6, "seed {seed}: {}", unit.sup_norm());
        }
    }

    #[test]
    fn a_singular_matrix_has_no_factorisation() {
        assert!(Matrix::from_fn(3, 3, |i, _| i as f64).lu().is_none());
    }

    #[test]
    fn the_operator_norm_is_attained_by_a_vector_of_signs() {
        let mut random = Random::new(1, "test/linear", 0);
        let a = Matrix::from_fn(5, 7, |_, _| random.normal());
        let attained = (0..1_u32 << 7).map(|signs| {
            let vector: Vec<f64> = (0..7).map(|j| if signs >> j & 1 == 1 { 1.0 } else { -1.0 }).collect();
            sup_norm(&a.times(&vector))
        });
        assert!((attained.fold(0.0, f64::max) - a.sup_norm()).abs() < 1e-12);
    }
}
