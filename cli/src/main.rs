//! `srs-cli`: asks a running server what it does and prints tables or JSON.
//!
//! It asks the HTTP API, and the control socket for what only the master can do; it never reads the server's files and
//! never signals its processes.

#![forbid(unsafe_code)]

mod control;
mod quantity;
mod question;
mod table;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

use question::{Api, AskError};

/// Where the API is when neither `--api` nor the environment says.
const DEFAULT_API: &str = "http://127.0.0.1:1985";

/// The environment variable that says where the API is.
const API_VARIABLE: &str = "SRS_API";

/// Asks a running SRS what it does.
#[derive(Debug, Parser)]
#[command(name = "srs-cli", version, arg_required_else_help = true)]
struct Arguments {
    /// Address of the HTTP API [default: $SRS_API, else http://127.0.0.1:1985]
    #[arg(long, global = true, value_name = "URL")]
    api: Option<String>,

    /// How answers are printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    format: Format,

    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Clone, Subcommand)]
enum Question {
    /// Version of this program and of the server
    Version,
    /// Streams: who publishes, how many watch, how much flows
    Streams,
    /// Client connections of all processes
    Clients,
    /// Reads the configuration again and says what changed
    Reload {
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
        /// Control socket of the server: srs.sock in its runtime_dir
        #[arg(long, value_name = "PATH", env = "SRS_SOCKET", default_value = "./objs/srs.sock")]
        socket: PathBuf,
    },
}

/// Both versions, for JSON.
#[derive(Debug, Serialize)]
struct BothVersions<'a> {
    client: &'a str,
    server: Option<&'a str>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Question::Reload { dry_run, socket } = &arguments.question {
        return reload(socket, *dry_run, arguments.format);
    }
    match answer(&arguments) {
        Ok(text) => match print(&text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(cause) => fail(&format!("can't write the answer: {cause}")),
        },
        Err(error) => fail(&error.to_string()),
    }
}

fn answer(arguments: &Arguments) -> Result<String, AskError> {
    let address = arguments.api.clone().or_else(|| std::env::var(API_VARIABLE).ok());
    let api = Api::new(&address.unwrap_or_else(|| DEFAULT_API.to_owned()));
    let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match &arguments.question {
        Question::Reload { .. } => Ok(String::new()),
        Question::Version => Ok(versions(&api, arguments.format)),
        Question::Streams => {
            let answer = api.streams()?;
            Ok(match arguments.format {
                Format::Table => table::streams(&answer.data.streams, colours),
                Format::Json => json(&answer),
            })
        }
        Question::Clients => {
            let answer = api.clients()?;
            Ok(match arguments.format {
                Format::Table => table::clients(&answer.data.clients, colours),
                Format::Json => json(&answer),
            })
        }
    }
}

/// Reloads. Fails when the configuration was refused, or not every process has applied it.
fn reload(socket: &Path, dry_run: bool, format: Format) -> ExitCode {
    let result = match control::reload(socket, dry_run) {
        Ok(result) => result,
        Err(error) => return fail(&error.to_string()),
    };
    let text = match format {
        Format::Json => json(&result),
        Format::Table => control::told(&result, dry_run),
    };
    if let Err(cause) = print(&text) {
        return fail(&format!("can't write the answer: {cause}"));
    }
    if result.error.is_some() || result.applied < result.processes {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// The versions; a server that can't be asked has none, which is no error.
fn versions(api: &Api, format: Format) -> String {
    let client = env!("CARGO_PKG_VERSION");
    let server = api.versions();
    match format {
        Format::Json => {
            let server = server.as_ref().ok().map(|answer| answer.data.data.version.as_str());
            json(&BothVersions { client, server })
        }
        Format::Table => match server {
            Ok(answer) => format!("srs-cli {client}\nserver  {}", answer.data.data.version),
            Err(cause) => format!("srs-cli {client}\nserver  unknown: {cause}"),
        },
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|cause| format!("{{\"error\": \"{cause}\"}}"))
}

/// Prints with a line's end. A reader that has seen enough is no failure.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn fail(sentence: &str) -> ExitCode {
    eprintln!("srs-cli: {sentence}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
