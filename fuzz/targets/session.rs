//! A whole server session behind a finished handshake, with any bytes, cut anywhere, stored and restored on the way;
//! the owner accepts everything.

use rtmp::{Identity, Limits, Output, Pending, ServerEvent, ServerOptions, ServerSession};

fn play(input: &[u8], step: usize, restore: bool) -> (Vec<ServerEvent>, bool) {
    let identity = Identity { server_ip: String::new(), pid: 1, id: 1, version: String::new() };
    let limits = std::sync::Arc::new(Limits { max_pending_pongs: u32::MAX, ..Limits::default() });
    let options = ServerOptions {
        limits,
        seed: [7; 32],
        identity,
        out_chunk_size: 4_096,
        out_window: 1,
        in_ack_size: 0,
    };
    let mut session = ServerSession::new(0, options);
    let mut hello = vec![0; 2 * 1536];
    hello.insert(0, 3);
    let mut events = Vec::new();
    let mut alive = session.handle_input(0, &hello).is_ok();
    for piece in input.chunks(step) {
        if !alive {
            break;
        }
        alive = session.handle_input(0, piece).is_ok();
        loop {
            while let Some(output) = session.poll_output() {
                if let Output::Event(event) = output {
                    events.push(event);
                }
            }
            if restore {
                session = ServerSession::restore(&session.snapshot()).expect("our own snapshot");
            }
            let result = match session.pending() {
                Some(Pending::Connect(_)) => session.accept_connect(0),
                Some(Pending::Publish(request)) => session.accept_publish(0, request.msid),
                Some(Pending::Play(request)) => session.accept_play(0, request.msid),
                None => break,
            };
            alive &= result.is_ok();
        }
    }
    (events, alive)
}

/// One input: a byte that says how the rest is cut, then what a client sends behind its handshake.
pub(crate) fn run(input: &[u8]) {
    let Some((step, input)) = input.split_first() else { return };
    let whole = play(input, input.len().max(1), false);
    let cut = play(input, usize::from(*step).max(1), *step & 1 == 1);
    assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
}
