//! Both roles of the handshake with any bytes, cut anywhere.

use rtmp::handshake::{Form, Handshake};

/// One input.
pub(crate) fn run(input: &[u8]) {
    let Some((step, input)) = input.split_first() else { return };
    let step = usize::from(*step).max(1);
    let (client, _) = Handshake::client([7; 32], Form::Complex);
    for mut handshake in [Handshake::server([7; 32]), client] {
        let mut out = Vec::new();
        for mut piece in input.chunks(step) {
            if handshake.read(0, &mut piece, &mut out).is_err() || handshake.is_done() {
                break;
            }
        }
    }
}
