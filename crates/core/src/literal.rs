//! Values of a config in text form: TOML, or what a user writes out of habit from Python, JSON or the shell, with the
//! TOML that it most likely means.

use core::fmt;

use toml::{Table, Value};

/// Characters of a correction that a shell passes on unchanged.
const PLAIN_IN_SHELL: &str = "_-.=:/+,@%";
/// Largest number of characters of a value that a message repeats.
const SHOWN: usize = 60;

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

impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "looks like a table",
            Self::List => "looks like a list",
            Self::Number => "looks like a number",
            Self::Boolean => "looks like a boolean",
            Self::Nothing => "is no value",
            Self::Quoted => "begins with a quote",
            Self::Equals => "begins with another `=`",
        })
    }
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

impl Mistake {
    /// Returns the error about a value of this text.
    #[must_use]
    pub fn what(&self, text: &str) -> String {
        let shown = shortened(text.trim());
        match self.meant {
            Err(Fault::Large | Fault::Overflow) if self.looks == Looks::Number => {
                format!("the number `{shown}` is too large")
            }
            Err(Fault::Nothing) if self.looks == Looks::Nothing => format!("`{shown}` is no value of TOML"),
            _ => format!("`{shown}` {}, but is not valid TOML", self.looks),
        }
    }

    /// Returns what to write as the override `key=VALUE` instead of `key=text`.
    #[must_use]
    pub fn hint(&self, key: &str, text: &str) -> String {
        let as_text = || {
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
            _ => "TOML has no word for no value; leave the key out to have it unset".into(),
        }
    }
}

/// Returns a hint about a value in a file that is not valid TOML: the value that it most likely means, or why there is
/// none. `None` if nothing is known about it.
#[must_use]
pub fn hint_in_file(text: &str) -> Option<String> {
    match read(text) {
        Ok(Value::String(word)) if word == text.trim() && !word.is_empty() => {
            Some(format!("a text is written in quotes: `{}`", Value::String(word)))
        }
        Ok(_) => None,
        Err(Mistake { meant: Ok(value), .. }) => Some(format!("write `{value}`")),
        Err(Mistake { meant: Err(Fault::Unclosed | Fault::Other), .. }) => None,
        Err(mistake) => Some(mistake.reason()),
    }
}

/// Returns a text in backticks; a longer one in quotes that a shell needs and removes.
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

/// Returns the kind of value that a text looks like; `None` if it is a bare word.
fn looks(text: &str) -> Option<Looks> {
    let lower = text.to_lowercase();
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let is_plain = |part: &&str| matches!(scalar(part), Some(Ok(value)) if !value.is_str());
    match text.chars().next()? {
        '{' => Some(Looks::Table),
        '[' => Some(Looks::List),
        '(' if text.contains(',') => Some(Looks::List),
        '"' | '\'' | '“' | '”' | '‘' | '’' => Some(Looks::Quoted),
        '=' => Some(Looks::Equals),
        _ if text.contains(',') && !parts.is_empty() && parts.iter().all(is_plain) => Some(Looks::List),
        _ if lower == "true" || lower == "false" => Some(Looks::Boolean),
        _ => match scalar(text)? {
            Err(Fault::Nothing) => Some(Looks::Nothing),
            _ => Some(Looks::Number),
        },
    }
}

/// Returns the value that a text of this kind most likely means.
fn meant(text: &str, looks: Looks) -> Result<Value, Fault> {
    let wrapped;
    let text = match looks {
        Looks::List if !text.starts_with(['[', '(']) => {
            let grouped = text.split(',').skip(1).all(|part| part.len() == 3) && text.contains(",0");
            // The decimal comma of many languages.
            let decimal = text.split_once(',').filter(|(whole, part)| {
                ["0", "+0", "-0"].contains(whole) && part.len() > 1 && part.starts_with('0') && !part.contains(',')
            });
            if decimal.is_some()
                && let Some(Ok(number)) = scalar(&text.replace(',', "."))
            {
                return Ok(number);
            }
            if grouped && let Some(Ok(number)) = scalar(&text.replace(',', "")) {
                return Ok(number);
            }
            wrapped = format!("[{text}]");
            &wrapped
        }
        Looks::Equals => match read(text.trim_start_matches('=')) {
            Ok(value) => return Ok(value),
            Err(mistake) => return mistake.meant,
        },
        _ => text,
    };
    let mut reader = Reader { rest: text };
    let value = reader.value()?;
    reader.skip_space();
    if reader.rest.is_empty() { Ok(value) } else { Err(Fault::Other) }
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

/// Reads a word as a number, a boolean or no value; `None` if it is another word.
fn scalar(word: &str) -> Option<Result<Value, Fault>> {
    let valid = word.parse::<Value>().ok();
    if let Some(value) = valid.filter(|value| !value.is_str() && !value.is_array() && !value.is_table()) {
        return Some(Ok(value));
    }
    match word.to_lowercase().as_str() {
        "true" => return Some(Ok(Value::Boolean(true))),
        "false" => return Some(Ok(Value::Boolean(false))),
        "nan" => return Some(Ok(Value::Float(f64::NAN))),
        "inf" | "+inf" | "infinity" | "+infinity" => return Some(Ok(Value::Float(f64::INFINITY))),
        "-inf" | "-infinity" => return Some(Ok(Value::Float(f64::NEG_INFINITY))),
        "null" | "nil" => return Some(Err(Fault::Nothing)),
        _ if word == "None" => return Some(Err(Fault::Nothing)),
        _ => {}
    }
    let number = word.replace('\u{2212}', "-").replace('_', "");
    let digits = number.trim_start_matches(['+', '-']);
    if digits.len() + 1 < number.len() || !word.starts_with(|c: char| c.is_ascii_digit() || "+-.\u{2212}".contains(c)) {
        return None;
    }
    if let Some(digits) = ["0x", "0o", "0b"].iter().find_map(|prefix| digits.strip_prefix(prefix)) {
        let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
        return is_number.then_some(Err(Fault::Large));
    }
    if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) {
        return Some(number.parse().map(Value::Integer).map_err(|_| Fault::Large));
    }
    let has_digit = digits.contains(|c: char| c.is_ascii_digit());
    if !has_digit || !digits.chars().all(|c| c.is_ascii_digit() || ".eE+-".contains(c)) {
        return None;
    }
    let float: f64 = number.parse().ok()?;
    Some(if float.is_finite() { Ok(Value::Float(float)) } else { Err(Fault::Overflow) })
}

/// A reader of tables and lists in the notation of TOML, JSON, Python, or TOML without its quotes.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes the next character if it is this one.
    fn takes(&mut self, wanted: char) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self) -> Result<Value, Fault> {
        self.skip_space();
        match self.rest.chars().next().ok_or(Fault::Unclosed)? {
            '{' => self.table(),
            '[' => self.list('[', ']'),
            '(' => self.list('(', ')'),
            '"' | '\'' | '“' | '”' | '‘' | '’' => self.quoted().map(Value::String),
            _ => {
                let word = self.word(&[',', ']', '}', ')']);
                match scalar(&word) {
                    _ if word.is_empty() => Err(Fault::Other),
                    Some(value) => value,
                    None => Ok(Value::String(word)),
                }
            }
        }
    }

    /// Takes the text up to one of these characters, without spaces at its ends.
    fn word(&mut self, ends: &[char]) -> String {
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.trim().to_owned()
    }

    fn quoted(&mut self) -> Result<String, Fault> {
        let mut chars = self.rest.chars();
        let close = match chars.next() {
            Some('“' | '”') => ['”', '“'],
            Some('‘' | '’') => ['’', '‘'],
            other => [other.unwrap_or('"'); 2],
        };
        let (text, rest) = chars.as_str().split_once(close).ok_or(Fault::Unclosed)?;
        if text.contains('\\') {
            return Err(Fault::Other);
        }
        self.rest = rest;
        Ok(text.to_owned())
    }

    fn list(&mut self, open: char, close: char) -> Result<Value, Fault> {
        let (mut items, _) = (Vec::new(), self.takes(open));
        while !self.takes(close) {
            items.push(self.value()?);
            if !self.takes(',') {
                self.skip_space();
                match self.rest.chars().next() {
                    None => return Err(Fault::Unclosed),
                    Some(next) if next != close => return Err(Fault::Other),
                    _ => {}
                }
            }
        }
        Ok(Value::Array(items))
    }

    fn table(&mut self) -> Result<Value, Fault> {
        let (mut table, _) = (Table::new(), self.takes('{'));
        while !self.takes('}') {
            self.skip_space();
            let key = match self.rest.chars().next().ok_or(Fault::Unclosed)? {
                '"' | '\'' | '“' | '”' | '‘' | '’' => self.quoted()?,
                _ => self.word(&['=', ':', ',', '}', '{', '[']),
            };
            if self.rest.is_empty() {
                return Err(Fault::Unclosed);
            }
            if key.is_empty() || !(self.takes('=') || self.takes(':')) {
                return Err(Fault::Other);
            }
            let value = self.value()?;
            if table.insert(key, value).is_some() {
                return Err(Fault::Other);
            }
            if !self.takes(',') {
                self.skip_space();
                match self.rest.chars().next() {
                    None => return Err(Fault::Unclosed),
                    Some(next) if next != '}' => return Err(Fault::Other),
                    _ => {}
                }
            }
        }
        Ok(Value::Table(table))
    }
}

#[cfg(test)]
mod tests {
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
            "0..2",
            "",
            "Truely",
            "(a)",
        ] {
            assert_eq!(read(text), Ok(Value::String(text.into())));
        }
    }

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
        ] {
            refuses(text, &looks(text, "list"), &format!("write 'k={value}'"));
        }
        refuses("1,000", &looks("1,000", "list"), "write `k=1000`");
        refuses("0,001", &looks("0,001", "list"), "write `k=0.001`");
        refuses("-0,05", &looks("-0,05", "list"), "write `k=-0.05`");
        refuses("0,10", &looks("0,10", "list"), "write 'k=[0, 10]'");
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
        let nothing = "TOML has no word for no value; leave the key out to have it unset";
        for text in ["None", "null", "nil", "NULL"] {
            let hint = format!("{nothing}; for the text itself, write 'k=\"{text}\"'");
            refuses(text, &format!("`{text}` is no value of TOML"), &hint);
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

    #[test]
    fn a_value_of_a_file_has_a_hint_without_the_shells_quotes() {
        for (text, hint) in [
            ("False", Some("write `false`")),
            (".5", Some("write `0.5`")),
            ("{mode=hard}", Some("write `{ mode = \"hard\" }`")),
            ("vagram", Some("a text is written in quotes: `\"vagram\"`")),
            ("None", Some("TOML has no word for no value; leave the key out to have it unset")),
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
