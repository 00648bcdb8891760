//! The panel form of the Huber loss.

use foresee_nn::cpu::PANEL_ROWS;
use foresee_nn::cpu::simd::Simd;

use super::Huber;
use crate::loss::panel::{ChannelLoss, Panel, Row};

impl ChannelLoss for Huber {
    /// s (2 |err| − s) / C with s = min(|err|, δ); its derivative is 2 s sign(err) / C.
    #[inline(always)]
    fn channel<S: Simd>(&self, panel: &Panel<'_>, c: usize, loss: &mut Row, slope: &mut Row) {
        let (all, delta) = (1.0 / panel.channels as f32, self.delta as f32);
        let err = panel.error(c);
        for j in 0..PANEL_ROWS {
            let size = err[j].abs();
            let near = if size < delta { size } else { delta };
            loss[j] = S::mul_add(all * near, 2.0 * size - near, loss[j]);
            slope[j] += 2.0 * all * if err[j] < 0.0 { -near } else { near };
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::LossConfig;
    use crate::trainer::tests::assert_forms_agree;

    #[test]
    fn the_panel_form_is_the_tensor_form() {
        // The errors of the test's rows are on both sides of these bounds.
        for delta in [0.5, 1.5] {
            assert_forms_agree(&LossConfig::named("huber").with("delta", delta));
        }
    }
}
