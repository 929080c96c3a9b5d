//! The `connect` command: what a client says of itself, and what the server answers.

use super::error::SessionError;
use super::event::ConnectRequest;
use super::server::{Identity, missing};
use crate::command::Command;
use crate::limits::Limits;
use crate::url;
use amf0::Value;

/// Enhanced RTMP `capsEx` that hold for any relay: multitrack, extended modifiers, nanosecond offsets.
const CAPS_EX: u32 = 0x02 | 0x04 | 0x08;

/// Enhanced RTMP: a codec can be forwarded, though neither decoded nor encoded.
const CAN_FORWARD: u32 = 0x04;

/// Reads a `connect`; properties that decide something must be there once and be strings.
pub(super) fn parse(
    command: &Command,
    request: u64,
    limits: &Limits,
) -> Result<ConnectRequest, SessionError> {
    let Some(object) = command.args.first().filter(|object| object.properties().is_some()) else {
        return Err(missing(command, SessionError::Property { property: "tcUrl" }));
    };
    let tc_url = deciding(object, "tcUrl")?.ok_or(SessionError::Property { property: "tcUrl" })?;
    let app = deciding(object, "app")?.unwrap_or_default();
    let target = url::parse_tc_url(tc_url, app, limits.max_name_bytes)?;
    let text = |key| object.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = object.get("objectEncoding").and_then(Value::as_f64).filter(|number| number.is_finite());
    let four_cc_list = object.get("fourCcList").and_then(Value::elements).unwrap_or_default();
    Ok(ConnectRequest {
        request,
        tc_url: tc_url.to_owned(),
        app: app.to_owned(),
        target,
        page_url: text("pageUrl"),
        swf_url: text("swfUrl"),
        flash_ver: text("flashVer"),
        object_encoding: number.unwrap_or_default(),
        four_cc_list: four_cc_list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        caps_ex: object.get("capsEx").and_then(Value::as_u32),
        video_four_cc_info: info_map(object, "videoFourCcInfoMap"),
        audio_four_cc_info: info_map(object, "audioFourCcInfoMap"),
        args: command.args.get(1).and_then(Value::properties).map(<[_]>::to_vec).unwrap_or_default(),
    })
}

/// A property that decides something: absent or null, or one string.
fn deciding<'a>(object: &'a Value, property: &'static str) -> Result<Option<&'a str>, SessionError> {
    match (object.count(property), object.get(property)) {
        (0, _) => Ok(None),
        (1, Some(value)) if value.is_null() => Ok(None),
        (1, Some(value)) => value.as_str().map(Some).ok_or(SessionError::Property { property }),
        _ => Err(SessionError::Property { property }),
    }
}

fn info_map(object: &Value, key: &str) -> Vec<(String, u32)> {
    let properties = object.get(key).and_then(Value::properties).unwrap_or_default();
    properties.iter().filter_map(|(key, value)| Some((key.clone(), value.as_u32()?))).collect()
}

/// The two objects of a successful `_result`.
pub(super) fn success(request: &ConnectRequest, identity: &Identity) -> [Value; 2] {
    let mut properties: Vec<(String, Value)> = vec![
        ("fmsVer".into(), "FMS/3,5,3,888".into()),
        ("capabilities".into(), Value::Number(127.0)),
        ("mode".into(), Value::Number(1.0)),
    ];
    let enhanced = request.caps_ex.is_some()
        || !request.four_cc_list.is_empty()
        || !request.video_four_cc_info.is_empty()
        || !request.audio_four_cc_info.is_empty();
    if enhanced {
        let all = || Value::object([("*", CAN_FORWARD.into())]);
        properties.push(("capsEx".into(), CAPS_EX.into()));
        properties.push(("fourCcList".into(), Value::StrictArray(vec!["*".into()])));
        properties.push(("videoFourCcInfoMap".into(), all()));
        properties.push(("audioFourCcInfoMap".into(), all()));
    }
    let id = identity.id as f64;
    let data = [
        ("version", "3,5,3,888".into()),
        ("srs_sig", "SRS".into()),
        ("srs_server", Value::String(format!("SRS/{}", identity.version))),
        ("srs_license", "MIT".into()),
        ("srs_role", "origin/edge server".into()),
        ("srs_url", "https://github.com/winlinvip/simple-rtmp-server".into()),
        ("srs_version", identity.version.clone().into()),
        ("srs_site", "".into()),
        ("srs_email", "".into()),
        ("srs_copyright", "".into()),
        ("srs_primary", "winlin".into()),
        ("srs_authors", "wenjie.zhao".into()),
        ("srs_server_ip", identity.server_ip.clone().into()),
        ("srs_pid", identity.pid.into()),
        ("srs_id", Value::Number(id)),
    ];
    let info = Value::object([
        ("level", "status".into()),
        ("code", "NetConnection.Connect.Success".into()),
        ("description", "Connection succeeded".into()),
        ("objectEncoding", Value::Number(request.object_encoding)),
        ("data", Value::EcmaArray(data.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
    ]);
    [Value::Object(properties), info]
}
