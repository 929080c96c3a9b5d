//! The objects and data messages that answer commands: levels, codes and texts that players look for.

use amf0::Value;

/// Flash's programs want a client id in statuses; its text is of no consequence.
const CLIENT_ID: &str = "ASAICiss";

/// A status object: level, code, description.
#[must_use]
pub fn status(level: &str, code: &str, description: &str) -> Value {
    Value::object([("level", level.into()), ("code", code.into()), ("description", description.into())])
}

/// A status of level `error`.
#[must_use]
pub fn error(code: &str, description: &str) -> Value {
    status("error", code, description)
}

fn with(mut object: Value, more: &[(&str, &str)]) -> Value {
    if let Value::Object(properties) = &mut object {
        properties.extend(more.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))));
    }
    object
}

/// A play is about to begin.
#[must_use]
pub fn play_reset() -> Value {
    let status = status("status", "NetStream.Play.Reset", "Playing and resetting stream.");
    with(status, &[("details", "stream"), ("clientid", CLIENT_ID)])
}

/// A play begins.
#[must_use]
pub fn play_start() -> Value {
    let status = status("status", "NetStream.Play.Start", "Started playing stream.");
    with(status, &[("details", "stream"), ("clientid", CLIENT_ID)])
}

/// A play has ended.
#[must_use]
pub fn play_stop() -> Value {
    status("status", "NetStream.Play.Stop", "Stopped playing stream.")
}

/// The played stream is not published any more.
#[must_use]
pub fn play_unpublish_notify() -> Value {
    status("status", "NetStream.Play.UnpublishNotify", "Stream is no longer published.")
}

/// A seek took place.
#[must_use]
pub fn seek_notify() -> Value {
    status("status", "NetStream.Seek.Notify", "Seeking stream.")
}

/// A play is paused, or goes on.
#[must_use]
pub fn pause_notify(paused: bool) -> Value {
    if paused {
        status("status", "NetStream.Pause.Notify", "Paused stream.")
    } else {
        status("status", "NetStream.Unpause.Notify", "Unpaused stream.")
    }
}

/// A publish begins.
#[must_use]
pub fn publish_start() -> Value {
    let status = status("status", "NetStream.Publish.Start", "Started publishing stream.");
    with(status, &[("clientid", CLIENT_ID)])
}

/// The same for the `onFCPublish` command.
#[must_use]
pub fn fc_publish() -> Value {
    Value::object([
        ("code", "NetStream.Publish.Start".into()),
        ("description", "Started publishing stream.".into()),
    ])
}

/// A publish has ended.
#[must_use]
pub fn unpublish() -> Value {
    let status = status("status", "NetStream.Unpublish.Success", "Stream is now unpublished");
    with(status, &[("clientid", CLIENT_ID)])
}

/// The same for the `onFCUnpublish` command.
#[must_use]
pub fn fc_unpublish() -> Value {
    Value::object([
        ("code", "NetStream.Unpublish.Success".into()),
        ("description", "Stop publishing stream.".into()),
    ])
}

/// AMF0 of the data message that lets Flash look into pictures and sound.
#[must_use]
pub fn sample_access() -> Vec<u8> {
    data(&["|RtmpSampleAccess".into(), true.into(), true.into()])
}

/// AMF0 of the data message that announces data.
#[must_use]
pub fn data_start() -> Vec<u8> {
    data(&["onStatus".into(), Value::object([("code", "NetStream.Data.Start".into())])])
}

fn data(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    amf0::encode_all(values, &mut out);
    out
}
