//! Publishes an FLV file at its own pace: `publish_flv FILE URL`, once; with `--repeat` behind, over and over.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use client::ingest::{self, IngestEvent, IngestOptions};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (file, url, repeat) = match args.as_slice() {
        [file, url] => (file, url, false),
        [file, url, flag] if flag == "--repeat" => (file, url, true),
        _ => {
            eprintln!("usage: publish_flv FILE rtmp://HOST/APP/STREAM [--repeat]");
            return ExitCode::from(2);
        }
    };
    let options = IngestOptions { repeat, report: tell, ..IngestOptions::default() };
    match ingest::run(Path::new(file), url, &options, &AtomicBool::new(false)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn tell(event: &IngestEvent) {
    match event {
        IngestEvent::Publishing => eprintln!("publishing"),
        IngestEvent::Retry { cause, pause } => eprintln!("{cause}; again in {} ms", pause.as_millis()),
        IngestEvent::Again { loops } => eprintln!("played {loops} times"),
    }
}
