//! What hostile and broken peers send, row by row, and what the server owes them: an end, or service as usual.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use amf0::Value;
use rtmp::command::Command;
use rtmp::control::Control;
use socket2::SockRef;
use srs_tests::pattern;
use srs_tests::raw::{Ending, Raw, basic_header, chunk0, connect_object, hello};
use srs_tests::wait::SOON;

/// Where the attack takes place.
#[derive(Debug)]
pub(crate) struct Field {
    /// The server.
    pub(crate) address: SocketAddr,
    /// Name of the stream, in application `live`, that must not be disturbed.
    pub(crate) healthy: &'static str,
}

/// What the server does with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Closes it.
    Closed,
    /// Goes on to serve it.
    Serves,
    /// Either, or the attack has looked for itself.
    Survives,
}

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) expect: Expect,
    pub(crate) attack: fn(&Field) -> Raw,
}

const fn row(id: &'static str, name: &'static str, expect: Expect, attack: fn(&Field) -> Raw) -> Row {
    Row { id, name, expect, attack }
}

/// Rows that are tested elsewhere, or whose feature does not exist yet.
pub(crate) const NOT_HERE: &[(&str, &str)] = &[
    ("H13", "a test of its own: a viewer that takes nothing is closed"),
    ("H14", "limits: a viewer that lags; min_drain_rate is off by default"),
    ("H34", "more than 4 GiB in one connection: a unit test of the session"),
    ("H49", "late answers of hooks: there are no hooks yet"),
    ("H54", "limits: names that nobody publishes cost nothing"),
];

use Expect::{Closed, Serves, Survives};

/// All rows, in the order of their numbers.
pub(crate) const ROWS: &[Row] = &[
    row("H01", "connects and says nothing", Closed, |field| Raw::connect(field.address)),
    row("H02", "one byte of the handshake now and then", Closed, |field| {
        let mut raw = Raw::connect(field.address);
        for byte in hello() {
            if raw.try_send(&[byte]).is_err() || raw.ending(Duration::from_millis(100)) == Ending::Closed {
                break;
            }
        }
        raw
    }),
    row("H03", "many connections at once", Serves, |field| {
        // As fast as four threads can, while the healthy stream goes on.
        let address = field.address;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || (0..1_500).for_each(|_| drop(TcpStream::connect(address))));
            }
        });
        connected(field)
    }),
    row("H04", "version 6", Closed, |field| first_bytes(field, &[6; 1_537])),
    row("H04", "version 0", Closed, |field| first_bytes(field, &[0; 1_537])),
    row("H04", "HTTP", Closed, |field| first_bytes(field, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
    row("H05", "digest offsets at their limits", Serves, |field| {
        let mut hello = vec![255; 1_537];
        hello[0] = 3;
        after_hello(field, &hello)
    }),
    row("H06", "asks for the complex handshake with a wrong digest", Serves, |field| {
        let mut hello = hello();
        hello[5..9].copy_from_slice(&[0x80, 0, 7, 2]);
        after_hello(field, &hello)
    }),
    row("H07", "C2 is no echo", Serves, |field| {
        let mut raw = Raw::connect(field.address);
        raw.send(&hello());
        raw.send(&[0x5a; 1_536]);
        raw.skip_handshake();
        connect(raw, field)
    }),
    row("H08", "a command in the same segment as C2", Serves, |field| {
        let mut raw = Raw::connect(field.address);
        let mut all = hello();
        all.extend_from_slice(&[0; 1_536]);
        all.extend_from_slice(&connect_bytes(field, 3));
        raw.send(&all);
        raw.skip_handshake();
        raw.wait_command("_result");
        raw
    }),
    row("H08", "the handshake in single bytes", Serves, |field| {
        let mut raw = Raw::connect(field.address);
        for byte in hello().iter().chain(&[0; 1_536]) {
            raw.send(&[*byte]);
        }
        raw.skip_handshake();
        connect(raw, field)
    }),
    row("H09", "a PROXY header that nobody asked for", Closed, |field| {
        first_bytes(field, b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n")
    }),
    row("H10", "urgent data inside the stream", Serves, |field| {
        let mut raw = Raw::handshaken(field.address);
        let bytes = connect_bytes(field, 3);
        let (head, tail) = bytes.split_at(40);
        raw.send(head);
        let _sent = SockRef::from(&raw.socket).send_out_of_band(&tail[..1]);
        raw.send(&tail[1..]);
        raw.wait_command("_result");
        raw
    }),
    row("H11", "resets straight after the connection", Serves, |field| {
        for _ in 0..50 {
            if let Ok(socket) = TcpStream::connect(field.address) {
                let _reset = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
            }
        }
        connected(field)
    }),
    row("H12", "resets while it is written to", Serves, |field| {
        for _ in 0..10 {
            let (raw, _) = Raw::playing(field.address, "live", field.healthy);
            let _reset = SockRef::from(&raw.socket).set_linger(Some(Duration::ZERO));
        }
        connected(field)
    }),
    row("H15", "chunk size 0", Closed, |field| chunk_size(field, 0)),
    row("H16", "chunk size 1", Serves, |field| chunk_size(field, 1)),
    row("H17", "chunk size 2^31 - 1", Serves, |field| chunk_size(field, 0x7fff_ffff)),
    row("H18", "chunk size with the first bit set", Closed, |field| chunk_size(field, 0x8000_0000)),
    row("H19", "chunk size changed within a message", Serves, |field| {
        let mut raw = Raw::handshaken(field.address);
        let payload = connect_payload(field);
        assert!(payload.len() > 128);
        let mut bytes = chunk0(3, 0, length(&payload), 20, 0, &payload[..128]);
        bytes.extend_from_slice(&chunk0(2, 0, 4, 1, 0, &4_096_u32.to_be_bytes()));
        bytes.push(0xc3);
        bytes.extend_from_slice(&payload[128..]);
        raw.send(&bytes);
        raw.wait_command("_result");
        raw
    }),
    row("H20", "65536 chunk streams", Survives, |field| {
        let mut raw = connected(field);
        let bytes: Vec<u8> = (2..65_536).flat_map(|csid| chunk0(csid, 0, 1, 99, 0, &[0])).collect();
        raw.send(&bytes);
        raw
    }),
    row("H21", "huge messages begun on many chunk streams", Closed, |field| {
        let mut raw = connected(field);
        let bytes: Vec<u8> = (4..4_000).flat_map(|csid| chunk0(csid, 0, 4 << 20, 9, 1, &[0; 128])).collect();
        raw.send(&bytes);
        raw
    }),
    row("H21", "a message of 16 MiB", Closed, |field| {
        let mut raw = connected(field);
        raw.send(&chunk0(4, 0, 0x00ff_ffff, 9, 1, &[0; 128]));
        raw
    }),
    row("H22", "chunk stream 65599", Serves, |field| connect_on(field, 65_599)),
    row("H22", "chunk stream 64 in three bytes", Serves, |field| {
        let mut raw = Raw::handshaken(field.address);
        let payload = connect_payload(field);
        let mut bytes = vec![1, 0, 0];
        bytes.extend_from_slice(&chunk0(3, 0, length(&payload), 20, 0, &payload[..128])[1..]);
        // The other form of the same number goes on with it.
        bytes.extend_from_slice(&[0xc0, 0]);
        bytes.extend_from_slice(&payload[128..]);
        raw.send(&bytes);
        raw.wait_command("_result");
        raw
    }),
    row("H23", "fmt 3 first", Closed, |field| after_connect(field, &[0xc9, 0, 0])),
    row("H23", "fmt 2 first", Closed, |field| after_connect(field, &[0x89, 0, 0, 0, 0])),
    row("H23", "fmt 1 first", Serves, |field| {
        let mut bytes = basic_header(1, 9);
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 4, 5]);
        bytes.extend_from_slice(&2_500_000_u32.to_be_bytes());
        after_connect(field, &bytes)
    }),
    row("H24", "the length changes within a message", Closed, |field| {
        let mut bytes = chunk0(9, 0, 300, 20, 0, &[0; 128]);
        bytes.extend_from_slice(&basic_header(1, 9));
        bytes.extend_from_slice(&[0, 0, 0, 0, 0x10, 0, 20]);
        bytes.extend_from_slice(&[0; 128]);
        after_connect(field, &bytes)
    }),
    row("H25", "a new message in the middle of one", Survives, |field| {
        let mut bytes = chunk0(9, 0, 300, 20, 0, &[0; 128]);
        bytes.extend_from_slice(&chunk0(9, 0, 4, 5, 0, &2_500_000_u32.to_be_bytes()));
        after_connect(field, &bytes)
    }),
    row("H26", "empty messages of media", Serves, |field| {
        let (mut raw, msid) = Raw::publishing(field.address, "live", &fresh());
        for type_id in [8, 9, 18, 15, 16, 19] {
            raw.message(6, 0, type_id, msid, &[]);
        }
        raw
    }),
    row("H26", "empty messages of every type", Survives, |field| {
        for type_id in 0..=255 {
            let mut raw = connected(field);
            raw.message(6, 0, type_id, 0, &[]);
            drop(raw);
        }
        connected(field)
    }),
    row("H27", "aborts of unknown chunk streams and of a running message", Serves, |field| {
        let mut bytes = chunk0(9, 0, 300, 20, 0, &[0; 128]);
        for csid in [9_u32, 77, 0, u32::MAX] {
            bytes.extend_from_slice(&chunk0(2, 0, 4, 2, 0, &csid.to_be_bytes()));
        }
        after_connect(field, &bytes)
    }),
    row("H28", "extended timestamps repeated", Serves, |field| extended_connect(field, true)),
    row("H28", "extended timestamps not repeated", Serves, |field| extended_connect(field, false)),
    row("H29", "timestamps at the end of the clock, and deltas over it", Serves, |field| {
        let (mut raw, msid) = Raw::publishing(field.address, "live", &fresh());
        for time in [u32::MAX, 0, 1 << 31, u32::MAX - 1, 5, 0x00ff_ffff, 0x00ff_fffe] {
            raw.message(6, time, 9, msid, &[0x27, 1, 0, 0, 0, 1]);
            raw.message(7, time.wrapping_neg(), 8, msid, &[0xaf, 1, 1]);
        }
        // A delta of all ones: extended as well.
        let mut bytes = basic_header(1, 6);
        bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0, 0, 1, 9]);
        bytes.extend_from_slice(&u32::MAX.to_be_bytes());
        bytes.push(0x27);
        raw.send(&bytes);
        raw
    }),
    row("H30", "a short message inside a long one", Serves, |field| {
        let (mut raw, msid) = Raw::publishing(field.address, "live", &fresh());
        let mut bytes = chunk0(6, 0, 200, 9, msid, &[0x27; 128]);
        bytes.extend_from_slice(&chunk0(7, 0, 3, 8, msid, &[0xaf, 1, 1]));
        bytes.extend_from_slice(&basic_header(3, 6));
        bytes.extend_from_slice(&[0x27; 72]);
        raw.send(&bytes);
        raw
    }),
    row("H31", "fifty thousand tiny messages", Serves, |field| {
        let (mut raw, msid) = Raw::publishing(field.address, "live", &fresh());
        let bytes: Vec<u8> = (0..50_000).flat_map(|n| chunk0(7, n, 1, 8, msid, &[0xaf])).collect();
        raw.send(&bytes);
        raw
    }),
    row("H32", "an aggregate of empty parts", Survives, |field| {
        aggregate(field, &[8_u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11].repeat(10_000))
    }),
    row("H32", "an aggregate within an aggregate", Survives, |field| {
        let inner = [22_u8, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 22, 0, 0, 0, 12];
        aggregate(field, &inner)
    }),
    row("H32", "an aggregate whose part is longer than itself", Survives, |field| {
        aggregate(field, &[9_u8, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3])
    }),
    row("H33", "acknowledgement windows and acknowledgements without sense", Serves, |field| {
        let mut raw = connected(field);
        for window in [0, 1, u32::MAX, 0x8000_0000] {
            raw.control(Control::WindowAckSize(window));
        }
        for bytes in [u32::MAX, 1_000, 0] {
            raw.control(Control::Acknowledgement(bytes));
        }
        raw.message(2, 0, 6, 0, &[0, 0, 0, 0, 9]);
        raw
    }),
    row("H35", "a flood of pings", Closed, |field| {
        let ping = chunk0(2, 0, 6, 4, 0, &[0, 6, 0, 0, 0, 1]);
        after_connect(field, &ping.repeat(10_000))
    }),
    row("H36", "buffer lengths without sense", Serves, |field| {
        let (mut raw, msid) = Raw::playing(field.address, "live", field.healthy);
        for (msid, ms) in [(msid, u32::MAX), (4_711, 1), (0, 0)] {
            raw.control(Control::SetBufferLength { msid, ms });
        }
        raw
    }),
    row("H37", "media on streams of nobody", Survives, |field| {
        let mut raw = connected(field);
        for msid in [0, 1, 2, 99, u32::MAX] {
            raw.message(6, 0, 9, msid, pattern::VIDEO_CONFIGURATION);
        }
        raw
    }),
    row("H38", "control messages on other chunk and message streams", Serves, |field| {
        let mut raw = connected(field);
        raw.message(9, 0, 1, 5, &4_096_u32.to_be_bytes());
        raw.chunk_size = 4_096;
        raw
    }),
    row("H39", "objects within objects within objects", Closed, |field| {
        payload_after_connect(field, &command_then("deep", &[3, 0, 1, b'a'].repeat(12_000)))
    }),
    row("H39", "arrays within arrays", Closed, |field| {
        payload_after_connect(field, &command_then("deep", &[10, 0, 0, 0, 1].repeat(12_000)))
    }),
    row("H40", "a string longer than its message", Serves, |field| {
        payload_after_connect(field, &command_then("cut", &[2, 0xff, 0xff, 1, 2, 3]))
    }),
    row("H40", "a long string of 4 GiB", Serves, |field| {
        payload_after_connect(field, &command_then("cut", &[12, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]))
    }),
    row("H41", "an object without end", Serves, |field| {
        payload_after_connect(field, &command_then("endless", &[3, 0, 1, b'a', 5]))
    }),
    row("H42", "arrays that claim four billion elements", Survives, |field| {
        let ecma = [8, 0xff, 0xff, 0xff, 0xff, 0, 0, 9];
        let strict = [10, 0xff, 0xff, 0xff, 0xff, 5];
        drop(payload_after_connect(field, &command_then("count", &strict)));
        payload_after_connect(field, &command_then("count", &ecma))
    }),
    row("H43", "metadata of fifteen thousand keys", Survives, |field| {
        let (mut raw, msid) = Raw::publishing(field.address, "live", &fresh());
        let mut body = b"\x02\x00\x0aonMetaData\x08\x00\x00\x00\x00".to_vec();
        for n in 0..15_000_u32 {
            body.extend_from_slice(&[0, 1, b'a' + (n % 26).to_le_bytes()[0], 5]);
        }
        body.extend_from_slice(&[0, 0, 9]);
        raw.message(4, 0, 18, msid, &body);
        raw
    }),
    row("H43", "metadata of a megabyte, and of more than is taken", Serves, |field| {
        let (mut raw, msid) = Raw::publishing(field.address, "live", &fresh());
        raw.message(4, 0, 18, msid, &vec![5; 1 << 20]);
        raw.message(4, 0, 18, msid, &vec![5; 2 << 20]);
        raw
    }),
    row("H44", "tcUrl twice", Closed, |field| {
        let mut object = properties(field);
        object.push(("tcUrl".to_owned(), format!("rtmp://{}/other", field.address).into()));
        connect_with(field, &Value::Object(object))
    }),
    row("H44", "a key with a line end and an empty one", Survives, |field| {
        let mut object = properties(field);
        object.push(("a\nFORGED\0".to_owned(), "x".into()));
        object.push((String::new(), "x".into()));
        connect_with(field, &Value::Object(object))
    }),
    row("H45", "a stream's name is a boolean", Closed, |field| publish_named(field, &true.into())),
    row("H45", "a stream's name is undefined", Closed, |field| publish_named(field, &Value::Undefined)),
    row("H45", "numbers that are none", Survives, |field| {
        let mut raw = connected(field);
        for number in [f64::NAN, f64::INFINITY, 1e308, -1.0, 0.5] {
            raw.command(0, "deleteStream", number, &[Value::Null, Value::Number(number)]);
            raw.command(0, "createStream", number, &[Value::Null]);
        }
        raw
    }),
    row("H46", "other markers: AMF3, references, dates, XML, classes", Survives, |field| {
        for marker in [
            &[0x11_u8, 1, 2, 3][..],
            &[7, 0, 1],
            &[11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[15, 0, 0, 0, 1, b'x'],
            &[16, 0, 1, b'C', 0, 0, 9],
            &[13],
            &[14],
            &[255],
        ] {
            drop(payload_after_connect(field, &command_then("marker", marker)));
        }
        connected(field)
    }),
    row("H47", "commands that nobody knows, with names for terminals and logs", Serves, |field| {
        let mut raw = connected(field);
        raw.command(0, "nobodyKnows", 9.0, &[Value::Null]);
        raw.command(0, &"x".repeat(4_000), 9.0, &[Value::Null]);
        raw.command(0, "\u{1b}[2J\u{7}\nFORGED line", 9.0, &[Value::Null]);
        raw
    }),
    row("H48", "connect twice", Closed, |field| {
        let mut raw = connected(field);
        raw.send(&connect_bytes(field, 3));
        raw
    }),
    row("H48", "ten thousand message streams", Closed, |field| {
        let mut raw = connected(field);
        for _ in 0..10_000 {
            raw.command(0, "createStream", 9.0, &[Value::Null]);
        }
        raw
    }),
    row("H48", "publish before connect", Survives, |field| {
        let mut raw = Raw::handshaken(field.address);
        raw.command(1, "publish", 0.0, &[Value::Null, field.healthy.into()]);
        raw
    }),
    row("H48", "publish and play on one message stream", Survives, |field| {
        let (mut raw, msid) = Raw::publishing(field.address, "live", &fresh());
        raw.command(msid, "play", 0.0, &[Value::Null, "both".into()]);
        raw.command(msid, "publish", 0.0, &[Value::Null, field.healthy.into()]);
        raw
    }),
    row("H50", "publishes a name that is taken", Survives, |field| {
        let mut raw = connected(field);
        let msid = raw.create_stream();
        raw.command(msid, "publish", 0.0, &[Value::Null, field.healthy.into()]);
        raw.wait_status("NetStream.Publish.BadName");
        raw
    }),
    row("H51", "deletes the streams of others", Serves, |field| {
        let mut raw = connected(field);
        for msid in 0..20 {
            raw.command(0, "deleteStream", 0.0, &[Value::Null, Value::Number(f64::from(msid))]);
            raw.command(msid, "closeStream", 0.0, &[Value::Null]);
        }
        raw
    }),
    row("H52", "releases and unpublishes the name of another", Survives, |field| {
        let mut raw = connected(field);
        for name in ["releaseStream", "FCUnpublish", "FCPublish", "releaseStream"] {
            raw.command(0, name, 9.0, &[Value::Null, field.healthy.into()]);
        }
        raw
    }),
    row("H53", "pauses and seeks without end", Closed, |field| {
        let (mut raw, msid) = Raw::playing(field.address, "live", field.healthy);
        for n in 0..2_000 {
            raw.command(msid, "pause", 0.0, &[Value::Null, (n % 2 == 0).into(), Value::Number(0.0)]);
            raw.command(msid, "seek", 0.0, &[Value::Null, Value::Number(0.0)]);
        }
        raw
    }),
    row("H55", "shared objects and calls", Serves, |field| {
        let mut raw = connected(field);
        raw.message(5, 0, 19, 0, b"\0\x04name\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0");
        raw.message(5, 0, 16, 0, b"\0\0\x04name");
        raw.command(0, "|RtmpSampleAccess", 0.0, &[true.into(), true.into()]);
        raw
    }),
    row("H56", "pictures of 0, 1 and 4 bytes, and odd composition times", Serves, |field| {
        media(
            field,
            &[
                (9, &[]),
                (9, &[0x17]),
                (9, &[0x17, 1, 0, 0]),
                (9, &[0x17, 255, 0, 0, 0]),
                (9, &[0x17, 1, 0x80, 0, 0, 1]),
                (8, &[0xaf]),
                (8, &[]),
            ],
        )
    }),
    row("H57", "configuration of 31 SPS that are not there", Serves, |field| {
        media(field, &[(9, &[0x17, 0, 0, 0, 0, 1, 0x42, 0, 0x1e, 0xfd, 0xff, 0xff, 0xff, 0x67])])
    }),
    row("H58", "lengths of units: 4 GiB, and zero many times", Serves, |field| {
        let mut zeros = vec![0x17, 1, 0, 0, 0];
        zeros.resize(100_000, 0);
        media(field, &[(9, &[0x17, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x65]), (9, &zeros)])
    }),
    row("H59", "an SPS of zeros", Serves, |field| {
        let mut configuration = vec![0x17, 0, 0, 0, 0, 1, 0x42, 0, 0x1e, 0xff, 0xe1, 0, 40, 0x67];
        configuration.extend_from_slice(&[0; 39]);
        configuration.extend_from_slice(&[1, 0, 1, 0x68]);
        media(field, &[(9, &configuration)])
    }),
    row("H60", "sound configuration of one byte, of rate 15, of no channel", Serves, |field| {
        media(
            field,
            &[(8, &[0xaf, 0, 0x12]), (8, &[0xaf, 0, 0x17, 0x80]), (8, &[0xaf, 0, 0x12, 0]), (8, &[0xaf, 0])],
        )
    }),
    row("H61", "configuration that changes with every frame", Serves, |field| {
        let (mut raw, msid) = Raw::publishing(field.address, "live", &fresh());
        raw.message(6, 0, 9, msid, &[0x27, 1, 0, 0, 0, 9]);
        for n in 0..1_000_u32 {
            let mut configuration = pattern::VIDEO_CONFIGURATION.to_vec();
            configuration.extend_from_slice(&n.to_be_bytes());
            raw.message(6, n, 9, msid, &configuration);
            raw.message(6, n, 9, msid, &[0x17, 1, 0, 0, 0, 9]);
        }
        raw
    }),
    row("H62", "never a key frame, then nothing else", Serves, |field| {
        let (mut raw, msid) = Raw::publishing(field.address, "live", &fresh());
        for (first, from) in [(0x27, 0), (0x17, 3_000)] {
            let mut picture = vec![first, 1, 0, 0, 0];
            picture.resize(2_000, 7);
            for n in from..from + 3_000 {
                raw.message(6, n, 9, msid, &picture);
            }
        }
        raw
    }),
    row("H63", "unknown codecs, endless ModEx, tracks without end", Serves, |field| {
        let mut modex = vec![0x97];
        modex.extend_from_slice(&[0, 0, 7].repeat(10_000));
        let tracks = [&[0x96, 0x21][..], &[0; 255 * 8]].concat();
        media(field, &[(9, b"\x90\xff\xfe\xfd\xfc"), (9, &modex), (9, &tracks), (8, b"\x95\x21")])
    }),
];

/// A name that no other row has: the last row's may still be taken.
fn fresh() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("hostile-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn connect(mut raw: Raw, field: &Field) -> Raw {
    raw.send(&connect_bytes(field, 3));
    raw.wait_command("_result");
    raw
}

fn connected(field: &Field) -> Raw {
    Raw::connected(field.address, "live")
}

fn first_bytes(field: &Field, bytes: &[u8]) -> Raw {
    let mut raw = Raw::connect(field.address);
    raw.send(bytes);
    raw
}

/// A handshake with this C0 and C1, and a connect.
fn after_hello(field: &Field, hello: &[u8]) -> Raw {
    let mut raw = Raw::connect(field.address);
    raw.send(hello);
    raw.skip_handshake();
    raw.send(&hello[1..]);
    connect(raw, field)
}

fn after_connect(field: &Field, bytes: &[u8]) -> Raw {
    let mut raw = connected(field);
    raw.send(bytes);
    raw
}

/// Sends a command message with this payload, whatever it is.
fn payload_after_connect(field: &Field, payload: &[u8]) -> Raw {
    let mut raw = connected(field);
    raw.message(3, 0, 20, 0, payload);
    raw
}

/// AMF0 of a command's name and number, and bytes behind.
fn command_then(name: &str, rest: &[u8]) -> Vec<u8> {
    let mut payload = Command::encode(name, 9.0, &[]);
    payload.extend_from_slice(rest);
    payload
}

fn properties(field: &Field) -> Vec<(String, Value)> {
    connect_object(field.address, "live").properties().unwrap_or_default().to_vec()
}

fn connect_payload(field: &Field) -> Vec<u8> {
    // Longer than a chunk.
    let mut object = properties(field);
    object.push(("pageUrl".to_owned(), format!("http://page.example/{}", "x".repeat(100)).into()));
    Command::encode("connect", 1.0, &[Value::Object(object)])
}

fn length(payload: &[u8]) -> u32 {
    u32::try_from(payload.len()).unwrap()
}

/// A connect in chunks of 128 bytes on a chunk stream.
fn connect_bytes(field: &Field, csid: u32) -> Vec<u8> {
    let payload = connect_payload(field);
    let mut pieces = payload.chunks(128);
    let mut bytes = chunk0(csid, 0, length(&payload), 20, 0, pieces.next().unwrap());
    for piece in pieces {
        bytes.extend_from_slice(&basic_header(3, csid));
        bytes.extend_from_slice(piece);
    }
    bytes
}

fn connect_on(field: &Field, csid: u32) -> Raw {
    let mut raw = Raw::handshaken(field.address);
    raw.send(&connect_bytes(field, csid));
    raw.wait_command("_result");
    raw
}

fn connect_with(field: &Field, object: &Value) -> Raw {
    let mut raw = Raw::handshaken(field.address);
    raw.command(0, "connect", 1.0, std::slice::from_ref(object));
    raw
}

/// A connect whose timestamp is extended.
fn extended_connect(field: &Field, repeat: bool) -> Raw {
    const TIME: u32 = 0x0123_4567;
    let mut raw = Raw::handshaken(field.address);
    let payload = connect_payload(field);
    let mut bytes = chunk0(3, TIME, length(&payload), 20, 0, &payload[..128]);
    bytes.push(0xc3);
    if repeat {
        bytes.extend_from_slice(&TIME.to_be_bytes());
    }
    bytes.extend_from_slice(&payload[128..]);
    raw.send(&bytes);
    raw.wait_command("_result");
    raw
}

fn chunk_size(field: &Field, size: u32) -> Raw {
    let mut raw = connected(field);
    raw.message(2, 0, 1, 0, &size.to_be_bytes());
    // What it sends from here on is in chunks of that size.
    raw.chunk_size = size.clamp(1, 0x00ff_ffff);
    raw
}

fn publish_named(field: &Field, name: &Value) -> Raw {
    let mut raw = connected(field);
    let msid = raw.create_stream();
    raw.command(msid, "publish", 0.0, &[Value::Null, name.clone()]);
    raw
}

fn aggregate(field: &Field, body: &[u8]) -> Raw {
    let (mut raw, msid) = Raw::publishing(field.address, "live", &fresh());
    raw.message(6, 0, 22, msid, body);
    raw
}

/// Publishes messages, with somebody who watches them, and sees that what stands behind them still comes through.
fn media(field: &Field, messages: &[(u8, &[u8])]) -> Raw {
    let name = fresh();
    let (mut viewer, _) = Raw::playing(field.address, "live", &name);
    let (mut raw, msid) = Raw::publishing(field.address, "live", &name);
    for (at, (type_id, payload)) in (0..).zip(messages) {
        raw.message(if *type_id == 8 { 7 } else { 6 }, at * 20, *type_id, msid, payload);
    }
    let mark = pattern::frame(0).body;
    raw.message(6, 1_000, 9, msid, &mark);
    while viewer.read_message(SOON).expect("the viewer is not closed").payload != mark {}
    raw
}
