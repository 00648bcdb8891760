//! Random streams: Threefry-4x32-20, addressed by name and counter.
//!
//! A stream is a pure function of the run's seed, its name and a counter. It has no state, so nothing needs to be saved
//! or locked, and no draw can shift later ones. `Stream::new(seed, "model/bootstrap").at(step, substream)` gives the
//! same draws at any time and on any thread.
//!
//! * key = (seed low, seed high, FNV-1a-64 of the name low, high)
//! * counter = (step low, step high, substream, block); a block is four 32-bit words
//!
//! A substream of a step is numbered by the row, the member or the environment that it belongs to.
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011 (rotation constants
//! derived from Threefish, table 5; 20 rounds). Known answers: `kat_vectors` in the Random123 distribution.

use core::convert::Infallible;

use rand_core::TryRng;

use crate::normal::standard_normal;

const ROTATIONS: [[u32; 2]; 8] = [[10, 26], [11, 21], [13, 27], [23, 5], [6, 20], [17, 11], [25, 10], [18, 20]];
/// The parity constant of Threefish's key schedule, for 32-bit words.
const PARITY: u32 = 0x1BD1_1BDA;

/// Returns one block of Threefry-4x32 with 20 rounds.
#[must_use]
pub fn threefry4x32_20(counter: [u32; 4], key: [u32; 4]) -> [u32; 4] {
    threefry_blocks(counter.map(|word| [word]), key).map(|[word]| word)
}

/// Returns one block for each of `L` counters, word by word. The inner loops run over the counters, so that a
/// compiler vectorises them.
#[inline(always)]
fn threefry_blocks<const L: usize>(counter: [[u32; L]; 4], key: [u32; 4]) -> [[u32; L]; 4] {
    let keys = [key[0], key[1], key[2], key[3], PARITY ^ key[0] ^ key[1] ^ key[2] ^ key[3]];
    let mut x = counter;
    let add = |x: &mut [u32; L], k: u32| x.iter_mut().for_each(|x| *x = x.wrapping_add(k));
    for (x, k) in x.iter_mut().zip(keys) {
        add(x, k);
    }
    for round in 0..20usize {
        let [first, second] = ROTATIONS[round % 8];
        // Even rounds mix (0, 1) and (2, 3); odd rounds mix (0, 3) and (2, 1). This is Threefish's word permutation.
        let (a, b) = if round % 2 == 0 { (1, 3) } else { (3, 1) };
        for (to, from, rotation) in [(0, a, first), (2, b, second)] {
            let (mut sums, mut mixed) = (x[to], x[from]);
            for (sum, mixed) in sums.iter_mut().zip(&mut mixed) {
                *sum = sum.wrapping_add(*mixed);
                *mixed = mixed.rotate_left(rotation) ^ *sum;
            }
            (x[to], x[from]) = (sums, mixed);
        }
        if round % 4 == 3 {
            let s = round / 4 + 1;
            for (i, words) in x.iter_mut().enumerate() {
                add(words, keys[(s + i) % 5]);
            }
            add(&mut x[3], s as u32);
        }
    }
    x
}

/// FNV-1a with 64 bits, which maps names to keys. It is stable across versions and platforms, unlike the standard
/// hasher.
const fn fnv1a64(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

/// A named random stream of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 4],
}

impl Stream {
    /// The stream called `name` of the run with this `seed`. A name states the purpose, for example `policy/explore`.
    #[must_use]
    pub const fn new(seed: u64, name: &str) -> Self {
        let hash = fnv1a64(name);
        Self { key: [seed as u32, (seed >> 32) as u32, hash as u32, (hash >> 32) as u32] }
    }

    /// The draws at one counter. `step` counts in the unit of the stream's purpose, for example environment steps;
    /// `substream` is the row, member or environment.
    #[must_use]
    pub const fn at(&self, step: u64, substream: u32) -> Draws {
        Draws { key: self.key, counter: [step as u32, (step >> 32) as u32, substream, 0], words: [0; 4], used: 4 }
    }

    /// The key that distinguishes streams: the two halves of the seed, then those of the hashed name.
    #[must_use]
    pub const fn key(&self) -> [u32; 4] {
        self.key
    }

    /// Returns block `block` of `L` substreams, word by word. [`Stream::at`] draws these as words `4·block` to
    /// `4·block + 3`.
    #[inline(always)]
    #[must_use]
    pub fn block<const L: usize>(&self, step: u64, substreams: &[u32; L], block: u32) -> [[u32; L]; 4] {
        threefry_blocks([[step as u32; L], [(step >> 32) as u32; L], *substreams, [block; L]], self.key)
    }

    /// Standard normals `[rows, columns]`: entry `[r, c]` is word `c` of substream `r`.
    #[must_use]
    pub fn normals(&self, step: u64, rows: usize, columns: usize) -> Vec<f32> {
        self.fill(step, rows, columns, Draws::normal)
    }

    /// Uniforms in [-1, 1), `[rows, columns]`: entry `[r, c]` is made from word `c` of substream `r`.
    #[must_use]
    pub fn uniforms(&self, step: u64, rows: usize, columns: usize) -> Vec<f32> {
        self.fill(step, rows, columns, |draws| 2.0 * draws.uniform() - 1.0)
    }

    /// `rows` indices below `n`, with replacement: index `r` is made from word 0 of substream `r`.
    #[must_use]
    pub fn indices(&self, step: u64, rows: usize, n: usize) -> Vec<usize> {
        self.fill(step, rows, 1, |draws| draws.below(n))
    }

    /// Writes [`Stream::normals`] into `out`, replacing its content and keeping its capacity.
    pub fn normals_into(&self, step: u64, rows: usize, columns: usize, out: &mut Vec<f32>) {
        out.clear();
        self.extend(step, rows, columns, Draws::normal, out);
    }

    /// Index `row` of [`Stream::indices`].
    #[must_use]
    pub fn index(&self, step: u64, row: usize, n: usize) -> usize {
        self.at(step, substream(row)).below(n)
    }

    fn fill<T>(&self, step: u64, rows: usize, columns: usize, draw: impl FnMut(&mut Draws) -> T) -> Vec<T> {
        let mut out = Vec::with_capacity(rows * columns);
        self.extend(step, rows, columns, draw, &mut out);
        out
    }

    fn extend<T>(
        &self,
        step: u64,
        rows: usize,
        columns: usize,
        mut draw: impl FnMut(&mut Draws) -> T,
        out: &mut Vec<T>,
    ) {
        for row in 0..rows {
            let mut draws = self.at(step, substream(row));
            out.extend((0..columns).map(|_| draw(&mut draws)));
        }
    }
}

fn substream(row: usize) -> u32 {
    u32::try_from(row).expect("a stream has 2^32 substreams")
}

/// Maps a word to an index below `n`, as [`Draws::below`] does.
#[track_caller]
#[inline]
#[must_use]
pub fn below(bits: u32, n: usize) -> usize {
    assert!(n > 0 && n <= 1 << 32, "cannot draw an index below {n}");
    ((u64::from(bits) * n as u64) >> 32) as usize
}

/// The words of one counter, in order. It implements `rand_core::TryRng`, so the distributions of `rand_distr` can draw
/// from it.
#[derive(Clone, Debug)]
pub struct Draws {
    key: [u32; 4],
    counter: [u32; 4],
    words: [u32; 4],
    used: usize,
}

impl Draws {
    /// Returns the next 32 bits.
    pub fn bits(&mut self) -> u32 {
        if self.used == 4 {
            self.words = threefry4x32_20(self.counter, self.key);
            self.counter[3] = self.counter[3].checked_add(1).expect("2^34 words drawn at one counter");
            self.used = 0;
        }
        let word = self.words[self.used];
        self.used += 1;
        word
    }

    /// Returns the next 64 bits, low word first.
    pub fn bits64(&mut self) -> u64 {
        let low = u64::from(self.bits());
        low | u64::from(self.bits()) << 32
    }

    /// Returns a uniform in [0, 1) with 24 bits.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Returns a standard normal from one word, by [`standard_normal`].
    pub fn normal(&mut self) -> f32 {
        standard_normal(self.bits())
    }

    /// Returns a uniform index below `n` from one word, by multiplication; the bias is below `n / 2^32`.
    ///
    /// A draw always uses one word and never a rejection loop, so that a kernel can address the same bits.
    #[track_caller]
    pub fn below(&mut self, n: usize) -> usize {
        below(self.bits(), n)
    }

    /// Shuffles the items by Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// Returns a random permutation of `0..n`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.bits())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.bits64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(4) {
            let word = self.bits().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threefry_gives_the_published_known_answers() {
        // Random123 `kat_vectors`, lines "threefry4x32 20".
        let cases = [
            ([0; 4], [0; 4], [0x9c6c_a96a, 0xe17e_ae66, 0xfc10_ecd4, 0x5256_a7d8]),
            ([u32::MAX; 4], [u32::MAX; 4], [0x2a88_1696, 0x5701_2287, 0xf6c7_446e, 0xa16a_6732]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0, 0x082e_fa98, 0xec4e_6c89],
                [0x59cd_1dbb, 0xb887_9579, 0x86b5_d00c, 0xac8b_6d84],
            ),
        ];
        for (counter, key, answer) in cases {
            assert_eq!(threefry4x32_20(counter, key), answer);
        }
    }

    #[test]
    fn substreams_side_by_side_are_those_drawn_one_by_one() {
        let stream = Stream::new(3, "rollout/noise");
        let substreams: [u32; 7] = std::array::from_fn(|i| i as u32 * 1_000_003);
        for (step, blocks) in [(0, 1), (5 << 16 | 3, 4), (u64::MAX, 2)] {
            for block in 0..blocks {
                let words = stream.block(step, &substreams, block);
                for (j, &substream) in substreams.iter().enumerate() {
                    let mut draws = stream.at(step, substream);
                    (0..4 * block).for_each(|_| _ = draws.bits());
                    assert_eq!(words.map(|word| word[j]), std::array::from_fn(|_| draws.bits()));
                }
            }
        }
    }

    #[test]
    fn names_hash_by_the_published_fnv_vectors() {
        assert_eq!(fnv1a64(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a64("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a64("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_stream_is_a_pure_function_of_seed_name_step_and_substream() {
        let draw = |seed, name, step, substream| Stream::new(seed, name).at(step, substream).bits64();
        let base = draw(7, "policy/explore", 3, 5);
        assert_eq!(base, draw(7, "policy/explore", 3, 5));
        for other in [
            draw(8, "policy/explore", 3, 5),
            draw(7 + (1 << 32), "policy/explore", 3, 5),
            draw(7, "env/reset", 3, 5),
            draw(7, "policy/explore", 4, 5),
            draw(7, "policy/explore", 3 + (1 << 32), 5),
            draw(7, "policy/explore", 3, 6),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn filled_arrays_address_row_as_substream_and_column_as_word() {
        let stream = Stream::new(1, "rollout/noise");
        let filled = stream.normals(9, 3, 6);
        for row in 0..3 {
            let mut draws = stream.at(9, row as u32);
            for column in 0..6 {
                assert_eq!(filled[row * 6 + column], draws.normal());
            }
        }
    }

    #[test]
    fn the_rand_trait_gives_the_same_words() {
        let (mut ours, mut theirs) = (Stream::new(0, "test").at(0, 2), Stream::new(0, "test").at(0, 2));
        let mut bytes = [0; 6];
        theirs.try_fill_bytes(&mut bytes).unwrap();
        let words = [ours.bits().to_le_bytes(), ours.bits().to_le_bytes()].concat();
        assert_eq!(bytes, words[..6]);
        assert_eq!(theirs.try_next_u32().unwrap(), ours.bits());
        assert_eq!(theirs.try_next_u64().unwrap(), ours.bits64());
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut counts = [0_u32; 7];
        let mut draws = Stream::new(0, "test").at(0, 0);
        for _ in 0..70_000 {
            counts[draws.below(7)] += 1;
        }
        // Chi-squared with 6 degrees of freedom: 22.5 is its 0.999 quantile.
        let chi2: f64 = counts.iter().map(|&c| (f64::from(c) - 1e4).powi(2) / 1e4).sum();
        assert!(chi2 < 22.5, "chi-squared {chi2}, counts {counts:?}");
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = Stream::new(0, "test").at(0, 1).permutation(101);
        assert_ne!(order, (0..101).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..101).collect::<Vec<_>>());
    }
}
