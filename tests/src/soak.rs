//! Viewers and publishers for long runs under kills: they come again when they lose their connection, as players and encoders do,
//! check every byte, and note how long nothing came.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use client::{Kind, Options, Player, Publisher};

use crate::pattern::{AUDIO_CONFIGURATION, VIDEO_CONFIGURATION, check, frame, metadata};

/// How long one attempt to connect may take before the next.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two attempts.
const AGAIN: Duration = Duration::from_millis(20);

/// What all viewers and publishers of a run note together.
#[derive(Debug, Default)]
pub struct Notes {
    stop: AtomicBool,
    /// Which cause is under way: an index into `silences`.
    cause: AtomicUsize,
    /// The longest time, in ms, in which a viewer that stayed connected got nothing, by cause.
    silences: Vec<AtomicU64>,
    /// Connections that viewers lost.
    lost: AtomicU64,
    /// Bytes of payload that viewers got.
    bytes: AtomicU64,
    /// What should not have been.
    faults: Mutex<Vec<String>>,
}

impl Notes {
    /// Notes for so many causes.
    #[must_use]
    pub fn new(causes: usize) -> Arc<Self> {
        Arc::new(Self { silences: (0..causes).map(|_| AtomicU64::new(0)).collect(), ..Self::default() })
    }

    /// What comes from now on is the doing of this cause.
    pub fn blame(&self, cause: usize) {
        self.cause.store(cause, Ordering::SeqCst);
    }

    /// The longest silence that a cause made, ms.
    #[must_use]
    pub fn silence_ms(&self, cause: usize) -> u64 {
        self.silences.get(cause).map_or(0, |silence| silence.load(Ordering::SeqCst))
    }

    /// How many connections viewers have lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::SeqCst)
    }

    /// Payload bytes that viewers got.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// What should not have been, so far.
    ///
    /// # Panics
    /// When a viewer has panicked.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().expect("nobody panics").clone()
    }

    fn fault(&self, text: String) {
        if let Ok(mut faults) = self.faults.lock()
            && faults.len() < 20
        {
            faults.push(text);
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The viewers and publishers of a run; dropping it ends them.
#[derive(Debug)]
pub struct Crowd {
    notes: Arc<Notes>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// One publisher for each URL, a frame each `step`, and `viewers` in all.
    ///
    /// # Panics
    /// When there is no thread for one.
    #[must_use]
    pub fn start(notes: &Arc<Notes>, urls: &[String], viewers: usize, step: Duration) -> Self {
        let spawn = |name: String, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name).stack_size(256 << 10).spawn(work).expect("a thread")
        };
        let mut threads = Vec::new();
        for url in urls {
            let (notes, url) = (Arc::clone(notes), url.clone());
            threads.push(spawn("publisher".into(), Box::new(move || publish(&notes, &url, step))));
        }
        for url in urls.iter().cycle().take(viewers) {
            let (notes, url) = (Arc::clone(notes), url.clone());
            threads.push(spawn("viewer".into(), Box::new(move || watch(&notes, &url))));
        }
        Self { notes: Arc::clone(notes), threads }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.notes.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.notes.fault("a viewer or publisher panicked".into());
            }
        }
    }
}

fn options() -> Options {
    Options { read_timeout: PATIENCE, ..Options::default() }
}

fn publish(notes: &Notes, url: &str, step: Duration) {
    while !notes.is_over() {
        let Ok(mut publisher) = Publisher::connect(url, options()) else {
            thread::sleep(AGAIN);
            continue;
        };
        let headers = [(Kind::Video, VIDEO_CONFIGURATION), (Kind::Audio, AUDIO_CONFIGURATION)];
        if publisher.send_metadata(0, &metadata()).is_err()
            || headers.iter().any(|(kind, body)| publisher.send(*kind, 0, body).is_err())
        {
            continue;
        }
        let began = Instant::now();
        for number in 0_u32.. {
            thread::sleep((began + step * number).saturating_duration_since(Instant::now()));
            let tag = frame(number.into());
            if notes.is_over() || publisher.send(tag.kind, tag.timestamp_ms, &tag.body).is_err() {
                break;
            }
        }
    }
}

fn watch(notes: &Notes, url: &str) {
    while !notes.is_over() {
        let Ok(mut player) = Player::connect(url, options()) else {
            thread::sleep(AGAIN);
            continue;
        };
        player.set_read_timeout(Duration::from_millis(100));
        let (mut last, mut at) = (None, Instant::now());
        while !notes.is_over() {
            let packet = match player.next() {
                Ok(Some(packet)) => packet,
                Err(cause) if cause.is_timeout() => continue,
                Ok(None) | Err(_) => {
                    notes.lost.fetch_add(1, Ordering::SeqCst);
                    break;
                }
            };
            notes.bytes.fetch_add(packet.payload.len() as u64, Ordering::Relaxed);
            let Some(number) = check(&packet) else { continue };
            match last {
                // The next one, or the beginning of the next publish.
                Some(last) if number == last + 1 || number == 0 => {
                    let gap = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
                    if let Some(silence) = notes.silences.get(notes.cause.load(Ordering::SeqCst)) {
                        silence.fetch_max(gap, Ordering::SeqCst);
                    }
                }
                Some(last) => notes.fault(format!("{url}: frame {number} follows frame {last}")),
                None => {}
            }
            (last, at) = (Some(number), Instant::now());
        }
    }
}
