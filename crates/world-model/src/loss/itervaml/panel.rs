//! The panel form of IterVAML.

use foresee_nn::cpu::PANEL_ROWS;
use foresee_nn::cpu::simd::Simd;

use super::IterVaml;
use crate::loss::panel::{ChannelLoss, Panel, Row, add_square};

impl ChannelLoss for IterVaml {
    /// (1/N) Σ_n (V̂_n − V_n)²; its derivative is (2/N) Σ_n (V̂_n − V_n) ∂V̂_n/∂s_d.
    #[inline(always)]
    fn channel<S: Simd>(&self, panel: &Panel<'_>, c: usize, loss: &mut Row, slope: &mut Row) {
        if c == panel.channels - 1 {
            return add_square::<S>(&panel.error(c), loss, slope);
        }
        let per_head = 1.0 / panel.heads.max(1) as f32;
        for n in 0..panel.heads {
            let (predicted, value, g) = (panel.predicted_value(n), panel.term(n), panel.predicted_slope(n, c));
            for j in 0..PANEL_ROWS {
                let error = predicted[j] - value[j];
                slope[j] = S::mul_add(2.0 * per_head * error, g[j], slope[j]);
                if c == 0 {
                    loss[j] = S::mul_add(per_head * error, error, loss[j]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::LossConfig;
    use crate::trainer::tests::assert_forms_agree;

    #[test]
    fn the_panel_form_is_the_tensor_form() {
        assert_forms_agree(&LossConfig::named("itervaml"));
    }
}
