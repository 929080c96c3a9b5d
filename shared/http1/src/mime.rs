//! What a file is, by the end of its name.

/// The type of a file with this name.
#[must_use]
pub fn of(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match ending.as_str() {
        "ts" => "video/MP2T",
        "m3u8" => "application/vnd.apple.mpegurl",
        "mpd" => "application/dash+xml",
        "flv" | "fhv" => "video/x-flv",
        "mp4" | "m4v" => "video/mp4",
        "m4s" => "video/iso.segment",
        "m4a" => "audio/mp4",
        "aac" => "audio/aac",
        "mp3" => "audio/mpeg",
        "ogg" | "opus" => "audio/ogg",
        "webm" => "video/webm",
        "vtt" => "text/vtt;charset=utf-8",
        "html" | "htm" => "text/html;charset=utf-8",
        "css" => "text/css;charset=utf-8",
        "js" | "mjs" => "text/javascript;charset=utf-8",
        "json" | "map" => "application/json;charset=utf-8",
        "xml" => "text/xml;charset=utf-8",
        "txt" | "log" | "md" => "text/plain;charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "wasm" => "application/wasm",
        "swf" => "application/x-shockwave-flash",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        // A page only where a name says so: nothing that was uploaded is run in a browser by accident.
        _ => "application/octet-stream",
    }
}

/// Whether bodies of this type become smaller by compression.
#[must_use]
pub fn is_text(mime: &str) -> bool {
    mime.starts_with("text/")
        || ["mpegurl", "json", "xml", "javascript"].iter().any(|word| mime.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types() {
        assert_eq!(
            (of("a.b.TS"), of("x.m3u8"), of("none")),
            ("video/MP2T", "application/vnd.apple.mpegurl", "application/octet-stream")
        );
        assert!(is_text(of("a.m3u8")) && is_text(of("a.html")) && !is_text(of("a.ts")));
    }
}
