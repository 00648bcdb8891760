//! The draws of a panel: for each lane the values that [`Stream::at`] gives, computed for all lanes together.

use foresee_core::Stream;
use foresee_core::normal::standard_normal;

use super::LANES;
use super::simd::{self, Simd, Task};

/// Standard normals `[words][LANES]`: word `w` of every lane at a step.
pub fn normals(stream: &Stream, step: u64, lanes: &[u32; LANES], out: &mut [f32]) {
    assert_eq!(out.len() % LANES, 0, "whole rows of a panel");
    simd::dispatch(Normals { stream, step, lanes, out });
}

/// The first word of every lane at a step.
#[must_use]
pub fn first_words(stream: &Stream, step: u64, lanes: &[u32; LANES]) -> [u32; LANES] {
    simd::dispatch(FirstWords { stream, step, lanes })
}

struct Normals<'a> {
    stream: &'a Stream,
    step: u64,
    lanes: &'a [u32; LANES],
    out: &'a mut [f32],
}

impl Task for Normals<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (block, rows) in self.out.chunks_mut(4 * LANES).enumerate() {
            let words = self.stream.block(self.step, self.lanes, block as u32);
            for (row, words) in rows.chunks_exact_mut(LANES).zip(&words) {
                for j in 0..LANES {
                    row[j] = standard_normal(words[j]);
                }
            }
        }
    }
}

struct FirstWords<'a> {
    stream: &'a Stream,
    step: u64,
    lanes: &'a [u32; LANES],
}

impl Task for FirstWords<'_> {
    type Output = [u32; LANES];

    #[inline(always)]
    fn run<S: Simd>(self) -> [u32; LANES] {
        let [first, ..] = self.stream.block(self.step, self.lanes, 0);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_draws_what_it_draws_alone() {
        let stream = Stream::new(9, "rollout/noise");
        let lanes: [u32; LANES] = std::array::from_fn(|j| (j * j) as u32 + 40);
        for (step, words) in [(0, 1), (7 << 16 | 4, 12), (1 << 40, 5)] {
            let mut out = vec![f32::NAN; words * LANES];
            normals(&stream, step, &lanes, &mut out);
            for (j, &lane) in lanes.iter().enumerate() {
                let mut draws = stream.at(step, lane);
                for w in 0..words {
                    assert_eq!(out[w * LANES + j].to_bits(), draws.normal().to_bits(), "lane {lane}, word {w}");
                }
                assert_eq!(first_words(&stream, step, &lanes)[j], stream.at(step, lane).bits());
            }
        }
    }
}
