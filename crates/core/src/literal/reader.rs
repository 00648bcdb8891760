//! The value that a text most likely means: a reader of tables and lists in the notation of TOML, JSON or Python, and
//! of numbers, booleans and words for no value in other spellings.

use toml::{Table, Value};

use super::{Fault, Looks, read};

/// Largest depth of lists and tables inside each other that a correction is looked for.
pub(super) const DEEPEST: usize = 64;

/// Returns the kind of value that a text looks like; `None` if it is a bare word.
pub(super) fn looks(text: &str) -> Option<Looks> {
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
pub(super) fn meant(text: &str, looks: Looks) -> Result<Value, Fault> {
    let wrapped;
    let text = match looks {
        Looks::List if !text.starts_with(['[', '(']) => {
            if let Some(number) = decimal(text).or_else(|| grouped(text)) {
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
    let mut reader = Reader { rest: text, depth: 0 };
    let value = reader.value()?;
    reader.skip_space();
    if reader.rest.is_empty() { Ok(value) } else { Err(Fault::Other) }
}

/// Returns the number in a text with commas between thousands, such as `1,000`. Returns `None` if the text is more
/// likely a list of numbers: if no group of three digits begins with 0.
fn grouped(text: &str) -> Option<Value> {
    let (first, rest) = text.trim_start_matches(['+', '-']).split_once(',')?;
    let is_whole = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let begins = is_whole(first) && first.len() <= 3 && !first.starts_with('0');
    let follows = rest.split(',').all(|part| is_whole(part) && part.len() == 3);
    if begins && follows && text.contains(",0") { scalar(&text.replace(',', ""))?.ok() } else { None }
}

/// Returns the number in a text with the decimal comma of many languages, such as `0,001`. Returns `None` if the text is
/// more likely a list of numbers: if no digit 0 follows `0,`.
fn decimal(text: &str) -> Option<Value> {
    let (whole, part) = text.split_once(',')?;
    let is_decimal =
        ["0", "+0", "-0"].contains(&whole) && part.len() > 1 && part.starts_with('0') && !part.contains(',');
    if is_decimal { scalar(&text.replace(',', "."))?.ok() } else { None }
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
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = digits.strip_prefix(prefix) {
            let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            let sign = if number.starts_with('-') { "-" } else { "" };
            let value = || i64::from_str_radix(&format!("{sign}{digits}"), radix);
            return is_number.then(|| value().map(Value::Integer).map_err(|_| Fault::Large));
        }
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
    /// The text that is not read yet.
    rest: &'a str,
    /// Number of lists and tables around the next value.
    depth: usize,
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
        if self.depth == DEEPEST {
            return Err(Fault::Other);
        }
        match self.rest.chars().next().ok_or(Fault::Unclosed)? {
            '{' => self.inside(Self::table),
            '[' => self.inside(|reader| reader.list('[', ']')),
            '(' => self.inside(|reader| reader.list('(', ')')),
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

    /// Reads a list or a table, one level deeper.
    fn inside(&mut self, read: impl FnOnce(&mut Self) -> Result<Value, Fault>) -> Result<Value, Fault> {
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
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
            let (key, is_quoted) = match self.rest.chars().next().ok_or(Fault::Unclosed)? {
                '"' | '\'' | '“' | '”' | '‘' | '’' => (self.quoted()?, true),
                _ => (self.word(&['=', ':', ',', '}', '{', '[']), false),
            };
            if self.rest.is_empty() {
                return Err(Fault::Unclosed);
            }
            // Without quotes, `a.b` is the key `b` of a table `a` in TOML.
            let is_path = !is_quoted && key.contains('.');
            if key.is_empty() || is_path || !(self.takes('=') || self.takes(':')) {
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
