//! A systematic Reed-Solomon code over GF(2^8): any K of a block's N chunks rebuild all of them.
//!
//! The generator matrix is Backblaze's: the N x K Vandermonde matrix `V[r][c] = r^c`, times the inverse of its top
//! K x K part, so that the first K rows are the identity and the first K chunks are the media bytes as they are. Any K
//! rows of a Vandermonde matrix with distinct `r` are independent, and the product keeps that. The tests compare with the
//! crate `reed-solomon-erasure` byte for byte.
//!
//! Nothing here copies chunks: the caller asks for coefficients and sums the chunks where they lie with
//! [`gf256::mul_add`], all at once or a part at a time.

use core::fmt;

use super::gf256;
use crate::limits::{MAX_K, MAX_N};
use heapless::Vec;

/// Fewest data chunks in a block.
pub const MIN_K: usize = 2;

/// Most parity chunks in a block.
const MAX_M: usize = MAX_N - MIN_K;

type Row = [u8; MAX_K];
type Matrix = [Row; MAX_K];

/// K is not in 2..=16, or N not in K..=32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShapeError;

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a block has {MIN_K} to {MAX_K} data chunks, and at most {MAX_N} chunks in all"
        )
    }
}

impl core::error::Error for ShapeError {}

/// The chunks named do not fit the code. The caller is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChunksError {
    /// Not exactly K chunks to rebuild from.
    Count,
    /// An index that the block does not have.
    Index,
    /// The same chunk twice among those to rebuild from.
    Repeated,
    /// Less room for results than results asked for, or chunks of unequal size.
    Size,
}

impl fmt::Display for ChunksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "not K chunks to rebuild from",
            Self::Index => "no such chunk in the block",
            Self::Repeated => "a chunk named twice",
            Self::Size => "chunks or results of the wrong size",
        })
    }
}

impl core::error::Error for ChunksError {}

/// The code of one block shape: K data chunks, N chunks in all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code {
    k: u8,
    n: u8,
    /// Rows K to N of the generator matrix; those above are the identity.
    parity: [Row; MAX_M],
}

impl Code {
    /// The code for `k` data chunks in 2..=16 and `n` chunks in all, in `k`..=32.
    pub fn new(k: u8, n: u8) -> Result<Self, ShapeError> {
        if usize::from(k) < MIN_K || usize::from(k) > MAX_K || n < k || usize::from(n) > MAX_N {
            return Err(ShapeError);
        }
        let mut top = [[0; MAX_K]; MAX_K];
        for (r, row) in (0..k).zip(&mut top) {
            *row = vandermonde_row(r, k);
        }
        let inverse = invert(top, k).ok_or(ShapeError)?;
        let mut parity = [[0; MAX_K]; MAX_M];
        for (r, row) in (k..n).zip(&mut parity) {
            *row = times(&vandermonde_row(r, k), &inverse);
        }
        Ok(Self { k, n, parity })
    }

    /// Data chunks in a block.
    pub fn k(&self) -> u8 {
        self.k
    }

    /// Chunks in a block, parity included.
    pub fn n(&self) -> u8 {
        self.n
    }

    /// The coefficients of chunk `index`: it is the sum of `row[i]` times data chunk `i`. Entries from K on are zero, and
    /// so is the whole row of an index that the block does not have.
    pub fn row(&self, index: u8) -> [u8; MAX_K] {
        if index < self.k {
            unit_row(index)
        } else {
            // Rows beyond N were left zero.
            *self
                .parity
                .get(usize::from(index - self.k))
                .unwrap_or(&[0; MAX_K])
        }
    }

    /// How to make the chunks `want` from K others: chunk `want[j]` is the sum of `out[j][i]` times chunk `present[i]`.
    ///
    /// `present` holds K distinct indices below N in any order, `want` indices below N (data or parity, present or not),
    /// and `out` at least as many rows as `want` has indices. Inverts one matrix
    /// of as many rows as data chunks are missing, whatever is wanted.
    pub fn coefficients(
        &self,
        present: &[u8],
        want: &[u8],
        out: &mut [[u8; MAX_K]],
    ) -> Result<(), ChunksError> {
        self.check(present, want)?;
        if out.len() < want.len() {
            return Err(ChunksError::Size);
        }
        let missing = (0..self.k).filter(|index| !present.contains(index));
        let missing: Vec<u8, MAX_K> = missing.collect();
        let parity = present.iter().filter(|index| **index >= self.k);
        let parity: Vec<Row, MAX_K> = parity.map(|index| self.row(*index)).collect();
        // Without the data that are here, the parity chunks are this matrix times the data that are not.
        let mut left = [[0; MAX_K]; MAX_K];
        for (row, left) in parity.iter().zip(&mut left) {
            *left = picked(row, &missing);
        }
        let inverse = invert(left, missing.len() as u8).ok_or(ChunksError::Repeated)?;
        for (index, coefficients) in want.iter().zip(out) {
            let mut of_data = self.row(*index);
            let of_parity = times(&picked(&of_data, &missing), &inverse);
            // What a parity chunk brings with it of the data that are here is taken out again.
            for (row, coefficient) in parity.iter().zip(of_parity) {
                gf256::mul_add(&mut of_data, row, coefficient);
            }
            let mut of_parity = of_parity.into_iter();
            *coefficients = [0; MAX_K];
            for (index, coefficient) in present.iter().zip(coefficients) {
                let of_this = of_data.get(usize::from(*index)).copied();
                *coefficient = match *index < self.k {
                    true => of_this.unwrap_or(0),
                    false => of_parity.next().unwrap_or(0),
                };
            }
        }
        Ok(())
    }

    /// Chunk `index` (data or parity) from the K data chunks, all of the length of `out`.
    pub fn encode_parity(
        &self,
        data: &[&[u8]],
        index: u8,
        out: &mut [u8],
    ) -> Result<(), ChunksError> {
        if data.len() != usize::from(self.k) {
            return Err(ChunksError::Count);
        }
        if index >= self.n {
            return Err(ChunksError::Index);
        }
        if data.iter().any(|chunk| chunk.len() != out.len()) {
            return Err(ChunksError::Size);
        }
        out.fill(0);
        for (chunk, coefficient) in data.iter().zip(self.row(index)) {
            gf256::mul_add(out, chunk, coefficient);
        }
        Ok(())
    }

    fn check(&self, present: &[u8], want: &[u8]) -> Result<(), ChunksError> {
        if present.len() != usize::from(self.k) {
            return Err(ChunksError::Count);
        }
        if present.iter().chain(want).any(|index| *index >= self.n) {
            return Err(ChunksError::Index);
        }
        // Indices are below N, and N is at most 32: they fit a mask.
        let distinct = present.iter().fold(0u32, |mask, index| mask | 1 << index);
        if distinct.count_ones() != u32::from(self.k) {
            return Err(ChunksError::Repeated);
        }
        Ok(())
    }
}

/// The entries of a row at these indices, one behind the other.
fn picked(row: &Row, indices: &[u8]) -> Row {
    let mut some = [0; MAX_K];
    for (entry, index) in some.iter_mut().zip(indices) {
        *entry = row.get(usize::from(*index)).copied().unwrap_or(0);
    }
    some
}

/// 1 at `index`, 0 elsewhere.
fn unit_row(index: u8) -> Row {
    let mut row = [0; MAX_K];
    if let Some(entry) = row.get_mut(usize::from(index)) {
        *entry = 1;
    }
    row
}

/// `r^0, r^1, ... r^(k-1)`, where `0^0` is 1.
fn vandermonde_row(r: u8, k: u8) -> Row {
    let mut row = [0; MAX_K];
    let mut power = 1;
    for entry in row.iter_mut().take(usize::from(k)) {
        *entry = power;
        power = gf256::mul(power, r);
    }
    row
}

/// A row vector times a matrix.
fn times(row: &Row, matrix: &Matrix) -> Row {
    let mut product = [0; MAX_K];
    for (coefficient, matrix_row) in row.iter().zip(matrix) {
        gf256::mul_add(&mut product, matrix_row, *coefficient);
    }
    product
}

/// The inverse of the top left `k` x `k` part (Gauss-Jordan), zero elsewhere; `None` if it has none. `k` is at most 16.
fn invert(mut matrix: Matrix, k: u8) -> Option<Matrix> {
    let k = usize::from(k);
    let mut inverse = [[0; MAX_K]; MAX_K];
    for (i, row) in (0..).zip(inverse.iter_mut().take(k)) {
        *row = unit_row(i);
    }
    for column in 0..k {
        let pivot = (column..k).find(|row| matrix[*row][column] != 0)?;
        matrix.swap(column, pivot);
        inverse.swap(column, pivot);

        let scale = gf256::inv(matrix[column][column]);
        let (pivot_row, pivot_inverse) = (
            scaled(&matrix[column], scale),
            scaled(&inverse[column], scale),
        );
        for row in 0..k {
            let factor = matrix[row][column];
            gf256::mul_add(&mut matrix[row], &pivot_row, factor);
            gf256::mul_add(&mut inverse[row], &pivot_inverse, factor);
        }
        (matrix[column], inverse[column]) = (pivot_row, pivot_inverse);
    }
    Some(inverse)
}

fn scaled(row: &Row, factor: u8) -> Row {
    let mut product = [0; MAX_K];
    gf256::mul_set(&mut product, row, factor);
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use reed_solomon_erasure::galois_8::ReedSolomon;
    use std::vec;
    use std::vec::Vec;

    fn random_block(rng: &mut Rng, code: &Code, len: usize) -> Vec<Vec<u8>> {
        let data: Vec<Vec<u8>> = (0..code.k())
            .map(|_| (0..len).map(|_| rng.next_u64() as u8).collect())
            .collect();
        let slices: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let chunk = |index| {
            let mut out = vec![0xee; len];
            code.encode_parity(&slices, index, &mut out).unwrap();
            out
        };
        (0..code.n()).map(chunk).collect()
    }

    /// Rebuilds every chunk of `block` from `present`, and compares.
    fn assert_rebuilds(code: &Code, block: &[Vec<u8>], present: &[u8]) {
        let want: Vec<u8> = (0..code.n()).collect();
        let mut coefficients = [[0xee; MAX_K]; MAX_N];
        code.coefficients(present, &want, &mut coefficients)
            .unwrap();
        for (chunk, row) in block.iter().zip(&coefficients) {
            let mut rebuilt = vec![0; chunk.len()];
            for (index, c) in present.iter().zip(row) {
                gf256::mul_add(&mut rebuilt, &block[usize::from(*index)], *c);
            }
            assert_eq!(&rebuilt, chunk, "from {present:?}");
        }
    }

    #[test]
    fn agrees_with_reed_solomon_erasure() {
        let mut rng = Rng::new(2);
        for k in 2..=16 {
            for n in k + 1..=32 {
                let code = Code::new(k, n).unwrap();
                let block = random_block(&mut rng, &code, 37);
                let mut theirs = block.clone();
                theirs[usize::from(k)..]
                    .iter_mut()
                    .for_each(|parity| parity.fill(0));
                let reference = ReedSolomon::new(usize::from(k), usize::from(n - k)).unwrap();
                reference.encode(&mut theirs).unwrap();
                assert_eq!(block, theirs, "K={k} N={n}");
            }
        }
    }

    #[test]
    fn every_pattern_of_small_shapes() {
        let mut rng = Rng::new(3);
        for (k, n) in [
            (2, 2),
            (2, 3),
            (2, 8),
            (3, 7),
            (4, 5),
            (4, 10),
            (5, 9),
            (8, 11),
        ] {
            let code = Code::new(k, n).unwrap();
            let block = random_block(&mut rng, &code, 5);
            for mask in 0u32..1 << n {
                if mask.count_ones() == u32::from(k) {
                    let present: Vec<u8> = (0..n).filter(|index| mask >> index & 1 == 1).collect();
                    assert_rebuilds(&code, &block, &present);
                }
            }
        }
    }

    #[test]
    fn random_patterns_of_the_largest_shape_in_any_order() {
        let mut rng = Rng::new(4);
        let code = Code::new(16, 32).unwrap();
        let block = random_block(&mut rng, &code, 3);
        for _ in 0..2_000 {
            let mut indices: Vec<u8> = (0..32).collect();
            for i in 0..16 {
                indices.swap(i, i + rng.below(32 - i as u64) as usize);
            }
            assert_rebuilds(&code, &block, &indices[..16]);
        }
    }

    #[test]
    fn rows_are_the_code() {
        let code = Code::new(4, 6).unwrap();
        assert_eq!(code.row(2)[..4], [0, 0, 1, 0]);
        assert!(code.row(4)[..4].iter().all(|c| *c != 0));
        assert_eq!(code.row(4)[4..], [0; 12]);
        assert_eq!(code.row(6), [0; MAX_K]);
        assert_eq!(code.row(255), [0; MAX_K]);
    }

    #[test]
    fn impossible_shapes_are_refused() {
        for k in 0..=255u8 {
            for n in 0..=255u8 {
                let possible = (2..=16).contains(&k) && (k..=32).contains(&n);
                if possible {
                    assert_eq!(Code::new(k, n).map(|code| (code.k(), code.n())), Ok((k, n)));
                } else {
                    assert_eq!(Code::new(k, n), Err(ShapeError));
                }
            }
        }
    }

    #[test]
    fn hostile_arguments_are_refused() {
        let code = Code::new(2, 4).unwrap();
        let mut out = [[0; MAX_K]; 2];
        let mut ask = |present: &[u8], want: &[u8]| code.coefficients(present, want, &mut out);
        assert_eq!(ask(&[], &[0]), Err(ChunksError::Count));
        assert_eq!(ask(&[0, 1, 2], &[0]), Err(ChunksError::Count));
        assert_eq!(ask(&[0, 4], &[0]), Err(ChunksError::Index));
        assert_eq!(ask(&[0, 255], &[0]), Err(ChunksError::Index));
        assert_eq!(ask(&[0, 3], &[4]), Err(ChunksError::Index));
        assert_eq!(ask(&[3, 3], &[0]), Err(ChunksError::Repeated));
        assert_eq!(ask(&[3, 2], &[0, 1, 2]), Err(ChunksError::Size));
        assert_eq!(ask(&[3, 2], &[]), Ok(()));

        let mut chunk = [0; 4];
        let data: [&[u8]; 2] = [&[1, 2, 3, 4], &[5, 6, 7, 8]];
        assert_eq!(
            code.encode_parity(&data[..1], 2, &mut chunk),
            Err(ChunksError::Count)
        );
        assert_eq!(
            code.encode_parity(&data, 4, &mut chunk),
            Err(ChunksError::Index)
        );
        assert_eq!(
            code.encode_parity(&data, 2, &mut chunk[..3]),
            Err(ChunksError::Size)
        );
        assert_eq!(code.encode_parity(&data, 2, &mut chunk), Ok(()));
    }
}
