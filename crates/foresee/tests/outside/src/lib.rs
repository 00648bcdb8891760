//! A loss and an environment that are not part of foresee, and the parts of a run with both.

pub mod hover;
pub mod huber;

use std::sync::Arc;

use foresee::loss::ModelLoss;
use foresee::{Kind, Parts};

use hover::Hover;
use huber::{FusedHuber, Huber};

/// Returns everything that foresee ships, the loss `huber_by_channel`, its version with a panel form
/// `fused_huber_by_channel`, and the environment `Hover-v0`.
#[must_use]
pub fn parts() -> Parts {
    let mut parts = Parts::default();
    parts.losses.add(Kind::new("huber_by_channel", "Huber's loss with a weight per channel", |huber: Huber| {
        huber.checked().map(|huber| Arc::new(huber) as Arc<dyn ModelLoss>)
    }));
    parts.losses.add(Kind::new(
        "fused_huber_by_channel",
        "Huber's loss with a weight per channel, in panel form",
        |huber: Huber| huber.checked().map(|huber| Arc::new(FusedHuber(huber)) as Arc<dyn ModelLoss>),
    ));
    parts.tasks.add(hover::ID, Some(hover::LIMIT), || Ok(Box::new(Hover::new())));
    parts
}
