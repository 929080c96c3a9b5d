//! Records a stream: `play_to_flv URL FILE [SECONDS]`, for so many seconds of stream time, or until it ends.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use client::{Kind, Options, Player};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (url, file, seconds) = match args.as_slice() {
        [url, file] => (url, file, None),
        [url, file, seconds] if seconds.parse::<u32>().is_ok() => (url, file, seconds.parse::<u32>().ok()),
        _ => {
            eprintln!("usage: play_to_flv rtmp://HOST/APP/STREAM FILE [SECONDS]");
            return ExitCode::from(2);
        }
    };
    match record(url, file, seconds) {
        Ok(packets) => {
            eprintln!("{packets} packets");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn record(url: &str, file: &str, seconds: Option<u32>) -> Result<u64, Box<dyn Error>> {
    let mut player = Player::connect(url, Options::default())?;
    let mut out = BufWriter::new(File::create(file).map_err(|cause| format!("can't write {file}: {cause}"))?);
    out.write_all(&flv::file::header(true, true))?;
    let (mut packets, mut first) = (0, None);
    while let Some(packet) = player.next()? {
        if packet.kind != Kind::Data {
            let first = *first.get_or_insert(packet.timestamp);
            let played_ms = packet.timestamp.wrapping_sub(first);
            if seconds.is_some_and(|seconds| played_ms / 1_000 >= seconds && played_ms < u32::MAX / 2) {
                break;
            }
        }
        let mut tag = Vec::new();
        flv::file::write_tag(&mut tag, packet.kind, packet.timestamp, &packet.payload);
        out.write_all(&tag)?;
        packets += 1;
    }
    out.flush()?;
    Ok(packets)
}
