//! Status and streams, live: a full screen that is drawn again with each look, and a terminal that is as before when it is
//! over.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use api::State;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table};
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::picture::{Picture, Want};
use crate::place::{Place, look_at_all};
use crate::{quantity, table};

/// How long a key is waited for before it is looked whether a new picture is there.
const KEY_WAIT: Duration = Duration::from_millis(50);

type Look = (Vec<Picture>, Vec<String>);

/// Shows it until the user has seen enough.
pub(crate) fn run(places: Vec<Place>, interval: Duration) -> Result<(), String> {
    if !std::io::stdout().is_terminal() {
        return Err("top needs a terminal; `srs-cli status` is the same once".to_owned());
    }
    let terminal = ratatui::try_init().map_err(|cause| format!("top needs a terminal: {cause}"))?;
    let (sender, looks) = sync_channel(1);
    // A thread of its own: a server that hangs never makes a key wait.
    thread::spawn(move || {
        while sender.send(look_at_all(&places, Want::Streams)).is_ok() {
            thread::sleep(interval);
        }
    });
    // Whoever ends it gets the terminal back as it was, too.
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP, SIGINT] {
        drop(signal_hook::flag::register(signal, Arc::clone(&ended)));
    }
    let shown = show(terminal, &looks, &ended);
    ratatui::restore();
    shown.map_err(|cause| format!("the terminal has failed: {cause}"))
}

fn show(mut terminal: DefaultTerminal, looks: &Receiver<Look>, ended: &AtomicBool) -> std::io::Result<()> {
    let mut last: Look = (Vec::new(), Vec::new());
    let mut scroll: usize = 0;
    let mut changed = true;
    loop {
        if let Ok(look) = looks.try_recv() {
            last = look;
            changed = true;
        }
        if std::mem::take(&mut changed) {
            let most = last.0.iter().map(|picture| picture.streams.len()).sum::<usize>().saturating_sub(1);
            scroll = scroll.min(most);
            terminal.draw(|frame| draw(frame, &last, scroll))?;
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
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                KeyCode::Down | KeyCode::Char('j') => scroll += 1,
                KeyCode::Up | KeyCode::Char('k') => scroll = scroll.saturating_sub(1),
                KeyCode::PageDown => scroll += 10,
                KeyCode::PageUp => scroll = scroll.saturating_sub(10),
                KeyCode::Home => scroll = 0,
                _ => continue,
            },
            Event::Resize(..) => {}
            _ => continue,
        }
        changed = true;
    }
}

fn draw(frame: &mut Frame<'_>, (pictures, errors): &Look, scroll: usize) {
    let mut head: Vec<Line<'_>> = Vec::new();
    for picture in pictures.iter().filter(|picture| picture.down.is_none()) {
        let state = if picture.is_sound() { "" } else { ", NOT ALL PROCESSES SERVE" };
        head.push(Line::from(format!(
            "{}  SRS {}, up {}, configuration {}{state}",
            table::plain(&picture.node),
            table::plain(&picture.version),
            quantity::duration(picture.uptime_ms),
            picture.generation
        )));
        head.push(Line::from(table::totals(&picture.totals, picture.streams.len())));
    }
    head.extend(errors.iter().map(|error| Line::styled(table::plain(error), Style::new().fg(Color::Red))));
    if pictures.is_empty() && errors.is_empty() {
        head.push(Line::from("asking …"));
    }
    let processes: usize = pictures.iter().map(|picture| picture.processes.len()).sum();
    let heights = [height(head.len()), height(processes + 1), 1];
    let [top, middle, gap, bottom, last] = Layout::vertical([
        Constraint::Length(heights[0]),
        Constraint::Max(heights[1]),
        Constraint::Length(heights[2]),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(head), top);
    frame.render_widget(process_table(pictures), middle);
    frame.render_widget(Paragraph::new(""), gap);
    frame.render_widget(stream_table(pictures, scroll), bottom);
    frame.render_widget(Paragraph::new("q quits, up and down scroll"), last);
}

fn height(lines: usize) -> u16 {
    u16::try_from(lines).unwrap_or(u16::MAX)
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// Of several servers each line says which.
fn node_of(pictures: &[Picture], picture: &Picture) -> String {
    if pictures.len() > 1 { table::plain(&picture.node) } else { String::new() }
}

fn node_width(pictures: &[Picture]) -> u16 {
    if pictures.len() > 1 { 16 } else { 0 }
}

fn node_title(pictures: &[Picture]) -> &'static str {
    if pictures.len() > 1 { "NODE" } else { "" }
}

fn process_table(pictures: &[Picture]) -> Table<'_> {
    let rows =
        pictures.iter().flat_map(|picture| picture.processes.iter().map(move |process| (picture, process)));
    let rows = rows.map(|(picture, process)| {
        let colour = match process.state {
            State::Serving => Color::Green,
            State::Starting | State::Draining => Color::Yellow,
            State::Hung | State::Dead | State::Out => Color::Red,
        };
        Row::new(vec![
            Cell::from(node_of(pictures, picture)),
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
        ])
    });
    // In a narrow terminal numbers give way to names.
    let names = [
        Constraint::Length(node_width(pictures)),
        Constraint::Min(13),
        Constraint::Min(8),
        Constraint::Min(7),
    ];
    let numbers = [7, 8, 8, 9, 7, 11, 11, 9].map(Constraint::Max);
    let widths = names.into_iter().chain(numbers).chain([Constraint::Max(40)]);
    let titles = [
        node_title(pictures),
        "PROCESS",
        "STATE",
        "PID",
        "UPTIME",
        "RESTARTS",
        "CPU",
        "MEMORY",
        "CLIENTS",
        "IN",
        "OUT",
        "BEAT",
        "LAST END",
    ];
    Table::new(rows, widths).header(Row::new(titles).style(bold()))
}

fn stream_table(pictures: &[Picture], scroll: usize) -> Table<'_> {
    let rows =
        pictures.iter().flat_map(|picture| picture.streams.iter().map(move |stream| (picture, stream)));
    let rows = rows.skip(scroll).map(|(picture, stream)| {
        let viewers = stream.clients.saturating_sub(u64::from(stream.publish.active));
        let state = if stream.publish.active { "live" } else { "waiting" };
        Row::new(vec![
            Cell::from(node_of(pictures, picture)),
            Cell::from(table::plain(&format!("{}/{}/{}", stream.vhost, stream.app, stream.name))),
            Cell::from(state),
            Cell::from(viewers.to_string()),
            Cell::from(quantity::duration(stream.live_ms)),
            Cell::from(quantity::kbps(stream.kbps.recv_30s)),
            Cell::from(quantity::kbps(stream.kbps.send_30s)),
            Cell::from(table::video(stream.video.as_ref())),
            Cell::from(table::audio(stream.audio.as_ref())),
        ])
    });
    let widths = [
        Constraint::Length(node_width(pictures)),
        Constraint::Min(20),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(11),
        Constraint::Length(11),
        Constraint::Max(38),
        Constraint::Max(24),
    ];
    let titles = [node_title(pictures), "STREAM", "STATE", "VIEWERS", "LIVE", "IN", "OUT", "VIDEO", "AUDIO"];
    Table::new(rows, widths).header(Row::new(titles).style(bold()))
}
