//! Any bytes either decode to values that survive a round trip, or are refused.

/// One input.
pub(crate) fn run(input: &[u8]) {
    let limits = amf0::Limits::default();
    if let Ok(values) = amf0::decode_all(input, &limits) {
        let mut bytes = Vec::new();
        amf0::encode_all(&values, &mut bytes);
        // Replacement characters may make a string longer than the limit.
        if let Ok(again) = amf0::decode_all(&bytes, &limits) {
            assert_eq!(format!("{again:?}"), format!("{values:?}"));
        }
    }
}
