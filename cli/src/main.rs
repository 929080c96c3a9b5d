//! `srs-cli`: asks a running server what it does, and tells it what to do.
//!
//! On the server's own host it asks the master's control socket, then every process; elsewhere the HTTP API. It never
//! signals processes, and reads of the server's files only those that are meant for it: where it listens, its token, its log.

#![forbid(unsafe_code)]

mod arguments;
mod control;
mod doctor;
mod http_api;
mod logs;
mod media_table;
mod output;
mod quantity;
mod reload_text;
mod server_address;
mod snapshot;
mod table;
mod top;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use serde::Serialize;
use serde_json::{Value, json};

use arguments::{Arguments, Command, Format};
use output::{PARTIAL, fail, show};
use server_address::{ServerAddress, look_at_all, servers};
use snapshot::{Detail, Snapshot};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    output::set_wide(arguments.target.format == Format::Wide);
    let Some(seconds) = arguments.target.watch else {
        return run(&arguments).unwrap_or_else(|error| fail(&error));
    };
    loop {
        // The screen is wiped where there is one; a file or a pipe gets one answer behind the other.
        if std::io::IsTerminal::is_terminal(&std::io::stdout()) && output::print("\u{1b}[H\u{1b}[2J").is_err()
        {
            return ExitCode::FAILURE;
        }
        if let Err(error) = run(&arguments) {
            fail(&error);
        }
        std::thread::sleep(Duration::from_secs(seconds));
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let (target, format) = (&arguments.target, arguments.target.format);
    match &arguments.command {
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "srs-cli", &mut text);
            return output::write(&text).map(|()| ExitCode::SUCCESS);
        }
        Command::Man { directory } => return man(directory).map(|()| ExitCode::SUCCESS),
        Command::Check { file } => return check(file, format),
        _ => {}
    }
    let servers = servers(target)?;
    match &arguments.command {
        Command::Status => query(&servers, format, Detail::Streams, whole, table::status),
        Command::Processes => query(&servers, format, Detail::Streams, processes, table::processes),
        Command::Streams => query(&servers, format, Detail::Streams, streams, table::streams),
        Command::Vhosts => query(&servers, format, Detail::Clients, vhosts, table::vhosts),
        Command::Stream { name } => stream(&servers, format, name),
        Command::Clients { stream } => clients(&servers, format, stream.as_deref()),
        Command::Hls => query(&servers, format, Detail::Media, hls, media_table::hls),
        Command::Dvr { start, stop, vhost } => match (start, stop) {
            (Some(stream), _) => record(&servers, format, vhost, stream, true),
            (_, Some(stream)) => record(&servers, format, vhost, stream, false),
            _ => query(&servers, format, Detail::Media, dvr, media_table::dvr),
        },
        Command::Top { interval } => {
            top::run(servers, Duration::from_secs(*interval)).map(|()| ExitCode::SUCCESS)
        }
        Command::Kick { whom, viewers } => kick(&servers, format, &ids_of(&servers, whom, *viewers)?),
        Command::Reload { dry_run } => each(&servers, |server| reload(server, *dry_run, format)),
        Command::Drain { process, timeout, force } => {
            let within_s = if *force { Some(0) } else { *timeout };
            each(&servers, |server| drain(server, process, within_s, format))
        }
        Command::Logs { file, follow, cid, lines } => {
            let path = match file {
                Some(path) => path.clone(),
                None => first(&servers)?.log_file()?,
            };
            logs::show(&path, *cid, *lines, *follow).map(|()| ExitCode::SUCCESS)
        }
        Command::Doctor => doctor(&servers, format),
        Command::Version => version(&servers, format),
        Command::Completions { .. } | Command::Man { .. } | Command::Check { .. } => Ok(ExitCode::SUCCESS),
    }
}

fn first(servers: &[ServerAddress]) -> Result<&ServerAddress, String> {
    servers.first().ok_or_else(|| "no server is named".to_owned())
}

/// Does something at every server; the worst exit code is that of the whole.
fn each(
    servers: &[ServerAddress],
    act: impl Fn(&ServerAddress) -> Result<bool, String>,
) -> Result<ExitCode, String> {
    let mut good = true;
    for server in servers {
        good &= act(server)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Looks at all servers and shows what was asked for.
fn query(
    servers: &[ServerAddress],
    format: Format,
    want: Detail,
    form: fn(&Snapshot) -> Value,
    text: fn(&[Snapshot], bool) -> String,
) -> Result<ExitCode, String> {
    let (snapshots, errors) = look_at_all(servers, want);
    present(&snapshots, &errors, format, form, text)
}

fn present(
    snapshots: &[Snapshot],
    errors: &[String],
    format: Format,
    form: impl Fn(&Snapshot) -> Value,
    text: impl FnOnce(&[Snapshot], bool) -> String,
) -> Result<ExitCode, String> {
    if snapshots.is_empty() {
        return Err(errors.join("; "));
    }
    let value = match snapshots {
        [snapshot] => form(snapshot),
        several => {
            let node = |snapshot: &Snapshot| {
                let mut value = match &snapshot.down {
                    Some(error) => json!({"code": 1, "error": error}),
                    None => form(snapshot),
                };
                if let Value::Object(fields) = &mut value {
                    fields.insert("node".to_owned(), Value::from(snapshot.node.clone()));
                }
                value
            };
            json!({"code": 0, "nodes": several.iter().map(node).collect::<Vec<_>>()})
        }
    };
    show(format, &value, |colours| text(snapshots, colours))?;
    for error in errors {
        eprintln!("srs-cli: {error}");
    }
    let sound = errors.is_empty() && snapshots.iter().all(Snapshot::is_sound);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(PARTIAL) })
}

/// The envelope of the HTTP API.
fn answer(snapshot: &Snapshot, name: &str, data: &impl Serialize) -> Value {
    json!({"code": 0, "server": snapshot.server, name: data})
}

fn whole(snapshot: &Snapshot) -> Value {
    let mut value = processes(snapshot);
    if let Value::Object(fields) = &mut value {
        fields.insert("version".to_owned(), Value::from(snapshot.version.clone()));
        fields.insert("uptime_ms".to_owned(), Value::from(snapshot.uptime_ms));
        fields.insert("generation".to_owned(), Value::from(snapshot.generation));
        fields.insert("streams".to_owned(), json!(snapshot.streams));
    }
    value
}

fn processes(snapshot: &Snapshot) -> Value {
    let mut value = answer(snapshot, "processes", &snapshot.processes);
    if let Value::Object(fields) = &mut value {
        fields.insert("totals".to_owned(), json!(snapshot.totals));
        fields.insert("ended".to_owned(), json!(snapshot.ended));
        fields.insert("externals".to_owned(), json!(snapshot.externals));
    }
    value
}

fn streams(snapshot: &Snapshot) -> Value {
    answer(snapshot, "streams", &snapshot.streams)
}

fn hls(snapshot: &Snapshot) -> Value {
    answer(snapshot, "hls", &snapshot.hls)
}

fn dvr(snapshot: &Snapshot) -> Value {
    json!({
        "code": 0, "server": snapshot.server, "recordings": snapshot.dvr.recordings, "recorded": snapshot.dvr.recorded
    })
}

/// Records a stream from now on, or no longer; with several servers, wherever it is.
fn record(
    servers: &[ServerAddress],
    format: Format,
    vhost: &str,
    stream: &str,
    on: bool,
) -> Result<ExitCode, String> {
    let (app, name) =
        stream.trim_matches('/').rsplit_once('/').ok_or_else(|| format!("{stream} is not APP/NAME"))?;
    let order = api::Record { vhost: vhost.to_owned(), app: app.to_owned(), name: name.to_owned(), on };
    let mut trouble = String::new();
    for server in servers {
        match server.record(&order) {
            Ok(api::RecordAnswer { error: None, recording }) => {
                let said = if recording { "is recorded" } else { "is not recorded any more" };
                show(format, &json!({"code": 0, "recording": recording}), |_| {
                    format!("{app}/{name} {said}")
                })?;
                return Ok(ExitCode::SUCCESS);
            }
            Ok(api::RecordAnswer { error: Some(why), .. }) => trouble = format!("{app}/{name}: {why}"),
            Err(error) => trouble = error,
        }
    }
    Err(trouble)
}

fn vhosts(snapshot: &Snapshot) -> Value {
    answer(snapshot, "vhosts", &snapshot.vhosts)
}

fn clients(servers: &[ServerAddress], format: Format, stream: Option<&str>) -> Result<ExitCode, String> {
    let (mut snapshots, errors) = look_at_all(servers, Detail::Clients);
    if let Some(stream) = stream {
        for snapshot in &mut snapshots {
            snapshot.clients.retain(|client| is_named(&client.vhost, &client.stream, stream));
        }
    }
    present(
        &snapshots,
        &errors,
        format,
        |snapshot| answer(snapshot, "clients", &snapshot.clients),
        table::clients,
    )
}

/// Whether a stream is what somebody calls `APP/NAME` or `VHOST/APP/NAME`.
fn is_named(vhost: &str, path: &str, said: &str) -> bool {
    let said = said.trim_matches('/');
    said == path || said.strip_prefix(vhost).and_then(|rest| rest.strip_prefix('/')) == Some(path)
}

/// One stream and who has to do with it.
fn stream(servers: &[ServerAddress], format: Format, name: &str) -> Result<ExitCode, String> {
    let (mut snapshots, errors) = look_at_all(servers, Detail::Clients);
    for snapshot in &mut snapshots {
        let path = |stream: &api::Stream| format!("{}/{}", stream.app, stream.name);
        snapshot.streams.retain(|stream| is_named(&stream.vhost, &path(stream), name));
        snapshot.clients.retain(|client| is_named(&client.vhost, &client.stream, name));
    }
    if snapshots.iter().all(|snapshot| snapshot.streams.is_empty() && snapshot.clients.is_empty())
        && errors.is_empty()
    {
        return Err(format!("there is no stream {name}"));
    }
    let form = |snapshot: &Snapshot| {
        let mut value = answer(snapshot, "streams", &snapshot.streams);
        if let Value::Object(fields) = &mut value {
            fields.insert("clients".to_owned(), json!(snapshot.clients));
        }
        value
    };
    present(&snapshots, &errors, format, form, |snapshots, colours| {
        let (streams, clients) = (table::streams(snapshots, colours), table::clients(snapshots, colours));
        format!("{streams}\n\n{}\n\n{clients}", media_table::tracks(snapshots, colours))
    })
}

/// Ids that are given as such, and those of the publishers (or viewers) of streams.
fn ids_of(servers: &[ServerAddress], whom: &[String], viewers: bool) -> Result<Vec<u64>, String> {
    let mut ids = Vec::new();
    for who in whom {
        if let Ok(id) = who.parse() {
            ids.push(id);
            continue;
        }
        if !who.contains('/') {
            return Err(format!("{who} is neither a connection's id nor a stream, APP/NAME"));
        }
        let (snapshots, _) = look_at_all(servers, Detail::Clients);
        let clients = snapshots.iter().flat_map(|snapshot| &snapshot.clients);
        let is_it =
            |client: &&api::Client| is_named(&client.vhost, &client.stream, who) && client.publish != viewers;
        let found: Vec<u64> = clients.filter(is_it).map(|client| client.id).collect();
        if found.is_empty() {
            return Err(format!("nobody {} {who}", if viewers { "watches" } else { "publishes" }));
        }
        ids.extend(found);
    }
    Ok(ids)
}

/// Closes connections; with several servers, whoever has them.
fn kick(servers: &[ServerAddress], format: Format, ids: &[u64]) -> Result<ExitCode, String> {
    let mut done = Vec::new();
    for id in ids {
        let (mut kicked, mut trouble) = (false, None);
        for server in servers {
            match server.kick(*id) {
                Ok(done) => kicked |= done,
                Err(error) => trouble = Some(error),
            }
        }
        if let (false, Some(trouble)) = (kicked, trouble) {
            return Err(trouble);
        }
        done.push(api::Kicked { id: *id, kicked });
    }
    show(format, &json!({"code": 0, "kicked": done}), |_| {
        let line = |one: &api::Kicked| {
            if one.kicked {
                format!("client {} is closed", one.id)
            } else {
                format!("there is no client {}", one.id)
            }
        };
        done.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(if done.iter().all(|one| one.kicked) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reloads. Fails when the configuration was refused, or not every process has applied it.
fn reload(server: &ServerAddress, dry_run: bool, format: Format) -> Result<bool, String> {
    let result = server.reload(dry_run)?;
    show(format, &result, |_| reload_text::told(&result, dry_run))?;
    Ok(result.error.is_none() && result.applied >= result.processes)
}

fn drain(
    server: &ServerAddress,
    process: &str,
    within_s: Option<u64>,
    format: Format,
) -> Result<bool, String> {
    let done = server.drain(process, within_s)?;
    if let Some(error) = done.error {
        return Err(error);
    }
    show(format, &done, |_| done.said.clone())?;
    Ok(true)
}

fn check(file: &Path, format: Format) -> Result<ExitCode, String> {
    #[derive(Serialize)]
    struct Checked {
        ok: bool,
        errors: Vec<String>,
        warnings: Vec<String>,
    }
    let environment = conf::Environment::from_process();
    let result = if file.as_os_str() == "-" {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut text)
            .map_err(|error| error.to_string())?;
        conf::parse_text("standard input", &text, &environment)
    } else {
        conf::load(file, &environment)
    };
    let checked = match result {
        Ok(loaded) => Checked {
            ok: true,
            errors: Vec::new(),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
        },
        Err(failure) => Checked { ok: false, errors: vec![failure.to_string()], warnings: Vec::new() },
    };
    show(format, &checked, |_| {
        let mut lines = checked.errors.clone();
        lines.extend(checked.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.push(
            if checked.ok { "the configuration is good" } else { "the configuration is refused" }.to_owned(),
        );
        lines.join("\n")
    })?;
    Ok(if checked.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn doctor(servers: &[ServerAddress], format: Format) -> Result<ExitCode, String> {
    let server = first(servers)?.look(Detail::Streams);
    let findings = doctor::look(server.as_ref());
    show(format, &json!({"code": 0, "findings": findings}), |_| doctor::text(&findings))?;
    let bad = findings.iter().any(|finding| finding.verdict == doctor::Verdict::Bad);
    Ok(if bad { ExitCode::from(PARTIAL) } else { ExitCode::SUCCESS })
}

/// The versions; a server that can't be asked has none, which is no error.
fn version(servers: &[ServerAddress], format: Format) -> Result<ExitCode, String> {
    let client = env!("CARGO_PKG_VERSION");
    let server = first(servers)?.version();
    show(format, &json!({"client": client, "server": server.as_ref().ok()}), |_| match &server {
        Ok(server) => format!("srs-cli {client}\nserver  {server}"),
        Err(cause) => format!("srs-cli {client}\nserver  unknown: {cause}"),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Man pages of the program and of each of its commands.
fn man(directory: &Path) -> Result<(), String> {
    let fail = |cause: std::io::Error| format!("{} can't be written: {cause}", directory.display());
    std::fs::create_dir_all(directory).map_err(fail)?;
    clap_mangen::generate_to(Arguments::command(), directory).map_err(fail)
}
