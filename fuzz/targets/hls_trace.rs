//! Paths that strangers ask for: of which stream they are is found, or nothing, and both ways agree with the template.

use hls::Trace;
use media::StreamKey;

/// One input: a template, a line feed, a path.
pub(crate) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (template, path) = text.split_once('\n').unwrap_or(("[app]/[stream]-[seq].ts", &text));
    let Some(trace) = Trace::new(template, "v") else { return };
    for (app, stream) in trace.find(path).into_iter().chain(trace.find_plain(path)) {
        assert!(!app.is_empty() && !stream.is_empty());
        // What was found is found again, whatever it consists of.
        let key = StreamKey { vhost: "v".into(), app, stream };
        let again = hls::of_key(&key);
        assert_eq!(
            hls::of_key(&StreamKey { vhost: "v".into(), app: again.0.clone(), stream: again.1.clone() }),
            again
        );
    }
}
