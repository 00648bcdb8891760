//! The panel form of the value-weighted squared error.

use foresee_nn::cpu::simd::Simd;

use super::ValueWeighted;
use crate::loss::panel::{ChannelLoss, Panel, Row, add_square, add_weighted_square};

impl ChannelLoss for ValueWeighted {
    /// (w/O) Σ_d err_d²; its derivative is (2 w/O) err_d.
    #[inline(always)]
    fn channel<S: Simd>(&self, panel: &Panel<'_>, c: usize, loss: &mut Row, slope: &mut Row) {
        let obs = panel.channels - 1;
        if c == obs {
            add_square::<S>(&panel.error(c), loss, slope);
        } else {
            add_weighted_square::<S>(&panel.error(c), panel.term(0), 1.0 / obs as f32, loss, slope);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::LossConfig;
    use crate::trainer::tests::assert_forms_agree;

    #[test]
    fn the_panel_form_is_the_tensor_form() {
        assert_forms_agree(&LossConfig::named("value_weighted"));
    }
}
