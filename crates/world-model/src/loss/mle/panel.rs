//! The panel form of the likelihood.

use foresee_nn::cpu::simd::Simd;

use super::Mle;
use crate::loss::panel::{ChannelLoss, Likelihood, Panel, Row};

impl ChannelLoss for Mle {
    fn likelihood(&self) -> Likelihood {
        Likelihood::OfBoth
    }

    /// Adds nothing: the likelihood of mean and variance is computed after the channels.
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
