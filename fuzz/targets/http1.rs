//! A request head is the same however much comes behind it, its path never leaves a directory, and what a WebSocket's client
//! says is read without harm.

use http1::websocket::Said;
use http1::{Request, websocket};

/// One input: bytes as a client would send them.
pub(crate) fn run(input: &[u8]) {
    if let Ok(Some((request, len))) = Request::parse(input) {
        let whole = input.get(..len).expect("it was read");
        assert_eq!(Request::parse(whole), Ok(Some((request.clone(), len))));
        for component in request.path.components() {
            assert!(!component.is_empty() && !component.starts_with('.'));
            assert!(!component.contains(['/', '\\', '\0', '\n']));
        }
        let _ = (request.parameter("vhost"), http1::is_unchanged(&request, "\"1\"", 1));
        if let Some(range) = request.range
            && let Some((first, end)) = range.of(1000)
        {
            assert!(first < end && end <= 1000);
        }
        let head = http1::Response::new(200).field("Host", &request.host).finish();
        assert_eq!(head.matches("\r\n\r\n").count(), 1);
    }
    match websocket::read(input) {
        Said::Ping(pong, taken) => assert!(taken <= input.len() && pong.len() == taken - 4),
        Said::Other(taken) => assert!((1..=input.len()).contains(&taken)),
        Said::Partial | Said::Close => {}
    }
}
