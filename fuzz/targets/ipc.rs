//! A control datagram: its header, and its body as each of the messages that may come.

use ipc::{ChildToMaster, MAX_BODY_BYTES, MasterToChild, ReaderToSource, SourceToReader, decode_header};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What was understood can be said again in the same words.
fn decode<T: Serialize + DeserializeOwned>(body: &[u8]) {
    if let Ok(message) = rmp_serde::from_slice::<T>(body) {
        let said = rmp_serde::to_vec_named(&message).expect("our own message");
        let again: T = rmp_serde::from_slice(&said).expect("our own words");
        assert_eq!(rmp_serde::to_vec_named(&again).expect("our own message"), said);
    }
}

/// One input: a datagram.
pub(crate) fn run(input: &[u8]) {
    let body = match decode_header(input) {
        Ok((len, in_memfd, body)) => {
            assert!(len <= MAX_BODY_BYTES && (in_memfd || len == body.len()));
            body
        }
        // Mutations that only break the header would hide the bodies behind it.
        Err(_) => input.get(8..).unwrap_or(&[]),
    };
    decode::<MasterToChild>(body);
    decode::<ChildToMaster>(body);
    decode::<ReaderToSource>(body);
    decode::<SourceToReader>(body);
}
