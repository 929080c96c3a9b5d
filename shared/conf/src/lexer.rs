//! Bytes to words and marks: `word ... ;`, `word ... { ... }`, `# comment`.
//!
//! A word ends at white space, `;` or `{`; a `}` or `#` inside it is an ordinary character. A word that begins with a
//! quote runs to the next quote of the same kind and knows no escapes. An empty quoted word disappears.

use std::sync::Arc;

use crate::diagnostic::{SourcePos, quoted};

/// One argument or name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The text without its quotes; no control characters but newline, carriage return and tab.
    pub text: String,
    /// Of its first character.
    pub place: SourcePos,
    /// Just behind its last character.
    pub end: SourcePos,
    /// Whether it stood in quotes.
    pub quoted: bool,
}

/// What the lexer finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Word(Word),
    /// `;`
    Semicolon(SourcePos),
    /// `{`
    Open(SourcePos),
    /// `}` where a word could begin
    Close(SourcePos),
    /// End of the text.
    End(SourcePos),
}

/// A text that cannot be cut into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LexError {
    pub(crate) place: SourcePos,
    pub(crate) message: String,
}

/// Cuts one file into words.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    rest: &'a [u8],
    file: Arc<str>,
    line: u32,
    column: u32,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of a file; a byte order mark is skipped.
    pub(crate) fn new(file: Arc<str>, text: &'a [u8]) -> Self {
        let rest = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        Self { rest, file, line: 1, column: 1 }
    }

    fn place(&self) -> SourcePos {
        SourcePos::File { file: Arc::clone(&self.file), line: self.line, column: self.column }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn bump(&mut self) {
        let Some((&byte, rest)) = self.rest.split_first() else { return };
        self.rest = rest;
        if byte == b'\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else if byte & 0xc0 != 0x80 {
            // Continuation bytes of UTF-8 belong to the character already counted.
            self.column = self.column.saturating_add(1);
        }
    }

    fn skip_blank(&mut self) {
        while let Some(byte) = self.peek() {
            if byte == b'#' {
                while self.peek().is_some_and(|b| b != b'\n') {
                    self.bump();
                }
            } else if !is_blank(byte) {
                return;
            }
            self.bump();
        }
    }

    /// The next word or mark.
    ///
    /// # Errors
    /// An open quote, a quote with text right behind it, bytes that are not UTF-8, control characters.
    pub(crate) fn next(&mut self) -> Result<Token, LexError> {
        loop {
            self.skip_blank();
            let place = self.place();
            let Some(byte) = self.peek() else { return Ok(Token::End(place)) };
            match byte {
                b';' => {
                    self.bump();
                    return Ok(Token::Semicolon(place));
                }
                b'{' => {
                    self.bump();
                    return Ok(Token::Open(place));
                }
                b'}' => {
                    self.bump();
                    return Ok(Token::Close(place));
                }
                b'"' | b'\'' => {
                    let word = self.quoted_word(place, byte)?;
                    if !word.text.is_empty() {
                        return Ok(Token::Word(word));
                    }
                }
                _ => return self.plain_word(place).map(Token::Word),
            }
        }
    }

    fn plain_word(&mut self, place: SourcePos) -> Result<Word, LexError> {
        let mut bytes = Vec::new();
        while let Some(byte) = self.peek() {
            if ends_word(byte) {
                break;
            }
            bytes.push(byte);
            self.bump();
        }
        let text = text_of(bytes, &place)?;
        Ok(Word { text, place, end: self.place(), quoted: false })
    }

    fn quoted_word(&mut self, place: SourcePos, quote: u8) -> Result<Word, LexError> {
        self.bump();
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                None => {
                    let message = format!("this {} is never closed", quoted_mark(quote));
                    return Err(LexError { place, message });
                }
                Some(byte) => {
                    self.bump();
                    if byte == quote {
                        break;
                    }
                    bytes.push(byte);
                }
            }
        }
        if self.peek().is_some_and(|byte| !ends_word(byte)) {
            let message =
                format!("expected white space, ';' or '{{' after the closing {}", quoted_mark(quote));
            return Err(LexError { place: self.place(), message });
        }
        let text = text_of(bytes, &place)?;
        Ok(Word { text, place, end: self.place(), quoted: true })
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn ends_word(byte: u8) -> bool {
    is_blank(byte) || matches!(byte, b';' | b'{')
}

fn quoted_mark(quote: u8) -> &'static str {
    if quote == b'"' { "double quote" } else { "single quote" }
}

fn text_of(bytes: Vec<u8>, place: &SourcePos) -> Result<String, LexError> {
    let text = String::from_utf8(bytes).map_err(|error| LexError {
        place: place.clone(),
        message: format!("{} is not UTF-8 text", quoted(&String::from_utf8_lossy(error.as_bytes()))),
    })?;
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        let message = format!("{} has a control character in it", quoted(&text));
        return Err(LexError { place: place.clone(), message });
    }
    Ok(text)
}
