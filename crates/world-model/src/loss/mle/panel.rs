//! The likelihood on panels.

use foresee_nn::cpu::simd::Simd;

use super::Mle;
use crate::loss::panel::{ChannelLoss, Panel, Row};

impl ChannelLoss for Mle {
    /// Nothing: the likelihood of mean and variance together follows the channels, as for every Gaussian head; of a loss
    /// that fits the variance it fits the mean too.
    #[inline(always)]
    fn channel<S: Simd>(&self, _: &Panel<'_>, _: usize, _: &mut Row, _: &mut Row) {}
}

#[cfg(test)]
mod tests {
    use crate::config::LossConfig;
    use crate::trainer::tests::assert_forms_agree;

    #[test]
    fn the_panel_form_is_the_tensor_form() {
        assert_forms_agree(&LossConfig::named("mle"));
    }
}
