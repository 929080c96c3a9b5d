//! What `make install` puts where: the units, scripts and configurations agree with each other and with the executables, and
//! the init script runs a server. The Debian package itself is tried out by `make test-package`.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use srs_tests::process::{Ended, children, is_alive, run, signal};
use srs_tests::program::{source_tree, srs};
use srs_tests::server::configuration;
use srs_tests::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

/// A whole installation below a directory, by our own Makefile.
struct Installed(TempDir);

impl Installed {
    fn new(prefix: &str) -> Self {
        let root = TempDir::new().unwrap();
        drop(make(&root, prefix, "install").expect_success());
        Self(root)
    }

    fn path(&self, installed: &str) -> PathBuf {
        self.0.path().join(installed.trim_start_matches('/'))
    }

    fn read(&self, installed: &str) -> String {
        fs::read_to_string(self.path(installed)).unwrap_or_else(|cause| panic!("{installed}: {cause}"))
    }

    fn files(&self) -> BTreeSet<PathBuf> {
        fn walk(directory: &Path, found: &mut BTreeSet<PathBuf>) {
            for entry in fs::read_dir(directory).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), found);
                } else {
                    found.insert(entry.path());
                }
            }
        }
        let mut found = BTreeSet::new();
        walk(self.0.path(), &mut found);
        found
    }
}

fn make(root: &TempDir, prefix: &str, goal: &str) -> Ended {
    let mut command = Command::new("make");
    command.current_dir(source_tree()).args(["--no-print-directory", "-s", goal]);
    command.arg(format!("DESTDIR={}", root.path().display())).arg(format!("PREFIX={prefix}"));
    command.arg(format!("BIN_DIR={}", srs().parent().unwrap().display()));
    // The one that runs these tests has told its own children how to behave.
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        command.env_remove(name);
    }
    run(&mut command, SOON)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// The values of a key in a unit.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

const UNITS: [&str; 4] = ["srs.service", "srs@.service", "srs.socket", "srs.target"];

#[test]
fn units_name_what_is_installed() {
    for prefix in ["/usr", "/usr/local"] {
        let installed = Installed::new(prefix);
        for name in UNITS {
            let unit = installed.read(&format!("{prefix}/lib/systemd/system/{name}"));
            let mut section = "";
            for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
                if line.starts_with('[') {
                    section = line;
                } else {
                    assert!(!section.is_empty() && line.contains('='), "{name}: {line}");
                }
            }
            for key in ["ExecStart", "ExecStopPost"] {
                for value in values(&unit, key) {
                    let mut words = value.split(' ');
                    let program = words.next().unwrap();
                    assert!(program.starts_with(prefix), "{name}: {value}");
                    let mode = fs::metadata(installed.path(program)).expect(value).permissions().mode();
                    assert_eq!(mode & 0o777, 0o755, "{value}");
                    if key == "ExecStart" && name == "srs.service" {
                        assert_eq!(words.collect::<Vec<_>>(), ["-c", "/etc/srs/srs.conf"]);
                    }
                }
            }
        }
        let script = installed.read("/etc/init.d/srs");
        assert!(script.contains(&format!("APP:-{prefix}/bin/srs}}")), "{prefix}");
    }
}

/// What differs is meant to differ; everything else of the instances' unit follows the single one's.
#[test]
fn the_instances_unit_is_as_the_single_one() {
    let own = ["Description", "PartOf", "Environment", "ExecStart", "WantedBy"];
    let own_directories = ["WorkingDirectory", "StateDirectory", "RuntimeDirectory"];
    let lines = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(source_tree().join("etc/systemd").join(name)).unwrap();
        let kept = text.lines().filter(|line| {
            let key = line.split('=').next().unwrap();
            !line.starts_with('#') && !own.contains(&key) && !own_directories.contains(&key)
        });
        kept.map(str::to_owned).collect()
    };
    assert_eq!(lines("srs.service"), lines("srs@.service"));
}

#[test]
fn the_installed_configuration_is_sound_and_fits_the_unit() {
    let installed = Installed::new("/usr");
    let path = installed.path("/etc/srs/srs.conf");
    let ended = run(Command::new(srs()).arg("-t").arg("-c").arg(&path), SOON);
    assert!(ended.status.success() && !ended.stderr.contains("warning"), "{}", ended.stderr);
    let config = conf::load(&path, &conf::Environment::default()).unwrap().config;
    assert!(!config.daemon);
    let unit = installed.read("/usr/lib/systemd/system/srs.service");
    for (key, base, used) in [
        ("RuntimeDirectory", "/run", &config.pid),
        ("RuntimeDirectory", "/run", &config.runtime_dir.join("file")),
        ("LogsDirectory", "/var/log", &config.log.file),
        ("LogsDirectory", "/var/log", &config.ff_log_dir.join("file")),
    ] {
        let directory = Path::new(base).join(values(&unit, key)[0]);
        assert_eq!(used.parent(), Some(directory.as_path()), "{key}");
    }
    let socket = installed.read("/usr/lib/systemd/system/srs.socket");
    let listens: Vec<String> = config.listen.iter().map(|listen| listen.address.to_string()).collect();
    assert_eq!(values(&socket, "ListenStream"), listens);
}

/// `daemon on` in the file, which is the default, would be the end of a service.
#[test]
fn what_the_instances_unit_sets_is_taken() {
    let unit = fs::read_to_string(source_tree().join("etc/systemd/srs@.service")).unwrap();
    let pairs = values(&unit, "Environment").into_iter().flat_map(|line| line.split(' '));
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap());
    let pairs: Vec<(String, String)> =
        pairs.map(|(name, value)| (name.to_owned(), value.replace("%i", "edge"))).collect();
    let mut command = Command::new(srs());
    command.args(["-t", "-c"]).arg(source_tree().join("conf/edge.conf")).envs(pairs.clone());
    let ended = run(&mut command, SOON);
    assert!(ended.status.success(), "{}", ended.stderr);
    let environment = conf::Environment(pairs.into_iter().collect());
    let config = conf::load(&source_tree().join("conf/srs.conf"), &environment).unwrap().config;
    assert!(!config.daemon);
    assert_eq!(config.pid, Path::new("/run/srs-edge/srs.pid"));
    assert_eq!(config.runtime_dir, Path::new("/run/srs-edge"));
    assert_eq!(config.log.file, Path::new("/var/log/srs/edge.log"));
    assert_eq!(values(&unit, "RuntimeDirectory"), ["srs-%i"]);
}

#[test]
fn uninstall_leaves_what_is_the_operators() {
    let installed = Installed::new("/usr");
    assert!(installed.files().len() > 30);
    let own = installed.path("/etc/srs/edge.conf");
    fs::write(&own, "listen 1936;\n").unwrap();
    drop(make(&installed.0, "/usr", "uninstall").expect_success());
    assert_eq!(installed.files(), BTreeSet::from([own.clone()]));
    // A configuration that was changed is neither overwritten nor removed.
    drop(make(&installed.0, "/usr", "install").expect_success());
    let changed = installed.path("/etc/srs/srs.conf");
    fs::write(&changed, "listen 1937;\n").unwrap();
    drop(make(&installed.0, "/usr", "install").expect_success());
    drop(make(&installed.0, "/usr", "uninstall").expect_success());
    assert_eq!(installed.files(), BTreeSet::from([own, changed.clone()]));
    assert_eq!(fs::read_to_string(changed).unwrap(), "listen 1937;\n");
}

#[test]
fn scripts_are_sound() {
    let scripts = [
        "etc/init.d/srs",
        "etc/systemd/sweep",
        "etc/debian/postinst",
        "etc/debian/prerm",
        "etc/debian/postrm",
        "tests/units.sh",
        "tests/package.sh",
    ];
    for script in scripts {
        let path = source_tree().join(script);
        drop(run(Command::new("sh").arg("-n").arg(&path), SOON).expect_success());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o100, 0o100, "{script} can't be executed");
        if on_path("shellcheck") {
            drop(run(Command::new("shellcheck").arg(&path), SOON).expect_success());
        }
    }
}

#[test]
fn systemd_has_no_complaint() {
    if !on_path("systemd-analyze") {
        return srs_tests::skipped!("systemd-analyze is missing");
    }
    let mut command = Command::new(source_tree().join("tests/units.sh"));
    drop(run(command.arg(source_tree().join("etc/systemd")), SOON).expect_success());
}

#[test]
fn logrotate_understands_its_file() {
    let Some(logrotate) =
        ["/usr/sbin/logrotate", "/usr/bin/logrotate"].iter().find(|at| Path::new(at).exists())
    else {
        return srs_tests::skipped!("logrotate is missing");
    };
    let directory = TempDir::new().unwrap();
    let text = fs::read_to_string(source_tree().join("etc/logrotate.d/srs")).unwrap();
    // The user is there after the installation only.
    let text =
        text.replace("    su srs srs\n", "").replace("/var/log/srs", directory.path().to_str().unwrap());
    let file = directory.path().join("srs");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = Command::new(logrotate);
    command.arg("--debug").arg("--state").arg(directory.path().join("state")).arg(&file);
    let ended = run(&mut command, SOON);
    assert!(ended.status.success() && !ended.stderr.contains("error"), "{}", ended.stderr);
}

/// The init script with a server in a directory of its own.
struct Init {
    directory: TempDir,
}

impl Init {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // The pid file as people write it: indented, in quotes, and relative.
        let own = format!(
            "daemon off;\nlisten 127.0.0.1:{port};\n  pid \"./run/init.pid\" ;\nsrs_log_tank file;\n\
             srs_log_file ./init.log;"
        );
        fs::write(directory.path().join("srs.conf"), configuration(directory.path(), &own)).unwrap();
        Self { directory }
    }

    fn act(&self, action: &str) -> Ended {
        let mut command = Command::new(source_tree().join("etc/init.d/srs"));
        command.arg(action).env("ROOT", self.directory.path()).env("APP", srs());
        command.env("CONFIG", self.directory.path().join("srs.conf"));
        // The tests' directories are not open to other users.
        command.env("RUN_AS", "").env("WAIT", "5");
        run(&mut command, SOON * 2)
    }

    fn code(&self, action: &str) -> i32 {
        self.act(action).status.code().unwrap()
    }

    fn pid(&self) -> u32 {
        wait_for("a pid", SOON, || {
            fs::read_to_string(self.directory.path().join("run/init.pid")).ok()?.parse().ok()
        })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("init.log")).unwrap_or_default()
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        drop(self.act("stop"));
    }
}

#[test]
fn the_init_script_runs_a_server() {
    let init = Init::new();
    assert_eq!(init.code("status"), 3);
    assert_eq!(init.code("reload"), 1, "nothing to reload");
    drop(init.act("start").expect_success());
    let pid = init.pid();
    assert!(is_alive(pid));
    assert_eq!((init.code("status"), init.code("start")), (0, 0));
    assert_eq!(init.pid(), pid, "the second start changes nothing");
    drop(init.act("reload").expect_success());
    wait_until("the reload in the log", || init.log().contains("generation 1"));
    drop(init.act("logrotate").expect_success());
    wait_until("the log's other file", || init.log().contains("the log is open again"));
    drop(init.act("restart").expect_success());
    let next = init.pid();
    assert!(next != pid && !is_alive(pid) && is_alive(next));
    drop(init.act("stop").expect_success());
    assert!(!is_alive(next));
    assert_eq!((init.code("status"), init.code("stop")), (3, 0));
    drop(init.act("start").expect_success());
    let last = init.pid();
    drop(init.act("grace").expect_success());
    assert!(!is_alive(last));
    assert_eq!(init.code("nonsense"), 2);
}

#[test]
fn the_init_script_knows_a_dead_master_from_another_program() {
    let init = Init::new();
    drop(init.act("start").expect_success());
    let family = children(init.pid());
    let kill_master = || {
        let pid = init.pid();
        signal(pid, Signal::SIGKILL);
        wait_until("its end", || !is_alive(pid));
        assert_eq!(init.code("status"), 1, "dead, with a pid file");
    };
    kill_master();
    // A number that belongs to another program by now: this one.
    fs::write(init.directory.path().join("run/init.pid"), std::process::id().to_string()).unwrap();
    assert_eq!(init.code("status"), 1);
    drop(init.act("start").expect_success());
    assert!(family.iter().all(|pid| is_alive(*pid)), "the next master has taken them over");
    kill_master();
    drop(init.act("stop").expect_success());
    assert!(!family.iter().any(|pid| is_alive(*pid)), "nobody is left");
}

#[test]
fn a_server_that_ignores_the_stop_is_killed() {
    let init = Init::new();
    drop(init.act("start").expect_success());
    let pid = init.pid();
    signal(pid, Signal::SIGSTOP);
    drop(init.act("stop").expect_success());
    wait_until("its end", || !is_alive(pid));
    assert_eq!(init.code("status"), 3);
}

#[test]
fn man_pages_and_completions_stand_where_they_are_looked_for() {
    let installed = Installed::new("/usr");
    for name in ["srs-cli.1", "srs-cli-status.1", "srs-cli-top.1", "srs-cli-kick.1"] {
        assert!(installed.read(&format!("/usr/share/man/man1/{name}")).contains("Example"), "{name}");
    }
    let bash = installed.read("/usr/share/bash-completion/completions/srs-cli");
    let fish = installed.read("/usr/share/fish/vendor_completions.d/srs-cli.fish");
    assert!(installed.read("/usr/share/zsh/vendor-completions/_srs-cli").starts_with("#compdef srs-cli"));
    assert!([bash, fish].iter().all(|text| text.contains("doctor")));
    let manifest = fs::read_to_string(source_tree().join("srs/Cargo.toml")).unwrap();
    for place in
        ["man/man1", "bash-completion/completions", "zsh/vendor-completions", "fish/vendor_completions.d"]
    {
        assert!(manifest.contains(&format!("usr/share/{place}/*")), "the Debian package has {place}");
    }
}
