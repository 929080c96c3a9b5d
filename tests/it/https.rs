//! HTTPS: the same files and streams, with a certificate that may be renewed while the server runs.

use std::fs;
use std::process::Command;
use std::time::Duration;

use srs_tests::capture::{Frames, Recorder, ffmpeg_publish};
use srs_tests::certificate::certify;
use srs_tests::clip::Clip;
use srs_tests::process::run;
use srs_tests::program::have;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

/// What curl gets, with the head and what it says of the certificate.
fn curl(server: &Server, path: &str) -> (String, String) {
    let mut command = Command::new("curl");
    command.args(["-skv", "--max-time", "10", &format!("https://{}{path}", server.web_tls_address())]);
    let ended = run(&mut command, SOON);
    (ended.stdout, ended.stderr)
}

#[test]
fn files_and_streams_come_through_and_a_renewed_certificate_is_taken() {
    if !have(&["openssl", "curl", "ffmpeg"]) {
        return;
    }
    let directory = TempDir::new().unwrap();
    certify(directory.path(), "first.example");
    let html = directory.path().join("html");
    fs::create_dir(&html).unwrap();
    let text: String = (0..200_000).map(|n| format!("line {n}\n")).collect();
    fs::write(html.join("long.txt"), &text).unwrap();
    let at = directory.path().display();
    let own = format!(
        "http_server {{ enabled on; listen 127.0.0.1:0; dir {at}/html; https {{ enabled on; listen 127.0.0.1:0; key {at}/server.key; cert {at}/server.crt; }} }}
vhost __defaultVhost__ {{ http_remux {{ enabled on; }} hls {{ enabled on; hls_fragment 1; hls_storage memory; hls_ctx off; }} }}"
    );
    let top = directory.path().to_owned();
    let configuration = configuration(directory.path(), &own);
    let server = Server::start_in(directory, &configuration);
    let (body, said) = curl(&server, "/long.txt");
    assert!(body == text && said.contains("first.example"), "{} bytes, {said}", body.len());
    let source = Frames::of_file(&Clip::H264Aac.path());
    let recorder = Recorder::start_with(
        &format!("https://{}/live/a.flv", server.web_tls_address()),
        &["-tls_verify", "0"],
    );
    wait_until("a client that waits", || {
        server.clients().iter().any(|client| client.process.starts_with("http"))
    });
    let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url("live/a"), true);
    // Another certificate meanwhile: who is connected stays.
    certify(&top, "second.example");
    wait_for("the new certificate", SOON, || {
        curl(&server, "/none").1.contains("second.example").then_some(())
    });
    let played = recorder.finish(source.len() - 12);
    played.assert_part_of(&source, false);
    drop(encoder.finish(Duration::from_secs(30)).expect_success());
    let (list, _) = curl(&server, "/live/a.m3u8");
    assert!(list.starts_with("#EXTM3U"), "{list}");
    // Bytes that are no TLS harm nobody.
    use std::io::Write;
    let mut socket = std::net::TcpStream::connect(server.web_tls_address()).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (body, _) = curl(&server, "/long.txt");
    assert_eq!(body.len(), text.len());
}
