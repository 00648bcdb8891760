//! The panel form of the squared error.

use foresee_nn::cpu::PANEL_ROWS;
use foresee_nn::cpu::simd::Simd;

use super::Mse;
use crate::loss::panel::{ChannelLoss, Panel, Row};

impl ChannelLoss for Mse {
    /// err² / C; its derivative is 2 err / C.
    #[inline(always)]
    fn channel<S: Simd>(&self, panel: &Panel<'_>, c: usize, loss: &mut Row, slope: &mut Row) {
        let all = 1.0 / panel.channels as f32;
        let (err, twice) = (panel.error(c), 2.0 * all);
        for j in 0..PANEL_ROWS {
            loss[j] = S::mul_add(all, err[j] * err[j], loss[j]);
            slope[j] = S::mul_add(twice, err[j], slope[j]);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::LossConfig;
    use crate::trainer::tests::assert_forms_agree;

    #[test]
    fn the_panel_form_is_the_tensor_form() {
        assert_forms_agree(&LossConfig::named("mse"));
    }
}
