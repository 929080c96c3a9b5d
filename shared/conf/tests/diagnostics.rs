//! Bad and surprising texts, and exactly what is said about them.

use conf::{Environment, parse_text};

/// Errors and warnings of a text that stands in `x.conf`.
fn said(text: &str) -> (Vec<String>, Vec<String>) {
    match parse_text("x.conf", text.as_bytes(), &Environment::empty()) {
        Ok(loaded) => (Vec::new(), loaded.warnings.iter().map(ToString::to_string).collect()),
        Err(failure) => (
            failure.errors.iter().map(ToString::to_string).collect(),
            failure.warnings.iter().map(ToString::to_string).collect(),
        ),
    }
}

#[test]
fn errors() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["x.conf: the file is empty"]),
        ("daemon off;", &["x.conf: no listen directive (expected at least one RTMP port)"]),
        (
            "listen abc;",
            &[
                "x.conf:1:8: \"abc\" is not an address to listen on (expected port, address:port or [IPv6 address]:port)",
            ],
        ),
        (
            "listen;",
            &[
                "x.conf:1:7: listen needs at least one argument (expected port, address:port or [IPv6 address]:port)",
            ],
        ),
        ("listen 1935 1935;", &["x.conf:1:13: 0.0.0.0:1935 is listened on twice"]),
        ("listen 1;\ndaemon yes;", &["x.conf:2:8: \"yes\" is neither on nor off"]),
        ("listen 1;\ndaemon ON;", &["x.conf:2:8: \"ON\" is neither on nor off"]),
        (
            "listen 1; max_connections 0;",
            &["x.conf:1:27: \"0\" is out of range (expected a whole number from 1 to 1000000)"],
        ),
        (
            "listen 1; max_connections 10k;",
            &[
                "x.conf:1:27: \"10k\" is not a number of connections (expected a whole number from 1 to 1000000)",
            ],
        ),
        (
            "listen 1; chunk_size 0; vhost a { chunk_size 65537; }",
            &[
                "x.conf:1:22: \"0\" is out of range (expected a whole number from 128 to 65536)",
                "x.conf:1:46: \"65537\" is out of range (expected a whole number from 128 to 65536)",
            ],
        ),
        (
            "listen 1;\nvhost a {\n    hls {\n        hls_fragment 12a4;\n        hls_window 0;\n    }\n}",
            &[
                "x.conf:4:22: \"12a4\" is not a number of seconds (expected a number > 0)",
                "x.conf:5:20: \"0\" is out of range (expected a number > 0)",
            ],
        ),
        (
            "listen 1; vhost a { hls { hls_fragment -1; } dvr { dvr_duration 0; dvr_plan all; } }",
            &[
                "x.conf:1:40: \"-1\" is not a number of seconds (expected a number > 0)",
                "x.conf:1:65: \"0\" is out of range (expected a number > 0)",
                "x.conf:1:77: unknown word \"all\" (expected session, segment, hss or append)",
            ],
        ),
        (
            "listen 1; srs_log_level debug; srs_log_tank syslog;",
            &[
                "x.conf:1:25: unknown word \"debug\" (expected verbose, info, trace, warn or error)",
                "x.conf:1:45: unknown word \"syslog\" (expected file or console)",
            ],
        ),
        (
            "listen 1; workers many;",
            &["x.conf:1:19: unknown word \"many\" (expected auto or a whole number from 1 to 256)"],
        ),
        (
            "listen 1; workers 0;",
            &["x.conf:1:19: \"0\" is out of range (expected auto or a whole number from 1 to 256)"],
        ),
        // Names.
        ("listn 1;", &["x.conf:1:1: unknown directive \"listn\" at the top level (did you mean listen?)"]),
        (
            "listen 1; vhost a.com { gop_cach on; xyzzy; }",
            &[
                "x.conf:1:25: unknown directive \"gop_cach\" in vhost \"a.com\" (did you mean gop_cache?)",
                "x.conf:1:38: unknown directive \"xyzzy\" in vhost \"a.com\"",
            ],
        ),
        (
            "listen 1; vhost a { play { gopcache on; } hls_path /a; }",
            &[
                "x.conf:1:28: unknown directive \"gopcache\" in play of vhost \"a\" (did you mean gop_cache?)",
                "x.conf:1:43: unknown directive \"hls_path\" in vhost \"a\" (it belongs in vhost/hls)",
            ],
        ),
        ("listen 1; \u{1b}[2J on;", &["x.conf:1:11: \"\\u{1b}[2J\" has a control character in it"]),
        // Shapes.
        ("listen 1; daemon { }", &["x.conf:1:11: daemon takes no block: expected ';' instead of '{'"]),
        ("listen 1; http_api on;", &["x.conf:1:11: http_api needs a block: expected '{' instead of ';'"]),
        ("listen 1; vhost { }", &["x.conf:1:16: vhost needs an argument (expected text)"]),
        ("listen 1; vhost a b { }", &["x.conf:1:19: vhost takes one argument: \"b\" is too many"]),
        ("listen 1; http_api x { }", &["x.conf:1:20: http_api takes no argument: \"x\" is too many"]),
        ("listen 1; vhost a { refer; }", &["x.conf:1:26: refer needs at least one argument (expected text)"]),
        (
            "listen 1; daemon on}",
            &["x.conf:1:21: the file ends inside a directive: missing ';' after \"on}\""],
        ),
        // Relations.
        ("listen 1; ring { initial 128m; }", &["x.conf:1:18: initial (134217728) is above max (67108864)"]),
        (
            "listen 1; ring { max 1x; }",
            &["x.conf:1:22: \"1x\" is not a size (expected bytes from 64k to 64g, with k, m or g)"],
        ),
        (
            "listen 1; limits { chunk_size_max 128; chunk_size_min 256; }",
            &["x.conf:1:40: chunk_size_min (256) is above chunk_size_max (128)"],
        ),
        (
            "listen 1; vhost a { mode remote; }",
            &["x.conf:1:21: mode remote needs an origin (expected an origin directive)"],
        ),
        (
            "listen 1; vhost a { origin rtmp://a/b; }",
            &["x.conf:1:28: \"rtmp://a/b\" is not a server (expected host or host:port)"],
        ),
        (
            "listen 1; vhost a { ingest b { enabled on; } }",
            &["x.conf:1:21: the ingest has no input (expected input { url ...; })"],
        ),
        (
            "listen 1; vhost a { ingest b { enabled on; input { url a.mp4; } } }",
            &["x.conf:1:52: \"a.mp4\" is not a .flv file: without ffmpeg the server reads no other kind"],
        ),
        (
            "listen 1; vhost a { ingest b { enabled on; input { type stream; url http://a/b.flv; } } }",
            &["x.conf:1:52: input type stream needs ffmpeg: without it the server reads .flv files only"],
        ),
        (
            "listen 1; vhost a { ingest b { enabled on; output /x; input { url a.flv; } } }",
            &["x.conf:1:44: \"/x\" is not an RTMP URL (expected rtmp://...)"],
        ),
        (
            "listen 1; vhost a { security { allow see all; deny play 10.0.0.0/33; } } unsafe_ignore security;",
            &[
                "x.conf:1:38: \"see\" is neither publish nor play",
                "x.conf:1:57: \"10.0.0.0/33\" is not a network (expected all, an address, or a network such as 10.0.0.0/8)",
            ],
        ),
        (
            "listen 1; vhost a { http_hooks { on_close nowhere; } }",
            &["x.conf:1:43: \"nowhere\" is not a URL (expected a URL such as http://host/path)"],
        ),
        (
            "listen 1; vhost a { transcode { engine { vfilter { a { } } } } }",
            &["x.conf:1:52: vfilter holds no blocks"],
        ),
        (
            "include nowhere.conf;",
            &["x.conf:1:9: cannot include \"nowhere.conf\": No such file or directory (os error 2)"],
        ),
    ];
    for (text, want) in cases {
        assert_eq!(said(text).0, *want, "{text}");
    }
}

#[test]
fn warnings() {
    let cases: &[(&str, &[&str])] = &[
        ("listen 1;", &[]),
        ("listen 1; listen 2;", &[]),
        (
            "listen 1;\ndaemon on;\ndaemon off;",
            &["x.conf:3:1: daemon is already given at x.conf:2:1: this one is ignored"],
        ),
        (
            "listen 1; vhost A { } vhost a { }",
            &["x.conf:1:23: vhost \"a\" is already given at x.conf:1:11: this one is ignored"],
        ),
        (
            "listen 1; vhost a { gop_cache on; play { gop_cache off; } }",
            &["x.conf:1:42: gop_cache is already given at x.conf:1:21: this one is ignored"],
        ),
        (
            "listen 1;\nvhost a {\n    dash {\n        enabled on;\n    }\n}",
            &["x.conf:3:5: dash is not built yet: this block has no effect in this version"],
        ),
        // Once for each feature, at the first place that would have mattered.
        (
            "listen 1; vhost a { dash { enabled off; } }\nvhost b { dash { enabled on; } }\nvhost c { dash { enabled on; } }",
            &["x.conf:2:11: dash is not built yet: this block has no effect in this version"],
        ),
        ("listen 1; vhost a { dash { dash_fragment 5; } }", &[]),
        ("listen 1; vhost a { enabled off; dash { enabled on; } }", &[]),
        ("listen 1; vhost a { forward { enabled off; destination b; } }", &[]),
        (
            "listen 1; vhost a { forward b; }",
            &["x.conf:1:21: forward is not built yet: this block has no effect in this version"],
        ),
        ("listen 1; vhost a { mode local; origin b; }", &[]),
        (
            "listen 1; vhost a { cluster { mode remote; origin b; } }",
            &[
                "x.conf:1:31: edge (mode remote) is not built yet: this directive has no effect in this version",
            ],
        ),
        ("listen 1; http_stream { enabled off; }", &[]),
        (
            "listen 1; http_api { enabled on; https { enabled on; } }",
            &["x.conf:1:34: https is not built yet: this block has no effect in this version"],
        ),
        ("listen 1; http_stream { enabled on; }", &[]),
        ("listen 1; pithy_print { publish 10000; }", &[]),
        (
            "listen 1; pithy_print { forwarder 2000; }",
            &["x.conf:1:25: pithy_print is not built yet: this directive has no effect in this version"],
        ),
        ("listen 1; asprocess off; grace_start_wait 2300; in_docker on;", &[]),
        (
            "listen 1; asprocess on;",
            &["x.conf:1:11: asprocess is not built yet: this directive has no effect in this version"],
        ),
        ("listen 1; stream_caster { enabled off; caster rtsp; what { ever; } }", &[]),
        (
            "listen 1; stream_caster { enabled on; } rtc_server { enabled on; }",
            &[
                "x.conf:1:11: stream_caster is not planned: this block has no effect in this version",
                "x.conf:1:41: rtc is not built yet: this block has no effect in this version",
            ],
        ),
        ("listen 1; vhost a { ingest b { enabled on; input { url a.flv; } } }", &[]),
        ("listen 1; vhost a { ingest b { enabled on; ffmpeg builtin; input { url a.flv; } } }", &[]),
        (
            "listen 1; vhost a { ingest b { enabled on; ffmpeg ./f; input { url a.mp4; } engine { output x; } } }",
            &[],
        ),
    ];
    for (text, want) in cases {
        let (errors, warnings) = said(text);
        assert_eq!(errors, Vec::<String>::new(), "{text}");
        assert_eq!(warnings, *want, "{text}");
    }
}

#[test]
fn failure_is_one_line_for_each_error() {
    let failure = parse_text("x.conf", b"a 1;\nb 2;", &Environment::empty()).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "x.conf:1:1: unknown directive \"a\" at the top level\nx.conf:2:1: unknown directive \"b\" at the top level"
    );
}

#[test]
fn errors_are_counted_not_piled_up() {
    let text = "nonsense 1;\n".repeat(5_000);
    let failure = parse_text("x.conf", text.as_bytes(), &Environment::empty()).unwrap_err();
    assert_eq!(failure.errors.len(), conf::diagnostic::MAX_KEPT);
    assert!(failure.to_string().ends_with("\nmore errors were not reported"));
}

#[test]
fn a_missing_semicolon_is_read_as_if_it_were_there() {
    let cases = [
        ("listen 1935\nmax_connections 1000;", "1:12: missing ';' after \"1935\": \"max_connections\""),
        (
            "listen 1;\nvhost a {\n  gop_cache on\n  queue_length 10;\n}",
            "3:15: missing ';' after \"on\": \"queue_length\"",
        ),
        (
            "listen 1; vhost a {\n enabled on\n hls {\n enabled on; } }",
            "2:12: missing ';' after \"on\": \"hls\"",
        ),
        (
            "listen 1; vhost a { dvr { dvr_path\n./a\n hls_path b; } }",
            "2:4: missing ';' after \"./a\": \"hls_path\"",
        ),
    ];
    for (text, warning) in cases {
        let (warnings, failed) = match parse_text("x.conf", text.as_bytes(), &Environment::empty()) {
            Ok(loaded) => (loaded.warnings, false),
            Err(failure) => (failure.warnings, true),
        };
        let wanted =
            format!("x.conf:{warning} begins on a new line and is a directive; read as if it were there");
        assert!(warnings.iter().any(|seen| seen.to_string() == wanted), "{text}: {warnings:?}");
        assert_eq!(failed, text.contains("hls_path"), "{text}");
    }
    let text = "listen 1935\nmax_connections 77\nvhost a {\n chunk_size 128\n hls {\n enabled on\n hls_window 7\n } }";
    let loaded = parse_text("x.conf", text.as_bytes(), &Environment::empty());
    // What ends a block needs no semicolon before it only where one can be told to be missing.
    assert!(loaded.is_err());
    let loaded =
        parse_text("x.conf", text.replace("7\n }", "7;\n }").as_bytes(), &Environment::empty()).unwrap();
    let vhost = &loaded.config.vhosts[0];
    assert_eq!((loaded.config.max_connections, vhost.chunk_size), (77, 128));
    assert_eq!((vhost.hls.enabled, vhost.hls.window_ms), (true, 7_000));
    assert_eq!(loaded.warnings.len(), 4);
}

#[test]
fn what_keeps_somebody_out_and_is_not_enforced_is_an_error() {
    let cases = [
        ("security", "security { enabled on; deny publish all; }"),
        ("security", "security { enabled on; }"),
        ("security", "security { deny publish all; }"),
        ("http_hooks", "http_hooks { enabled on; on_publish http://a/b; }"),
        ("http_hooks", "http_hooks { enabled on; on_connect http://a/b; }"),
        ("http_hooks", "http_hooks { on_play http://a/b; }"),
        ("token_traverse", "mode remote; origin a; token_traverse on;"),
        ("token_traverse", "cluster { mode remote; origin a; token_traverse on; }"),
        ("hls_keys", "hls { enabled on; hls_keys on; }"),
    ];
    for (name, directives) in cases {
        let text = format!("listen 1;\nvhost a {{\n {directives}\n}}");
        let read =
            |head: &str, env: &Environment| parse_text("x.conf", format!("{text}\n{head}").as_bytes(), env);
        let failure = read("", &Environment::empty()).unwrap_err().to_string();
        assert!(
            failure.starts_with("x.conf:3:") && failure.contains(&format!("{name} is not built yet")),
            "{directives}: {failure}"
        );
        assert!(failure.contains(&format!("`unsafe_ignore {name};`")), "{failure}");
        let loaded = read(&format!("unsafe_ignore {name};"), &Environment::empty());
        loaded.unwrap_or_else(|failure| panic!("{directives}: {failure}"));
        let env = Environment([("SRS_UNSAFE_IGNORE".to_owned(), name.to_owned())].into());
        read("", &env).unwrap_or_else(|failure| panic!("{directives}: {failure}"));
        let other = if name == "hls_keys" { "security" } else { "hls_keys" };
        assert!(read(&format!("unsafe_ignore {other};"), &Environment::empty()).is_err());
        assert!(read("unsafe_ignore everything;", &Environment::empty()).is_err());
    }
    let harmless = [
        "security { enabled off; deny publish all; }",
        "http_hooks { enabled off; on_publish http://a/b; }",
        "http_hooks { enabled on; on_close http://a/b; on_dvr http://a/b; }",
        "token_traverse off;",
        "hls { enabled off; hls_keys on; }",
        "hls { enabled on; hls_keys off; }",
        "enabled off; security { enabled on; deny publish all; }",
    ];
    for directives in harmless {
        let text = format!("listen 1;\nvhost a {{\n {directives}\n}}");
        let loaded = parse_text("x.conf", text.as_bytes(), &Environment::empty());
        loaded.unwrap_or_else(|failure| panic!("{directives}: {failure}"));
    }
}
