//! Names of the directories in a checkpoint root.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{CheckpointError, disk};

/// Prefix of the names of unfinished saves, and of directories that are about to be removed.
pub(super) const TEMPORARY: &str = ".tmp-";

/// A checkpoint's name: `step-<step>`, or `step-<step>-<revision>` for a step that was saved again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    /// The step of the checkpoint.
    pub step: u64,
    /// Number of earlier saves of this step.
    pub revision: u64,
}

impl Name {
    /// Returns the names of all checkpoints, newest first.
    pub(super) fn all(root: &Path) -> Result<Vec<Self>, CheckpointError> {
        let mut all: Vec<_> = disk::names(root)?.iter().filter_map(|name| Self::parse(name)).collect();
        all.sort_by(|a, b| b.cmp(a));
        Ok(all)
    }

    /// Returns a name for this step with a revision after all existing ones.
    pub(super) fn free(root: &Path, step: u64) -> Result<Self, CheckpointError> {
        let last = Self::all(root)?.into_iter().find(|name| name.step == step);
        Ok(Self { step, revision: last.map_or(0, |name| name.revision + 1) })
    }

    fn parse(text: &str) -> Option<Self> {
        let numbers = text.strip_prefix("step-")?;
        let (step, revision) = numbers.split_once('-').unwrap_or((numbers, "0"));
        let name = Self { step: step.parse().ok()?, revision: revision.parse().ok()? };
        // Accepts only names that we would have written. `step-7` and `step-+00000000007` are foreign.
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step-{:012}", self.step)?;
        if self.revision > 0 {
            write!(f, "-{}", self.revision)?;
        }
        Ok(())
    }
}

/// Returns the paths of unfinished saves.
pub(super) fn unfinished(root: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let names = disk::names(root)?;
    Ok(names.into_iter().filter(|name| name.starts_with(TEMPORARY)).map(|name| root.join(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_sort_by_step_then_revision() {
        let names = ["step-000000000900", "step-000000001000", "step-000000001000-2", "step-000000001000-10"];
        let parsed: Vec<_> = names.iter().map(|name| Name::parse(name).unwrap()).collect();
        assert!(parsed.is_sorted());
        assert_eq!(parsed.iter().map(Name::to_string).collect::<Vec<_>>(), names);
        assert_eq!(Name::parse("step-1000000000000").unwrap().step, 1_000_000_000_000);
        for foreign in ["step-7", "step-", "step-000000001000-0", "step-000000001000-x", ".tmp-step-000000001000"] {
            assert_eq!(Name::parse(foreign), None, "{foreign}");
        }
    }
}
