//! The random draws of one update.

use foresee_nn::cpu::LANES;

use crate::noise::Noise;

/// The stream of the normals `[B, (H + 1) A]` of the actions.
const ACTION: &str = "agent/imagined_action";
/// The stream of the normals `[B, H W]` of the model's predictions.
const MODEL: &str = "agent/imagined_model";
/// The stream of the words that choose which network imagines.
const MEMBER: &str = "agent/imagined_member";
/// The stream of the words that choose target critics, one a critic.
const TARGET_SUBSET: &str = "agent/target_subset";

/// What an update of `B` rows over `H` steps draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draws {
    /// Standard normals of the actions, `[B, (H + 1) A]`.
    pub action: Vec<f32>,
    /// Noise of the model, `[B, H W]`; that of the reward, the last of `W` columns, is 0.
    pub model: Vec<f32>,
    /// The word that chooses each row's network at each step, `[H, B]`.
    pub words: Vec<u32>,
    /// The target critics that continue the rollouts.
    pub subset: Vec<usize>,
}

/// Sizes of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Rows, `B`.
    pub rows: usize,
    /// Imagined steps, `H`.
    pub horizon: usize,
    /// Entries of an action, `A`.
    pub action_dim: usize,
    /// Columns of the model's noise, `W`.
    pub noise_width: usize,
    /// Critics, `N`.
    pub critics: usize,
    /// Target critics that continue a rollout.
    pub subset: usize,
}

impl Draws {
    /// Draws into buffers that are there already.
    ///
    /// The reward is predicted without noise, whose expectation is 0 and whose variance would be the gradient's. At every
    /// step each block of [`LANES`] rows has one network. The blocks' words lie in as many equal parts of their range, in
    /// an order drawn anew at every step, so that all networks imagine about equally often (the published code has as
    /// many blocks as members, and permutes them).
    pub fn fill(&mut self, noise: &dyn Noise, sizes: Sizes) {
        let Sizes { rows, horizon, action_dim, noise_width, critics, subset } = sizes;
        noise.normals_into(ACTION, [rows, (horizon + 1) * action_dim], &mut self.action);
        noise.normals_into(MODEL, [rows, horizon * noise_width], &mut self.model);
        for step in self.model.chunks_exact_mut(noise_width.max(1)) {
            step[noise_width - 1] = 0.0;
        }
        let blocks = rows.div_ceil(LANES);
        let words = noise.words(MEMBER, 2 * horizon * blocks);
        self.words.clear();
        for words in words.chunks_exact(2 * blocks) {
            let order = crate::critic::subset(&words[..blocks], blocks);
            for (block, (place, &within)) in order.into_iter().zip(&words[blocks..]).enumerate() {
                let word = (((place as u64) << 32) + u64::from(within)) / blocks as u64;
                let in_block = LANES.min(rows - block * LANES);
                self.words.extend(std::iter::repeat_n(word as u32, in_block));
            }
        }
        self.subset = crate::critic::subset(&noise.words(TARGET_SUBSET, subset), critics);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::StreamNoise;
    use foresee_core::stream::below;

    #[test]
    fn every_network_imagines_about_equally_many_blocks_of_a_step_and_a_block_has_one() {
        let mut draws = Draws::default();
        for (rows, members) in [(256, 8), (256, 5), (100, 3), (7, 4)] {
            let sizes = Sizes { rows, horizon: 5, action_dim: 2, noise_width: 4, critics: 5, subset: 2 };
            draws.fill(&StreamNoise { seed: 1, update: 3 }, sizes);
            assert_eq!([draws.action.len(), draws.model.len(), draws.words.len()], [rows * 12, rows * 20, rows * 5]);
            assert!(draws.model.chunks(4).all(|step| step[3] == 0.0 && step[0] != 0.0));
            let blocks = rows.div_ceil(LANES);
            let mut orders = Vec::new();
            for words in draws.words.chunks(rows) {
                let of_block: Vec<usize> = words
                    .chunks(LANES)
                    .map(|block| {
                        assert!(block.iter().all(|word| word == &block[0]));
                        below(block[0], members)
                    })
                    .collect();
                for member in 0..members {
                    let count = of_block.iter().filter(|&&m| m == member).count();
                    let share = blocks as f64 / members as f64;
                    assert!((count as f64 - share).abs() < 2.0, "{count} of {blocks} blocks for {members} networks");
                }
                orders.push(of_block);
            }
            assert!(blocks == 1 || orders.iter().any(|order| order != &orders[0]));
        }
        assert_eq!(draws.subset.len(), 2);
        assert!(draws.subset[0] != draws.subset[1] && draws.subset.iter().all(|&n| n < 5));
    }
}
