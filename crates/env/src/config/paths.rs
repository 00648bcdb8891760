//! The paths in `[env]`, made independent of the folder in which the program is called.

use std::path::{Path, PathBuf};

use super::EnvConfig;

impl EnvConfig {
    /// Returns this configuration with absolute paths: a relative path begins at the working directory, and `~` at the
    /// start of a path is the home directory.
    ///
    /// A bare name of an interpreter or a library, such as `python3`, stays, because the system searches for it. Links
    /// are kept: the interpreter of a virtual environment is a link, whose place tells Python the environment.
    #[must_use]
    pub fn with_absolute_paths(mut self) -> Self {
        let home = std::env::home_dir();
        let searched = |path: &Path| path.components().count() == 1 && !path.has_root();
        for path in [&mut self.gym.python, &mut self.mujoco.library, &mut self.mujoco.assets] {
            *path = path.take().map(|path| in_home(path, home.as_deref()));
        }
        for path in [&mut self.gym.python, &mut self.mujoco.library] {
            *path = path.take().map(|path| if searched(&path) { path } else { absolute(path) });
        }
        self.mujoco.assets = self.mujoco.assets.map(absolute);
        self
    }
}

/// Replaces `~` at the start of a path by the home directory.
fn in_home(path: PathBuf, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) if rest.as_os_str().is_empty() => home.to_owned(),
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// Returns the path from the root of the file system. A config is text, so a path that is not Unicode cannot be stored
/// in one; such a path, and an empty one, stays as it is.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).ok().filter(|whole| whole.to_str().is_some()).unwrap_or(path)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_same_file_from_every_folder() {
        let here = std::env::current_dir().unwrap();
        let home = std::env::home_dir().unwrap();
        let mut config = EnvConfig::new("gym:Pendulum-v1");
        for (path, want) in [
            ("venv/bin/python", here.join("venv/bin/python")),
            ("./python", here.join("python")),
            ("~/venv/bin/python", home.join("venv/bin/python")),
            ("~", home.clone()),
            ("/usr/bin/python3", "/usr/bin/python3".into()),
            ("python3", "python3".into()),
            ("~me/python", here.join("~me/python")),
            ("", "".into()),
        ] {
            config.gym.python = Some(path.into());
            config.mujoco.library = Some(path.into());
            let found = config.clone().with_absolute_paths();
            assert_eq!([found.gym.python, found.mujoco.library], [Some(want.clone()), Some(want)], "{path}");
        }
        config.mujoco.assets = Some("assets".into());
        assert_eq!(config.with_absolute_paths().mujoco.assets, Some(here.join("assets")));
        assert_eq!(EnvConfig::new("a").with_absolute_paths(), EnvConfig::new("a"));
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("python");
        std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
        let mut config = EnvConfig::new("gym:Pendulum-v1");
        config.gym.python = Some(link.clone());
        assert_eq!(config.with_absolute_paths().gym.python, Some(link));
    }
}
