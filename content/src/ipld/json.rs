//! dag-json as events: JSON in which `{"/": "CID"}` is a link and `{"/": {"bytes": "BASE64"}}` is bytes.

use std::borrow::Cow;

use ::cid::multibase::Base;

use super::{DEPTH_MAX, Event, IpldError};

/// Reads a block of JSON.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether each list or map that is open is a map.
    open: Vec<bool>,
    /// What may come next.
    next: Next,
    /// A key that was read ahead.
    key: Option<Cow<'a, str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A value.
    Value,
    /// The first item or key of what was just opened, or its end.
    First,
    /// A comma, or the end of what is open.
    Comma,
    /// Nothing but blanks.
    Nothing,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, open: Vec::new(), next: Next::Value, key: None }
    }

    pub(super) fn next_event(&mut self) -> Result<Option<Event<'a>>, IpldError> {
        if let Some(key) = self.key.take() {
            self.next = Next::Value;
            return Ok(Some(Event::Key(key)));
        }
        self.blanks();
        match (self.next, self.open.last().copied()) {
            (Next::Value, _) => self.value().map(Some),
            (Next::First | Next::Comma, Some(is_map)) => self.inside(is_map).map(Some),
            _ if self.at == self.text.len() => Ok(None),
            _ => Err(IpldError::Excess),
        }
    }

    /// The next item, key or end of what is open.
    fn inside(&mut self, is_map: bool) -> Result<Event<'a>, IpldError> {
        if self.eat(if is_map { b'}' } else { b']' }) {
            self.open.pop();
            self.after_value();
            return Ok(Event::End);
        }
        if self.next == Next::Comma {
            self.need(b',', "a comma is missing")?;
            self.blanks();
        }
        if !is_map {
            return self.value();
        }
        let key = self.key()?;
        self.next = Next::Value;
        Ok(Event::Key(key))
    }

    fn value(&mut self) -> Result<Event<'a>, IpldError> {
        let event = match self.text.get(self.at).copied().ok_or(IpldError::Truncated)? {
            b'"' => Event::Text(self.string()?),
            b'[' => {
                self.at += 1;
                return self.begin(Event::List);
            }
            b'{' => {
                self.at += 1;
                match self.reserved()? {
                    Some(event) => event,
                    None => return self.begin(Event::Map),
                }
            }
            b't' => self.word(b"true", Event::Bool(true))?,
            b'f' => self.word(b"false", Event::Bool(false))?,
            b'n' => self.word(b"null", Event::Null)?,
            _ => self.number()?,
        };
        self.after_value();
        Ok(event)
    }

    fn begin(&mut self, event: Event<'a>) -> Result<Event<'a>, IpldError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(IpldError::TooDeep);
        }
        self.open.push(event == Event::Map);
        if self.key.is_none() {
            self.next = Next::First;
        }
        Ok(event)
    }

    /// Behind the brace of a map: the link or the bytes that it stands for. Otherwise its first key, if there is one, is
    /// kept for the next event.
    fn reserved(&mut self) -> Result<Option<Event<'a>>, IpldError> {
        self.blanks();
        if self.text.get(self.at) == Some(&b'}') {
            return Ok(None);
        }
        let key = self.key()?;
        if key != "/" {
            self.key = Some(key);
            return Ok(None);
        }
        self.blanks();
        let event = if self.eat(b'{') {
            self.blanks();
            if self.key()? != "bytes" {
                return Err(self.malformed("a reserved key"));
            }
            self.blanks();
            let text = self.string()?;
            let bytes =
                Base::Base64.decode(text.as_ref()).map_err(|_| self.malformed("bytes in no base64"))?;
            self.blanks();
            self.need(b'}', "more than bytes")?;
            Event::Bytes(Cow::Owned(bytes))
        } else {
            Event::Link(self.string()?.parse()?)
        };
        self.blanks();
        self.need(b'}', "more than a link")?;
        Ok(Some(event))
    }

    /// A key and the colon behind it.
    fn key(&mut self) -> Result<Cow<'a, str>, IpldError> {
        let key = self.string()?;
        self.blanks();
        self.need(b':', "a colon is missing")?;
        Ok(key)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, IpldError> {
        self.need(b'"', "a text was expected")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.text.get(self.at).copied().ok_or(IpldError::Truncated)? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.at += 2;
                }
                0..0x20 => return Err(self.malformed("a control character in a text")),
                _ => self.at += 1,
            }
        }
        let raw = &self.text[start..self.at.min(self.text.len())];
        self.at += 1;
        let raw = std::str::from_utf8(raw).map_err(|_| self.malformed("a text that is not utf-8"))?;
        if escaped { self.unescape(raw).map(Cow::Owned) } else { Ok(Cow::Borrowed(raw)) }
    }

    fn unescape(&self, raw: &str) -> Result<String, IpldError> {
        let wrong = || self.malformed("an unknown escape");
        let mut text = String::with_capacity(raw.len());
        let mut rest = raw.chars();
        while let Some(char) = rest.next() {
            if char != '\\' {
                text.push(char);
                continue;
            }
            text.push(match rest.next().ok_or_else(wrong)? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                same @ ('"' | '\\' | '/') => same,
                'u' => {
                    let first = hex4(&mut rest).ok_or_else(wrong)?;
                    let code = if (0xd800..0xdc00).contains(&first) {
                        // The first half of a surrogate pair.
                        let second = rest.next().zip(rest.next()).filter(|pair| *pair == ('\\', 'u'));
                        let second = second.and_then(|_| hex4(&mut rest)).ok_or_else(wrong)?;
                        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400).ok_or_else(wrong)?;
                        0x1_0000 + ((first - 0xd800) << 10) + low
                    } else {
                        first
                    };
                    char::from_u32(code).ok_or_else(wrong)?
                }
                _ => return Err(wrong()),
            });
        }
        Ok(text)
    }

    fn number(&mut self) -> Result<Event<'a>, IpldError> {
        let rest = &self.text[self.at..];
        let len = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let text = std::str::from_utf8(&rest[..len]).unwrap_or_default();
        let event = match text.parse::<i128>() {
            Ok(int) => Event::Int(int),
            Err(_) => Event::Float(text.parse().map_err(|_| self.malformed("no value"))?),
        };
        self.at += len;
        Ok(event)
    }

    fn word(&mut self, word: &[u8], event: Event<'a>) -> Result<Event<'a>, IpldError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.malformed("no value"));
        }
        self.at += word.len();
        Ok(event)
    }

    fn after_value(&mut self) {
        self.next = if self.open.is_empty() { Next::Nothing } else { Next::Comma };
    }

    fn blanks(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn need(&mut self, byte: u8, what: &'static str) -> Result<(), IpldError> {
        if self.at >= self.text.len() {
            return Err(IpldError::Truncated);
        }
        if self.eat(byte) { Ok(()) } else { Err(self.malformed(what)) }
    }

    fn malformed(&self, what: &'static str) -> IpldError {
        IpldError::Malformed { what, offset: self.at }
    }
}

/// Four hex digits.
fn hex4(rest: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |code, _| Some(code << 4 | rest.next()?.to_digit(16)?))
}
