//! As much of TOML 1.0 as configuration files and board files need: tables, keys, texts on one line, whole numbers,
//! switches, lists of texts. Everything else that is TOML is stepped over as [`Value::Other`], or refused with its line.
//! A parser for all of it made a router's program 37 KiB bigger, most of that for fractions that no key takes.

use std::string::{String, ToString};
use std::vec::Vec;

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// In quotes of either kind.
    Text(String),
    /// `true`, `false`.
    Switch(bool),
    /// A whole number, decimal.
    Number(i64),
    /// A list of nothing but texts.
    List(Vec<String>),
    /// A fraction, a date, an inline table, a list of something else, or no TOML: a word without quotes.
    Other,
}

/// `key = value`, where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The last `[table]` before it; empty before the first.
    pub table: String,
    /// As it is written, without quotes.
    pub key: String,
    /// The value.
    pub value: Value,
    /// Counted from 1.
    pub line: usize,
}

/// Why a text is not TOML, or not the part of it that is read here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Everything in a document, in its order. A key that stands there twice comes out twice.
pub fn parse(text: &str) -> Result<Vec<Entry>, Wrong> {
    let mut reader = Reader {
        rest: text,
        line: 1,
        values: 0,
    };
    let (mut entries, mut table) = (Vec::new(), String::new());
    loop {
        reader.skip_blank_lines();
        let line = reader.line;
        match reader.peek() {
            None => return Ok(entries),
            Some('[') => table = reader.table()?,
            Some(_) => {
                let key = reader.key()?;
                reader.expect('=', "an = is missing after the key")?;
                reader.skip_blanks();
                let value = reader.value(MAX_DEPTH)?;
                let table = table.clone();
                entries.push(Entry {
                    table,
                    key,
                    value,
                    line,
                });
            }
        }
        reader.end_of_line()?;
    }
}

/// Lists and tables within each other.
const MAX_DEPTH: u8 = 8;

/// Values in a document, those in lists among them: a short text can have thousands, and each takes its place in memory.
const MAX_VALUES: u8 = 128;

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    values: u8,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        if next == Some('\n') {
            self.line += 1;
        }
        next
    }

    fn wrong<T>(&self, what: &'static str) -> Result<T, Wrong> {
        Err(Wrong {
            line: self.line,
            what,
        })
    }

    /// Everything up to the first character that does not fit.
    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn skip_blanks(&mut self) {
        self.take_while(|c| matches!(c, ' ' | '\t'));
    }

    fn skip_comment(&mut self) {
        self.skip_blanks();
        if self.peek() == Some('#') {
            self.take_while(|c| c != '\n');
        }
    }

    /// Blanks, comments and ends of lines.
    fn skip_blank_lines(&mut self) {
        self.skip_comment();
        while let Some('\n' | '\r') = self.peek() {
            self.next();
            self.skip_comment();
        }
    }

    fn end_of_line(&mut self) -> Result<(), Wrong> {
        self.skip_comment();
        match self.peek() {
            None | Some('\n' | '\r') => Ok(()),
            Some(_) => self.wrong("more than one thing on a line; texts stand in quotes"),
        }
    }

    fn expect(&mut self, wanted: char, what: &'static str) -> Result<(), Wrong> {
        self.skip_blanks();
        match self.peek() {
            Some(c) if c == wanted => {
                self.next();
                Ok(())
            }
            _ => self.wrong(what),
        }
    }

    /// `[table]` or `[[table]]`.
    fn table(&mut self) -> Result<String, Wrong> {
        let brackets = self.take_while(|c| c == '[').len();
        let name = self.key()?;
        for _ in 0..brackets {
            self.expect(']', "a ] is missing")?;
        }
        Ok(name)
    }

    /// A key: bare, in quotes, or with dots.
    fn key(&mut self) -> Result<String, Wrong> {
        let mut key = String::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                Some('"' | '\'') => key.push_str(&self.text()?),
                _ => {
                    let bare =
                        self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
                    if bare.is_empty() {
                        return self.wrong("a key is missing");
                    }
                    key.push_str(bare);
                }
            }
            self.skip_blanks();
            if self.peek() != Some('.') {
                return Ok(key);
            }
            self.next();
            key.push('.');
        }
    }

    fn value(&mut self, depth: u8) -> Result<Value, Wrong> {
        if depth == 0 {
            return self.wrong("lists within too many lists");
        }
        if self.values == MAX_VALUES {
            return self.wrong("more than 128 values");
        }
        self.values += 1;
        match self.peek() {
            Some('"' | '\'') => self.text().map(Value::Text),
            Some('[') => self.list(depth),
            Some('{') => self.inline_table(depth),
            _ => self.word(),
        }
    }

    /// A text in quotes, on one line.
    fn text(&mut self) -> Result<String, Wrong> {
        let quote = self.next().unwrap_or('"');
        let mut text = String::new();
        loop {
            match self.peek() {
                None | Some('\n') => return self.wrong("a text has no closing quote on its line"),
                Some(_) => {}
            }
            match self.next() {
                Some(c) if c == quote => return Ok(text),
                Some('\\') if quote == '"' => text.push(self.escaped()?),
                Some(c) => text.push(c),
                None => {}
            }
        }
    }

    /// What stands after a backslash.
    fn escaped(&mut self) -> Result<char, Wrong> {
        let digits = match self.next() {
            Some('b') => return Ok('\u{8}'),
            Some('t') => return Ok('\t'),
            Some('n') => return Ok('\n'),
            Some('f') => return Ok('\u{c}'),
            Some('r') => return Ok('\r'),
            Some(c @ ('"' | '\\')) => return Ok(c),
            Some('u') => 4,
            Some('U') => 8,
            _ => return self.wrong("a text has a backslash that means nothing"),
        };
        let code = self.rest.get(..digits);
        let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok());
        match code.and_then(char::from_u32) {
            Some(c) => {
                self.rest = self.rest.get(digits..).unwrap_or("");
                Ok(c)
            }
            None => self.wrong("a text has a \\u that is no character"),
        }
    }

    fn list(&mut self, depth: u8) -> Result<Value, Wrong> {
        self.next();
        let (mut texts, mut others) = (Vec::new(), false);
        loop {
            self.skip_blank_lines();
            match self.peek() {
                None => return self.wrong("a list has no closing ]"),
                Some(']') => break,
                Some(_) => match self.value(depth - 1)? {
                    Value::Text(text) => texts.push(text),
                    _ => others = true,
                },
            }
            self.skip_blank_lines();
            match self.peek() {
                Some(',') => self.next(),
                Some(']') => break,
                _ => return self.wrong("a list wants a , or a ]"),
            };
        }
        self.next();
        Ok(match others {
            true => Value::Other,
            false => Value::List(texts),
        })
    }

    fn inline_table(&mut self, depth: u8) -> Result<Value, Wrong> {
        self.next();
        loop {
            self.skip_blanks();
            if self.peek() == Some('}') {
                break;
            }
            self.key()?;
            self.expect('=', "an = is missing after the key")?;
            self.skip_blanks();
            self.value(depth - 1)?;
            self.skip_blanks();
            match self.peek() {
                Some(',') => self.next(),
                Some('}') => break,
                _ => return self.wrong("a table in a line wants a , or a }"),
            };
        }
        self.next();
        Ok(Value::Other)
    }

    /// What stands without quotes.
    fn word(&mut self) -> Result<Value, Wrong> {
        let word = self
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_' | '.' | ':'));
        match word {
            "" => self.wrong("a value is missing"),
            "true" => Ok(Value::Switch(true)),
            "false" => Ok(Value::Switch(false)),
            _ => Ok(number(word).map_or(Value::Other, Value::Number)),
        }
    }
}

/// A decimal number; underscores stand between digits, and the first is no 0.
fn number(word: &str) -> Option<i64> {
    let digits = word.trim_start_matches(['+', '-']);
    let leading = digits.len() > 1 && digits.starts_with('0');
    let between = !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__");
    match between && !leading {
        true => word.replace('_', "").to_string().parse().ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn a_document_has_no_more_values_than_a_node_has_room_for() {
        assert_eq!(parse(&"a = 1\n".repeat(128)).unwrap().len(), 128);
        refused(&"a = 1\n".repeat(129), 129, "more than 128 values");
        let list = |count| std::format!("a = [{}]", "'',".repeat(count));
        assert!(parse(&list(127)).is_ok());
        refused(&list(128), 1, "more than 128 values");
    }

    fn one(text: &str) -> Value {
        let mut entries = parse(text).unwrap();
        assert_eq!(entries.len(), 1, "{text}");
        entries.remove(0).value
    }

    #[track_caller]
    fn refused(text: &str, line: usize, what: &str) {
        let wrong = parse(text).unwrap_err();
        assert_eq!((wrong.line, wrong.what), (line, what), "{text}");
    }

    #[test]
    fn values_of_every_kind() {
        assert_eq!(one("a = \"x # y\" # z"), Value::Text("x # y".into()));
        assert_eq!(one("a='C:\\new'"), Value::Text("C:\\new".into()));
        assert_eq!(
            one(r#"a = "\"\\\t\u00e9\U0001F3B5""#),
            Value::Text("\"\\\té🎵".into())
        );
        assert_eq!(one("a = true\r\n"), Value::Switch(true));
        assert_eq!(one("a = -1_000"), Value::Number(-1000));
        for other in ["1.5", "1979-05-27T07:32:00Z", "0x1f", "007", "1__0", "8MiB"] {
            assert_eq!(one(&["a = ", other].concat()), Value::Other, "{other}");
        }
        assert_eq!(one("a = { b = 1, c = [2] }"), Value::Other);
        assert_eq!(one("a = [1, \"x\"]"), Value::Other);
        let list = one("a = [ # first\n  \"x\", # second\n\n  'y',\n]");
        assert_eq!(list, Value::List(vec!["x".into(), "y".into()]));
        assert_eq!(one("a = []"), Value::List(vec![]));
    }

    #[test]
    fn entries_know_their_table_and_line() {
        let text = "# a file\n\nfirst = 1\nlist = [\n 'x',\n]\n[relay]  # here\n\"b.c\" = 2\n[[more]]\nd.e = 3";
        let entries = parse(text).unwrap();
        let places: Vec<_> = entries
            .iter()
            .map(|entry| (entry.table.as_str(), entry.key.as_str(), entry.line))
            .collect();
        let expected = [
            ("", "first", 3),
            ("", "list", 4),
            ("relay", "b.c", 8),
            ("more", "d.e", 10),
        ];
        assert_eq!(places, expected);
        assert_eq!(parse("").unwrap(), []);
        assert_eq!(parse("  # nothing").unwrap(), []);
    }

    #[test]
    fn what_is_no_toml_is_said_with_its_line() {
        refused("\na = \nb = 1", 2, "a value is missing");
        refused("a", 1, "an = is missing after the key");
        refused("= 1", 1, "a key is missing");
        refused("[relay\na = 1", 1, "a ] is missing");
        refused(
            "a = \"x\nb = 1",
            1,
            "a text has no closing quote on its line",
        );
        refused("a = 'x", 1, "a text has no closing quote on its line");
        refused(
            "a = \"\\x\"",
            1,
            "a text has a backslash that means nothing",
        );
        refused(
            "a = \"\\ud800\"",
            1,
            "a text has a \\u that is no character",
        );
        refused(
            "a = \"\\u+123\"",
            1,
            "a text has a \\u that is no character",
        );
        refused(
            "a = 1 2",
            1,
            "more than one thing on a line; texts stand in quotes",
        );
        refused("a = [\n\"x\"\n\"y\"]", 3, "a list wants a , or a ]");
        refused("a = [\"x\",", 1, "a list has no closing ]");
        refused("a = { b = 1", 1, "a table in a line wants a , or a }");
        let deep = ["a = ", &"[".repeat(100_000)].concat();
        refused(&deep, 1, "lists within too many lists");
    }

    #[test]
    fn no_text_makes_it_panic() {
        let pieces = [
            "a", " = ", "\"", "'", "[", "]", "{", "}", "\\u", "é", ",", ".", "#", "\n", "1_", "\r",
        ];
        let mut rng = crate::rng::Rng::new(6);
        for _ in 0..20_000 {
            let text: String = (0..12)
                .map(|_| pieces[rng.next_u64() as usize % pieces.len()])
                .collect();
            let _ = parse(&text);
        }
    }
}
