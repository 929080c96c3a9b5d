//! Both roles and both forms of the handshake, cut at every byte.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

use rtmp::handshake::digest::{self, Schema};
use rtmp::handshake::{Form, Handshake, PACKET};

/// The answer of a server to `input` given in pieces of `step` bytes; what is left behind the handshake.
fn serve(input: &[u8], step: usize) -> (Vec<u8>, Vec<u8>, Form) {
    let mut server = Handshake::server([1; 32]);
    let (mut out, mut behind) = (Vec::new(), Vec::new());
    for mut piece in input.chunks(step) {
        server.read(7_000, &mut piece, &mut out).unwrap();
        behind.extend_from_slice(piece);
    }
    assert!(server.is_done());
    (out, behind, server.form())
}

#[test]
fn a_simple_client_gets_its_packet_back() {
    let mut input: Vec<u8> = (0..=255).cycle().take(1 + 2 * PACKET).collect();
    input[0] = 3;
    input.extend_from_slice(b"right behind");
    let (out, behind, form) = serve(&input, input.len());
    assert_eq!((out.len(), out[0], form), (1 + 2 * PACKET, 3, Form::Simple));
    assert_eq!(out[1..5], [0, 0, 0, 7], "seconds");
    assert_eq!(out[5..9], input[1..5], "the client's time");
    assert_eq!(out[1 + PACKET..], input[1..=PACKET]);
    assert_eq!(behind, b"right behind");
    for step in [1, 2, 3, 1535, 1536, 1537, 1538, 3073] {
        assert_eq!(serve(&input, step), (out.clone(), behind.clone(), form));
    }
}

#[test]
fn a_complex_client_gets_digests_in_its_own_schema() {
    for schema in [Schema::KeyFirst, Schema::DigestFirst] {
        let mut c1 = [0x5A; PACKET];
        digest::sign(&mut c1, schema, digest::CLIENT_KEY);
        let c1_digest = digest::verify(&c1, schema, digest::CLIENT_KEY).unwrap();
        let input = [&[3][..], &c1, &[0; PACKET]].concat();
        let (out, _, form) = serve(&input, 1_000);
        assert_eq!(form, Form::Complex);
        let (s1, s2) = (&out[1..=PACKET], &out[1 + PACKET..]);
        assert_eq!(s1[4..8], [1, 0, 5, 4]);
        assert!(digest::verify(s1, schema, digest::SERVER_KEY).is_some());
        let mut again: [u8; PACKET] = s2.try_into().unwrap();
        digest::sign_answer(&mut again, digest::SERVER_KEY_FULL, &c1_digest);
        assert_eq!(again, s2);
    }
}

#[test]
fn our_client_and_our_server() {
    for form in [Form::Simple, Form::Complex] {
        let (mut client, hello) = Handshake::client([2; 32], form);
        if form == Form::Complex {
            assert_eq!(hello[5..9], [0x80, 0, 7, 2]);
        }
        let mut server = Handshake::server([1; 32]);
        let (mut answer, mut confirm, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
        server.read(0, &mut hello.as_slice(), &mut answer).unwrap();
        for byte in answer {
            client.read(0, &mut [byte].as_slice(), &mut confirm).unwrap();
        }
        server.read(0, &mut confirm.as_slice(), &mut nothing).unwrap();
        assert!(client.is_done() && server.is_done());
        assert_eq!((client.form(), server.form()), (form, form));
        assert_eq!(confirm.len(), PACKET);
        assert!(nothing.is_empty());
    }
}

#[test]
fn seeds_make_the_difference() {
    let hello = |seed| Handshake::client([seed; 32], Form::Simple).1;
    assert_eq!(hello(1), hello(1));
    assert_ne!(hello(1), hello(2));
}

#[test]
fn a_client_refuses_other_versions_too() {
    let (mut client, _) = Handshake::client([2; 32], Form::Simple);
    assert_eq!(
        client.read(0, &mut [6].as_slice(), &mut Vec::new()).unwrap_err().reason(),
        "handshake_version"
    );
}

#[test]
fn who_speaks_something_else_is_told_what_it_is() {
    let cases: [(&[u8], &str, &[u8]); 12] = [
        (b"\x16\x03\x01\x02\0\x01", "TLS", b"\x15\x03"),
        (b"GET / HTTP/1.1\r\n", "HTTP", b"HTTP/1.1 400 "),
        (b"OPTIONS /live HTTP/1.1\r\n", "HTTP", b"HTTP/1.1 400 "),
        (b"PRI * HTTP/2.0\r\n", "HTTP", b"HTTP/1.1 400 "),
        (b"POST /open/1 HTTP/1.1\r\n", "HTTP", b"HTTP/1.1 400 "),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "PROXY header", b""),
        (b"\r\n\r\n\0\r\nQUIT\n", "PROXY header", b""),
        (b"\x06", "rtmpe://", b""),
        (b"\x08", "rtmpe://", b""),
        (b"OPTIONS rtsp://h/cam RTSP/1.0\r\n", "RTSP", b"RTSP/1.0 400 "),
        (b"SSH-2.0-x", "does not speak RTMP", b""),
        (b"G", "does not speak RTMP", b""),
    ];
    for (bytes, word, answer) in cases {
        let mut server = Handshake::server([1; 32]);
        let mut out = Vec::new();
        let error = server.read(0, &mut &bytes[..], &mut out).unwrap_err();
        assert!(error.to_string().contains(word), "{bytes:?}: {error}");
        assert_eq!(error.reason(), "handshake_version");
        assert!(out.starts_with(answer) && out.is_empty() == answer.is_empty(), "{bytes:?}: {out:?}");
    }
}
