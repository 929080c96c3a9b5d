//! What publishers say of colours beside the configuration of pictures (Enhanced RTMP v2, metadata frames): a name and an object.

use amf0::{Limits, Value};
use mp4::{Colours, Mastering};

/// What a metadata frame says: its colours, or that there are none; `None` when it is of something else.
pub(crate) fn read(metadata: &[u8]) -> Option<Option<Colours>> {
    let values = amf0::decode_all(metadata, &Limits::default()).ok()?;
    let [name, value, ..] = values.as_slice() else { return None };
    if name.as_str()? != "colorInfo" {
        return None;
    }
    let colours = Colours {
        meaning: value.get("colorConfig").and_then(meaning),
        mastering: value.get("hdrMdcv").and_then(mastering),
        light: value.get("hdrCll").and_then(|light| {
            let of = |name| scaled(light, name, 1.0).and_then(|value| u16::try_from(value).ok());
            Some([of("maxCLL")?, of("maxFall")?])
        }),
    };
    Some(Some(colours).filter(|colours| *colours != Colours::default()))
}

/// A number in units of `unit`.
fn scaled(value: &Value, name: &str, unit: f64) -> Option<u32> {
    let value = value.get(name)?.as_f64()? / unit;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    (0.0..=f64::from(u32::MAX)).contains(&value).then(|| value.round() as u32)
}

/// What is not said is unspecified, which has number 2.
fn meaning(config: &Value) -> Option<[u16; 3]> {
    let of = |name| scaled(config, name, 1.0).and_then(|value| u16::try_from(value).ok());
    let all = ["colorPrimaries", "transferCharacteristics", "matrixCoefficients"].map(of);
    all.iter().any(Option::is_some).then(|| all.map(|value| value.unwrap_or(2)))
}

fn mastering(display: &Value) -> Option<Mastering> {
    let point = |x, y| {
        let of = |name| scaled(display, name, 0.000_02).and_then(|value| u16::try_from(value).ok());
        Some([of(x)?, of(y)?])
    };
    let points = [
        point("greenX", "greenY")?,
        point("blueX", "blueY")?,
        point("redX", "redY")?,
        point("whitePointX", "whitePointY")?,
    ];
    let light = |name| scaled(display, name, 0.0001);
    Some(Mastering { points, luminance: [light("maxLuminance")?, light("minLuminance")?] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        amf0::encode_all([&Value::String("colorInfo".to_owned()), value], &mut out);
        out
    }

    #[test]
    fn what_is_said_is_read_and_nonsense_is_left_out() {
        let number = |name: &str, value: f64| (name.to_owned(), Value::Number(value));
        let light = Value::object([number("maxCLL", 1000.0), number("maxFall", 400.4)]);
        let config = Value::object([number("colorPrimaries", 9.0), number("transferCharacteristics", 1e9)]);
        let all = Value::object([
            ("hdrCll", light),
            ("colorConfig", config),
            ("hdrMdcv", Value::object([number("redX", f64::NAN)])),
        ]);
        let wanted = Colours { meaning: Some([9, 2, 2]), mastering: None, light: Some([1000, 400]) };
        assert_eq!(read(&frame(&all)), Some(Some(wanted)));
        assert_eq!(read(&frame(&Value::Undefined)), Some(None));
        assert_eq!(read(b"\x02\0\x09colorInfo"), None);
        assert_eq!(read(b"\x02\0\x05other\x05"), None);
    }
}
