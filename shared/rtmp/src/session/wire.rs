//! What both sessions share: the queue of outputs, our half of the chunk layer, acknowledgements and pings. It does
//! not know commands.

use super::error::SessionError;
use super::event::{CloseReason, Output};
use crate::chunk::reader::ChunkReader;
use crate::chunk::writer;
use crate::command::Command;
use crate::control::Control;
use crate::limits::Limits;
use crate::message::{self, Message};
use amf0::Value;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Wire<E> {
    outputs: VecDeque<Output<E>>,
    pub(super) reader: ChunkReader,
    pub(super) chunk_size: u32,
    /// Bytes handed in by the owner.
    pub(super) received: u64,
    /// Bytes parsed, handshake included: what acknowledgements report. 64 bits inside, 32 on the wire.
    pub(super) consumed: u64,
    acknowledged: u64,
    /// Acknowledge after so many bytes; `None` until somebody asks for it.
    window: Option<u32>,
    pub(super) sent: u64,
    pongs: u32,
    pub(super) closed: bool,
}

impl<E> Wire<E> {
    pub(super) fn new(limits: &Arc<Limits>, window: Option<u32>) -> Self {
        Self {
            outputs: VecDeque::new(),
            reader: ChunkReader::with(Arc::clone(limits)),
            chunk_size: 128,
            received: 0,
            consumed: 0,
            acknowledged: 0,
            window,
            sent: 0,
            pongs: 0,
            closed: false,
        }
    }

    pub(super) fn poll(&mut self) -> Option<Output<E>> {
        self.outputs.pop_front()
    }

    /// Gives back memory that nothing is kept in.
    pub(super) fn compact(&mut self) {
        self.outputs.shrink_to_fit();
        self.reader.compact();
    }

    /// A new turn of input: pings are counted anew.
    pub(super) fn begin_turn(&mut self, bytes: usize) {
        self.received += bytes as u64;
        self.pongs = 0;
    }

    pub(super) fn event(&mut self, event: E) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        self.closed = true;
        self.outputs.push_back(Output::Close(reason));
    }

    pub(super) fn transmit(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.sent += bytes.len() as u64;
            self.outputs.push_back(Output::Transmit(Bytes::from(bytes)));
        }
    }

    pub(super) fn send(&mut self, csid: u8, timestamp: u32, type_id: u8, msid: u32, payload: &[u8]) {
        let mut out = Vec::new();
        writer::write_message(&mut out, csid, timestamp, type_id, msid, payload, self.chunk_size);
        self.transmit(out);
    }

    pub(super) fn control(&mut self, control: Control) {
        let (type_id, payload) = control.encode();
        self.send(message::CSID_CONTROL, 0, type_id, 0, &payload);
    }

    pub(super) fn command(&mut self, csid: u8, msid: u32, name: &str, transaction: f64, args: &[Value]) {
        self.send(csid, 0, message::COMMAND, msid, &Command::encode(name, transaction, args));
    }

    /// `_result` with a null object and one value, when an answer is wanted.
    pub(super) fn result(&mut self, command: &Command, value: Value) {
        if command.transaction > 0.0 {
            let args = [Value::Null, value];
            self.command(message::CSID_COMMAND, 0, "_result", command.transaction, &args);
        }
    }

    /// An `onStatus` on a message stream.
    pub(super) fn status(&mut self, msid: u32, info: Value) {
        self.command(message::CSID_STATUS, msid, "onStatus", 0.0, &[Value::Null, info]);
    }

    /// Announces our chunk size unless it holds already.
    pub(super) fn announce_chunk_size(&mut self, size: u32) {
        let size = size.clamp(128, 65_536);
        if size != self.chunk_size {
            self.control(Control::SetChunkSize(size));
            self.chunk_size = size;
        }
    }

    /// Acknowledges after so many bytes, unless the peer has said otherwise.
    pub(super) fn acknowledge_every(&mut self, bytes: u32) {
        self.window.get_or_insert(bytes);
    }

    /// The next message in `input`, its bytes counted as consumed.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, SessionError> {
        let before = input.len();
        let message = self.reader.read(input);
        self.consumed += (before - input.len()) as u64;
        Ok(message?)
    }

    /// Sends an acknowledgement when the window is full.
    pub(super) fn acknowledge(&mut self) {
        let Some(window) = self.window else { return };
        if self.consumed - self.acknowledged > u64::from(window) {
            self.acknowledged = self.consumed;
            let low = u32::try_from(self.consumed & u64::from(u32::MAX)).unwrap_or_default();
            self.control(Control::Acknowledgement(low));
        }
    }

    /// Does what a control message asks of any peer; returns it for what is special to a role.
    pub(super) fn handle_control(
        &mut self,
        limits: &Limits,
        message: &Message,
    ) -> Result<Option<Control>, SessionError> {
        let type_id = message.type_id;
        let control = Control::decode(type_id, &message.payload);
        let control = control.map_err(|short| SessionError::Control { type_id, short })?;
        match control {
            Some(Control::SetChunkSize(size)) => self.reader.set_chunk_size(size)?,
            Some(Control::Abort(csid)) => self.reader.abort(csid),
            Some(Control::WindowAckSize(window)) if window > 0 => {
                let max = limits.ack_window_max.max(limits.ack_window_min);
                self.window = Some(window.clamp(limits.ack_window_min, max));
            }
            Some(Control::PingRequest(data)) => {
                self.pongs += 1;
                if self.pongs > limits.max_pending_pongs {
                    return Err(SessionError::TooManyPings { max: limits.max_pending_pongs });
                }
                self.control(Control::PingResponse(data));
            }
            _ => {}
        }
        Ok(control)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_go_on_beyond_four_gigabytes() {
        let mut wire = Wire::<()>::new(&Arc::new(Limits::default()), Some(100_000));
        let mut acknowledged = Vec::new();
        wire.consumed = (1 << 32) - 50_000;
        for _ in 0..4 {
            wire.acknowledge();
            while let Some(Output::Transmit(bytes)) = wire.poll() {
                acknowledged.push(u32::from_be_bytes(*bytes.last_chunk().unwrap()));
            }
            wire.consumed += 60_000;
        }
        assert_eq!(acknowledged, [4_294_917_296, 70_000]);
    }
}
