//! Words to a tree: directives, their arguments and their blocks, each with its place. Knows the grammar and no names.

use std::sync::Arc;

use crate::diagnostic::{SourcePos, quoted};
pub use crate::lexer::Word;
use crate::lexer::{LexError, Lexer, Token};

/// Deepest nesting of blocks. The deepest meaningful one is 5.
pub const MAX_DEPTH: usize = 16;
/// Most directives in one file.
pub const MAX_DIRECTIVES: usize = 100_000;
/// Most arguments of one directive.
pub const MAX_ARGUMENTS: usize = 1_024;
/// Largest file, bytes.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// One directive as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its first word.
    pub name: Word,
    /// The other words.
    pub args: Vec<Word>,
    /// What stands between its braces; `None` when it ends with a semicolon.
    pub block: Option<Vec<Self>>,
}

/// A text that is not a tree of directives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where it was noticed, or where the open block began.
    pub place: SourcePos,
    /// One line.
    pub message: String,
}

impl From<LexError> for SyntaxError {
    fn from(error: LexError) -> Self {
        Self { place: error.place, message: error.message }
    }
}

/// A block that is still open: its head and where its brace stands.
struct Open {
    name: Word,
    args: Vec<Word>,
    brace: SourcePos,
    outer: Vec<Node>,
}

/// Parses one file.
///
/// # Errors
/// The first offence against the grammar or a size limit; after it nothing in the file can be trusted.
pub fn parse(file: &Arc<str>, text: &[u8]) -> Result<Vec<Node>, SyntaxError> {
    let whole = || SourcePos::Whole(Arc::clone(file));
    if text.len() > MAX_FILE_BYTES {
        return error(whole(), format!("the file has more than {MAX_FILE_BYTES} bytes"));
    }
    let mut lexer = Lexer::new(Arc::clone(file), text);
    let mut words: Vec<Word> = Vec::new();
    let mut nodes: Vec<Node> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut count = 0_usize;
    loop {
        match lexer.next()? {
            Token::Word(word) => {
                if words.len() > MAX_ARGUMENTS {
                    return error(
                        word.place,
                        format!("more than {MAX_ARGUMENTS} arguments: is a ';' missing?"),
                    );
                }
                words.push(word);
            }
            Token::Semicolon(place) => {
                let Some((name, args)) = head(&mut words) else {
                    return error(place, "unexpected ';': expected a directive before it".into());
                };
                nodes.push(Node { name, args, block: None });
                count = counted(count, &place)?;
            }
            Token::Open(place) => {
                let Some((name, args)) = head(&mut words) else {
                    return error(place, "unexpected '{': expected a directive before it".into());
                };
                if open.len() >= MAX_DEPTH {
                    return error(place, format!("blocks are nested deeper than {MAX_DEPTH}"));
                }
                count = counted(count, &place)?;
                open.push(Open { name, args, brace: place, outer: std::mem::take(&mut nodes) });
            }
            Token::Close(place) => {
                if let Some(last) = words.last() {
                    return error(last.end.clone(), format!("missing ';' after {}", quoted(&last.text)));
                }
                let Some(Open { name, args, outer, .. }) = open.pop() else {
                    return error(place, "unexpected '}': no block is open here".into());
                };
                let block = Some(std::mem::replace(&mut nodes, outer));
                nodes.push(Node { name, args, block });
            }
            Token::End(place) => {
                if let Some(last) = words.last() {
                    let message =
                        format!("the file ends inside a directive: missing ';' after {}", quoted(&last.text));
                    return error(last.end.clone(), message);
                }
                if let Some(block) = open.pop() {
                    let message = format!("the block of {} is never closed", quoted(&block.name.text));
                    return error(block.brace, message);
                }
                if text.is_empty() {
                    return error(whole(), "the file is empty".into());
                }
                drop(place);
                return Ok(nodes);
            }
        }
    }
}

fn head(words: &mut Vec<Word>) -> Option<(Word, Vec<Word>)> {
    let mut all = std::mem::take(words).into_iter();
    Some((all.next()?, all.collect()))
}

fn counted(count: usize, place: &SourcePos) -> Result<usize, SyntaxError> {
    if count >= MAX_DIRECTIVES {
        return error(place.clone(), format!("more than {MAX_DIRECTIVES} directives"));
    }
    Ok(count + 1)
}

fn error<T>(place: SourcePos, message: String) -> Result<T, SyntaxError> {
    Err(SyntaxError { place, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name(arg|arg){...}` without spaces: what the tree is, in one line.
    fn shape(nodes: &[Node]) -> String {
        nodes
            .iter()
            .map(|node| {
                let args: Vec<_> = node.args.iter().map(|w| w.text.as_str()).collect();
                let block = node.block.as_ref().map_or_else(String::new, |b| format!("{{{}}}", shape(b)));
                format!("{}({}){block}", node.name.text, args.join("|"))
            })
            .collect()
    }

    fn parsed(text: &[u8]) -> Result<String, String> {
        parse(&"x.conf".into(), text).map(|n| shape(&n)).map_err(|e| format!("{}: {}", e.place, e.message))
    }

    #[test]
    fn good_texts() {
        let cases: [(&[u8], &str); 14] = [
            (b"listen 1935;", "listen(1935)"),
            (b"\xef\xbb\xbflisten 1935;", "listen(1935)"),
            (b"a;b c\td\r\ne;", "a()b(c|d|e)"),
            (b"v x { a 1; b { } } c;", "v(x){a(1)b(){}}c()"),
            (b"# only\n", ""),
            (b"a b#c #d;\n e;", "a(b#c|e)"),
            (b"a 'x;{}\n\"y' \"it's\";", "a(x;{}\n\"y|it's)"),
            (b"a 'c:\\d\\';", "a(c:\\d\\)"),
            (b"a \"\" b '' ;", "a(b)"),
            (b"a x}y z}; b;", "a(x}y|z})b()"),
            (b"a{b;}c{}", "a(){b()}c(){}"),
            (b"a x'y\"z;", "a(x'y\"z)"),
            (b"\"a\"{b 1;}", "a(){b(1)}"),
            (b"# \xff\xfe\na;", "a()"),
        ];
        for (text, want) in cases {
            assert_eq!(parsed(text).as_deref(), Ok(want), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn bad_texts() {
        let deep = "a{".repeat(17);
        let many = "a ".repeat(1100);
        let cases: [(&[u8], &str); 16] = [
            (b"", "x.conf: the file is empty"),
            (b";", "x.conf:1:1: unexpected ';': expected a directive before it"),
            (b"\"\" ;", "x.conf:1:4: unexpected ';': expected a directive before it"),
            (b"a;\n  {", "x.conf:2:3: unexpected '{': expected a directive before it"),
            (b"}", "x.conf:1:1: unexpected '}': no block is open here"),
            (b"a { b 1 }", "x.conf:1:8: missing ';' after \"1\""),
            (b"v {\n a {\n b;\n }", "x.conf:1:3: the block of \"v\" is never closed"),
            (b"a b", "x.conf:1:4: the file ends inside a directive: missing ';' after \"b\""),
            (b"a {b on}", "x.conf:1:9: the file ends inside a directive: missing ';' after \"on}\""),
            (b"a 'b;\nc;", "x.conf:1:3: this single quote is never closed"),
            (b"a \"b\"c;", "x.conf:1:6: expected white space, ';' or '{' after the closing double quote"),
            (b"a \"b\"};", "x.conf:1:6: expected white space, ';' or '{' after the closing double quote"),
            (b"a \xff;", "x.conf:1:3: \"\u{fffd}\" is not UTF-8 text"),
            (b"a b\0c;", "x.conf:1:3: \"b\\u{0}c\" has a control character in it"),
            (deep.as_bytes(), "x.conf:1:34: blocks are nested deeper than 16"),
            (many.as_bytes(), "x.conf:1:2051: more than 1024 arguments: is a ';' missing?"),
        ];
        for (text, want) in cases {
            assert_eq!(parsed(text), Err(want.to_owned()), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(parsed("a 'éé' }".as_bytes()), Err("x.conf:1:7: missing ';' after \"éé\"".into()));
    }

    #[test]
    fn limits() {
        let big = vec![b'#'; MAX_FILE_BYTES + 1];
        assert_eq!(parsed(&big), Err("x.conf: the file has more than 4194304 bytes".into()));
        let many = "a;".repeat(MAX_DIRECTIVES + 1);
        assert_eq!(parsed(many.as_bytes()), Err("x.conf:1:200002: more than 100000 directives".into()));
    }
}
