//! Answers as tables: words to the left, numbers to the right, colours only where somebody sees them. Of several servers
//! each line says which.

use std::fmt::Write as _;
use std::time::Duration;

use api::{Audio, Client, External, Process, State, Stream, Totals, Vhost, Video};
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table};

use crate::output;
use crate::quantity;
use crate::snapshot::Snapshot;

/// One column: its title, and whether it holds numbers.
pub(crate) type Column = (&'static str, bool);

const PROCESSES: [Column; 14] = [
    ("PROCESS", false),
    ("STATE", false),
    ("PID", true),
    ("GEN", true),
    ("UPTIME", true),
    ("RESTARTS", true),
    ("CPU", true),
    ("MEMORY", true),
    ("CLIENTS", true),
    ("IN", true),
    ("OUT", true),
    ("HEARTBEAT", true),
    ("PORT", true),
    ("LAST END", false),
];

const STREAMS: [Column; 10] = [
    ("ID", true),
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

const CLIENTS: [Column; 11] = [
    ("ID", true),
    ("TYPE", false),
    ("STREAM", false),
    ("ADDRESS", false),
    ("PROCESS", false),
    ("ALIVE", true),
    ("SENT", true),
    ("RECEIVED", true),
    ("RATE", true),
    ("LAG", true),
    ("DROPPED", true),
];

const VHOSTS: [Column; 6] =
    [("VHOST", false), ("STATE", false), ("STREAMS", true), ("CLIENTS", true), ("IN", true), ("OUT", true)];

/// How processes that ended lately are told, ms.
const LATELY_MS: u64 = 60_000;

/// Lines of several servers.
pub(crate) struct Lines {
    table: Table,
    colours: bool,
    /// Lines say which server.
    nodes: bool,
    empty: bool,
    /// Servers that can't be asked.
    down: Vec<String>,
    /// All of each name.
    pub(crate) wide: bool,
}

impl Lines {
    pub(crate) fn new(columns: &[Column], snapshots: &[Snapshot], colours: bool) -> Self {
        let nodes = snapshots.len() > 1;
        let mut all: Vec<Column> = if nodes { vec![("NODE", false)] } else { Vec::new() };
        all.extend(columns);
        let down = snapshots.iter().filter(|snapshot| snapshot.down.is_some());
        let down = down.map(|snapshot| plain(&snapshot.node)).collect();
        Self { table: table(&all, colours), colours, nodes, empty: true, down, wide: output::is_wide() }
    }

    pub(crate) fn add(&mut self, node: &str, mut cells: Vec<Cell>) {
        if self.nodes {
            cells.insert(0, Cell::new(plain(node)));
        }
        self.empty = false;
        self.table.add_row(cells);
    }

    pub(crate) fn cell(&self, text: impl std::fmt::Display, colour: Option<Color>) -> Cell {
        let cell = Cell::new(text);
        match colour {
            Some(colour) if self.colours => cell.fg(colour),
            _ => cell,
        }
    }

    /// The table, or what there is to say when it is empty; servers that can't be asked at its end.
    pub(crate) fn text(&self, nothing: &str) -> String {
        if self.empty && self.down.is_empty() {
            return nothing.to_owned();
        }
        let mut table = self.table.clone();
        for node in &self.down {
            table.add_row([Cell::new(node), self.cell("down", Some(Color::Red))]);
        }
        text(&table)
    }
}

/// One screen of each server.
pub(crate) fn status(snapshots: &[Snapshot], colours: bool) -> String {
    let mut text = String::new();
    for snapshot in snapshots {
        let node = if snapshots.len() > 1 { format!("{}: ", plain(&snapshot.node)) } else { String::new() };
        if let Some(error) = &snapshot.down {
            let _ = writeln!(text, "{node}DOWN: {}", plain(error));
            continue;
        }
        let _ = writeln!(
            text,
            "{node}SRS {}, up {}, configuration {}{}",
            plain(&snapshot.version),
            quantity::duration(snapshot.uptime_ms),
            snapshot.generation,
            if snapshot.is_sound() { "" } else { ", NOT ALL PROCESSES SERVE" }
        );
        if let Some(note) = &snapshot.note {
            let _ = writeln!(text, "{}", plain(note));
        }
    }
    let _ = writeln!(text, "\n{}\n", processes(snapshots, colours));
    for external in snapshots.iter().flat_map(|snapshot| &snapshot.externals) {
        let _ = writeln!(text, "{}", program(external));
    }
    for snapshot in snapshots.iter().filter(|snapshot| snapshot.down.is_none()) {
        if snapshots.len() > 1 {
            let _ = write!(text, "{}: ", snapshot.node);
        }
        let _ = writeln!(text, "{}", totals(&snapshot.totals, snapshot.streams.len()));
    }
    text.trim_end().to_owned()
}

/// A program of somebody else in one line.
fn program(external: &External) -> String {
    let since = quantity::duration(external.for_ms);
    let state = match external.pid {
        0 => format!("waits {since} to be started"),
        pid => format!("pid {pid} for {since}"),
    };
    let ended =
        if external.ended.is_empty() { String::new() } else { format!(", last ended by {}", external.ended) };
    let text =
        format!("{}: {} {state}, {} restarts{ended}", external.name, external.program, external.restarts);
    plain(&text)
}

/// Sums in one line.
pub(crate) fn totals(totals: &Totals, streams: usize) -> String {
    format!(
        "{} client{}, {} accepted, {} refused, {} ended by errors; {} of {streams} streams live; in {} {}, out {} {}",
        totals.connections,
        if totals.connections == 1 { "" } else { "s" },
        totals.accepted,
        totals.refused,
        totals.errors,
        totals.streams,
        quantity::bytes(totals.recv_bytes),
        quantity::kbps(totals.kbps.recv_30s),
        quantity::bytes(totals.send_bytes),
        quantity::kbps(totals.kbps.send_30s),
    )
}

/// A stream as people call it: without the vhost that serves all names that have none of their own, unless it is wanted.
pub(crate) fn stream_name(vhost: &str, path: &str, wide: bool) -> String {
    if vhost.is_empty() || vhost == "__defaultVhost__" && !wide {
        plain(path)
    } else {
        plain(&format!("{vhost}/{path}"))
    }
}

/// The processes, one a line.
pub(crate) fn processes(snapshots: &[Snapshot], colours: bool) -> String {
    let mut lines = Lines::new(&PROCESSES, snapshots, colours);
    for snapshot in snapshots {
        for process in &snapshot.processes {
            let colour = match process.state {
                State::Serving => Color::Green,
                State::Starting | State::Draining => Color::Yellow,
                State::Hung | State::Dead | State::Out => Color::Red,
            };
            let there = process.state.is_there();
            let cells = vec![
                Cell::new(plain(&process.name())),
                lines.cell(process.state.word(), Some(colour)),
                Cell::new(process.pid),
                Cell::new(process.generation),
                Cell::new(if there { quantity::duration(process.uptime_ms) } else { "-".to_owned() }),
                Cell::new(process.restarts),
                Cell::new(if there { format!("{:.1} %", process.cpu_percent) } else { "-".to_owned() }),
                Cell::new(if there { quantity::bytes(process.memory_bytes) } else { "-".to_owned() }),
                Cell::new(process.connections),
                Cell::new(quantity::kbps(process.kbps.recv_30s)),
                Cell::new(quantity::kbps(process.kbps.send_30s)),
                Cell::new(if there { quantity::age(process.heartbeat_ms) } else { "-".to_owned() }),
                Cell::new(match process.private_api_port {
                    0 => "-".to_owned(),
                    port => port.to_string(),
                }),
                Cell::new(last_end(process)),
            ];
            lines.add(&snapshot.node, cells);
        }
    }
    lines.text("no processes")
}

/// How the one before ended, when that is not long ago, or how the dead one did.
pub(crate) fn last_end(process: &Process) -> String {
    match &process.last_end {
        Some(end) if end.ago_ms < LATELY_MS || !process.state.is_there() => {
            format!("{} (pid {}) {} ago", plain(&end.how), end.pid, quantity::duration(end.ago_ms))
        }
        _ => String::new(),
    }
}

pub(crate) fn video(video: Option<&Video>) -> String {
    let Some(video) = video else { return "-".to_owned() };
    let mut text = plain(&video.codec);
    if video.width > 0 {
        let _ = write!(text, " {}x{}", video.width, video.height);
    }
    for word in [&video.profile, &video.level].into_iter().filter(|word| !word.is_empty()) {
        let _ = write!(text, " {}", plain(word));
    }
    text
}

pub(crate) fn audio(audio: Option<&Audio>) -> String {
    let Some(audio) = audio else { return "-".to_owned() };
    let mut text = plain(&audio.codec);
    if audio.sample_rate > 0 {
        let _ = write!(text, " {} Hz", audio.sample_rate);
    }
    match audio.channel {
        0 => {}
        1 => text.push_str(" mono"),
        2 => text.push_str(" stereo"),
        channels => drop(write!(text, " {channels} channels")),
    }
    text
}

/// The streams, one a line.
pub(crate) fn streams(snapshots: &[Snapshot], colours: bool) -> String {
    let mut lines = Lines::new(&STREAMS, snapshots, colours);
    for snapshot in snapshots {
        for stream in &snapshot.streams {
            let cells = stream_cells(&lines, stream);
            lines.add(&snapshot.node, cells);
        }
    }
    lines.text("no streams")
}

fn stream_cells(lines: &Lines, stream: &Stream) -> Vec<Cell> {
    let (state, colour) =
        if stream.publish.active { ("live", Color::Green) } else { ("waiting", Color::Yellow) };
    let viewers = stream.clients.saturating_sub(u64::from(stream.publish.active));
    let with_rate = |bytes, kbps| format!("{} {}", quantity::bytes(bytes), quantity::kbps(kbps));
    vec![
        Cell::new(stream.id),
        Cell::new(stream_name(&stream.vhost, &format!("{}/{}", stream.app, stream.name), lines.wide)),
        lines.cell(state, Some(colour)),
        Cell::new(video(stream.video.as_ref())),
        Cell::new(audio(stream.audio.as_ref())),
        Cell::new(viewers),
        Cell::new(quantity::duration(stream.live_ms)),
        Cell::new(stream.frames),
        Cell::new(with_rate(stream.recv_bytes, stream.kbps.recv_30s)),
        Cell::new(with_rate(stream.send_bytes, stream.kbps.send_30s)),
    ]
}

/// The clients, one a line.
pub(crate) fn clients(snapshots: &[Snapshot], colours: bool) -> String {
    let mut lines = Lines::new(&CLIENTS, snapshots, colours);
    for snapshot in snapshots {
        for client in &snapshot.clients {
            let cells = client_cells(&lines, client);
            lines.add(&snapshot.node, cells);
        }
    }
    lines.text("no clients")
}

fn client_cells(lines: &Lines, client: &Client) -> Vec<Cell> {
    let rate = if client.publish { client.kbps.recv_30s } else { client.kbps.send_30s };
    vec![
        Cell::new(client.id),
        lines.cell(plain(&client.kind), client.publish.then_some(Color::Green)),
        Cell::new(stream_name(&client.vhost, &client.stream, lines.wide)),
        Cell::new(plain(&client.ip)),
        Cell::new(plain(&client.process)),
        Cell::new(quantity::duration(alive_ms(client.alive))),
        Cell::new(quantity::bytes(client.send_bytes)),
        Cell::new(quantity::bytes(client.recv_bytes)),
        Cell::new(quantity::kbps(rate)),
        Cell::new(format!("{} ms", client.lag_ms)),
        lines.cell(client.dropped, (client.dropped > 0).then_some(Color::Red)),
    ]
}

/// The vhosts, one a line.
pub(crate) fn vhosts(snapshots: &[Snapshot], colours: bool) -> String {
    let mut lines = Lines::new(&VHOSTS, snapshots, colours);
    for snapshot in snapshots {
        for vhost in &snapshot.vhosts {
            let cells = vhost_cells(&lines, vhost);
            lines.add(&snapshot.node, cells);
        }
    }
    lines.text("no vhosts")
}

fn vhost_cells(lines: &Lines, vhost: &Vhost) -> Vec<Cell> {
    let (state, colour) = if vhost.enabled { ("on", Color::Green) } else { ("off", Color::Yellow) };
    vec![
        Cell::new(plain(&vhost.name)),
        lines.cell(state, Some(colour)),
        Cell::new(vhost.streams),
        Cell::new(vhost.clients),
        Cell::new(format!("{} {}", quantity::bytes(vhost.recv_bytes), quantity::kbps(vhost.kbps.recv_30s))),
        Cell::new(format!("{} {}", quantity::bytes(vhost.send_bytes), quantity::kbps(vhost.kbps.send_30s))),
    ]
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
pub(crate) fn plain(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

fn alive_ms(seconds: f64) -> u64 {
    let alive = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    u64::try_from(alive.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{Kbps, Publish};

    fn stream(name: &str, frames: u64) -> Stream {
        Stream {
            id: 1,
            name: name.to_owned(),
            vhost: "v.example".to_owned(),
            app: "live".to_owned(),
            tc_url: String::new(),
            url: String::new(),
            live_ms: 10_000,
            clients: 3,
            frames,
            send_bytes: 2_500_000,
            recv_bytes: 1_250_000,
            kbps: Kbps { recv_30s: 1_000, send_30s: 2_000 },
            publish: Publish { active: true, cid: 7, by: None },
            video: Some(Video { codec: "H264".to_owned(), width: 640, height: 360, ..Video::default() }),
            audio: None,
            tracks: Vec::new(),
            left_out: Vec::new(),
            ring_bytes: 0,
            time_jumps: 0,
            process: "backsource#0".to_owned(),
        }
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let streams_of = |names: &[(&str, u64)]| Snapshot {
            streams: names.iter().map(|(name, frames)| stream(name, *frames)).collect(),
            ..Snapshot::default()
        };
        let text = streams(&[streams_of(&[("a", 5), ("b\u{1b}[2J", 12_345)])], false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let end = |line: &str, word: &str| line.find(word).map(|at| at + word.len());
        assert_eq!(end(lines[0], "PACKETS"), end(lines[2], "12345"));
        assert!(lines[1].contains("live") && lines[1].contains("1.0 Mbit/s") && lines[1].contains(" 2 "));
        assert!(lines[1].contains("H264 640x360"), "{}", lines[1]);
        assert!(lines[2].contains("b?[2J") && !text.contains('\u{1b}'));
        assert!(streams(&[streams_of(&[("a", 5)])], true).contains('\u{1b}'));
        assert_eq!(streams(&[Snapshot::default()], false), "no streams");
        assert_eq!(clients(&[Snapshot::default()], false), "no clients");
        let mut two = [streams_of(&[("a", 5)]), streams_of(&[("b", 5)])];
        two[1].node = "other:1985".to_owned();
        assert!(streams(&two, false).lines().nth(2).unwrap().starts_with("other:1985"));
    }
}
