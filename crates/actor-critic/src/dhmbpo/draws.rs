//! The random draws of one update.

use foresee_nn::cpu::PANEL_ROWS;

use crate::noise::Noise;

/// Name of the stream of the normals `[B, (H + 1) A]` of the actions.
const ACTION: &str = "agent/imagined_action";
/// Name of the stream of the normals `[B, H W]` of the model's predictions.
const MODEL: &str = "agent/imagined_model";
/// Name of the stream of the words that choose the predicting ensemble members.
const MEMBER: &str = "agent/imagined_member";
/// Name of the stream of the words that choose target critics, one word per chosen critic.
const TARGET_SUBSET: &str = "agent/target_subset";

/// The draws of an update of `B` rows and `H` steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DhmbpoDraws {
    /// Standard normals of the actions, `[B, (H + 1) A]`.
    pub action: Vec<f32>,
    /// Noise of the model, `[B, H W]`. The last of the `W` columns, the noise of the reward, is 0.
    pub model: Vec<f32>,
    /// The words that choose each row's ensemble member at each step, `[H, B]`.
    pub words: Vec<u32>,
    /// Indices of the target critics used at the end of the rollouts.
    pub subset: Vec<usize>,
}

/// The sizes of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateSizes {
    /// Number of rows, `B`.
    pub rows: usize,
    /// Number of imagined steps, `H`.
    pub horizon: usize,
    /// Number of entries of an action, `A`.
    pub action_dim: usize,
    /// Number of columns of the model's noise, `W`.
    pub noise_width: usize,
    /// Number of critics, `N`.
    pub critics: usize,
    /// Number of target critics used at the end of a rollout.
    pub subset: usize,
}

impl DhmbpoDraws {
    /// Draws all numbers of an update into the existing buffers.
    ///
    /// The reward is predicted without noise: its noise has mean 0 and would only add variance to the gradient.
    ///
    /// At every step each block of [`PANEL_ROWS`] rows has one ensemble member. The range of words is divided into as
    /// many equal parts as there are blocks, and each block's word is drawn from another part, in an order drawn anew
    /// at every step. All members therefore predict about equally often. (The published code has as many blocks as
    /// members, and permutes them.)
    pub fn fill(&mut self, noise: &dyn Noise, sizes: UpdateSizes) {
        let UpdateSizes { rows, horizon, action_dim, noise_width, critics, subset } = sizes;
        noise.normals_into(ACTION, [rows, (horizon + 1) * action_dim], &mut self.action);
        noise.normals_into(MODEL, [rows, horizon * noise_width], &mut self.model);
        for step in self.model.chunks_exact_mut(noise_width.max(1)) {
            step[noise_width - 1] = 0.0;
        }
        let blocks = rows.div_ceil(PANEL_ROWS);
        let words = noise.words(MEMBER, 2 * horizon * blocks);
        self.words.clear();
        for words in words.chunks_exact(2 * blocks) {
            let order = crate::critic::subset(&words[..blocks], blocks);
            for (block, (place, &within)) in order.into_iter().zip(&words[blocks..]).enumerate() {
                let word = (((place as u64) << 32) + u64::from(within)) / blocks as u64;
                let in_block = PANEL_ROWS.min(rows - block * PANEL_ROWS);
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
        let mut draws = DhmbpoDraws::default();
        for (rows, members) in [(256, 8), (256, 5), (100, 3), (7, 4)] {
            let sizes = UpdateSizes { rows, horizon: 5, action_dim: 2, noise_width: 4, critics: 5, subset: 2 };
            draws.fill(&StreamNoise { seed: 1, update: 3 }, sizes);
            assert_eq!([draws.action.len(), draws.model.len(), draws.words.len()], [rows * 12, rows * 20, rows * 5]);
            assert!(draws.model.chunks(4).all(|step| step[3] == 0.0 && step[0] != 0.0));
            let blocks = rows.div_ceil(PANEL_ROWS);
            let mut orders = Vec::new();
            for words in draws.words.chunks(rows) {
                let of_block: Vec<usize> = words
                    .chunks(PANEL_ROWS)
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
