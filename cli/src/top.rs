//! Status and streams, live: a full screen that is drawn again with each look, and a terminal that is as before when it is
//! over.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use api::{State, Stream};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table, Wrap};
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::server_address::{ServerAddress, look_at_all};
use crate::snapshot::{Detail, Snapshot};
use crate::{quantity, table};

/// How long a key is waited for before it is looked whether a new snapshot is there.
const KEY_WAIT: Duration = Duration::from_millis(50);

/// From this width on all columns are there.
const WIDE: u16 = 150;

type Look = (Vec<Snapshot>, Vec<String>);

/// Shows it until the user has seen enough.
pub(crate) fn run(servers: Vec<ServerAddress>, interval: Duration) -> Result<(), String> {
    if !std::io::stdout().is_terminal() {
        return Err("top needs a terminal; `srs-cli status` is the same once".to_owned());
    }
    let doors = servers.clone();
    let terminal = ratatui::try_init().map_err(|cause| format!("top needs a terminal: {cause}"))?;
    let (sender, looks) = sync_channel(1);
    // A thread of its own: a server that hangs never makes a key wait.
    thread::spawn(move || {
        while sender.send(look_at_all(&servers, Detail::Streams)).is_ok() {
            thread::sleep(interval);
        }
    });
    // Whoever ends it gets the terminal back as it was, too.
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP, SIGINT] {
        drop(signal_hook::flag::register(signal, Arc::clone(&ended)));
    }
    let shown = show(terminal, &looks, &doors, &ended);
    ratatui::restore();
    shown.map_err(|cause| format!("the terminal has failed: {cause}"))
}

/// What the user wants to see of the streams.
#[derive(Debug, Default)]
struct View {
    scroll: usize,
    sort: Sort,
    filter: String,
    /// The filter is being typed.
    typing: bool,
    /// Whom to close: asked, not yet confirmed.
    asked: Option<(u64, String)>,
    /// What the last order came to.
    said: String,
}

/// By what streams are sorted; numbers with the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sort {
    #[default]
    Name,
    Viewers,
    In,
    Out,
}

impl View {
    /// The streams that are wanted, in their order, each with its server.
    fn streams<'p>(&self, snapshots: &'p [Snapshot]) -> Vec<(&'p Snapshot, &'p Stream)> {
        let all = snapshots
            .iter()
            .flat_map(|snapshot| snapshot.streams.iter().map(move |stream| (snapshot, stream)));
        let mut streams: Vec<_> = all.filter(|(_, stream)| name_of(stream).contains(&self.filter)).collect();
        streams.sort_by(|(_, a), (_, b)| match self.sort {
            Sort::Name => name_of(a).cmp(&name_of(b)),
            Sort::Viewers => b.clients.cmp(&a.clients),
            Sort::In => b.kbps.recv_30s.cmp(&a.kbps.recv_30s),
            Sort::Out => b.kbps.send_30s.cmp(&a.kbps.send_30s),
        });
        streams
    }

    /// Takes a key; false when the user has seen enough.
    fn key(&mut self, code: KeyCode, snapshots: &[Snapshot], servers: &[ServerAddress]) -> bool {
        if self.typing {
            match code {
                KeyCode::Enter => self.typing = false,
                KeyCode::Esc => (self.typing, self.filter) = (false, String::new()),
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Char(letter) => self.filter.push(letter),
                _ => {}
            }
            self.scroll = 0;
            return true;
        }
        if let Some((id, name)) = self.asked.take() {
            self.said = match code {
                KeyCode::Char('y') => close(servers, id, &name),
                _ => String::new(),
            };
            return true;
        }
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Down | KeyCode::Char('j') => self.scroll += 1,
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll += 10,
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(10),
            KeyCode::Home => self.scroll = 0,
            KeyCode::Char('n') => self.sort = Sort::Name,
            KeyCode::Char('v') => self.sort = Sort::Viewers,
            KeyCode::Char('i') => self.sort = Sort::In,
            KeyCode::Char('o') => self.sort = Sort::Out,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('x') => {
                let chosen = self.streams(snapshots).get(self.scroll).map(|(_, stream)| *stream);
                self.asked = chosen
                    .filter(|stream| stream.publish.active)
                    .map(|stream| (stream.publish.cid, name_of(stream)));
            }
            _ => {}
        }
        true
    }

    /// The last line.
    fn foot(&self) -> String {
        match (&self.asked, self.typing) {
            (Some((_, name)), _) => format!("close the publisher of {name}? y, or any other key"),
            (None, true) => format!("/{}_  Enter keeps it, Esc drops it", self.filter),
            (None, false) if !self.said.is_empty() => self.said.clone(),
            (None, false) if !self.filter.is_empty() => format!("/{}  q quits  / filters", self.filter),
            _ => "q quits  ↑↓ choose  n v i o sort  / filters  x closes the publisher".to_owned(),
        }
    }
}

fn name_of(stream: &Stream) -> String {
    table::stream_name(&stream.vhost, &format!("{}/{}", stream.app, stream.name), false)
}

/// Closes a connection, at whichever server it is; what to say of it.
fn close(servers: &[ServerAddress], id: u64, name: &str) -> String {
    let mut said = format!("the publisher of {name} has gone");
    for server in servers {
        match server.kick(id) {
            Ok(true) => return format!("the publisher of {name} is closed"),
            Ok(false) => {}
            Err(error) => said = table::plain(&error),
        }
    }
    said
}

fn show(
    mut terminal: DefaultTerminal,
    looks: &Receiver<Look>,
    servers: &[ServerAddress],
    ended: &AtomicBool,
) -> std::io::Result<()> {
    let mut last: Look = (Vec::new(), Vec::new());
    let mut view = View::default();
    let mut changed = true;
    loop {
        if let Ok(look) = looks.try_recv() {
            last = look;
            changed = true;
        }
        if std::mem::take(&mut changed) {
            view.scroll = view.scroll.min(view.streams(&last.0).len().saturating_sub(1));
            terminal.draw(|frame| draw(frame, &last, &view))?;
        }
        if ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        match event::poll(KEY_WAIT) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(cause),
        }
        match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                code if !view.key(code, &last.0, servers) => return Ok(()),
                _ => {}
            },
            Event::Resize(..) => {}
            _ => continue,
        }
        changed = true;
    }
}

fn draw(frame: &mut Frame<'_>, (snapshots, errors): &Look, view: &View) {
    let mut head: Vec<Line<'_>> = Vec::new();
    for snapshot in snapshots.iter().filter(|snapshot| snapshot.down.is_none()) {
        let state = if snapshot.is_sound() { "" } else { ", NOT ALL PROCESSES SERVE" };
        head.push(Line::from(format!(
            "{}  SRS {}, up {}, configuration {}{state}",
            table::plain(&snapshot.node),
            table::plain(&snapshot.version),
            quantity::duration(snapshot.uptime_ms),
            snapshot.generation
        )));
        head.push(Line::from(table::totals(&snapshot.totals, snapshot.streams.len())));
    }
    head.extend(errors.iter().map(|error| Line::styled(table::plain(error), Style::new().fg(Color::Red))));
    if snapshots.is_empty() && errors.is_empty() {
        head.push(Line::from("asking …"));
    }
    let processes: usize = snapshots.iter().map(|snapshot| snapshot.processes.len()).sum();
    // Lines that are too long go on in the next one; words may leave a third of a line empty.
    let width = usize::from(frame.area().width).max(1);
    let lines: usize = head.iter().map(|line| (line.width() * 4 / 3).div_ceil(width).max(1)).sum();
    let heights = [height(lines), height(processes + 1), 1];
    let [top, middle, gap, bottom, last] = Layout::vertical([
        Constraint::Length(heights[0]),
        Constraint::Max(heights[1]),
        Constraint::Length(heights[2]),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let narrow = frame.area().width < WIDE;
    frame.render_widget(Paragraph::new(head).wrap(Wrap { trim: false }), top);
    frame.render_widget(process_table(snapshots, narrow), middle);
    frame.render_widget(Paragraph::new(""), gap);
    frame.render_widget(stream_table(snapshots, view, narrow), bottom);
    frame.render_widget(Paragraph::new(view.foot()), last);
}

fn height(lines: usize) -> u16 {
    u16::try_from(lines).unwrap_or(u16::MAX)
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// Of several servers each line says which.
fn node_of(snapshots: &[Snapshot], snapshot: &Snapshot) -> String {
    if snapshots.len() > 1 { table::plain(&snapshot.node) } else { String::new() }
}

fn node_width(snapshots: &[Snapshot]) -> u16 {
    if snapshots.len() > 1 { 16 } else { 0 }
}

fn node_title(snapshots: &[Snapshot]) -> &'static str {
    if snapshots.len() > 1 { "NODE" } else { "" }
}

/// Columns of a table: title, width, and whether it is there in a narrow terminal.
type Columns<const N: usize> = [(&'static str, Constraint, bool); N];

/// A table of the columns that have room, all of them whole.
fn fitted<'t, const N: usize>(rows: Vec<[Cell<'t>; N]>, columns: Columns<N>, narrow: bool) -> Table<'t> {
    let shown = |at: usize| columns.get(at).is_some_and(|(_, _, small)| *small || !narrow);
    let pick = |cells: [Cell<'t>; N]| {
        Row::new(
            cells
                .into_iter()
                .enumerate()
                .filter(|(at, _)| shown(*at))
                .map(|(_, cell)| cell)
                .collect::<Vec<_>>(),
        )
    };
    let there = columns.iter().enumerate().filter(|(at, _)| shown(*at));
    let (titles, widths): (Vec<_>, Vec<_>) = there.map(|(_, (title, width, _))| (*title, *width)).unzip();
    Table::new(rows.into_iter().map(pick), widths).header(Row::new(titles).style(bold()))
}

fn process_table(snapshots: &[Snapshot], narrow: bool) -> Table<'_> {
    let rows = snapshots
        .iter()
        .flat_map(|snapshot| snapshot.processes.iter().map(move |process| (snapshot, process)));
    let rows = rows.map(|(snapshot, process)| {
        let colour = match process.state {
            State::Serving => Color::Green,
            State::Starting | State::Draining => Color::Yellow,
            State::Hung | State::Dead | State::Out => Color::Red,
        };
        [
            Cell::from(node_of(snapshots, snapshot)),
            Cell::from(process.name()),
            Cell::from(process.state.word()).style(Style::new().fg(colour)),
            Cell::from(process.pid.to_string()),
            Cell::from(quantity::duration(process.uptime_ms)),
            Cell::from(process.restarts.to_string()),
            Cell::from(format!("{:.1} %", process.cpu_percent)),
            Cell::from(quantity::bytes(process.memory_bytes)),
            Cell::from(process.connections.to_string()),
            Cell::from(quantity::kbps(process.kbps.recv_30s)),
            Cell::from(quantity::kbps(process.kbps.send_30s)),
            Cell::from(quantity::age(process.heartbeat_ms)),
            Cell::from(table::last_end(process)),
        ]
    });
    let columns = [
        (node_title(snapshots), Constraint::Length(node_width(snapshots)), snapshots.len() > 1),
        ("PROCESS", Constraint::Length(13), true),
        ("STATE", Constraint::Length(8), true),
        ("PID", Constraint::Length(7), true),
        ("UPTIME", Constraint::Length(7), false),
        ("RESTARTS", Constraint::Length(8), false),
        ("CPU", Constraint::Length(7), true),
        ("MEMORY", Constraint::Length(8), true),
        ("CLIENTS", Constraint::Length(7), true),
        ("IN", Constraint::Length(11), true),
        ("OUT", Constraint::Length(11), true),
        ("BEAT", Constraint::Length(9), false),
        ("LAST END", Constraint::Fill(1), false),
    ];
    fitted(rows.collect(), columns, narrow)
}

fn stream_table<'p>(snapshots: &'p [Snapshot], view: &View, narrow: bool) -> Table<'p> {
    let rows =
        view.streams(snapshots).into_iter().enumerate().skip(view.scroll).map(|(at, (snapshot, stream))| {
            let viewers = stream.clients.saturating_sub(u64::from(stream.publish.active));
            let state = if stream.publish.active { "live" } else { "waiting" };
            let name = Cell::from(name_of(stream));
            [
                Cell::from(node_of(snapshots, snapshot)),
                if at == view.scroll {
                    name.style(Style::new().add_modifier(Modifier::REVERSED))
                } else {
                    name
                },
                Cell::from(state),
                Cell::from(viewers.to_string()),
                Cell::from(quantity::duration(stream.live_ms)),
                Cell::from(quantity::kbps(stream.kbps.recv_30s)),
                Cell::from(quantity::kbps(stream.kbps.send_30s)),
                Cell::from(table::video(stream.video.as_ref())),
                Cell::from(table::audio(stream.audio.as_ref())),
            ]
        });
    let columns = [
        (node_title(snapshots), Constraint::Length(node_width(snapshots)), snapshots.len() > 1),
        ("STREAM", Constraint::Fill(2), true),
        ("STATE", Constraint::Length(8), true),
        ("VIEWERS", Constraint::Length(7), true),
        ("LIVE", Constraint::Length(7), true),
        ("IN", Constraint::Length(11), true),
        ("OUT", Constraint::Length(11), true),
        ("VIDEO", Constraint::Length(34), false),
        ("AUDIO", Constraint::Length(24), false),
    ];
    fitted(rows.collect(), columns, narrow)
}
