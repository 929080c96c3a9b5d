//! Good texts: what ends up in the typed configuration, in every spelling.

use std::path::{Path, PathBuf};
use std::time::Instant;

use conf::config::{Level, Listen, Tank, Workers};
use conf::vhost::{
    ClusterMode, Endpoint, IngestSource, MwLatency, PublishTakeover, RuleAction, TimeJitter, Vhost,
};
use conf::{Config, Environment, Failure, Lookup, load, load_env_only, parse_text};

fn read(text: &str) -> Result<Config, Failure> {
    parse_text("x.conf", text.as_bytes(), &Environment::empty()).map(|loaded| loaded.config)
}

fn vhost(inner: &str) -> Result<Vhost, Failure> {
    let mut config = read(&format!("listen 1; vhost a {{ {inner} }} unsafe_ignore security http_hooks;"))?;
    Ok(config.vhosts.remove(0))
}

fn env(pairs: &[(&str, &str)]) -> Environment {
    Environment(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

#[test]
fn a_file_with_a_port_is_the_default_configuration() {
    assert_eq!(read("listen 1935;"), Ok(Config::default()));
}

#[test]
fn table_and_structs_agree_on_the_defaults() {
    // Says every default of the table aloud; the result must not differ from saying nothing.
    let one = |path: &str| {
        let rows =
            conf::directive::in_block(path).filter(|row| row.opens().is_none() && !row.default.is_empty());
        rows.map(|row| format!("{} {};\n", row.name, row.default)).collect::<String>()
    };
    let inner = |path: &str, name: &str| format!("{name} {{ {} }}\n", one(path));
    let mut text = format!("listen 1935;\n{}", one(""));
    for name in ["http_server", "exporter", "heartbeat", "stats", "pithy_print", "ring", "limits"] {
        text.push_str(&inner(name, name));
    }
    text.push_str(&inner("http_api", "http_api"));
    text.push_str(&format!("vhost a {{ {}", one("vhost")));
    for name in [
        "publish",
        "hls",
        "dvr",
        "dash",
        "hds",
        "bandcheck",
        "http_static",
        "http_remux",
        "forward",
        "security",
    ] {
        text.push_str(&inner(&format!("vhost/{name}"), name));
    }
    text.push('}');
    let want = Config { vhosts: vec![Vhost::new("a", 60_000)], ..Config::default() };
    assert_eq!(read(&text), Ok(want), "{text}");
}

#[test]
fn top_level() {
    let text = "listen 1935 127.0.0.1:1936 [::1]:0; listen 7; rtmp { listen 8; chunk_size 4096; }
        pid /run/media/a.pid; daemon off; max_connections 5; workers 3; ff_log_dir /dev/null;
        srs_log_tank console; srs_log_level warn; http_api { enabled on; listen 127.0.0.1:0; } server_id \"a b\";
        ring { initial 1m; max 2M; total 1g; } limits { handshake_timeout_ms 100; turn_bytes 4k; clamp_chunk_size on; }";
    let config = read(text).unwrap();
    let ports: Vec<_> = config.listen.iter().map(|Listen { address }| address.to_string()).collect();
    assert_eq!(ports, ["0.0.0.0:1935", "127.0.0.1:1936", "[::1]:0", "0.0.0.0:7", "0.0.0.0:8"]);
    assert_eq!(config.first_port(), 1935);
    assert_eq!(config.pid, Path::new("/run/media/a.pid"));
    assert_eq!(config.runtime_dir, Path::new("/run/media/a"));
    for (pid, directory) in [
        ("./objs/srs.pid", "./objs"),
        ("objs/srs.edge.pid", "objs/srs.edge"),
        ("srs.pid", "."),
        ("edge", "./edge.d"),
    ] {
        let config = read(&format!("listen 1935; pid {pid}; vhost __defaultVhost__ {{ }}")).unwrap();
        assert_eq!(config.runtime_dir, Path::new(directory), "{pid}");
    }
    assert!(!config.daemon);
    assert_eq!((config.max_connections, config.workers), (5, Workers::Count(3)));
    assert_eq!(config.chunk_size, 4096);
    assert_eq!((config.log.tank, config.log.level), (Tank::Console, Level::Warn));
    assert!(config.http_api.enabled);
    assert_eq!(config.http_api.listen.to_string(), "127.0.0.1:0");
    assert_eq!(config.server_id.as_deref(), Some("a b"));
    assert_eq!(
        (config.ring.initial_bytes, config.ring.max_bytes, config.ring.total_bytes),
        (1 << 20, 2 << 20, 1 << 30)
    );
    assert_eq!((config.limits.handshake_timeout_ms, config.limits.turn_bytes), (100, 4096));
    assert!(config.limits.clamp_chunk_size);
}

#[test]
fn both_words_for_log_levels() {
    for (text, want) in [
        ("srs_log_level verbose;", Level::Verbose),
        ("srs_log_level info;", Level::Info),
        ("srs_log_level_v2 trace;", Level::Verbose),
        ("srs_log_level_v2 debug; srs_log_level error;", Level::Info),
        ("srs_log_level_v2 info;", Level::Trace),
        ("srs_log_level error; srs_log_level_v2 warn;", Level::Warn),
    ] {
        assert_eq!(read(&format!("listen 1; {text}")).unwrap().log.level, want, "{text}");
    }
}

#[test]
fn old_and_new_spellings_mean_the_same() {
    for (old, new) in [
        ("gop_cache off; queue_length 1.5; atc on;", "play { gop_cache off; queue_length 1.5; atc on; }"),
        ("mw_latency 100; time_jitter zero;", "play { mw_latency 100; } play { time_jitter zero; }"),
        ("refer a b; refer_play c; refer_publish d;", "refer { enabled on; all a b; play c; publish d; }"),
        ("mode remote; origin b c:2;", "cluster { mode remote; origin b c:2; }"),
        ("forward b c:2;", "forward { enabled on; destination b c:2; }"),
        ("http { enabled on; mount /x; }", "http_static { enabled on; mount /x; }"),
        (
            "publish_1stpkt_timeout 5; mr { enabled on; latency 9; }",
            "publish { firstpkt_timeout 5; mr on; mr_latency 9; }",
        ),
        ("http_hooks { on_dvr_reap_flv http://a; }", "http_hooks { on_dvr http://a; }"),
        ("bandcheck { interval_ms 1500; }", "bandcheck { interval 1.5; }"),
        ("hls { hls_fragment 2.5; }", "hls { hls_fragment 2.500; }"),
    ] {
        assert_eq!(vhost(old), vhost(new), "{old}");
        assert!(vhost(old).is_ok_and(|vhost| vhost != Vhost::new("a", 60_000)), "{old}");
    }
    assert_eq!(
        read("listen 1; http_stream { enabled on; listen 9; }"),
        read("listen 1; http_server { enabled on; listen 9; }")
    );
}

#[test]
fn vhost_values() {
    let got = vhost(
        "chunk_size 128; queue_length 0.25; time_jitter off; mw_latency auto; tcp_nodelay on; publish_takeover on;
         send_min_interval 10.5; refer { enabled off; all x; } dvr { dvr_apply all; } hls { hls_fragment 0.5; hls_td_ratio 1.5; }
         security { enabled on; allow publish 10.0.0.0/8; deny play all; } exec { publish a b; publish c; }
         publish { normal_timeout 7000; kickoff_for_idle 1.5; }",
    )
    .unwrap();
    assert_eq!((got.chunk_size, got.queue_length_ms), (128, 250));
    assert_eq!((got.time_jitter, got.mw_latency), (TimeJitter::Off, MwLatency::Auto));
    assert_eq!((got.tcp_nodelay, got.publish_takeover), (Some(true), PublishTakeover::On));
    assert_eq!(got.send_min_interval_us, 10_500);
    assert!(got.refer.all.is_empty());
    assert!(got.dvr.apply.is_empty());
    assert_eq!((got.hls.fragment_ms, got.hls.td_ratio), (500, 1.5));
    assert_eq!(got.security.rules.len(), 2);
    assert_eq!(got.security.rules[0].network, Some((std::net::IpAddr::from([10, 0, 0, 0]), 8)));
    assert_eq!((got.security.rules[1].action, got.security.rules[1].network), (RuleAction::Deny, None));
    assert_eq!(got.exec.publish, [vec!["a", "b"], vec!["c"]]);
    assert_eq!((got.publish.normal_timeout_ms, got.publish.kickoff_for_idle_ms), (7_000, 1_500));
    assert_eq!(
        (vhost("mode local;").unwrap().cluster.mode, vhost("").unwrap().chunk_size),
        (ClusterMode::Local, 60_000)
    );
    assert_eq!(read("listen 1; chunk_size 4096; vhost a { }").unwrap().vhosts[0].chunk_size, 4096);
    let forward = vhost("forward [::1]:5 b;").unwrap().forward;
    assert!(forward.enabled);
    let server = |host: &str, port| Endpoint { host: host.into(), port };
    assert_eq!(forward.destinations, [server("::1", 5), server("b", 1935)]);
}

#[test]
fn ingest_by_the_server_itself() {
    for (text, want) in [
        ("", "rtmp://127.0.0.1:1999/live/b?vhost=a"),
        ("output rtmp://h:[port]/x/y?vhost=[vhost];", "rtmp://h:1999/x/y?vhost=a"),
        ("engine { output rtmp://h/x/[ingest]; }", "rtmp://h/x/b"),
        ("engine { enabled off; }", "rtmp://127.0.0.1:1999/live/b?vhost=a"),
    ] {
        let got = vhost(&format!("ingest b {{ enabled on; input {{ url d.FLV; }} {text} }}")).unwrap();
        let ingest = &got.ingests[0];
        assert_eq!(ingest.source, IngestSource::File(PathBuf::from("d.FLV")));
        assert_eq!((ingest.id.as_str(), ingest.ffmpeg.as_ref()), ("b", None));
        assert_eq!(ingest.output_url("a", 1999), want, "{text}");
    }
}

#[test]
fn transcode_engines() {
    let got = vhost(
        "transcode live/x { enabled on; ffmpeg ./f; engine hd { vfps 29.97; vwidth 1281; iformat off; perfile { re; } vfilter { vf 'scale=1:2;'; } output o; } engine sd { } }
         transcode { }",
    )
    .unwrap();
    assert_eq!(got.transcodes.len(), 2);
    assert_eq!(
        (got.transcodes[0].scope.as_deref(), got.transcodes[1].scope.as_deref()),
        (Some("live/x"), None)
    );
    let engine = &got.transcodes[0].engines[0];
    assert_eq!((engine.name.as_str(), engine.vfps, engine.vwidth), ("hd", 29.97, 1280));
    assert_eq!((engine.iformat.as_deref(), engine.oformat.as_deref()), (None, Some("flv")));
    assert_eq!(engine.vfilter[0].values, ["scale=1:2;"]);
    assert_eq!((engine.perfile[0].key.as_str(), engine.perfile[0].values.len()), ("re", 0));
}

#[test]
fn vhost_lookup() {
    let config =
        read("listen 1; vhost A.com { } vhost off.com { enabled off; } vhost __defaultVhost__ { }").unwrap();
    let name = |host| match config.vhost(host) {
        Lookup::Found(vhost) => vhost.name.as_str(),
        Lookup::Disabled(_) => "disabled",
        Lookup::NotFound => "none",
    };
    assert_eq!(
        (name("a.COM."), name("off.com"), name("10.0.0.1")),
        ("A.com", "disabled", "__defaultVhost__")
    );
    assert_eq!(read("listen 1; vhost a { }").unwrap().vhost("b"), Lookup::NotFound);
    assert_eq!(read("listen 1;").unwrap().vhost("b"), Lookup::NotFound);
}

#[test]
fn environment_overrides() {
    let text = b"listen 1; http_api { enabled off; } vhost x { } vhost __defaultVhost__ { gop_cache on; play { queue_length 5; } }";
    let env = env(&[
        ("SRS_LISTEN", "1935 1936"),
        ("SRS_HTTP_API_ENABLED", "on"),
        ("SRS_SRS_LOG_TANK", "console"),
        ("SRS_LOG_LEVEL", "warn"),
        ("SRS_VHOST_PLAY_GOP_CACHE", "off"),
        ("SRS_VHOST_QUEUE_LENGTH", "7"),
        ("SRS_VHOST_HLS_HLS_FRAGMENT", "3"),
        ("SRS_VHOST_HLS_PATH", "/var/h l s"),
        ("SRS_HTTP_STREAM_LISTEN", "81"),
        ("SRS_LISTEM", "1"),
        ("PATH", "/bin"),
        ("SRS_SOCKET", "/run/srs.sock"),
        ("SRS_TESTS_TOOLS", "x"),
    ]);
    let loaded = parse_text("x.conf", text, &env).unwrap();
    let config = loaded.config;
    assert_eq!(config.listen.len(), 2);
    assert!(config.http_api.enabled);
    assert_eq!((config.log.tank, config.log.level), (Tank::Console, Level::Warn));
    assert_eq!(config.vhosts.len(), 2);
    let Lookup::Found(vhost) = config.vhost("any") else { panic!("no default vhost") };
    assert_eq!((vhost.gop_cache, vhost.queue_length_ms, vhost.hls.fragment_ms), (false, 7_000, 3_000));
    assert_eq!(vhost.hls.path, Path::new("/var/h l s"));
    assert_eq!(config.http_server.listen.port(), 81);
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["environment variable SRS_LISTEM: names no directive (did you mean SRS_LISTEN?)"]);
}

#[test]
fn environment_errors_name_the_variable() {
    let env = env(&[("SRS_DAEMON", "maybe"), ("SRS_VHOST_CHUNK_SIZE", "1"), ("SRS_PID", "")]);
    let failure = parse_text("x.conf", b"listen 1;", &env).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "environment variable SRS_DAEMON: \"maybe\" is neither on nor off\n\
         environment variable SRS_PID: \"\" is not what pid takes (expected a path)\n\
         environment variable SRS_VHOST_CHUNK_SIZE: \"1\" is out of range (expected a whole number from 128 to 65536)"
    );
}

#[test]
fn environment_alone() {
    let loaded = load_env_only(&Environment::empty()).unwrap();
    assert_eq!(loaded.config.listen[0].address.port(), 1935);
    assert!(matches!(loaded.config.vhost("any"), Lookup::Found(_)));
    let loaded = load_env_only(&env(&[("SRS_LISTEN", "19350"), ("SRS_VHOST_ATC", "on")])).unwrap();
    assert_eq!(loaded.config.first_port(), 19350);
    assert!(loaded.config.vhosts[0].atc);
}

#[test]
fn include_files() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    let main = write("main.conf", "listen 1; include sub/a.conf sub/c.conf; vhost v { include sub/b.conf; }");
    write("sub/a.conf", "daemon off; include d.conf;");
    write("sub/b.conf", "gop_cache off;");
    write("sub/c.conf", "max_connections 9;");
    write("sub/d.conf", "chunk_size 4096;");
    let loaded = load(&main, &Environment::empty()).unwrap();
    assert!(!loaded.config.daemon && !loaded.config.vhosts[0].gop_cache);
    assert_eq!((loaded.config.max_connections, loaded.config.chunk_size), (9, 4096));
    assert_eq!(loaded.files.len(), 5);

    let bad = write("sub/c.conf", "max_connections 0;");
    let failure = load(&main, &Environment::empty()).unwrap_err();
    assert_eq!(
        failure.to_string(),
        format!("{}:1:17: \"0\" is out of range (expected a whole number from 1 to 1000000)", bad.display())
    );

    let looped = write("loop.conf", "listen 1; include loop.conf;");
    let failure = load(&looped, &Environment::empty()).unwrap_err();
    assert!(
        failure.to_string().ends_with("loop.conf:1:19: files include each other deeper than 8"),
        "{failure}"
    );

    // Doubling at every step must not take two to the power of anything long.
    let wide = write("wide.conf", &format!("listen 1; {}", "include wide.conf;".repeat(50)));
    let began = Instant::now();
    assert!(load(&wide, &Environment::empty()).is_err());
    assert!(began.elapsed().as_secs() < 10);

    let failure = load(&dir.path().join("none.conf"), &Environment::empty()).unwrap_err();
    assert!(
        failure.to_string().ends_with("none.conf: cannot be read: No such file or directory (os error 2)")
    );
    let failure = load(dir.path(), &Environment::empty()).unwrap_err();
    assert!(failure.to_string().contains("cannot be read"), "{failure}");
}

#[test]
fn passwords_stay_out_of_debug_output() {
    let config = read("listen 1; http_api { auth { enabled on; username u; password s3cret; } }").unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn a_configuration_survives_the_way_to_a_child() {
    let config =
        read("listen 1 [::]:2; vhost a { ingest b { input { url c.flv; } } security { allow play ::1; } } unsafe_ignore security;")
            .unwrap();
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
}
