//! Arbitrary input: whatever stands in a file or a variable, reading it ends, without a panic and in good time.

use std::time::{Duration, Instant};

use conf::{Environment, load_env_only, parse_text};
use proptest::prelude::*;

/// Pieces of configuration, so that random texts get past the lexer.
fn piece() -> impl Strategy<Value = String> {
    let names: Vec<String> = conf::directive::DIRECTIVES
        .iter()
        .flat_map(conf::directive::Directive::names)
        .map(String::from)
        .collect();
    prop_oneof![
        4 => proptest::sample::select(names),
        4 => proptest::sample::select(vec![";", "{", "}", "\n", " ", "#", "\"", "'", "\\", "\u{feff}", "\r\n"]).prop_map(String::from),
        2 => proptest::sample::select(vec!["on", "off", "0", "1935", "-1", "1.5", "9999999999999999999999", "é", "[::]:1", "all"])
            .prop_map(String::from),
        1 => ".{0,8}",
    ]
}

/// Well-formed trees with real names and odd arguments.
fn statements() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = conf::directive::DIRECTIVES.iter().map(|row| row.name).collect();
    let leaf =
        (proptest::sample::select(names.clone()), proptest::collection::vec("[a-z0-9.:/\\[\\]-]{1,6}", 0..3))
            .prop_map(|(name, args)| format!("{name} {};", args.join(" ")));
    leaf.prop_recursive(5, 40, 6, move |inner| {
        (proptest::sample::select(names.clone()), proptest::collection::vec(inner, 0..6))
            .prop_map(|(name, inner)| format!("{name} x {{ {} }}", inner.join("\n")))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn arbitrary_bytes(text in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = parse_text("x", &text, &Environment::empty());
    }

    #[test]
    fn pieces_of_configuration(pieces in proptest::collection::vec(piece(), 0..80)) {
        let _ = parse_text("x", pieces.join(" ").as_bytes(), &Environment::empty());
        let _ = parse_text("x", pieces.concat().as_bytes(), &Environment::empty());
    }

    #[test]
    fn well_formed_trees(list in proptest::collection::vec(statements(), 0..8)) {
        let _ = parse_text("x", list.join("\n").as_bytes(), &Environment::empty());
    }

    #[test]
    fn variables(name in "SRS_[A-Z_]{0,20}", pieces in proptest::collection::vec(piece(), 0..6)) {
        let _ = load_env_only(&Environment([(name, pieces.join(" "))].into()));
    }

    #[test]
    fn one_byte_changed(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = include_bytes!("../../../conf/full.conf").to_vec();
        let index = position.index(text.len());
        text[index] = byte;
        let _ = parse_text("x", &text, &Environment::empty());
    }

    #[test]
    fn cut_short(position in any::<prop::sample::Index>()) {
        let text = include_bytes!("../../../conf/full.conf");
        let _ = parse_text("x", &text[..position.index(text.len())], &Environment::empty());
    }
}

#[test]
fn big_files_take_no_long_time() {
    let texts = [
        "{".repeat(4_000_000),
        "a{".repeat(2_000_000),
        "\"".repeat(3_999_999),
        "a ".repeat(2_000_000),
        "x".repeat(4_000_000),
        format!("listen {};", "1 ".repeat(1_000)),
        "nonsense_name 1;\n".repeat(90_000),
        "daemon on;\n".repeat(90_000),
        format!("listen 1; {}", "vhost a { }".repeat(90_000)),
        (0..90_000).map(|n| format!("vhost v{n} {{ }}")).collect(),
    ];
    for text in texts {
        let began = Instant::now();
        let _ = parse_text("x", text.as_bytes(), &Environment::empty());
        assert!(began.elapsed() < Duration::from_secs(20), "{}…", &text[..20]);
    }
}
