//! Any text either becomes a configuration that travels between processes unchanged, or is refused with a place in it.

use conf::Environment;

/// One input: a configuration file.
pub(crate) fn run(input: &[u8]) {
    match conf::parse_text("fuzz.conf", input, &Environment::empty()) {
        Ok(loaded) => {
            let bytes = rmp_serde::to_vec_named(&loaded.config).expect("a configuration can be sent");
            let again: conf::Config = rmp_serde::from_slice(&bytes).expect("and be received");
            assert!(conf::diff::diff(&loaded.config, &again).is_empty());
        }
        Err(failure) => assert!(!failure.to_string().is_empty()),
    }
}
