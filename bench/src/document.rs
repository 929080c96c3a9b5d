//! Tables in a document, between markers that name them:
//!
//! ```text
//! <!-- bench:begin NAME -->
//! <!-- bench:end NAME -->
//! ```

use anyhow::{Result, bail};

/// `text` with `body` between the markers of `name`.
///
/// # Errors
/// When one of the markers is missing, comes twice, or they stand in the wrong order.
pub fn replace(text: &str, name: &str, body: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- bench:begin {name} -->"), format!("<!-- bench:end {name} -->"));
    if text.matches(&begin).count() != 1 || text.matches(&end).count() != 1 {
        bail!("{begin} and {end} have to stand in the document once");
    }
    let Some((before, rest)) = text.split_once(&begin) else { bail!("{begin} is missing") };
    let Some((_, after)) = rest.split_once(&end) else { bail!("{end} stands before {begin}") };
    Ok(format!("{before}{begin}\n{}\n{end}{after}", body.trim_matches('\n')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Page\n<!-- bench:begin a -->\nold\n<!-- bench:end a -->\ntext\n<!-- bench:begin a-b -->\n<!-- bench:end a-b -->\n";

    #[test]
    fn only_what_is_between_the_markers_changes_and_twice_is_as_once() {
        let once = replace(PAGE, "a", "new\n").unwrap();
        assert_eq!(once, PAGE.replace("old", "new"));
        assert_eq!(replace(&once, "a", "\nnew").unwrap(), once);
        let other = replace(PAGE, "a-b", "| table |").unwrap();
        assert!(
            other.contains("old") && other.ends_with("-b -->\n| table |\n<!-- bench:end a-b -->\n"),
            "{other}"
        );
    }

    #[test]
    fn missing_double_and_reversed_markers_are_errors() {
        assert!(replace(PAGE, "b", "").is_err());
        assert!(replace(&format!("{PAGE}{PAGE}"), "a", "").is_err());
        assert!(replace("<!-- bench:end a --><!-- bench:begin a -->", "a", "").is_err());
        assert!(replace("<!-- bench:begin a -->", "a", "").is_err());
    }
}
