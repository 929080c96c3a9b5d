//! Somebody who watches a live stream over HTTP and keeps all that comes.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long an answer may take from its first byte to its last.
const PATIENCE: Duration = Duration::from_secs(120);

/// A viewer in the background.
#[derive(Debug)]
pub struct HttpViewer {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<Result<(), String>>,
}

impl HttpViewer {
    /// Asks for a path.
    #[must_use]
    pub fn start(base: &str, path: &str) -> Self {
        let url = format!("{base}{path}");
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let thread = thread::spawn({
            let bytes = Arc::clone(&bytes);
            move || {
                let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None);
                let agent: ureq::Agent = config.build().into();
                let answer = agent.get(&url).call().map_err(|error| format!("{url}: {error}"))?;
                let mut body = answer.into_body().into_reader();
                let mut buffer = vec![0; 64 << 10];
                loop {
                    let count = body.read(&mut buffer).map_err(|error| format!("{url}: {error}"))?;
                    if count == 0 {
                        return Ok(());
                    }
                    bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
                }
            }
        });
        Self { bytes, thread }
    }

    /// What has come so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether these bytes have come.
    #[must_use]
    pub fn has(&self, wanted: &[u8]) -> bool {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.windows(wanted.len()).any(|window| window == wanted)
    }

    /// Whether anything has come.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.bytes.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whether the answer has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until the answer has ended: all of it, or what went wrong.
    ///
    /// # Errors
    /// What the server answered instead, or how it ended.
    pub fn outcome(self) -> Result<Vec<u8>, String> {
        self.thread.join().expect("the viewer did not panic")?;
        Ok(std::mem::take(&mut self.bytes.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Waits until the answer has ended; all of it.
    ///
    /// # Panics
    /// When it ends otherwise than by the server's will.
    #[must_use]
    pub fn whole(self) -> Vec<u8> {
        self.outcome().unwrap_or_else(|cause| panic!("{cause}"))
    }
}
