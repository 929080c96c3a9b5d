//! Row F20 for files that are served: a disk that hangs holds up those who want something of it, and nobody else.

use std::io::{Read, Write};
use std::net::TcpStream;

use srs_tests::capture::{Frames, Recorder, ffmpeg_publish};
use srs_tests::clip::Clip;
use srs_tests::hanging::HangingDisk;
use srs_tests::program::have;
use srs_tests::server::{Server, configuration};
use srs_tests::wait::{SOON, wait_until};
use tempfile::TempDir;

const LEN: u32 = 24 << 20;

fn ask(server: &Server, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(server.web_address()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

/// Status and body.
fn answer(socket: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let status = String::from_utf8_lossy(&bytes[..end]).split(' ').nth(1).unwrap().to_owned();
    (status, bytes[end + 4..].to_vec())
}

#[test]
fn viewers_and_other_files_do_not_wait_for_a_disk_that_hangs() {
    if !have(&["ffmpeg"]) {
        return;
    }
    let top = TempDir::new().unwrap();
    let (slow, fast) = (top.path().join("slow"), top.path().join("fast"));
    std::fs::create_dir_all(&slow).unwrap();
    std::fs::create_dir_all(&fast).unwrap();
    std::fs::write(fast.join("a.txt"), "quick").unwrap();
    let big: Vec<u8> = (0..LEN / 4).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let film = std::fs::read(Clip::H264Aac.path()).unwrap();
    let files = vec![
        ("big.bin".to_owned(), big.clone()),
        ("b.txt".to_owned(), b"slow".to_vec()),
        ("film.flv".to_owned(), film.clone()),
    ];
    let Some(disk) = HangingDisk::mount(&slow, files) else { return };
    let own = format!(
        "watchdog 3;
http_server {{ enabled on; listen 127.0.0.1:0; vod on; dir {}; }}
vhost __defaultVhost__ {{ http_remux {{ enabled on; }} hls {{ enabled on; hls_fragment 1; hls_storage memory; hls_ctx off; }}
    http_static {{ enabled on; mount /slow; dir {}; }} }}",
        fast.display(),
        slow.display()
    );
    let directory = TempDir::new().unwrap();
    let text = configuration(directory.path(), &own);
    let server = Server::start_in(directory, &text);
    let http = server.pids("http");
    // It works as long as the disk does.
    assert_eq!(answer(&mut ask(&server, "/slow/b.txt")), ("200".to_owned(), b"slow".to_vec()));
    assert_eq!(answer(&mut ask(&server, "/slow/none")).0, "404");
    let list = answer(&mut ask(&server, "/slow/film.flv.m3u8")).1;
    assert!(String::from_utf8_lossy(&list).contains("#EXTINF"), "a list of the film");
    let mut download = ask(&server, "/slow/big.bin");
    let mut begun = vec![0; 1 << 20];
    download.read_exact(&mut begun).unwrap();
    disk.hang();
    // More than there are threads.
    let mut waiting: Vec<TcpStream> = (0..30).map(|_| ask(&server, "/slow/b.txt")).collect();
    let mut part = ask(&server, "/slow/film.flv?start=2.0");
    let source = Frames::of_file(&Clip::H264Aac.path());
    let recorder = Recorder::start(&format!("{}/live/a.flv", server.web()));
    wait_until("a viewer that waits", || {
        server.clients().iter().any(|client| client.tc_url.ends_with("a.flv"))
    });
    // The clip takes longer than the watchdog waits.
    let encoder = ffmpeg_publish(&Clip::H264Aac.path(), &server.url("live/a"), true);
    while server.streams().iter().any(|stream| stream.publish.active)
        || source.len() > recorder.frames().len()
    {
        assert_eq!(answer(&mut ask(&server, "/a.txt")), ("200".to_owned(), b"quick".to_vec()));
    }
    drop(encoder.finish(SOON).expect_success());
    recorder.finish(source.len()).assert_part_of(&source, true);
    let list = answer(&mut ask(&server, "/live/a.m3u8")).1;
    assert!(String::from_utf8_lossy(&list).contains("#EXTINF"), "HLS from memory goes on");
    assert_eq!(server.pids("http"), http, "nobody was replaced");
    disk.go_on();
    for socket in &mut waiting {
        assert_eq!(answer(socket), ("200".to_owned(), b"slow".to_vec()));
    }
    let (status, tail) = answer(&mut part);
    assert!(
        status == "200" && tail.starts_with(b"FLV") && tail.len() < film.len(),
        "{status}, {}",
        tail.len()
    );
    download.read_to_end(&mut begun).unwrap();
    let end = begun.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    assert!(begun[end + 4..] == big, "every byte in its place");
}
