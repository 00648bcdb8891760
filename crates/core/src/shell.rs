//! Paths in commands that the program prints and that a user pastes into a shell.

use std::path::Path;

/// Returns a path as one word of a command line for a POSIX shell. A path without special characters is unchanged.
///
/// The word names the same path also for a program that takes words with a leading dash as options. A path that is not
/// Unicode cannot be printed exactly; its invalid bytes become `�`.
///
/// ```
/// use std::path::Path;
/// use foresee_core::shell::quoted;
///
/// assert_eq!(quoted(Path::new("runs/Pendulum-v1/mbpo-vagram/0-20261121-143321")), "runs/Pendulum-v1/mbpo-vagram/0-20261121-143321");
/// assert_eq!(quoted(Path::new("my run")), "'my run'");
/// assert_eq!(quoted(Path::new("-x")), "./-x");
/// ```
#[must_use]
pub fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = if text.starts_with('-') { format!("./{text}").into() } else { text };
    // Only a text with a NUL cannot be quoted, and no path of a file has one.
    shlex::try_quote(&text).map_or_else(|_| text.clone().into_owned(), |word| word.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_path_as_one_word_that_names_it() {
        for path in
            ["run", "my run", "a[1]", "$x", "it's", "~", "~/a", "", "a*b", "a\\b", "my run [1] $x'y \"z\"", "ü", "a=b"]
        {
            let word = quoted(Path::new(path));
            assert_eq!(shlex::split(&word), Some(vec![path.to_owned()]), "{word}");
            assert_eq!(word == path, path == "run", "{word}: quotes are only added where they are needed");
        }
        assert_eq!(quoted(Path::new("-n o")), "'./-n o'");
    }

    #[cfg(unix)]
    #[test]
    fn the_shell_of_this_machine_agrees() {
        for path in ["my run [1] $x'y", "~", "", "a`b", "!x", "-n", "a\nb"] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(Path::new(path)))])
                .output()
                .expect("a shell");
            let found = String::from_utf8(output.stdout).expect("text");
            assert_eq!(found.strip_prefix("./-").map_or(found.clone(), |rest| format!("-{rest}")), path);
        }
    }
}
