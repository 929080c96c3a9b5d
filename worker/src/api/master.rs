//! Orders for the master: this process gives them at the control socket, like every operator.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use api::Order;
use serde::de::DeserializeOwned;

/// Processes have five seconds to apply a configuration.
const PATIENCE: Duration = Duration::from_secs(8);
/// Longest answer.
const MOST_BYTES: u64 = 4 << 20;

/// Gives an order and waits for what came of it.
pub(crate) fn order<T: DeserializeOwned>(runtime_dir: &Path, order: &Order) -> std::io::Result<T> {
    let mut socket = UnixStream::connect(runtime_dir.join("srs.sock"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let line = serde_json::to_string(order).map_err(std::io::Error::other)?;
    socket.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(socket.take(MOST_BYTES)).read_line(&mut answer)?;
    serde_json::from_str(&answer).map_err(std::io::Error::other)
}
