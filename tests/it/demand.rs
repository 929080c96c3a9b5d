//! Streams that nobody publishes and somebody wants: the back-source knows it, whatever dies.

use client::{Kind, Options, Player};
use nix::sys::signal::Signal;
use srs_tests::capture::{player, publisher, receive_frames};
use srs_tests::http::exchange;
use srs_tests::process::{signal, wait_gone};
use srs_tests::server::Server;
use srs_tests::wait::{SOON, wait_for, wait_until};

/// A name, and who wants it.
type Wanted = (String, Vec<String>);

/// The back-source that lives now, and what it says is wanted.
fn wanted(server: &Server) -> Option<(u32, Vec<Wanted>)> {
    let token = api::Token::read(&server.token())?;
    let is_one = |process: &&api::Process| process.role == "backsource" && process.private_api_port != 0;
    let processes = server.census()?.processes;
    let process = processes.iter().find(is_one)?;
    let url = format!("http://127.0.0.1:{}", process.private_api_port);
    let key = token.of_process("backsource", process.slot);
    let key = format!("Authorization: Bearer {}", key.reveal());
    let address = srs_tests::http::address(&url);
    let request =
        format!("GET /api/v1/report HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{key}\r\n\r\n");
    let answer = exchange(address, request.as_bytes())?.json();
    let mut names: Vec<_> = answer["wanted"]
        .as_array()?
        .iter()
        .map(|one| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            (text(&one["name"]), one["by"].as_array().unwrap().iter().map(text).collect())
        })
        .collect();
    names.sort();
    Some((process.pid, names))
}

fn wait_wanted(server: &Server, what: &str, expected: &[(&str, &str)]) {
    let expected: Vec<_> =
        expected.iter().map(|(name, by)| ((*name).to_owned(), vec![(*by).to_owned()])).collect();
    wait_until(what, || wanted(server).is_some_and(|(_, names)| names == expected));
}

#[test]
fn what_viewers_wait_for_is_known_to_every_successor_until_they_leave() {
    let server = Server::start("workers 1;");
    let options = || Options { read_timeout: SOON, ..Options::default() };
    let first = Player::connect(&server.url("live/first?key=one"), options()).unwrap();
    let mut second = player(&server.url("live/second"));
    let both = [("first", "stream#0"), ("second", "stream#0")];
    wait_wanted(&server, "both are wanted", &both);

    let victim = server.pids("backsource")[0];
    signal(victim, Signal::SIGKILL);
    wait_gone("the back-source", victim, SOON);
    let told = wait_for("the successor is told", SOON, || {
        wanted(&server).filter(|(pid, names)| *pid != victim && names.len() == 2)
    });
    assert_eq!(told.1.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["first", "second"]);

    // Who waits gets what is published, and goes on wanting it.
    let mut publisher = publisher(&server.url("live/second"));
    for n in 0..5 {
        publisher.send(Kind::Video, n * 40, &[0x17, 1, 0, 0, 0, 0xaa]).unwrap();
    }
    assert!(!receive_frames(&mut second, 3).is_empty());
    wait_wanted(&server, "both are wanted still", &both);

    drop(first);
    wait_wanted(&server, "the second is wanted", &both[1..]);
    drop(second);
    wait_wanted(&server, "nobody wants anything", &[]);

    // A stream process that dies wants nothing any more.
    let third = player(&server.url("live/third"));
    wait_wanted(&server, "a third is wanted", &[("third", "stream#0")]);
    let victim = server.pids("stream")[0];
    signal(victim, Signal::SIGKILL);
    wait_gone("the stream process", victim, SOON);
    wait_wanted(&server, "its viewers have gone with it", &[]);
    drop(third);
    drop(publisher);
}
