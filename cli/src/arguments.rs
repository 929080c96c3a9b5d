//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const AFTER: &str = "Without --api, the master of a server on this host is asked on its control socket, then each of its \
processes; one that hangs or is dead is shown as such, and nothing takes longer than a second.\n\n\
Exit codes: 0 done; 1 it failed, or nobody answered; 2 the command line is wrong; 3 shown, but a process hangs or is dead.\n\n\
Examples:\n  srs-cli status\n  srs-cli --socket /run/srs/srs.sock streams\n  srs-cli --api http://10.0.0.1:1985 --api http://10.0.0.2:1985 top";

/// Asks a running SRS what it does, and tells it what to do.
#[derive(Debug, Parser)]
#[command(name = "srs-cli", version, arg_required_else_help = true, after_help = AFTER)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) target: Target,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Whom to ask, and how to answer.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// HTTP API of a server (http://USER:PASSWORD@HOST:PORT) or its control socket (a path); several are shown as one cluster
    #[arg(long, global = true, value_name = "URL|PATH", env = "SRS_API", value_delimiter = ',')]
    pub(crate) api: Vec<String>,

    /// Control socket of the server on this host: srs.sock in its runtime_dir [default: ./objs/srs.sock,
    /// /run/srs/srs.sock, or the only ./objs/*/srs.sock]
    #[arg(long, global = true, value_name = "PATH", env = "SRS_SOCKET")]
    pub(crate) socket: Option<PathBuf>,

    /// File with the token of the servers that --api names, for what changes them
    #[arg(long, global = true, value_name = "FILE", env = "SRS_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// How answers are printed
    #[arg(short = 'o', long, visible_alias = "output", global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,

    /// Look again every so many seconds, until interrupted
    #[arg(short = 'w', long, global = true, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
        require_equals = true, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) watch: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; colours only on a terminal
    Table,
    /// The same with all of each name, and all lines
    Wide,
    /// For programs
    Json,
    /// For programs that speak AMF0
    Amf0,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// One screen: processes and what they come to
    #[command(after_help = "Example:\n  srs-cli status")]
    Status,
    /// Processes alone
    #[command(
        after_help = "Example:\n  srs-cli processes --format json | jq '.processes[] | select(.state != \"serving\")'"
    )]
    Processes,
    /// Streams: who publishes, how many watch, how much flows
    #[command(after_help = "Example:\n  srs-cli streams")]
    Streams,
    /// One stream, with its clients
    #[command(after_help = "Example:\n  srs-cli stream live/livestream")]
    Stream {
        /// APP/NAME, or VHOST/APP/NAME
        name: String,
    },
    /// Client connections of all processes
    #[command(after_help = "Example:\n  srs-cli clients --stream live/livestream")]
    Clients {
        /// Only those of this stream, APP/NAME
        #[arg(long, value_name = "APP/NAME")]
        stream: Option<String>,
    },
    /// Vhosts and what their streams come to
    #[command(after_help = "Example:\n  srs-cli vhosts")]
    Vhosts,
    /// Streams that have HLS: segments, players, what was lost
    #[command(after_help = "Example:\n  srs-cli hls")]
    Hls,
    /// Recordings: what is recorded, and which files were finished
    #[command(after_help = "Example:\n  srs-cli dvr\n  srs-cli dvr --start live/livestream")]
    Dvr {
        /// Record this stream from now on, whatever the configuration says
        #[arg(long, value_name = "APP/NAME", conflicts_with = "stop")]
        start: Option<String>,
        /// Record this stream no longer
        #[arg(long, value_name = "APP/NAME")]
        stop: Option<String>,
        /// Vhost of that stream
        #[arg(long, value_name = "VHOST", default_value = "__defaultVhost__")]
        vhost: String,
    },
    /// Status and streams, live; q quits
    #[command(
        after_help = "Keys: q quits; up, down choose a stream; n, v, i, o sort by name, viewers, in, out; / filters; x closes the publisher of the chosen stream.\n\nExample:\n  srs-cli top --interval 2"
    )]
    Top {
        /// Seconds between two looks
        #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
        interval: u64,
    },
    /// Closes connections
    #[command(
        after_help = "Example:\n  srs-cli kick 1000107\n  srs-cli kick live/livestream\n  srs-cli kick --viewers live/livestream"
    )]
    Kick {
        /// Connection ids, as in the logs and in `clients`, or streams (APP/NAME): of those the publisher
        #[arg(required = true, value_name = "ID|APP/NAME")]
        whom: Vec<String>,
        /// Of streams the viewers instead
        #[arg(long)]
        viewers: bool,
    },
    /// Reads the configuration again and says what changed
    #[command(after_help = "Example:\n  srs-cli reload --dry-run")]
    Reload {
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Lets a stream process end with its last client; another takes its place at once
    #[command(after_help = "Examples:\n  srs-cli drain stream#1\n  srs-cli drain stream#1 --timeout 600")]
    Drain {
        /// Such as stream#1
        process: String,
        /// Ends whoever is left after so many seconds
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
        /// Ends all its clients at once
        #[arg(long, conflicts_with = "timeout")]
        force: bool,
    },
    /// Checks a configuration file; `-` reads standard input
    #[command(after_help = "Example:\n  srs-cli check /etc/srs/srs.conf")]
    Check {
        /// The file
        file: PathBuf,
    },
    /// The server's log
    #[command(after_help = "Example:\n  srs-cli logs --follow --cid 1000107")]
    Logs {
        /// Log file [default: as the server says]
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
        /// Wait for what comes
        #[arg(long, short)]
        follow: bool,
        /// Only lines of this connection
        #[arg(long, value_name = "ID")]
        cid: Option<u64>,
        /// Lines of what is there already
        #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 20)]
        lines: usize,
    },
    /// What of this host helps or hinders the server
    #[command(after_help = "Example:\n  srs-cli doctor")]
    Doctor,
    /// Version of this program and of the server
    #[command(after_help = "Example:\n  srs-cli version")]
    Version,
    /// Completions for a shell
    #[command(after_help = "Example:\n  srs-cli completions bash > /etc/bash_completion.d/srs-cli")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Writes the man pages of all commands into a directory
    #[command(hide = true)]
    Man {
        /// The directory
        directory: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_each_command_has_an_example() {
        let command = Arguments::command();
        command.clone().debug_assert();
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example") && help.contains(command.get_name()), "{}", command.get_name());
        }
    }
}
