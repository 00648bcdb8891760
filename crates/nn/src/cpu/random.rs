//! The draws of a panel: for each substream the values that [`Stream::at`] gives, computed for all substreams together.

use foresee_core::Stream;
use foresee_core::normal::standard_normal;

use super::PANEL_ROWS;
use super::simd::{self, Simd, Task};

/// Standard normals `[words][PANEL_ROWS]`: word `w` of every substream at a step.
pub fn normals(stream: &Stream, step: u64, substreams: &[u32; PANEL_ROWS], out: &mut [f32]) {
    assert_eq!(out.len() % PANEL_ROWS, 0, "whole rows of a panel");
    simd::dispatch(Normals { stream, step, substreams, out });
}

/// The first word of every substream at a step.
#[must_use]
pub fn first_words(stream: &Stream, step: u64, substreams: &[u32; PANEL_ROWS]) -> [u32; PANEL_ROWS] {
    simd::dispatch(FirstWords { stream, step, substreams })
}

struct Normals<'a> {
    stream: &'a Stream,
    step: u64,
    substreams: &'a [u32; PANEL_ROWS],
    out: &'a mut [f32],
}

impl Task for Normals<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (block, rows) in self.out.chunks_mut(4 * PANEL_ROWS).enumerate() {
            let words = self.stream.block(self.step, self.substreams, block as u32);
            for (row, words) in rows.chunks_exact_mut(PANEL_ROWS).zip(&words) {
                for j in 0..PANEL_ROWS {
                    row[j] = standard_normal(words[j]);
                }
            }
        }
    }
}

struct FirstWords<'a> {
    stream: &'a Stream,
    step: u64,
    substreams: &'a [u32; PANEL_ROWS],
}

impl Task for FirstWords<'_> {
    type Output = [u32; PANEL_ROWS];

    #[inline(always)]
    fn run<S: Simd>(self) -> [u32; PANEL_ROWS] {
        let [first, ..] = self.stream.block(self.step, self.substreams, 0);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_substream_draws_what_it_draws_alone() {
        let stream = Stream::new(9, "rollout/noise");
        let substreams: [u32; PANEL_ROWS] = std::array::from_fn(|j| (j * j) as u32 + 40);
        for (step, words) in [(0, 1), (7 << 16 | 4, 12), (1 << 40, 5)] {
            let mut out = vec![f32::NAN; words * PANEL_ROWS];
            normals(&stream, step, &substreams, &mut out);
            for (j, &substream) in substreams.iter().enumerate() {
                let mut draws = stream.at(step, substream);
                for w in 0..words {
                    assert_eq!(
                        out[w * PANEL_ROWS + j].to_bits(),
                        draws.normal().to_bits(),
                        "substream {substream}, word {w}"
                    );
                }
                assert_eq!(first_words(&stream, step, &substreams)[j], stream.at(step, substream).bits());
            }
        }
    }
}
