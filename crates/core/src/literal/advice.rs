//! Messages about a text that is not valid TOML: what is wrong with it, and what to write instead.

use core::fmt;

use toml::Value;

use super::{Fault, Looks, Mistake, read};

/// Characters of a correction that a shell passes on unchanged.
const PLAIN_IN_SHELL: &str = "_-.=:/+,@%";
/// Largest number of characters of a value that a message repeats.
const SHOWN: usize = 60;
impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "looks like a table",
            Self::List => "looks like a list",
            Self::Number => "looks like a number",
            Self::Boolean => "looks like a boolean",
            Self::Nothing => "is a word for no value",
            Self::Quoted => "begins with a quote",
            Self::Equals => "begins with another `=`",
        })
    }
}

impl Mistake {
    /// Returns the error about a value of this text.
    #[must_use]
    pub fn what(&self, text: &str) -> String {
        let shown = shortened(text.trim());
        match self.meant {
            Err(Fault::Large | Fault::Overflow) if self.looks == Looks::Number => {
                format!("the number `{shown}` is too large")
            }
            Err(Fault::Nothing) if self.looks == Looks::Nothing => format!("`{shown}` is not a TOML value"),
            _ => format!("`{shown}` {}, but is not valid TOML", self.looks),
        }
    }

    /// Returns what to write as the override `key=VALUE` instead of `key=text`.
    #[must_use]
    pub fn hint(&self, key: &str, text: &str) -> String {
        let as_text = || {
            if text.trim().chars().count() > SHOWN {
                return String::new();
            }
            let text = Value::String(text.trim().to_owned());
            format!("; for the text itself, write {}", for_shell(&format!("{key}={text}")))
        };
        match &self.meant {
            Ok(value) => {
                let write = for_shell(&format!("{key}={value}"));
                match self.looks {
                    Looks::Table if has_text(value) => format!("strings inside a table need quotes: write {write}"),
                    Looks::Table | Looks::List | Looks::Quoted | Looks::Equals => format!("write {write}"),
                    _ => format!("write {write}{}", as_text()),
                }
            }
            Err(Fault::Nothing) if self.looks == Looks::Nothing => format!("{}{}", self.reason(), as_text()),
            Err(Fault::Large | Fault::Overflow | Fault::Nothing) => self.reason(),
            Err(Fault::Unclosed) => {
                let closed = match self.looks {
                    Looks::Table => "close the table with `}`",
                    Looks::List => "close the list with `]`",
                    _ => "close the quotes",
                };
                format!("{closed}; a shell splits words at spaces and removes quotes, so put '…' around the override")
            }
            Err(Fault::Other) => {
                let example = match self.looks {
                    Looks::Table => "a table is `{name = 1, other = \"text\"}`",
                    Looks::List => "a list is `[1, 2]`, or `[\"a\", \"b\"]`",
                    _ => "https://toml.io describes the values of TOML",
                };
                format!("{example}{}", as_text())
            }
        }
    }

    /// Returns why there is no such value, for the faults of a number or of a word for no value.
    fn reason(&self) -> String {
        match self.meant {
            Err(Fault::Large) => format!("a whole number is at most {}", i64::MAX),
            Err(Fault::Overflow) => format!("a number is at most {:e}, or `inf`", f64::MAX),
            _ => "TOML has no null; leave the key out instead".into(),
        }
    }
}

/// Returns a hint about a value in a file that is not valid TOML: the value that it most likely means, or why there is
/// none. `None` if nothing is known about it.
#[must_use]
pub fn hint_in_file(text: &str) -> Option<String> {
    match read(text) {
        Ok(Value::String(word)) if word == text.trim() && !word.is_empty() => {
            Some(format!("put a string in quotes: `{}`", Value::String(word)))
        }
        Ok(_) => None,
        Err(Mistake { meant: Ok(value), .. }) => Some(format!("write `{value}`")),
        Err(Mistake { meant: Err(Fault::Unclosed | Fault::Other), .. }) => None,
        Err(mistake) => Some(mistake.reason()),
    }
}

/// Returns a text in backticks. A text that a shell would change is in single quotes instead, so that it can be copied
/// to a command line.
#[must_use]
pub fn for_shell(text: &str) -> String {
    if text.chars().all(|c| c.is_alphanumeric() || PLAIN_IN_SHELL.contains(c)) {
        format!("`{text}`")
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Returns a text for a message: control characters are escaped, and the middle of a long text is left out.
#[must_use]
pub fn shortened(text: &str) -> String {
    shortened_to(text, SHOWN)
}

/// Shortens a text as [`shortened`] does, to about `most` characters.
#[must_use]
pub fn shortened_to(text: &str, most: usize) -> String {
    let clean: Vec<char> =
        text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    if clean.len() <= most {
        return clean.into_iter().collect();
    }
    let (start, end) = (&clean[..most - 10], &clean[clean.len() - 8..]);
    start.iter().chain(&['…']).chain(end).collect()
}

/// Returns true for a string, and for a list or table with a string in it.
fn has_text(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(items) => items.iter().any(has_text),
        Value::Table(table) => table.values().any(has_text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the error about a value, and the hint about it in an override of the key `k`.
    #[track_caller]
    fn refuses(text: &str, what: &str, hint: &str) {
        let mistake = read(text).expect_err(text);
        assert_eq!((mistake.what(text).as_str(), mistake.hint("k", text).as_str()), (what, hint), "{text}");
    }

    #[test]
    fn what_looks_like_a_value_is_answered_with_its_toml() {
        let looks = |text: &str, looks: &str| format!("`{text}` looks like a {looks}, but is not valid TOML");
        let quoted = |text: &str| format!("for the text itself, write 'k=\"{text}\"'");
        for (text, value) in [
            (".5", "0.5"),
            ("5.", "5.0"),
            ("-.5e-3", "-0.0005"),
            ("007", "7"),
            ("1__0", "10"),
            ("−5", "-5"),
            ("-0x1F", "-31"),
            ("+0b1__0", "2"),
            ("Infinity", "inf"),
            ("-Inf", "-inf"),
            ("NaN", "nan"),
        ] {
            refuses(text, &looks(text, "number"), &format!("write `k={value}`; {}", quoted(text)));
        }
        for (text, value) in [("True", "true"), ("False", "false"), ("TRUE", "true"), ("fAlse", "false")] {
            refuses(text, &looks(text, "boolean"), &format!("write `k={value}`; {}", quoted(text)));
        }
        for (text, value) in [
            ("64,64", "[64, 64]"),
            ("(64, .5)", "[64, 0.5]"),
            ("[a, b]", "[\"a\", \"b\"]"),
            ("3,", "[3]"),
            ("[[1, 2], [True]]", "[[1, 2], [true]]"),
            ("64,True", "[64, true]"),
            ("1,0.5", "[1, 0.5]"),
            ("0,10", "[0, 10]"),
            ("1024,064", "[1024, 64]"),
        ] {
            refuses(text, &looks(text, "list"), &format!("write 'k={value}'"));
        }
        for (text, value) in [("1,000", "1000"), ("-64,000,128", "-64000128"), ("0,001", "0.001"), ("-0,05", "-0.05")] {
            refuses(text, &looks(text, "list"), &format!("write `k={value}`"));
        }
        for (text, value) in [
            ("{mode=hard}", "{ mode = \"hard\" }"),
            ("{a={b=[c, 1]}}", "{ a = { b = [\"c\", 1] } }"),
            ("{'mode': \"hard\"}", "{ mode = \"hard\" }"),
        ] {
            refuses(text, &looks(text, "table"), &format!("strings inside a table need quotes: write 'k={value}'"));
        }
        refuses("{'a': 1, 'b': False}", &looks("{'a': 1, 'b': False}", "table"), "write 'k={ a = 1, b = false }'");
        refuses("“hard”", "`“hard”` begins with a quote, but is not valid TOML", "write 'k=\"hard\"'");
        refuses("=3", "`=3` begins with another `=`, but is not valid TOML", "write `k=3`");
    }

    #[test]
    fn what_has_no_value_is_answered_with_the_reason() {
        let whole = format!("a whole number is at most {}", i64::MAX);
        for text in ["9223372036854775808", "-9223372036854775809", "0xFFFFFFFFFFFFFFFF"] {
            refuses(text, &format!("the number `{text}` is too large"), &whole);
        }
        let digits = "7".repeat(70);
        let shown = format!("{}…{}", "7".repeat(50), "7".repeat(8));
        refuses(&digits, &format!("the number `{shown}` is too large"), &whole);
        refuses("[9223372036854775808]", "`[9223372036854775808]` looks like a list, but is not valid TOML", &whole);
        refuses("1e400", "the number `1e400` is too large", "a number is at most 1.7976931348623157e308, or `inf`");
        let nothing = "TOML has no null; leave the key out instead";
        for text in ["None", "null", "nil", "NULL"] {
            let hint = format!("{nothing}; for the text itself, write 'k=\"{text}\"'");
            refuses(text, &format!("`{text}` is not a TOML value"), &hint);
        }
        refuses("{g=None}", "`{g=None}` looks like a table, but is not valid TOML", nothing);
        let shell = "a shell splits words at spaces and removes quotes, so put '…' around the override";
        for (text, looks, close) in [
            ("{a=1", "looks like a table", "close the table with `}`"),
            ("[64,", "looks like a list", "close the list with `]`"),
            ("\"a", "begins with a quote", "close the quotes"),
        ] {
            refuses(text, &format!("`{text}` {looks}, but is not valid TOML"), &format!("{close}; {shell}"));
        }
        refuses(
            "[1 2",
            "`[1 2` looks like a list, but is not valid TOML",
            &format!("close the list with `]`; {shell}"),
        );
        refuses(
            "{1}",
            "`{1}` looks like a table, but is not valid TOML",
            "a table is `{name = 1, other = \"text\"}`; for the text itself, write 'k=\"{1}\"'",
        );
    }

    #[test]
    fn a_value_of_a_file_has_a_hint_without_the_shells_quotes() {
        for (text, hint) in [
            ("False", Some("write `false`")),
            (".5", Some("write `0.5`")),
            ("{mode=hard}", Some("write `{ mode = \"hard\" }`")),
            ("vagram", Some("put a string in quotes: `\"vagram\"`")),
            ("None", Some("TOML has no null; leave the key out instead")),
            ("9223372036854775808", Some("a whole number is at most 9223372036854775807")),
            ("[1,", None),
            ("", None),
            ("3", None),
        ] {
            assert_eq!(hint_in_file(text).as_deref(), hint, "{text}");
        }
    }

    #[test]
    fn texts_of_messages_are_short_and_in_one_line() {
        assert_eq!(shortened("a\nb\u{7}"), "a\\nb\\u{7}");
        assert_eq!(shortened_to("0123456789abcdefghij", 20), "0123456789abcdefghij");
        assert_eq!(shortened_to("0123456789abcdefghijk", 20), "0123456789…defghijk");
        assert_eq!(for_shell("a.b=1e-3"), "`a.b=1e-3`");
        assert_eq!(for_shell("a=[1, 2]"), "'a=[1, 2]'");
        assert_eq!(for_shell("a=it's"), r"'a=it'\''s'");
    }
}
