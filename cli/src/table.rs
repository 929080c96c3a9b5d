//! Answers as tables: words to the left, numbers to the right, colours only where somebody sees them.

use std::time::Duration;

use api::{Client, Stream};
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table};

use crate::quantity;

/// One column: its title, and whether it holds numbers.
type Column = (&'static str, bool);

const STREAMS: [Column; 9] = [
    ("STREAM", false),
    ("STATE", false),
    ("VIDEO", false),
    ("AUDIO", false),
    ("VIEWERS", true),
    ("LIVE", true),
    ("PACKETS", true),
    ("IN", true),
    ("OUT", true),
];

const CLIENTS: [Column; 9] = [
    ("ID", true),
    ("TYPE", false),
    ("STREAM", false),
    ("ADDRESS", false),
    ("PROCESS", false),
    ("ALIVE", true),
    ("SENT", true),
    ("RECEIVED", true),
    ("DROPPED", true),
];

/// The streams, one a line.
pub(crate) fn streams(streams: &[Stream], colours: bool) -> String {
    if streams.is_empty() {
        return "no streams".to_owned();
    }
    let mut table = table(&STREAMS, colours);
    for stream in streams {
        let (state, colour) =
            if stream.publish.active { ("live", Color::Green) } else { ("waiting", Color::Yellow) };
        let viewers = stream.clients.saturating_sub(u64::from(stream.publish.active));
        let mut state = Cell::new(state);
        if colours {
            state = state.fg(colour);
        }
        let with_rate =
            |bytes| format!("{} {}", quantity::bytes(bytes), quantity::rate(bytes, stream.live_ms));
        table.add_row(vec![
            Cell::new(plain(&format!("{}/{}/{}", stream.vhost, stream.app, stream.name))),
            state,
            Cell::new(plain(stream.video.as_deref().unwrap_or("-"))),
            Cell::new(plain(stream.audio.as_deref().unwrap_or("-"))),
            Cell::new(viewers),
            Cell::new(quantity::duration(stream.live_ms)),
            Cell::new(stream.frames),
            Cell::new(with_rate(stream.recv_bytes)),
            Cell::new(with_rate(stream.send_bytes)),
        ]);
    }
    text(&table)
}

/// The clients, one a line.
pub(crate) fn clients(clients: &[Client], colours: bool) -> String {
    if clients.is_empty() {
        return "no clients".to_owned();
    }
    let mut table = table(&CLIENTS, colours);
    for client in clients {
        let mut kind = Cell::new(plain(&client.kind));
        if colours && client.publish {
            kind = kind.fg(Color::Green);
        }
        let mut dropped = Cell::new(client.dropped);
        if colours && client.dropped > 0 {
            dropped = dropped.fg(Color::Red);
        }
        table.add_row(vec![
            Cell::new(client.id),
            kind,
            Cell::new(plain(&format!("{}/{}", client.vhost, client.stream))),
            Cell::new(plain(&client.ip)),
            Cell::new(plain(&client.process)),
            Cell::new(quantity::duration(alive_ms(client.alive))),
            Cell::new(quantity::bytes(client.send_bytes)),
            Cell::new(quantity::bytes(client.recv_bytes)),
            dropped,
        ]);
    }
    text(&table)
}

fn table(columns: &[Column], colours: bool) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if colours {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(columns.iter().map(|(title, _)| {
        let title = Cell::new(title);
        if colours { title.add_attribute(Attribute::Bold) } else { title }
    }));
    for (column, (_, number)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        if *number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The table without the blanks at the ends of its lines.
fn text(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Names come from strangers: what a terminal would obey is shown as a question mark.
fn plain(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

fn alive_ms(seconds: f64) -> u64 {
    let alive = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    u64::try_from(alive.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Publish;

    fn stream(name: &str, frames: u64) -> Stream {
        Stream {
            id: 1,
            name: name.to_owned(),
            vhost: "v.example".to_owned(),
            app: "live".to_owned(),
            live_ms: 10_000,
            clients: 3,
            frames,
            send_bytes: 2_500_000,
            recv_bytes: 1_250_000,
            publish: Publish { active: true, cid: 7 },
            video: Some("H264".to_owned()),
            audio: None,
            ring_bytes: 0,
            time_jumps: 0,
        }
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let text = streams(&[stream("a", 5), stream("b\u{1b}[2J", 12_345)], false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let end = |line: &str, word: &str| line.find(word).map(|at| at + word.len());
        assert_eq!(end(lines[0], "PACKETS"), end(lines[2], "12345"));
        assert_eq!(end(lines[1], " 5 ").map(|at| at - 1), end(lines[2], "12345"));
        assert!(lines[1].contains("live") && lines[1].contains("1.0 Mbit/s") && lines[1].contains(" 2 "));
        assert!(lines[2].contains("b?[2J") && !text.contains('\u{1b}'));
        assert!(streams(&[stream("a", 5)], true).contains('\u{1b}'));
        assert_eq!(streams(&[], false), "no streams");
        assert_eq!(clients(&[], false), "no clients");
    }
}
