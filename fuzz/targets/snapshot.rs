//! The snapshot of a connection, and the session inside it: what is accepted survives another journey.

use endpoint::ConnectionSnapshot;
use rtmp::ServerSession;

/// One input: a snapshot.
pub(crate) fn run(input: &[u8]) {
    let Ok(snapshot) = ConnectionSnapshot::from_bytes(input) else { return };
    let bytes = snapshot.to_bytes();
    let again = ConnectionSnapshot::from_bytes(&bytes).expect("our own snapshot");
    assert_eq!(again.to_bytes(), bytes);
    if let Ok(mut session) = ServerSession::restore(&snapshot.session) {
        while session.poll_output().is_some() {}
        let bytes = session.snapshot();
        let again = ServerSession::restore(&bytes).expect("our own session");
        assert_eq!(again.snapshot(), bytes);
    }
}
