//! Anti-leech: which pages may embed a stream (`refer`, `refer_play`, `refer_publish`).

/// Whether a page is allowed. No list allows all; with a list, a client without a page is refused. A domain allows itself
/// and its subdomains, nothing else.
pub fn allowed(domains: &[String], page_url: Option<&str>) -> bool {
    if domains.is_empty() {
        return true;
    }
    let url = page_url.unwrap_or("");
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', '?', '#']).next().unwrap_or("");
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    let host = host.trim_end_matches('.');
    !host.is_empty()
        && domains.iter().any(|domain| {
            let domain = domain.trim_matches('.');
            let Some(at) = host.len().checked_sub(domain.len()) else {
                return false;
            };
            host.get(at..).is_some_and(|tail| tail.eq_ignore_ascii_case(domain))
                && (at == 0 || host.as_bytes().get(at - 1) == Some(&b'.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_allows_itself_and_below_and_nothing_that_only_looks_like_it() {
        let domains = vec!["github.io".to_owned(), "example.com".to_owned()];
        for (page, expected) in [
            ("http://github.io/x", true),
            ("https://a.github.io:8080/x?y", true),
            ("http://GitHub.IO./", true),
            ("http://evilgithub.io/", false),
            ("http://github.io.evil.com/", false),
            ("http://github.io@evil.com/", false),
            ("http://evil.com/?github.io", false),
            ("", false),
        ] {
            assert_eq!(allowed(&domains, Some(page)), expected, "{page}");
        }
        assert!(!allowed(&domains, None));
        assert!(allowed(&[], None));
    }
}
