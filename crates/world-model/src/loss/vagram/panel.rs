//! The panel form of VaGraM.

use foresee_nn::cpu::PANEL_ROWS;
use foresee_nn::cpu::simd::Simd;

use super::clip::mean_squares;
use super::{Bound, Vagram};
use crate::loss::RowTerms;
use crate::loss::panel::{ChannelLoss, Panel, Row, add_square, add_weighted_square};

impl ChannelLoss for Vagram {
    #[inline(always)]
    fn channel<S: Simd>(&self, panel: &Panel<'_>, c: usize, loss: &mut Row, slope: &mut Row) {
        let obs = panel.channels - 1;
        if c == obs {
            return add_square::<S>(&panel.error(c), loss, slope);
        }
        match self.form {
            // (1/O) Σ_d mean_n(g_nd²) err_d²; its derivative is (2/O) mean_n(g_nd²) err_d.
            Bound::Bounded => {
                add_weighted_square::<S>(&panel.error(c), panel.term(c), 1.0 / obs as f32, loss, slope);
            }
            // (1/N) Σ_n (Σ_d g_nd err_d)²; its derivative is (2/N) Σ_n g_nd (Σ_d g_nd err_d).
            Bound::Unbounded => {
                let per_head = 1.0 / panel.heads.max(1) as f32;
                for n in 0..panel.heads {
                    let along = projection::<S>(panel, n, obs);
                    let g = panel.term(n * obs + c);
                    for j in 0..PANEL_ROWS {
                        slope[j] = S::mul_add(2.0 * per_head * along[j], g[j], slope[j]);
                        if c == 0 {
                            loss[j] = S::mul_add(per_head * along[j], along[j], loss[j]);
                        }
                    }
                }
            }
        }
    }

    fn panel_terms(&self, gradients: RowTerms) -> RowTerms {
        match self.form {
            Bound::Bounded => mean_squares(&gradients),
            Bound::Unbounded => gradients,
        }
    }
}

/// Computes Σ_d g_nd err_d of one head.
#[inline(always)]
fn projection<S: Simd>(panel: &Panel<'_>, head: usize, obs: usize) -> Row {
    let mut along = [0.0; PANEL_ROWS];
    for d in 0..obs {
        let (err, g) = (panel.error(d), panel.term(head * obs + d));
        for j in 0..PANEL_ROWS {
            along[j] = S::mul_add(g[j], err[j], along[j]);
        }
    }
    along
}

#[cfg(test)]
mod tests {
    use crate::config::LossConfig;
    use crate::trainer::tests::assert_forms_agree;

    #[test]
    fn the_panel_form_is_the_tensor_form() {
        assert_forms_agree(&LossConfig::named("vagram"));
        assert_forms_agree(&LossConfig::named("vagram").with("form", "unbounded"));
    }
}
