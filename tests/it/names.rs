//! Names of streams: what belongs to them and what are parameters, in every output; and that no two get into each other's way.

use std::fs;

use client::Publisher;
use srs_tests::capture::publisher;
use srs_tests::clip::Clip;
use srs_tests::http::ask;
use srs_tests::marked::{self, Unit};
use srs_tests::program::{find, have};
use srs_tests::server::{Server, configuration};
use srs_tests::site::{self, get};
use srs_tests::wait::{SOON, wait_for};
use tempfile::TempDir;

fn send(publisher: &mut Publisher, units: &[Unit]) {
    marked::send_headers(publisher, true, true);
    units.iter().for_each(|unit| unit.send(publisher));
}

fn is_there(server: &Server, path: &str) -> bool {
    ask(&server.web(), "HEAD", path, &["Connection: close"]).status == 200
}

/// A server with every output.
fn server() -> Server {
    let directory = TempDir::new().unwrap();
    let outputs = format!(
        "http_remux {{ enabled on; snapshot_ffmpeg {}; }} hls {{ enabled on; hls_ctx off; hls_fragment 1; hls_storage memory; }}",
        find("ffmpeg").display()
    );
    let own = format!(
        "http_server {{ enabled on; listen 127.0.0.1:0; vod on; dir {}/html; stream_wait 0; }}\n\
         vhost __defaultVhost__ {{ {outputs} }}\nvhost a.example {{ {outputs} }}",
        directory.path().display()
    );
    let text = configuration(directory.path(), &own);
    fs::create_dir_all(directory.path().join("html/live")).unwrap();
    Server::start_in(directory, &text)
}

#[test]
fn parameters_in_a_path_are_those_of_the_stream_in_every_output() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = server();
    let units = marked::usual(2500, 1000);
    let mut publisher_ = publisher(&server.url("live/cam%3Ftoken%3Dx"));
    send(&mut publisher_, &units);
    let mut elsewhere = publisher(&server.url("live/elsewhere?vhost=a.example"));
    send(&mut elsewhere, &units);
    wait_for("the lists", SOON, || {
        let lists = ["/live/cam.m3u8", "/live/elsewhere.m3u8?vhost=a.example"];
        lists.iter().all(|path| is_there(&server, path)).then_some(())
    });
    for ending in ["flv", "ts", "mp4", "aac", "jpg", "m3u8"] {
        for path in [
            format!("cam%3Ftoken%3Dx.{ending}"),
            format!("cam%3ftoken=x%26sign=a.b.{ending}"),
            format!("cam.{ending}%3Ftoken%3Dx"),
            format!("cam.{ending}%3Ftoken%3Dx.y?a=b"),
            format!("cam;token=x.{ending}"),
            format!("cam&token=x.{ending}"),
            format!("cam%253Ftoken%253Dx.{ending}"),
            format!("cam...token...x.{ending}"),
            format!("elsewhere%3Fvhost%3Da.example.{ending}"),
        ] {
            assert!(is_there(&server, &format!("/live/{path}")), "{path}");
        }
        for path in
            [format!("other%3Ftoken%3Dx.{ending}"), format!("cam;1.{ending}"), format!("cam%253F.{ending}")]
        {
            assert!(!is_there(&server, &format!("/live/{path}")), "{path}");
        }
    }
    let greeting = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
    let greeting = [&greeting[..], &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]].concat();
    let answer = ask(&server.web(), "HEAD", "/live/cam%3Ftoken%3Dx.flv", &greeting);
    assert_eq!(answer.status, 101);
    // What is in the list can be had, and is what was published.
    drop(publisher_.finish());
    let path = "live/cam%3Ftoken%3Dx";
    let list = wait_for("the whole list", SOON, || {
        site::list(&server, path).filter(|list| list.segments.len() == 3)
    });
    let bytes = site::segments(&server, "live/x", &list).concat();
    marked::assert_shown("cam", &marked::of_ts(&bytes), &units, 1);
}

/// A file may be called as no stream is: then it is what is asked for.
#[test]
fn a_file_that_has_a_question_mark_in_its_name_is_found() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let server = server();
    let files = server.directory().join("html/live");
    fs::write(files.join("cam?token=y.flv"), "a file").unwrap();
    fs::copy(Clip::H264Aac.path(), files.join("clip?a=b;c=d.flv")).unwrap();
    let mut publisher = publisher(&server.url("live/cam"));
    send(&mut publisher, &marked::usual(2500, 1000));
    server.wait_published("live/cam");
    assert_eq!(get(&server.web(), "/live/cam%3Ftoken%3Dy.flv").as_deref(), Some(&b"a file"[..]));
    assert!(is_there(&server, "/live/cam%3Ftoken%3Dz.flv"), "the stream");
    let list = wait_for("the list of the file", SOON, || site::list(&server, "live/clip%3Fa%3Db%3Bc=d.flv"));
    assert!(list.end_list && site::segments(&server, "live/x", &list).iter().all(|bytes| bytes.len() > 188));
    // Without that file, the one that is called so without parameters.
    fs::write(files.join("page.html"), "page").unwrap();
    assert_eq!(get(&server.web(), "/live/page.html%3Fa%3Db").as_deref(), Some(&b"page"[..]));
}

/// `50%` has files that are called `50%25`, as a stream may be, too: each address is that of the stream with this name.
#[test]
fn a_name_and_what_it_is_written_as_are_two_streams() {
    let (short, long) = (marked::usual(2500, 1000), marked::usual(4500, 1000));
    for (own, workers) in [
        ("hls_ctx off; hls_storage both;", 1),
        ("hls_ctx on; hls_storage memory;", 1),
        ("hls_ctx on; hls_ts_ctx on; hls_storage disk;", 3),
    ] {
        let directory = TempDir::new().unwrap();
        let top = directory.path().display().to_string();
        let own = format!(
            "http_workers {workers};\n\
             http_api {{ enabled on; listen 127.0.0.1:0; }}\n\
             http_server {{ enabled on; listen 127.0.0.1:0; dir {top}/html; stream_wait 0; }}\n\
             vhost __defaultVhost__ {{ hls {{ enabled on; hls_path {top}/html; hls_fragment 1; {own} }} }}"
        );
        let text = configuration(directory.path(), &own);
        let server = Server::start_in(directory, &text);
        let publish = |name: &str, units: &[Unit]| {
            let mut publisher = publisher(&server.url(name));
            send(&mut publisher, units);
            drop(publisher.finish());
        };
        let plays = |path: &str, units: &[Unit], segments: usize| {
            let what = format!("{path} with {own}");
            let list = wait_for(&what, SOON, || {
                site::list(&server, path).filter(|list| list.segments.len() == segments)
            });
            marked::assert_shown(
                &what,
                &marked::of_ts(&site::segments(&server, path, &list).concat()),
                units,
                1,
            );
        };
        publish("live/50%", &short);
        publish("50%/cam", &short);
        plays("live/50%25", &short, 3);
        plays("50%25/cam", &short, 3);
        // The file is there, but the stream with this name is not.
        assert!(!is_there(&server, "/live/50%2525.m3u8"), "{own}");
        publish("live/50%25", &long);
        publish("50%25/cam", &long);
        plays("live/50%2525", &long, 5);
        plays("50%2525/cam", &long, 5);
        plays("live/50%25", &short, 3);
        plays("50%25/cam", &short, 3);
        let known = ask(&server.api(), "GET", "/api/v1/hls", &["Connection: close"]).json();
        for hls in known["hls"].as_array().unwrap() {
            let (url, name) = (hls["url"].as_str().unwrap(), hls["name"].as_str().unwrap());
            let is_long = hls["app"] == "50%25" || name == "50%25";
            let path = url.strip_suffix(".m3u8").unwrap();
            if is_long { plays(path, &long, 5) } else { plays(path, &short, 3) }
        }
    }
}
