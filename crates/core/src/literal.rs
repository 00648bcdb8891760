//! Values of a config in text form: TOML, or what a user writes out of habit from Python, JSON or the shell, with the
//! TOML that it most likely means.
//!
//! * `reader`: the value that such a text most likely means.
//! * `advice`: messages about such texts: what is wrong, and what to write instead.

mod advice;
mod reader;

use toml::Value;

pub use advice::{for_shell, hint_in_file, shortened, shortened_to};
use reader::{looks, meant};

/// The kinds of values that a text can look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// It begins with `{`.
    Table,
    /// It begins with `[` or `(`, or is numbers with commas between them.
    List,
    /// It consists of the characters of a number.
    Number,
    /// `true` or `false` in another spelling.
    Boolean,
    /// The word of another language for no value, such as Python's `None`.
    Nothing,
    /// It begins with a quote.
    Quoted,
    /// It begins with `=`.
    Equals,
}

/// A text that looks like a value other than a bare word, and is not valid TOML.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    /// The kind of value that it looks like.
    pub looks: Looks,
    /// The value that it most likely means, or why there is none.
    pub meant: Result<Value, Fault>,
}

/// The reason why no value can be suggested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A whole number is outside the range of 64 bits.
    Large,
    /// A number is larger than the largest with 64 bits.
    Overflow,
    /// A word of another language for no value.
    Nothing,
    /// A bracket or a quote is not closed.
    Unclosed,
    /// Something else.
    Other,
}

/// Reads a text as TOML, or as a string if it is a bare word.
///
/// # Errors
/// If the text is not TOML, but looks like a table, a list, a number, a boolean, no value or a quoted string.
///
/// ```
/// use foresee_core::literal::read;
/// use toml::Value;
///
/// assert_eq!(read("1e-3"), Ok(Value::Float(1e-3)));
/// assert_eq!(read("Hopper-v5"), Ok(Value::String("Hopper-v5".into())));
/// let mistake = read("{mode=hard}").unwrap_err();
/// assert_eq!(mistake.hint("a", "{mode=hard}"), "strings inside a table need quotes: write 'a={ mode = \"hard\" }'");
/// ```
pub fn read(text: &str) -> Result<Value, Mistake> {
    let text = text.trim();
    if let Ok(value) = text.parse() {
        return Ok(value);
    }
    match looks(text) {
        None => Ok(Value::String(text.to_owned())),
        Some(looks) => Err(Mistake { looks, meant: meant(text, looks) }),
    }
}

#[cfg(test)]
mod tests {
    use super::reader::DEEPEST;
    use super::*;

    #[test]
    fn toml_is_itself_and_other_words_are_strings() {
        for (text, value) in [
            ("1_000", Value::Integer(1000)),
            (" -3 ", Value::Integer(-3)),
            ("9223372036854775807", Value::Integer(i64::MAX)),
            ("0x1F", Value::Integer(31)),
            ("3e-4", Value::Float(3e-4)),
            ("1E5", Value::Float(1e5)),
            ("+inf", Value::Float(f64::INFINITY)),
            ("true", Value::Boolean(true)),
            ("\"None\"", Value::String("None".into())),
            ("'False'", Value::String("False".into())),
            ("[64, 64,]", Value::Array(vec![Value::Integer(64), Value::Integer(64)])),
            ("{a.b = 1}", Value::Table("a.b = 1".parse().unwrap())),
        ] {
            assert_eq!(read(text), Ok(value), "{text}");
        }
        assert!(read("nan").unwrap().as_float().is_some_and(f64::is_nan));
        for text in [
            "vagram",
            "Hopper-v5",
            "gym:my_module:MyEnv-v0",
            ".venv/bin/python",
            "lib.so.3.17.0",
            "a,b",
            "1,2,x",
            "none",
            "5k",
            "2e",
            "it's",
            "a=b",
            "1\nb=2",
            "-",
            "_1",
            "wgpu:0",
            "2024-13-01",
            "0b12",
            "0x",
            "0..2",
            "",
            "Truely",
            "(a)",
        ] {
            assert_eq!(read(text), Ok(Value::String(text.into())));
        }
    }

    #[test]
    fn a_correction_of_deep_lists_and_of_long_texts_is_not_looked_for() {
        let deep = "[".repeat(100_000);
        let mistake = read(&deep).unwrap_err();
        assert_eq!(mistake, Mistake { looks: Looks::List, meant: Err(Fault::Other) });
        assert_eq!(mistake.hint("k", &deep), "a list is `[1, 2]`, or `[\"a\", \"b\"]`");
        // The deepest list that has a correction.
        let nested = |depth| format!("{}a{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(DEEPEST - 1)).unwrap_err().meant.is_ok());
        assert_eq!(read(&nested(DEEPEST)).unwrap_err().meant, Err(Fault::Other));
    }

    #[test]
    fn a_path_without_quotes_is_not_taken_for_a_key() {
        assert_eq!(read("{a.b=hard}").unwrap_err().meant, Err(Fault::Other));
        let quoted = read("{'a.b': hard}").unwrap_err().meant.unwrap();
        assert_eq!(quoted.to_string(), "{ \"a.b\" = \"hard\" }");
    }

    #[test]
    fn every_suggestion_is_valid_toml_that_means_what_it_says() {
        for text in [
            ".5",
            "007",
            "True",
            "64,64",
            "1,000",
            "(1, [2, None2])",
            "{mode=hard}",
            "{'a': \"b c\"}",
            "{a={b=[c, 1]}}",
            "“a”",
            "=x",
            "[.5, 5., −1]",
        ] {
            let value = read(text).unwrap_err().meant.unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
            assert_eq!(read(&value.to_string()), Ok(value), "{text}");
        }
    }
}
