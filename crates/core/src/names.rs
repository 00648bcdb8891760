//! Names of metrics that have one value per part, such as a channel of the model or a step of the horizon.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Every name that [`of_part`] has returned.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// Returns `base/part`. Each text is allocated once and kept until the program ends, so a caller may request a name at
/// every report.
#[must_use]
pub fn of_part(base: &str, part: impl std::fmt::Display) -> &'static str {
    let name = format!("{base}/{part}");
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name.as_str()) {
        return known;
    }
    let leaked: &'static str = name.leak();
    names.insert(leaked);
    leaked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_once() {
        let [first, again] = [0; 2].map(|_| of_part("model/explained_variance", "reward"));
        assert_eq!(first, "model/explained_variance/reward");
        assert!(std::ptr::eq(first, again));
        assert_eq!(of_part("model/explained_variance", 3), "model/explained_variance/3");
    }
}
