//! Tables of URLs and names, good and bad.

use super::*;

#[track_caller]
fn check(
    tc_url: &str,
    app: &str,
    host: &str,
    port: u16,
    vhost: &str,
    wanted_app: &str,
    params: &[(&str, &str)],
) {
    let target = parse_tc_url(tc_url, app, 255).unwrap();
    let params: Vec<_> = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    assert_eq!(
        (target.host.as_str(), target.port, target.vhost.as_str(), target.app.as_str(), target.params),
        (host, port, vhost, wanted_app, params),
        "{tc_url}"
    );
}

#[test]
fn all_forms_of_a_vhost() {
    check("rtmp://demo.example/live", "live", "demo.example", 1935, "demo.example", "live", &[]);
    check("rtmp://10.0.0.1:1936/live?vhost=demo.example", "", "10.0.0.1", 1936, "demo.example", "live", &[]);
    check("rtmp://10.0.0.1/live...vhost...demo.example", "", "10.0.0.1", 1935, "demo.example", "live", &[]);
    check("rtmp://h/live?key=x...vhost...v.w", "", "h", 1935, "v.w", "live", &[("key", "x")]);
    check("rtmp://h/live?vhost=v.w...key...x", "", "h", 1935, "v.w", "live", &[("key", "x")]);
    check("rtmp://h/live?key=x&Vhost=v.w&b=", "", "h", 1935, "v.w", "live", &[("key", "x"), ("b", "")]);
    check("rtmp://h/live?key=x&&vhost=v.w/", "", "h", 1935, "v.w", "live", &[("key", "x")]);
    check("RTMP://Host.Example.:1935/a/b/", "", "host.example", 1935, "host.example", "a/b", &[]);
    check("rtmp://[::1]:19350/live", "", "::1", 19350, "::1", "live", &[]);
    check("rtmp://[FE80::1]/live", "", "fe80::1", 1935, "fe80::1", "live", &[]);
    check("rtmp://h/live?vhost=__defaultVhost__", "", "h", 1935, "__defaultVhost__", "live", &[]);
    check("rtmp://h/live?vhost=v&vhost=v", "", "h", 1935, "v", "live", &[]);
}

#[test]
fn the_app_property_stands_in_for_a_missing_path_and_wins_over_another() {
    check("rtmp://h:1935", "live", "h", 1935, "h", "live", &[]);
    check("rtmp://h?vhost=v", "live", "h", 1935, "v", "live", &[]);
    check("rtmp://h/", "live?vhost=v&t=1", "h", 1935, "v", "live", &[("t", "1")]);
    check("rtmp://h/other?vhost=v", "live", "h", 1935, "v", "live", &[]);
}

#[test]
fn refused_urls() {
    let cases = [
        ("", UrlError::NoSchema),
        ("live", UrlError::NoSchema),
        ("://h/live", UrlError::NoSchema),
        ("rtmp:///live", UrlError::BadHost),
        ("rtmp://h h/live", UrlError::BadHost),
        ("rtmp://[::1/live", UrlError::BadHost),
        ("rtmp://[zz]/live", UrlError::BadHost),
        ("rtmp://h:/live", UrlError::BadPort),
        ("rtmp://h:0/live", UrlError::BadPort),
        ("rtmp://h:65536/live", UrlError::BadPort),
        ("rtmp://h:+1/live", UrlError::BadPort),
        ("rtmp://h", UrlError::NoApp),
        ("rtmp://h/?vhost=v", UrlError::NoApp),
        ("rtmp://h/live?vhost=a/b", UrlError::BadVhost),
        ("rtmp://h/live?vhost=..", UrlError::BadVhost),
        ("rtmp://h/live?vhost=a&vhost=b", UrlError::AmbiguousVhost),
        ("rtmp://h/a//b", UrlError::EmptyName),
        ("rtmp://h/a/./b", UrlError::NameDot),
        ("rtmp://h/a/../b", UrlError::NameDot),
        ("rtmp://h/a\u{0}", UrlError::NameCharacter { code: 0 }),
    ];
    for (url, error) in cases {
        assert_eq!(parse_tc_url(url, "", 255), Err(error), "{url}");
    }
}

#[test]
fn stream_names() {
    let name = parse_stream_name(" /a/b?token=1&vhost=v ", "live", 255).unwrap();
    assert_eq!(name.name, "a/b");
    assert_eq!(name.params[0], ("token".to_owned(), "1".to_owned()));
    assert_eq!(
        parse_stream_name("s...vhost...v", "live", 255).unwrap().params,
        [("vhost".to_owned(), "v".to_owned())]
    );
    assert_eq!(parse_stream_name("übung-日本", "live", 255).unwrap().name, "übung-日本");
    let long = "x".repeat(256);
    let cases = [
        ("", UrlError::EmptyName),
        ("?a=b", UrlError::EmptyName),
        ("../../etc/cron.d/x", UrlError::NameDot),
        ("..%2fx", UrlError::NameDot),
        ("a%2F..%2fx", UrlError::NameEncoded),
        ("a%00", UrlError::NameEncoded),
        ("..\\x", UrlError::NameCharacter { code: 0x5C }),
        (".hidden", UrlError::NameDot),
        ("a//b", UrlError::EmptyName),
        ("a\nb", UrlError::NameCharacter { code: 10 }),
        ("a\u{1b}[2J", UrlError::NameCharacter { code: 27 }),
        ("a\u{202e}b", UrlError::NameCharacter { code: 0x202E }),
        ("a\u{fffd}", UrlError::NameCharacter { code: 0xFFFD }),
        (long.as_str(), UrlError::NameTooLong { len: 256 }),
    ];
    for (stream, error) in cases {
        assert_eq!(parse_stream_name(stream, "live", 255), Err(error), "{stream:?}");
    }
}

#[test]
fn names_as_they_are_meant() {
    let cases = [
        ("cam\r\n", "cam", ""),
        ("\tcam?token=x\r\n", "cam", "token=x"),
        ("rtmp://10.0.0.1/live/cam", "cam", ""),
        ("rtmp://user:pass@10.0.0.1:1935/live/cam?token=x", "cam", "token=x"),
        ("RTMPS://h/live/a/b\n", "a/b", ""),
        ("rtmp://h/other/cam", "cam", ""),
        ("rtmp://h/live/cam...vhost...v.w", "cam", "vhost=v.w"),
        ("cam...token...x", "cam", "token=x"),
        ("cam...token=x", "cam", "token=x"),
        ("cam,vhost=v.w", "cam", "vhost=v.w"),
        ("wait...what", "wait...what", ""),
        ("a...", "a...", ""),
    ];
    for (text, name, params) in cases {
        let parsed = parse_stream_name(text, "live", 255).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let seen: Vec<String> = parsed.params.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!((parsed.name.as_str(), seen.join("&").as_str()), (name, params), "{text:?}");
    }
    assert_eq!(parse_stream_name("rtmp://h/", "live", 255), Err(UrlError::EmptyName));
    assert_eq!(parse_stream_name("rtmp://h/live/../x", "live", 255), Err(UrlError::NameDot));
    let error = parse_stream_name("\u{fffd}", "live", 255).unwrap_err().to_string();
    assert!(error.contains("not UTF-8") && error.contains("GBK"), "{error}");
}

#[test]
fn vhosts_in_every_spelling_of_the_reference() {
    check("rtmp://h/live?domain=v.w", "", "h", 1935, "v.w", "live", &[]);
    check("rtmp://h/live?domain=a.b&vhost=v.w", "", "h", 1935, "v.w", "live", &[("domain", "a.b")]);
    check("rtmp://h/live?domain=a/b", "", "h", 1935, "h", "live", &[("domain", "a/b")]);
    check("rtmp://h/live...domain...v.w", "", "h", 1935, "v.w", "live", &[]);
    check("rtmp://h/live,vhost=v.w", "", "h", 1935, "v.w", "live", &[]);
    check("rtmp://h/live,vhost,v.w", "", "h", 1935, "v.w", "live", &[]);
    check("rtmp://h/live?key=x,vhost=v.w", "", "h", 1935, "v.w", "live", &[("key", "x")]);
    check("rtmp://h/live?vhost?v.w", "", "h", 1935, "v.w", "live", &[]);
    check("rtmp://h/live?key=a,b", "", "h", 1935, "h", "live", &[("key", "a,b")]);
    check("rtmp://h/live", "live?domain=v.w", "h", 1935, "v.w", "live", &[]);
    check("rtmp://h/live", "live...vhost...v.w", "h", 1935, "v.w", "live", &[]);
    check("rtmp://h/live\r\n", "live\r\n", "h", 1935, "h", "live", &[]);
    check("rtmp://h/live", "rtmp://h/live", "h", 1935, "h", "live", &[]);
    check("rtmp://h/live/_definst_", "live/_definst_", "h", 1935, "h", "live", &[]);
    check("rtmp://user:secret@h/live", "", "h", 1935, "h", "live", &[]);
    let asked = |text: &str| vhost_of(&parse_stream_name(text, "live", 255).unwrap().params);
    for text in [
        "s?vhost=V.w",
        "s?Vhost=v.w/",
        "s?domain=v.w",
        "s...vhost...v.w",
        "s?token=x&domain=v.w",
        "s,vhost=v.w",
    ] {
        assert_eq!(asked(text), Ok(Some("v.w".to_owned())), "{text}");
    }
    assert_eq!(asked("s?token=x"), Ok(None));
    assert_eq!(asked("s?vhost=a/b"), Err(UrlError::BadVhost));
}

#[test]
fn secrets_are_masked() {
    let cases = [
        ("rtmp://h/live?token=secret&vhost=v", "rtmp://h/live?token=***&vhost=v"),
        ("stream?token=secret", "stream?token=***"),
        ("rtmp://h/live...token...secret", "rtmp://h/live?token=***"),
        ("plain", "plain"),
        ("rtmp://user:pass@h:1935/live", "rtmp://***@h:1935/live"),
        ("rtmp://user:p@ss@h/live?a=b", "rtmp://***@h/live?a=***"),
        ("rtmp://user:pass@h", "rtmp://***@h"),
        ("rtmp://user:p/a?s@h:1935/live?a=b", "rtmp://***@h:1935/live?a=***"),
        ("rtmp://user@[::1]:1935/live", "rtmp://***@[::1]:1935/live"),
        ("rtmp://[::1]/at@home", "rtmp://[::1]/at@home"),
        ("http://page/at@home?session=secret#secret", "http://page/at@home?session=***#***"),
        ("rtmp://h/live?secret&a=b", "rtmp://h/live?***&a=***"),
        ("http://page/?0123456789abcdef0123456789abcdef", "http://page/?***"),
        ("http://page/?vhost=a/secret", "http://page/?vhost=***"),
        ("rtmp://h/live;token=secret", "rtmp://h/live?token=***"),
        ("rtmp://h/live?vhost=v.w%26token%3Dsecret", "rtmp://h/live?vhost=v.w&token=***"),
        ("rtmp://user:p#ss@h/live", "rtmp://***@h/live"),
        ("name?token=secret://x", "name?token=***"),
        ("http://page/a=b", "http://page/a=b"),
    ];
    for (url, masked) in cases {
        assert_eq!(mask_query(url), masked);
    }
}

/// What parameters stand behind, and their equals sign: plain, escaped once, escaped twice.
fn signs() -> Vec<(String, &'static str)> {
    let signs = [('?', "3F"), ('&', "26"), (';', "3b"), ('#', "23")];
    let written = signs.iter().flat_map(|(plain, code)| {
        [
            plain.to_string(),
            format!("%{code}"),
            format!("%25{code}"),
            format!("&{plain}"),
            format!("%2525{code}"),
        ]
    });
    written.flat_map(|sign| ["=", "%3D", "%253d"].map(|equals| (sign.clone(), equals))).collect()
}

proptest::proptest! {
    /// Wherever a secret stands in a URL but in its host, application and name, it is not in what is shown.
    #[test]
    fn a_secret_never_comes_through(
        secret in "[a-zA-Z0-9+/_.~-]{6,38}={0,2}",
        key in "[a-zA-Z][a-zA-Z0-9_-]{0,20}",
        port in proptest::option::of(1..65_535_u16),
    ) {
        let secret = format!("zQ9{secret}");
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        let forms = [
            format!("rtmp://user:{secret}@host.example{port}/live/name"),
            format!("rtmp://{}@host.example{port}/live", secret.replace(['/', '='], "x")),
            format!("rtmp://host.example{port}/live/name?{key}={secret}"),
            format!("rtmp://host.example{port}/live/name?a=b&{key}={secret}&c=d"),
            format!("rtmp://host.example{port}/live?{secret}"),
            format!("rtmp://host.example{port}/live?a=b&{secret}"),
            format!("http://host.example{port}/page#{secret}"),
            // Behind dots something else begins, and what stands before them is a vhost, which is shown.
            format!("http://host.example{port}/page?vhost={}/x", secret.replace("...", "x")),
            format!("rtmp://host.example{port}/live...{key}...{}", secret.replace('.', "x")),
            format!("name?{key}={secret}"),
            format!("name...{key}...{}", secret.replace('.', "x")),
            format!("rtmp://user:#{secret}@host.example{port}/live/name"),
        ];
        let behind_signs = signs().into_iter().flat_map(|(sign, equals)| {
            let secret = format!("{sign}{key}{equals}{secret}");
            [
                format!("rtmp://host.example{port}/live{secret}"),
                format!("rtmp://host.example{port}/live/name{secret}"),
                format!("rtmp://host.example{port}/live?vhost=v.w{secret}"),
                format!("rtmp://host.example{port}/live?vhost=v.w{sign}vhost{equals}v.w{secret}"),
                format!("http://host.example{port}/page;x{secret}"),
                format!("name{secret}"),
                format!("name{secret}://x"),
            ]
        });
        for url in forms.into_iter().chain(behind_signs) {
            let shown = mask_query(&url);
            proptest::prop_assert!(!shown.contains("zQ9"), "{} shows {}", url, shown);
        }
    }

    /// Nor is it in an application, a vhost or a stream name, which stand in logs, lists and names of files.
    #[test]
    fn a_secret_is_in_no_name(secret in "[a-zA-Z0-9+/_~-]{6,38}={0,2}", key in "[a-zA-Z][a-zA-Z0-9_-]{0,20}") {
        for (sign, equals) in signs() {
            let param = format!("{sign}{key}{equals}zQ9{secret}");
            for name in [format!("cam{param}"), format!("cam;1{param}"), format!("rtmp://h/live/cam{param}")] {
                let parsed = parse_stream_name(&name, "live", 255).unwrap();
                proptest::prop_assert!(!parsed.name.contains("zQ9"), "{} is {}", name, parsed.name);
                proptest::prop_assert!(format!("{:?}", parsed.params).contains("zQ9"), "{} loses it", name);
            }
            for app in [format!("live{param}"), format!("live?vhost=v.w{param}")] {
                let urls = [(format!("rtmp://h/{app}"), ""), ("rtmp://h/live".to_owned(), &*app)];
                for (tc_url, app) in urls {
                    let target = parse_tc_url(&tc_url, app, 255).unwrap();
                    let shown = format!("{} {} {}", target.host, target.vhost, target.app);
                    proptest::prop_assert!(!shown.contains("zQ9"), "{} {} is {}", tc_url, app, shown);
                }
            }
        }
    }

    #[test]
    fn any_text_is_read_without_harm(text in ".{0,120}", app in ".{0,40}") {
        let _ = parse_tc_url(&text, &app, 255);
        let _ = mask_query(&text);
        if let Ok(name) = parse_stream_name(&text, &app, 255) {
            proptest::prop_assert_eq!(check_name(&name.name, 255), Ok(()));
            let _ = vhost_of(&name.params);
        }
    }
}

/// Some libraries escape a name with its parameters as a whole.
#[test]
fn parameters_that_are_escaped_as_a_whole_are_parameters() {
    for name in ["u7%3Ftoken%3DSECRET%26b%3d1", "u7%3ftoken=SECRET&b=1", "u7?token=SECRET&b=1"] {
        let parsed = parse_stream_name(name, "live", 255).unwrap();
        assert_eq!(parsed.name, "u7", "{name}");
        let params = [("token", "SECRET"), ("b", "1")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(parsed.params, params, "{name}");
        assert_eq!(mask_query(name), "u7?token=***&b=***", "{name}");
    }
    // What else a name may have to be told from them.
    for name in [
        "who%3F", "a=b", "cam;1", "a&b", "Q&A", "cam#1", "cam%231", "cam%26", "a;b/c=d", "50%25", "x[1]{2}",
        "1;2#3&4",
    ] {
        assert_eq!(parse_stream_name(name, "live", 255).unwrap().name, name);
        assert_eq!(mask_path(name), name);
    }
    for (written, name, params) in [
        ("cam%253Ftoken%253DS%2526b%253D1", "cam", "token=S b=1"),
        ("cam;token=S;b=1", "cam", "token=S b=1"),
        ("cam&token=a%3D%3D", "cam", "token=a%3D%3D"),
        ("cam#token=S;1", "cam", "token=S;1"),
        ("cam;1;token=S", "cam;1", "token=S"),
        ("cam&amp;token=S", "cam&amp", "token=S"),
        ("cam%3F&token=S", "cam", "token=S"),
        ("cam;?S", "cam", "S="),
        ("rtmp://u:a&b=c@h/live/cam;token=S", "cam", "token=S"),
        ("cam,vhost=v.w;token=S", "cam", "vhost=v.w token=S"),
        ("cam?vhost=v.w%26token%3DS", "cam", "vhost=v.w token=S"),
        ("cam?a=b;token=S", "cam", "a=b;token=S"),
    ] {
        let parsed = parse_stream_name(written, "live", 255).unwrap();
        let seen: Vec<String> = parsed.params.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!((parsed.name.as_str(), seen.join(" ").as_str()), (name, params), "{written}");
    }
    check("rtmp://user:a&b=c@h/live", "", "h", 1935, "h", "live", &[]);
    check("rtmp://h/live;token=S", "live;token=S", "h", 1935, "h", "live", &[("token", "S")]);
    assert_eq!(parse_stream_name("who%3F", "live", 255).unwrap().name, "who%3F");
    check("rtmp://h/live%3Fkey%3Dx", "live%3Fkey%3Dx", "h", 1935, "h", "live", &[("key", "x")]);
}
