//! Protocol control and user control messages (specification 5.4 and 6.2): bytes to meaning and back. What follows
//! from them is decided by the sessions.

use crate::message;
use media::cursor::{Cursor, Short};

/// A protocol control or user control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Chunk size from the next chunk on, as it stood; not checked.
    SetChunkSize(u32),
    /// Forget the unfinished message of this chunk stream.
    Abort(u32),
    /// Bytes received so far, low 32 bits.
    Acknowledgement(u32),
    /// Acknowledge every so many bytes.
    WindowAckSize(u32),
    /// Limit of our output in bytes, and its kind (0 hard, 1 soft, 2 dynamic).
    SetPeerBandwidth {
        /// Window in bytes.
        window: u32,
        /// 0 hard, 1 soft, 2 dynamic.
        kind: u8,
    },
    /// Event 0: the message stream begins.
    StreamBegin(u32),
    /// Event 1: the message stream has ended.
    StreamEof(u32),
    /// Event 3: a player's buffer.
    SetBufferLength {
        /// Message stream.
        msid: u32,
        /// Milliseconds.
        ms: u32,
    },
    /// Event 6: answer with the same number.
    PingRequest(u32),
    /// Event 7: the answer.
    PingResponse(u32),
    /// Any other event.
    OtherEvent(u16),
}

impl Control {
    /// The control message in `payload`, `None` when `type_id` is not one of control.
    ///
    /// # Errors
    /// [`Short`] when the payload ends too early. Bytes behind are ignored.
    pub fn decode(type_id: u8, payload: &[u8]) -> Result<Option<Self>, Short> {
        let mut cursor = Cursor::new(payload);
        Ok(Some(match type_id {
            message::SET_CHUNK_SIZE => Self::SetChunkSize(cursor.u32()?),
            message::ABORT => Self::Abort(cursor.u32()?),
            message::ACKNOWLEDGEMENT => Self::Acknowledgement(cursor.u32()?),
            message::WINDOW_ACK_SIZE => Self::WindowAckSize(cursor.u32()?),
            // Some peers leave the kind away.
            message::SET_PEER_BANDWIDTH => {
                Self::SetPeerBandwidth { window: cursor.u32()?, kind: cursor.u8().unwrap_or_default() }
            }
            message::USER_CONTROL => match cursor.u16()? {
                0 => Self::StreamBegin(cursor.u32()?),
                1 => Self::StreamEof(cursor.u32()?),
                3 => Self::SetBufferLength { msid: cursor.u32()?, ms: cursor.u32()? },
                6 => Self::PingRequest(cursor.u32()?),
                7 => Self::PingResponse(cursor.u32()?),
                event => Self::OtherEvent(event),
            },
            _ => return Ok(None),
        }))
    }

    /// Message type and payload.
    #[must_use]
    pub fn encode(self) -> (u8, Vec<u8>) {
        let event = |event: u16, data: u32| {
            (message::USER_CONTROL, [&event.to_be_bytes()[..], &data.to_be_bytes()[..]].concat())
        };
        match self {
            Self::SetChunkSize(size) => (message::SET_CHUNK_SIZE, size.to_be_bytes().to_vec()),
            Self::Abort(csid) => (message::ABORT, csid.to_be_bytes().to_vec()),
            Self::Acknowledgement(bytes) => (message::ACKNOWLEDGEMENT, bytes.to_be_bytes().to_vec()),
            Self::WindowAckSize(bytes) => (message::WINDOW_ACK_SIZE, bytes.to_be_bytes().to_vec()),
            Self::SetPeerBandwidth { window, kind } => {
                (message::SET_PEER_BANDWIDTH, [&window.to_be_bytes()[..], &[kind]].concat())
            }
            Self::StreamBegin(msid) => event(0, msid),
            Self::StreamEof(msid) => event(1, msid),
            Self::SetBufferLength { msid, ms } => {
                let (type_id, mut payload) = event(3, msid);
                payload.extend_from_slice(&ms.to_be_bytes());
                (type_id, payload)
            }
            Self::PingRequest(data) => event(6, data),
            Self::PingResponse(data) => event(7, data),
            Self::OtherEvent(number) => event(number, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all = [
            Control::SetChunkSize(60_000),
            Control::Abort(4),
            Control::Acknowledgement(u32::MAX),
            Control::WindowAckSize(2_500_000),
            Control::SetPeerBandwidth { window: 2_500_000, kind: 2 },
            Control::StreamBegin(1),
            Control::StreamEof(1),
            Control::SetBufferLength { msid: 1, ms: 1_000 },
            Control::PingRequest(7),
            Control::PingResponse(7),
            Control::OtherEvent(32),
        ];
        for control in all {
            let (type_id, payload) = control.encode();
            assert_eq!(Control::decode(type_id, &payload), Ok(Some(control)));
            assert!(Control::decode(type_id, &payload[..1]).is_err());
        }
        assert_eq!(Control::decode(9, &[]), Ok(None));
    }
}
