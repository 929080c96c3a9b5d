//! The one executable: the server's command line, and the entry of every role.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, Parser};
use conf::config::{Config, Level, ProcessMode, Tank};
use ipc::Role;
use master::logging::{self, Settings};
use master::pidfile::PidFile;
use master::plan::DO_NOT_RESPAWN;
use master::relatives::Identity;
use master::spawn::{RoleMain, Spawner};
use master::{Loader, Serving, Supervisor, daemon, inherited, systemd};

/// A live media server of several processes, each of which may die and is replaced at once.
#[derive(Debug, Parser)]
#[command(name = "srs", disable_version_flag = true, disable_help_flag = true)]
#[command(
    after_help = "Signals: TERM and INT end the server, QUIT lets publishers finish first, HUP reloads the configuration, USR1 opens the log again.\n\nExamples:\n  srs -c conf/srs.conf\n  srs -t -c conf/srs.conf"
)]
struct Arguments {
    /// Configuration file
    #[arg(short = 'c', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take the whole configuration from the environment (SRS_LISTEN, SRS_VHOST_…)
    #[arg(short = 'e')]
    environment: bool,
    /// Check the configuration and exit
    #[arg(short = 't')]
    test: bool,
    /// Print the version and exit
    #[arg(short = 'v', visible_short_alias = 'V', long = "version")]
    version: bool,
    /// Print this help and exit
    #[arg(short = 'h', visible_short_alias = '?', long = "help", action = ArgAction::Help)]
    help: Option<bool>,
    /// Ignored, as the reference does with a lone argument
    #[arg(hide = true)]
    rest: Vec<String>,
}

/// What each role does. The only place that names them all.
fn role_main(role: Role) -> Option<RoleMain> {
    match role {
        Role::BackSource => Some(backsource::run),
        Role::Stream => Some(worker::stream::run),
        Role::Http => Some(worker::web::run),
        Role::Api => Some(worker::api::run),
        Role::Ingest => Some(external::run),
        Role::Master => None,
    }
}

fn main() -> ExitCode {
    if let Some(code) = external::become_another() {
        return code;
    }
    // A limit on file sizes is then an error like any other, not the end of the process.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
    if let Some(identity) = Identity::of_this_process() {
        let code = run_role(identity);
        logging::flush();
        return code;
    }
    let arguments = Arguments::parse();
    if arguments.version {
        eprintln!("{}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    if arguments.config.is_none() && !arguments.environment {
        if arguments.test {
            eprintln!("srs: -t needs a configuration file: srs -t -c FILE");
            return ExitCode::from(1);
        }
        let _ = Arguments::command().print_help();
        return ExitCode::SUCCESS;
    }
    let ended = run_master(&arguments);
    logging::flush();
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("srs: {error}");
            ExitCode::from(1)
        }
    }
}

/// A child of the master: its channel is on standard input.
fn run_role(identity: Identity) -> ExitCode {
    // A master that stays in the foreground keeps what it was given: it may be a lock.
    inherited::close_others();
    // Started by way of /proc/self/exe it would be called `exe`: ps, top, pgrep and killall know it by its own name.
    let _ = rustix::thread::set_name(c"srs");
    // Nothing that this process starts can have more rights than it has (prctl(2), PR_SET_NO_NEW_PRIVS).
    let _ = rustix::thread::set_no_new_privs(true);
    let role = identity.role.as_str();
    let known = Role::from_name(role);
    let Some((known, main)) = known.and_then(|role| Some((role, role_main(role)?))) else {
        eprintln!("srs: there is no role {role}");
        return ExitCode::from(2);
    };
    offer_to_the_oom_killer(known);
    let level = match identity.log_level.as_str() {
        "verbose" => Level::Verbose,
        "info" => Level::Info,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => Level::Trace,
    };
    let settings =
        Settings { file: identity.log_file, level, utc: identity.log_utc, role: identity.name.clone() };
    if let Err(error) = logging::start(&settings) {
        eprintln!("srs: {}: the log can't be opened: {error}", identity.name);
    }
    let control = match ipc::take_stdin() {
        Ok(control) => control,
        Err(error) => {
            eprintln!("srs: {error}");
            return ExitCode::from(2);
        }
    };
    ignore_group_signals();
    match main(control) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<external::CannotIngest>() => {
            tracing::error!("{error}");
            ExitCode::from(u8::try_from(DO_NOT_RESPAWN).unwrap_or(1))
        }
        Err(error) => {
            tracing::error!("this process ends: {error}");
            ExitCode::from(1)
        }
    }
}

/// Whom the kernel ends first when memory runs out: rather the process that a few viewers would miss than the one that
/// many would. The master's own score, which it passes on, is the unit's business.
fn offer_to_the_oom_killer(role: Role) {
    let score = match role {
        Role::Master => return,
        Role::BackSource => "0",
        Role::Stream | Role::Ingest => "100",
        Role::Http | Role::Api => "200",
    };
    // Lower than what was inherited is refused; so be it.
    let _ = std::fs::write("/proc/self/oom_score_adj", score);
}

/// Ctrl-C in a terminal reaches every process of the group, a service manager's SIGTERM every process of the service; the
/// master alone decides what it means.
fn ignore_group_signals() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    for signal in [SIGINT, SIGHUP, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2] {
        let flag = if signal == SIGTERM {
            std::sync::Arc::clone(child::terminate_flag())
        } else {
            std::sync::Arc::default()
        };
        let _ = signal_hook::flag::register(signal, flag);
    }
}

fn load(arguments: &Arguments) -> Result<conf::Loaded, conf::Failure> {
    let environment = conf::Environment::from_process();
    match &arguments.config {
        Some(path) if !arguments.environment => conf::load(path, &environment),
        _ => conf::load_env_only(&environment),
    }
}

fn run_master(arguments: &Arguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let loaded = match load(arguments) {
        Ok(loaded) => loaded,
        Err(failure) => {
            eprintln!("{failure}");
            return Ok(ExitCode::from(1));
        }
    };
    let file = arguments
        .config
        .as_ref()
        .map_or_else(|| "the environment".to_owned(), |path| path.display().to_string());
    let config = &loaded.config;
    let is_unheard = config.daemon && config.log.tank == Tank::Console;
    if is_unheard && (arguments.test || !daemon::is_daemon()) {
        eprintln!(
            "warning: with `daemon on` and `srs_log_tank console` the log goes nowhere once the server serves: \
             set `srs_log_tank file`, or `daemon off`"
        );
    }
    if arguments.test {
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        eprintln!("the configuration of {file} is good");
        return Ok(ExitCode::SUCCESS);
    }
    if config.daemon && !daemon::is_daemon() {
        return Ok(ExitCode::from(u8::try_from(daemon::launch()?).unwrap_or(1)));
    }
    serve(arguments, loaded, &file)
}

/// Serves until the server is told to end.
fn serve(
    arguments: &Arguments,
    loaded: conf::Loaded,
    file: &str,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let conf::Loaded { config, warnings, .. } = loaded;
    if config.daemon {
        inherited::close_others();
        daemon::detach()?;
    }
    let signals = master::listen_to_signals()?;
    let loader = loader(arguments)?;
    if let Some(directory) = &config.work_dir {
        std::env::set_current_dir(directory)
            .map_err(|error| format!("work_dir {} can't be entered: {error}", directory.display()))?;
    }
    let settings = settings(&config);
    logging::start(&settings).map_err(|error| {
        let path = config.log.file.display();
        format!("the log file {path} can't be opened: {error}; set another `srs_log_file`, or `srs_log_tank console`")
    })?;
    tracing::info!("srs {} begins, configuration {file}", env!("CARGO_PKG_VERSION"));
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    if nix::unistd::geteuid().is_root() {
        tracing::warn!(
            "this server runs as root: whoever takes over one of its processes has the machine; start it as a user of its own"
        );
    }
    inherited::receive();
    let _pid_file = PidFile::take(&config.pid)?;
    let spawner = match config.process_mode {
        ProcessMode::Multi => Spawner::Processes { log: settings, detached: config.daemon },
        ProcessMode::Single => Spawner::Threads { main: role_main },
    };
    let welcome = Welcome::of(&config);
    let prepared = Supervisor::prepare(config, spawner, loader, signals);
    for (name, address) in inherited::close_rest() {
        tracing::warn!(
            "the service manager passed {name}, listening on {address}; no `listen` says that address: closed"
        );
    }
    prepared?.run(|serving| welcome.say(serving))?;
    Ok(ExitCode::SUCCESS)
}

/// What is said when the server serves for the first time.
struct Welcome {
    is_daemon: bool,
    has_pages: bool,
    /// Vhosts on which anybody may publish.
    open: Vec<String>,
}

impl Welcome {
    fn of(config: &Config) -> Self {
        let open = config.vhosts.iter().filter(|vhost| vhost.lets_anybody_publish());
        Self {
            is_daemon: config.daemon,
            has_pages: config.http_server.console,
            open: open.map(|vhost| vhost.name.clone()).collect(),
        }
    }

    /// Says it: in the log, to the service manager, and to whoever waits for a daemon.
    fn say(&self, serving: &Serving) {
        for address in &serving.rtmp {
            tracing::info!("listening on rtmp://{address}");
        }
        let beyond = serving.rtmp.iter().find(|address| !address.ip().to_canonical().is_loopback());
        if let Some(address) = beyond.filter(|_| !self.open.is_empty()) {
            tracing::warn!(
                "anybody who reaches {address} may publish (vhost {}): this version asks nobody; a firewall, or `listen 127.0.0.1:1935`, keeps strangers out",
                self.open.join(", ")
            );
        }
        if let Some(address) = serving.http_api {
            tracing::info!("http api on http://{address}");
        }
        if let Some(address) = serving.http_server {
            tracing::info!("http server on http://{address}");
        }
        if let Some(address) = serving.rtmp.first() {
            let place = place(*address, 1935);
            tracing::info!("publish: ffmpeg -re -i FILE -c copy -f flv rtmp://{place}/live/NAME");
            tracing::info!("play:    ffplay rtmp://{place}/live/NAME");
        }
        if let Some(address) = serving.http_server.filter(|_| self.has_pages) {
            tracing::info!("look:    http://{}/ in a browser", place(address, 80));
        }
        systemd::ready(&summary(serving));
        if self.is_daemon
            && let Err(error) = daemon::ready()
        {
            tracing::warn!("the terminal can't be let go: {error}");
        }
    }
}

/// Where a program on this host finds an address; without the usual port.
fn place(address: std::net::SocketAddr, usual: u16) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    if address.port() == usual { host } else { format!("{host}:{}", address.port()) }
}

/// What the service manager shows of a server that serves.
fn summary(serving: &Serving) -> String {
    let addresses: Vec<String> = serving.rtmp.iter().map(|address| format!("rtmp://{address}")).collect();
    format!("serving on {}", addresses.join(", "))
}

/// Reads the same configuration again, also when the working directory is another one by then.
fn loader(arguments: &Arguments) -> std::io::Result<Loader> {
    let environment = conf::Environment::from_process();
    let path =
        arguments.config.as_ref().filter(|_| !arguments.environment).map(std::path::absolute).transpose()?;
    let load = Box::new(move || match &path {
        Some(path) => conf::load(path, &environment),
        None => conf::load_env_only(&environment),
    });
    Ok(Loader { load, check_clip: external::check_clip })
}

fn settings(config: &Config) -> Settings {
    Settings {
        file: (config.log.tank == Tank::File).then(|| config.log.file.clone()),
        level: config.log.level,
        utc: config.log.utc,
        role: "master#0".to_owned(),
    }
}
