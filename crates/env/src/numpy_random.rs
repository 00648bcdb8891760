//! numpy's `default_rng(seed)`: `SeedSequence` and PCG64, bit for bit. A seed therefore gives the same draws here as in
//! Gymnasium, whose `gymnasium.utils.seeding.np_random` is the same construction.
//!
//! PCG64 is PCG XSL RR 128/64 (M. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms
//! for Random Number Generation", HMC-CS-2014-0905): s ← s·M + c (mod 2¹²⁸), output rotr₆₄(s_high ⊕ s_low, s >> 122).
//! It is implemented here because `rand_pcg` hides the state that a checkpoint needs; `rand_pcg` is the oracle of the
//! tests. `SeedSequence` follows `numpy/random/bit_generator.pyx` (numpy 2.4.6), itself M. O'Neill's `seed_seq_fe128`.
//! numpy also keeps the unused half of a word after a 32-bit draw. Nothing here draws 32 bits, so there is none to
//! save.

mod ziggurat;

use foresee_core::{State, StateError};

/// The LCG's multiplier, `PCG_DEFAULT_MULTIPLIER_128`.
const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;

/// numpy's default generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumpyRng {
    state: u128,
    increment: u128,
}

impl NumpyRng {
    /// Creates the generator of `np.random.default_rng(seed)`.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let words = seed_sequence(seed);
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let increment = wide(words[2], words[3]) << 1 | 1;
        let mut rng = Self { state: increment.wrapping_add(wide(words[0], words[1])), increment };
        rng.advance();
        rng
    }

    /// Draws a uniform number in [0, 1) with 53 bits, as `Generator.random()`.
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Draws a uniform number in [low, high), as `Generator.uniform(low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.next_f64()
    }

    /// Draws a standard normal number, as `Generator.standard_normal()`: numpy's `random_standard_normal` with its
    /// ziggurat.
    ///
    /// A word gives the layer (8 bits), the sign (1 bit) and the place within the layer (52 of the remaining 55 bits).
    /// Nearly always that place is certainly under the curve. Otherwise it is in the tail of the base or in the wedge
    /// of a layer, and further uniform numbers decide.
    pub fn standard_normal(&mut self) -> f64 {
        let layers = ziggurat::layers();
        loop {
            let word = self.next_u64();
            let (layer, place) = ((word & 0xff) as usize, word >> 9 & 0x000f_ffff_ffff_ffff);
            let sign = if word >> 8 & 1 == 1 { -1.0 } else { 1.0 };
            let x = sign * (place as f64 * layers.width[layer]);
            if place < layers.inside[layer] {
                return x;
            }
            if layer == 0 {
                // The sign in the tail comes from a bit of the place.
                let sign = if place >> 8 & 1 == 1 { -1.0 } else { 1.0 };
                return sign * self.tail();
            }
            let (above, below) = (layers.density[layer - 1], layers.density[layer]);
            if (above - below) * self.next_f64() + below < (-0.5 * x * x).exp() {
                return x;
            }
        }
    }

    /// Draws a number beyond the end r of the base, by Marsaglia's exponential rejection.
    fn tail(&mut self) -> f64 {
        loop {
            let beyond = -ziggurat::INVERSE_END * (-self.next_f64()).ln_1p();
            let other = -(-self.next_f64()).ln_1p();
            if other + other > beyond * beyond {
                return ziggurat::END + beyond;
            }
        }
    }

    /// Saves the state and the increment as 64-bit words, high word first.
    #[must_use]
    pub fn save(&self) -> State {
        let words = |x: u128| vec![(x >> 64) as u64, x as u64];
        let mut state = State::new();
        state.put("state", words(self.state));
        state.put("increment", words(self.increment));
        state
    }

    /// Returns the generator that was saved.
    ///
    /// # Errors
    /// If an array is missing, unknown, or not two words, or if the increment is even.
    pub fn restored(mut saved: State) -> Result<Self, StateError> {
        let mut wide = |name: &str, odd: bool| match saved.u64s(name)?.1[..] {
            [high, low] if !odd || low & 1 == 1 => Ok(u128::from(high) << 64 | u128::from(low)),
            ref words => Err(StateError::Mismatch {
                path: name.into(),
                found: format!("{words:?}"),
                expected: if odd { "the odd increment of a PCG64 generator" } else { "the state of a PCG64 generator" }
                    .into(),
            }),
        };
        let rng = Self { state: wide("state", false)?, increment: wide("increment", true)? };
        saved.finish()?;
        Ok(rng)
    }

    fn next_u64(&mut self) -> u64 {
        self.advance();
        ((self.state >> 64) as u64 ^ self.state as u64).rotate_right((self.state >> 122) as u32)
    }

    fn advance(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }
}

/// Computes `SeedSequence(seed).generate_state(4, np.uint64)`: a pool of four words, each mixed into every other.
fn seed_sequence(seed: u64) -> [u64; 4] {
    let mut constant = 0x43b0_d7e5_u32;
    let mut hash = |value: u32| {
        let value = value ^ constant;
        constant = constant.wrapping_mul(0x931e_8875);
        let value = value.wrapping_mul(constant);
        value ^ value >> 16
    };
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(&mut hash);
    for from in 0..4 {
        for to in 0..4 {
            if from != to {
                let (x, y) = (pool[to], hash(pool[from]));
                let mixed = x.wrapping_mul(0xca01_f9dd).wrapping_sub(y.wrapping_mul(0x4973_f715));
                pool[to] = mixed ^ mixed >> 16;
            }
        }
    }

    let mut constant = 0x8b51_f9dd_u32;
    let mut output = |i: usize| {
        let value = pool[i % 4] ^ constant;
        constant = constant.wrapping_mul(0x58f3_8ded);
        let value = value.wrapping_mul(constant);
        u64::from(value ^ value >> 16)
    };
    core::array::from_fn(|i| output(2 * i) | output(2 * i + 1) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_pcg::rand_core::Rng;

    /// numpy 2.4.6:
    /// `[np.random.default_rng(s).random(3).tolist() for s in (0, 1, 42, 2**32+5, 2**63)]`
    const UNIFORMS: [(u64, [f64; 3]); 5] = [
        (0, [0.6369616873214543, 0.2697867137638703, 0.04097352393619469]),
        (1, [0.5118216247002567, 0.9504636963259353, 0.14415961271963373]),
        (42, [0.7739560485559633, 0.4388784397520523, 0.8585979199113825]),
        ((1 << 32) + 5, [0.7742041803738812, 0.47072268318809307, 0.6958803443421149]),
        (1 << 63, [0.8113443785196867, 0.5964526365028158, 0.8682590770096154]),
    ];

    #[test]
    fn a_seed_gives_the_uniforms_that_numpy_draws() {
        for (seed, want) in UNIFORMS {
            let mut rng = NumpyRng::from_seed(seed);
            assert_eq!(want.map(|_| rng.next_f64()), want, "seed {seed}");
        }
    }

    #[test]
    fn a_seed_sequence_gives_the_words_that_numpy_generates() {
        // `[hex(w) for s in (42, 2**63) for w in np.random.SeedSequence(s).generate_state(4, np.uint64)]`
        for (seed, want) in [
            (42, [0x9f1e_2e6d_cd54_0ab7, 0xd578_73dc_79fb_94b6, 0x7d28_2a1b_64d4_20b7, 0x3365_7971_4692_d5ff]),
            (1 << 63, [0xd360_dfe1_56c9_650a, 0x6d06_7215_b58d_b8d7, 0xb8f7_f436_1307_7984, 0xaa2e_c05d_0037_409d]),
        ] {
            assert_eq!(seed_sequence(seed), want, "seed {seed}");
        }
    }

    #[test]
    fn a_uniform_between_bounds_is_numpys() {
        // `np.random.default_rng(42).uniform([-np.pi, -1], [np.pi, 1])`
        let mut rng = NumpyRng::from_seed(42);
        let pi = core::f64::consts::PI;
        assert_eq!([rng.uniform(-pi, pi), rng.uniform(-1.0, 1.0)], [1.721316619099806, -0.12224312049589536]);
    }

    /// `np.random.default_rng(42).standard_normal(6)`
    const NORMALS: [f64; 6] = [
        0.30471707975443135,
        -1.0399841062404955,
        0.7504511958064572,
        0.9405647163912139,
        -1.9510351886538364,
        -1.302179506862318,
    ];

    #[test]
    fn a_standard_normal_is_numpys() {
        let mut rng = NumpyRng::from_seed(42);
        assert_eq!(NORMALS.map(|_| rng.standard_normal()), NORMALS);
    }

    /// The tail and the wedges use `exp` and `ln_1p` of the system, hence the condition on the platform.
    #[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
    #[test]
    fn a_million_standard_normals_are_numpys_through_wedges_and_tail() {
        // `rng = np.random.default_rng(0); x = rng.standard_normal(10**6)`, then
        // `np.bitwise_xor.reduce(x.view(np.uint64)), (abs(x) > 3.6541528853610088).sum(), rng.random()`
        let mut rng = NumpyRng::from_seed(0);
        let draws: Vec<f64> = (0..1_000_000).map(|_| rng.standard_normal()).collect();
        assert_eq!(draws.iter().fold(0, |bits, x| bits ^ x.to_bits()), 0xff02_962a_c420_6ad2);
        assert_eq!(draws.iter().filter(|x| x.abs() > ziggurat::END).count(), 266);
        assert_eq!(rng.next_f64(), 0.1376350092864419);
    }

    #[test]
    fn its_words_are_those_of_rand_pcg() {
        for seed in 0..20 {
            let words = seed_sequence(seed);
            let wide = |i: usize| u128::from(words[i]) << 64 | u128::from(words[i + 1]);
            let mut oracle = rand_pcg::Pcg64::new(wide(0), wide(2));
            let mut rng = NumpyRng::from_seed(seed);
            for _ in 0..100 {
                assert_eq!(rng.next_u64(), oracle.next_u64());
            }
        }
    }

    #[test]
    fn a_saved_generator_goes_on_where_it_was() {
        let mut rng = NumpyRng::from_seed(42);
        rng.next_f64();
        let mut again = NumpyRng::restored(rng.save()).unwrap();
        assert_eq!(rng, again);
        assert_eq!(rng.next_f64(), again.next_f64());
    }

    #[test]
    fn a_generator_with_an_even_increment_is_refused() {
        let mut state = NumpyRng::from_seed(0).save();
        state.take("increment").unwrap();
        state.put("increment", vec![1_u64, 2]);
        let error = NumpyRng::restored(state).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`increment` in the saved state is [1, 2], expected the odd increment of a PCG64 generator"
        );
    }
}
