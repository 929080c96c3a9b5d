//! Virtual hosts: every way to name one leads to the same, and an unknown one is refused.

use std::time::Duration;

use client::{Options, Player, Publisher};
use nix::sys::signal::Signal;
use srs_tests::capture::receive_frames;
use srs_tests::pattern::{self, Live, Watcher};
use srs_tests::server::{Server, configuration};
use srs_tests::wait::wait_until;

/// The URL and, where the vhost is in the tcUrl's host, the tcUrl to claim.
fn forms(server: &Server, stream: &str) -> Vec<(String, Option<String>)> {
    let address = server.address();
    let port = address.port();
    vec![
        (format!("rtmp://{address}/live?vhost=a.example/{stream}"), None),
        (format!("rtmp://{address}/live...vhost...a.example/{stream}"), None),
        (format!("rtmp://{address}/live/{stream}?vhost=a.example"), None),
        (format!("rtmp://{address}/live?vhost=A.Example./{stream}"), None),
        (format!("rtmp://{address}/live/{stream}"), Some("rtmp://a.example/live".to_owned())),
        (format!("rtmp://{address}/live/{stream}"), Some(format!("rtmp://a.example:{port}/live"))),
        (
            format!("rtmp://{address}/live/{stream}"),
            Some(format!("rtmp://{address}/live?key=x&vhost=a.example")),
        ),
        (
            format!("rtmp://{address}/live/{stream}"),
            Some(format!("rtmp://{address}/live?key=x...vhost...a.example")),
        ),
    ]
}

#[test]
fn all_ways_to_name_a_vhost_lead_to_the_same_stream() {
    let server = Server::start("vhost __defaultVhost__ { }\nvhost a.example { }");
    for (at, (url, tc_url)) in forms(&server, "cam").into_iter().enumerate() {
        let options = Options { tc_url, ..Options::default() };
        let mut publisher = Publisher::connect(&url, options).unwrap();
        pattern::send_headers(&mut publisher);
        pattern::send_frames(&mut publisher, 0..10);
        for (other, tc_url) in forms(&server, "cam") {
            let options = Options { tc_url, ..Options::default() };
            let mut player = Player::connect(&other, options).unwrap();
            let packets = receive_frames(&mut player, 10);
            assert_eq!(packets.iter().filter_map(pattern::check).count(), 10, "{url} to {other}");
        }
        let streams = server.streams();
        assert_eq!(streams.len(), 1, "form {at}: {streams:?}");
        assert_eq!(
            (&*streams[0].vhost, &*streams[0].app, &*streams[0].name),
            ("a.example", "live", "cam"),
            "{url}"
        );
        publisher.finish().unwrap();
    }
}

#[test]
fn the_same_name_in_two_vhosts_is_two_streams() {
    let server = Server::start("vhost __defaultVhost__ { }\nvhost a.example { }");
    let mut default = Publisher::connect(&server.url("live/cam"), Options::default()).unwrap();
    let mut own = Publisher::connect(&server.url("live/cam?vhost=a.example"), Options::default()).unwrap();
    for (publisher, first) in [(&mut default, 0), (&mut own, 1_000)] {
        pattern::send_headers(publisher);
        pattern::send_frames(publisher, first..first + 10);
    }
    for (url, first) in [(server.url("live/cam"), 0), (server.url("live/cam?vhost=a.example"), 1_000)] {
        let packets = receive_frames(&mut Player::connect(&url, Options::default()).unwrap(), 10);
        assert_eq!(packets.iter().find_map(pattern::check), Some(first), "{url}");
    }
    // An unknown one is served by the default one.
    let url = server.url("live/cam?vhost=unknown.example");
    let packets = receive_frames(&mut Player::connect(&url, Options::default()).unwrap(), 10);
    assert_eq!(packets.iter().find_map(pattern::check), Some(0));
}

#[test]
fn without_a_default_an_unknown_vhost_is_refused() {
    let server = Server::start("vhost a.example { }\nvhost off.example { enabled off; }");
    for url in ["live/cam", "live?vhost=b.example/cam", "live?vhost=off.example/cam"] {
        let url = server.url(url);
        for refused in [
            Player::connect(&url, Options::default()).map(drop).unwrap_err(),
            Publisher::connect(&url, Options::default()).map(drop).unwrap_err(),
        ] {
            assert_eq!(refused.code(), Some("NetConnection.Connect.Rejected"), "{url}: {refused}");
        }
    }
    drop(Player::connect(&server.url("live?vhost=a.example/cam"), Options::default()).unwrap());
}

#[test]
fn names_that_could_be_paths_are_refused() {
    let server = Server::start("");
    for stream in ["..%2fx", "%2e%2e", ".hidden", "a\\b", "a\u{7}b", "a\u{202e}b"] {
        let url = server.url(&format!("live/{stream}"));
        let options = Options { start_timeout: Duration::from_secs(5), ..Options::default() };
        assert!(Publisher::connect(&url, options.clone()).is_err(), "{stream}");
        assert!(Player::connect(&url, options).is_err(), "{stream}");
    }
    assert!(server.streams().is_empty());
}

/// The vhost of a stream's own parameters is the client's vhost in every way: in lists, and when it is taken away.
#[test]
fn a_vhost_in_the_stream_name_is_the_clients_vhost() {
    let server = Server::start("vhost __defaultVhost__ { }\nvhost a.example { }");
    let url = server.url("live/cam?vhost=a.example");
    let live = Live::start(&url, Duration::from_millis(10));
    let watcher = Watcher::start(&url);
    server.wait_players(1);
    for client in server.clients() {
        assert_eq!((&*client.vhost, &*client.stream), ("a.example", "live/cam"), "{client:?}");
    }
    let text = configuration(server.directory(), "vhost __defaultVhost__ { }");
    std::fs::write(server.directory().join("srs.conf"), text).unwrap();
    server.signal(Signal::SIGHUP);
    wait_until("its viewer is closed", || watcher.is_over());
    wait_until("its publisher is closed", || !live.is_running());
}
