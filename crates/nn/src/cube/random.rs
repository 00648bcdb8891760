//! The named streams of `foresee_core` on the device: the same bits from the same counters, drawn where they are used.
//!
//! A word is addressed by the stream's key, the 64-bit step, the substream and its number at that counter, as in
//! `Stream::at(step, substream)`; word `w` is in block `w / 4`. Words and indices equal those of the host bit for bit.
//! Normals use the same polynomial and agree to a few units in the last place: a shader may contract a product and a
//! sum, and its division and square root may be off by some units.

#![allow(missing_docs, reason = "of what the kernel macros write")]

use cubecl::prelude::*;
use foresee_core::Stream;

use super::math::ln;

/// The parity constant of Threefish's key schedule, for 32-bit words.
const PARITY: u32 = 0x1BD1_1BDA;

/// A stream at one step: the key, and the two halves of the step.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub struct Counter {
    key_0: u32,
    key_1: u32,
    key_2: u32,
    key_3: u32,
    step_low: u32,
    step_high: u32,
}

/// The counter of `stream` at `step`, as a kernel's argument.
#[must_use]
pub fn counter(stream: &Stream, step: u64) -> CounterLaunch {
    let [a, b, c, d] = stream.key();
    CounterLaunch::new(a, b, c, d, step as u32, (step >> 32) as u32)
}

/// The key of `stream`, as an argument of a kernel that reads the step from a buffer and adds it with `at_step`.
#[must_use]
pub fn key(stream: &Stream) -> CounterLaunch {
    counter(stream, 0)
}

/// The counter of a stream at the step `[low, high]`.
#[cube]
pub fn at_step(key: &Counter, step: &[u32]) -> Counter {
    Counter {
        key_0: key.key_0,
        key_1: key.key_1,
        key_2: key.key_2,
        key_3: key.key_3,
        step_low: step[0],
        step_high: step[1],
    }
}

#[cube]
fn rotate_left(x: u32, #[comptime] by: u32) -> u32 {
    (x << by) | (x >> comptime!(32 - by))
}

/// Applies four rounds of Threefry-4x32 to `x`, with their rotations.
#[cube]
#[allow(clippy::needless_range_loop)] // The kernel compiler unrolls ranges.
fn four_rounds(x: &mut Array<u32>, #[comptime] rotations: [[u32; 2]; 4]) {
    #[unroll]
    for round in 0..4usize {
        // Even rounds mix (0, 1) and (2, 3); odd rounds mix (0, 3) and (2, 1). This is Threefish's word permutation.
        let a = comptime!(if round % 2 == 0 { 1 } else { 3 });
        let b = comptime!(4 - a);
        x[0] += x[a];
        x[a] = rotate_left(x[a], comptime!(rotations[round][0])) ^ x[0];
        x[2] += x[b];
        x[b] = rotate_left(x[b], comptime!(rotations[round][1])) ^ x[2];
    }
}

/// Word `word` of substream `substream` at the counter, by Threefry-4x32 with 20 rounds.
#[cube]
pub fn bits(counter: &Counter, substream: u32, word: u32) -> u32 {
    let mut keys = Array::<u32>::new(5usize);
    keys[0] = counter.key_0;
    keys[1] = counter.key_1;
    keys[2] = counter.key_2;
    keys[3] = counter.key_3;
    keys[4] = PARITY ^ keys[0] ^ keys[1] ^ keys[2] ^ keys[3];
    let mut x = Array::<u32>::new(4usize);
    x[0] = counter.step_low + keys[0];
    x[1] = counter.step_high + keys[1];
    x[2] = substream + keys[2];
    x[3] = word / 4u32 + keys[3];
    #[unroll]
    for group in 0..5usize {
        if comptime!(group % 2 == 0) {
            four_rounds(&mut x, comptime!([[10, 26], [11, 21], [13, 27], [23, 5]]));
        } else {
            four_rounds(&mut x, comptime!([[6, 20], [17, 11], [25, 10], [18, 20]]));
        }
        #[unroll]
        for i in 0..4usize {
            x[i] += keys[comptime!((group + 1 + i) % 5)];
        }
        x[3] += comptime!(group as u32 + 1);
    }
    let within = word % 4u32;
    select(within < 2u32, select(within == 0u32, x[0], x[1]), select(within == 2u32, x[2], x[3]))
}

/// The index below `n` that is made from word 0 of a substream.
#[cube]
pub fn below(counter: &Counter, substream: u32, n: u32) -> u32 {
    bits(counter, substream, 0u32).mul_hi(n)
}

/// The standard normal that is made from word `word` of a substream.
#[cube]
pub fn normal(counter: &Counter, substream: u32, word: u32) -> f32 {
    standard_normal(bits(counter, substream, word))
}

/// A standard normal from one 32-bit word, as in `foresee_core::normal::standard_normal`.
#[cube]
#[allow(clippy::excessive_precision)]
pub fn standard_normal(bits: u32) -> f32 {
    let k = i32::cast_from(bits >> 8u32);
    let x = f32::cast_from(2i32 * k + 1i32 - 16_777_216i32) * 5.960_464_5e-8f32;
    let w = -ln((1.0f32 - x) * (1.0f32 + x));
    let mut p = 2.810_226_36e-08f32;
    if w < 5.0f32 {
        let w = w - 2.5f32;
        p = 3.432_739_39e-07f32 + p * w;
        p = -3.523_387_7e-06f32 + p * w;
        p = -4.391_506_54e-06f32 + p * w;
        p = 0.000_218_580_87f32 + p * w;
        p = -0.001_253_725_03f32 + p * w;
        p = -0.004_177_681_64f32 + p * w;
        p = 0.246_640_727f32 + p * w;
        p = 1.501_409_41f32 + p * w;
    } else {
        let w = w.sqrt() - 3.0f32;
        p = -0.000_200_214_257f32;
        p = 0.000_100_950_558f32 + p * w;
        p = 0.001_349_343_22f32 + p * w;
        p = -0.003_673_428_44f32 + p * w;
        p = 0.005_739_507_73f32 + p * w;
        p = -0.007_622_461_3f32 + p * w;
        p = 0.009_438_870_47f32 + p * w;
        p = 1.001_674_06f32 + p * w;
        p = 2.832_976_82f32 + p * w;
    }
    std::f32::consts::SQRT_2 * (p * x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cube::tensor;
    use crate::{device, tensors};
    use foresee_core::normal::standard_normal as on_host;

    /// Writes the words (as two halves) and the normals, or indices below `n`, of substreams `first..` of a counter.
    #[cube(launch)]
    fn draw(out: &mut [f32], counter: Counter, first: u32, words: u32, n: u32) {
        let (substream, word) = (first + ABSOLUTE_POS as u32 / words, ABSOLUTE_POS as u32 % words);
        if 3 * ABSOLUTE_POS + 2 < out.len() {
            let all = bits(&counter, substream, word);
            // Two halves, because a float's payload bits may not be preserved.
            out[3 * ABSOLUTE_POS] = f32::cast_from(all >> 16u32);
            out[3 * ABSOLUTE_POS + 1] = f32::cast_from(all & 0xffffu32);
            out[3 * ABSOLUTE_POS + 2] = normal(&counter, substream, word);
            if word == 0u32 && n > 0u32 {
                out[3 * ABSOLUTE_POS + 2] = f32::cast_from(below(&counter, substream, n));
            }
        }
    }

    /// The draws of the kernel, `[substreams, words]` of (bits, third number).
    fn drawn(device: &burn::tensor::Device, stream: &Stream, step: u64, first: u32, n: u32) -> Vec<(u32, f32)> {
        const SUBSTREAMS: usize = 64;
        const WORDS: usize = 9;
        let out = tensor::empty(&[SUBSTREAMS * WORDS, 3], device);
        let client = out.client.clone();
        let count = CubeCount::Static((SUBSTREAMS * WORDS / 64) as u32, 1, 1);
        let out_arg = out.clone().into_buffer_arg();
        draw::launch(&client, count, CubeDim::new_1d(64), out_arg, counter(stream, step), first, WORDS as u32, n);
        let values = tensors::to_vec(tensor::<2>(out));
        values.chunks_exact(3).map(|v| (((v[0] as u32) << 16) | v[1] as u32, v[2])).collect()
    }

    /// Relative tolerance of normals. The polynomial in w has a condition of about one. Vulkan allows a division 2.5
    /// units in the last place and a square root 3, and a shader may contract a product and a sum. A software
    /// Vulkan driver has errors of up to 4 units in the last place.
    const NORMAL: f32 = 2e-6;

    #[test]
    fn words_and_indices_are_those_of_the_host_and_normals_are_close() {
        let Some(device) = device::wgpu_of_test("words_and_indices_are_those_of_the_host") else { return };
        let mut error = 0.0_f32;
        for (seed, name, step, first, n) in [
            (0, "rollout/action", 0, 0, 0),
            (7, "rollout/noise", (5 << 16) | 3, 1000, 1),
            (u64::MAX, "rollout/elite", u64::MAX, u32::MAX - 63, 5),
            (1 << 40, "rollout/elite", 1 << 33, 1 << 31, 7),
            (12345, "rollout/start", 99, 12, 1_000_003),
            (12345, "rollout/start", 98, 12, 16_000_000),
        ] {
            let stream = Stream::new(seed, name);
            for (i, (got, third)) in drawn(&device, &stream, step, first, n).into_iter().enumerate() {
                let (substream, word) = (first + (i / 9) as u32, i % 9);
                let mut draws = stream.at(step, substream);
                let want = (0..=word).map(|_| draws.bits()).last().expect("a word");
                assert_eq!(got, want, "{name}, step {step}, substream {substream}, word {word}");
                if word == 0 && n > 0 {
                    assert_eq!(
                        third as usize,
                        stream.at(step, substream).below(n as usize),
                        "below {n}, substream {substream}"
                    );
                } else {
                    let want = on_host(want);
                    error = error.max((third - want).abs() / want.abs().max(f32::MIN_POSITIVE));
                }
            }
        }
        assert!(error <= NORMAL, "normals have a relative error of {error:e}");
    }
}
