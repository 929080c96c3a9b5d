//! Plays an FLV file into an RTMP URL at its own pace, over and over, and connects again for as long as it takes.
//!
//! To the server it is an encoder that never stops: timestamps go on over the end of the file, and decoder
//! configuration and metadata come once per connection. The file is read as it is played, never loaded.

mod headers;
mod repeat;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flv::file::Tag;
use media::Kind;

use crate::clip::{Clip, ClipError};
use crate::error::ClientError;
use crate::options::Options;
use crate::publisher::Publisher;
use headers::{Headers, Role};
use repeat::Repeat;

/// The first pause before connecting again; it doubles up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause before connecting again.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A connection that lasted this long begins again with the shortest pause.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);

/// The longest sleep that does not look at the stop flag.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// How a file is ingested.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Begin again at the end of the file.
    pub repeat: bool,
    /// Send at the pace of the timestamps; otherwise as fast as the server takes it.
    pub real_time: bool,
    /// How connections are made.
    pub connection: Options,
    /// Is told what happens, for logs.
    pub report: fn(&IngestEvent),
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self { repeat: true, real_time: true, connection: Options::default(), report: |_| {} }
    }
}

/// What happens while a file is ingested.
#[derive(Debug)]
pub enum IngestEvent {
    /// The server accepted the stream.
    Publishing,
    /// The connection could not be made, or broke; it is tried again.
    Retry {
        /// Why.
        cause: ClientError,
        /// After which pause.
        pause: Duration,
    },
    /// The file begins again.
    Again {
        /// How many times it was played.
        loops: u64,
    },
}

/// Plays `file` into `url` until `stop` is set, or the file ends and is not to be repeated.
///
/// # Errors
/// When the file can't be read or is not FLV. The server's faults are no errors: they are tried again.
pub fn run(file: &Path, url: &str, options: &IngestOptions, stop: &AtomicBool) -> Result<(), ClipError> {
    let mut source = Source::open(file, options)?;
    let mut pause = SHORTEST_PAUSE;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let cause = match Publisher::connect(url, options.connection.clone()) {
            Ok(publisher) => {
                (options.report)(&IngestEvent::Publishing);
                match play(&mut source, publisher, options, stop)? {
                    Ended::Stopped => return Ok(()),
                    Ended::Broken(cause) => cause,
                }
            }
            Err(cause) => cause,
        };
        if began.elapsed() >= GOOD_CONNECTION {
            pause = SHORTEST_PAUSE;
        }
        (options.report)(&IngestEvent::Retry { cause, pause });
        sleep(pause, stop);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

enum Ended {
    Stopped,
    Broken(ClientError),
}

/// The file as a stream without end.
struct Source {
    clip: Clip,
    repeat: Repeat,
    headers: Headers,
    /// The tag that comes next, and its time on the endless timeline.
    next: Option<(Tag, u64)>,
    again: bool,
    report: fn(&IngestEvent),
}

impl Source {
    fn open(file: &Path, options: &IngestOptions) -> Result<Self, ClipError> {
        let mut source = Self {
            clip: Clip::open(file)?,
            repeat: Repeat::default(),
            headers: Headers::default(),
            next: None,
            again: options.repeat,
            report: options.report,
        };
        source.advance()?;
        Ok(source)
    }

    /// Reads the tag that comes next; at the end of the file it is the first one again, or none.
    fn advance(&mut self) -> Result<(), ClipError> {
        self.next = None;
        loop {
            if let Some(tag) = self.clip.next_tag()? {
                let role = self.headers.role(&tag);
                let time_ms = self.repeat.time_ms(&tag, role);
                self.next = Some((tag, time_ms));
                return Ok(());
            }
            if self.repeat.is_empty() {
                return Err(ClipError::Empty { path: self.clip.path().to_owned() });
            }
            if !self.again {
                return Ok(());
            }
            self.clip.rewind()?;
            let loops = self.repeat.begin_again();
            (self.report)(&IngestEvent::Again { loops });
        }
    }
}

/// Sends what comes until something ends it. The inner error is the server's, the outer one the file's.
fn play(
    source: &mut Source,
    mut publisher: Publisher,
    options: &IngestOptions,
    stop: &AtomicBool,
) -> Result<Ended, ClipError> {
    let Some((_, base_ms)) = source.next else { return Ok(Ended::Stopped) };
    let began = Instant::now();
    if let Err(cause) = source.headers.send_known(&mut publisher, wire(base_ms)) {
        return Ok(Ended::Broken(cause));
    }
    while let Some((tag, time_ms)) = &source.next {
        if options.real_time {
            let due = began + Duration::from_millis(time_ms.saturating_sub(base_ms));
            if let Err(cause) = wait_until(due, &mut publisher, stop) {
                return Ok(Ended::Broken(cause));
            }
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let sent = match source.headers.admit(tag) {
            Some(Role::End) if options.repeat => Ok(()),
            Some(Role::Metadata) => publisher.send_metadata(wire(*time_ms), &tag.body),
            Some(_) => publisher.send(tag.kind, wire(*time_ms), &tag.body),
            None => Ok(()),
        };
        if let Err(cause) = sent {
            return Ok(Ended::Broken(cause));
        }
        source.advance()?;
    }
    // A server that is gone by now does not matter any more.
    drop(publisher.finish());
    Ok(Ended::Stopped)
}

/// Sleeps until `due`, listening to the server when there is time for it.
fn wait_until(due: Instant, publisher: &mut Publisher, stop: &AtomicBool) -> Result<(), ClientError> {
    while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if left > LONGEST_SLEEP {
            publisher.listen()?;
        }
        thread::sleep(left.min(LONGEST_SLEEP));
    }
    Ok(())
}

fn sleep(pause: Duration, stop: &AtomicBool) {
    let until = Instant::now() + pause;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep(left.min(LONGEST_SLEEP));
    }
}

/// The low 32 bits, as the wire has them.
fn wire(time_ms: u64) -> u32 {
    u32::try_from(time_ms & u64::from(u32::MAX)).unwrap_or_default()
}

/// Whether a script tag is `onMetaData`.
fn is_metadata(tag: &Tag) -> bool {
    tag.kind == Kind::Data && tag.body.starts_with(b"\x02\x00\x0aonMetaData")
}
