//! What a server has to hear once per connection: metadata and decoder configuration. Knows which of them the file
//! brought so far and which the present connection was told.

use bytes::Bytes;
use flv::file::Tag;
use media::Kind;

use super::is_metadata;
use crate::error::ClientError;
use crate::publisher::Publisher;

/// What a tag is to the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// `onMetaData`.
    Metadata,
    /// Decoder configuration.
    Configuration,
    /// A picture that a decoder can begin with.
    KeyFrame,
    /// Any other picture or sound.
    Frame,
    /// What says that the stream ends, which one that is repeated does not.
    End,
    /// Any other data.
    Other,
}

/// Metadata and decoder configuration.
#[derive(Debug, Default)]
pub(super) struct Headers {
    metadata: Header,
    video: Header,
    audio: Header,
    /// Pictures are left out until the next key frame.
    awaits_key_frame: bool,
}

#[derive(Debug, Default)]
struct Header {
    body: Option<Bytes>,
    told: bool,
}

impl Headers {
    pub(super) fn role(&self, tag: &Tag) -> Role {
        if is_metadata(tag) {
            return Role::Metadata;
        }
        let info = flv::classify(tag.kind, &tag.body);
        match tag.kind {
            Kind::Data => Role::Other,
            _ if info.sequence_header && info.track == 0 => Role::Configuration,
            _ if info.end_of_sequence => Role::End,
            _ if info.key_frame => Role::KeyFrame,
            _ => Role::Frame,
        }
    }

    /// Tells a fresh connection what is known. If there is anything, this is not the first connection: pictures then
    /// wait for a key frame.
    pub(super) fn send_known(&mut self, publisher: &mut Publisher, time: u32) -> Result<(), ClientError> {
        self.awaits_key_frame = self.video.body.is_some();
        for (kind, header) in
            [(Kind::Data, &mut self.metadata), (Kind::Video, &mut self.video), (Kind::Audio, &mut self.audio)]
        {
            header.told = false;
            let Some(body) = &header.body else { continue };
            match kind {
                Kind::Data => publisher.send_metadata(time, body)?,
                _ => publisher.send(kind, time, body)?,
            }
            header.told = true;
        }
        Ok(())
    }

    /// Whether the tag is to be sent now, and as what.
    pub(super) fn admit(&mut self, tag: &Tag) -> Option<Role> {
        let role = self.role(tag);
        let news = match role {
            Role::Metadata => self.metadata.is_news(&tag.body),
            Role::Configuration if tag.kind == Kind::Video => self.video.is_news(&tag.body),
            Role::Configuration => self.audio.is_news(&tag.body),
            Role::KeyFrame => {
                self.awaits_key_frame = false;
                true
            }
            Role::Frame => tag.kind == Kind::Audio || !self.awaits_key_frame,
            Role::End | Role::Other => true,
        };
        news.then_some(role)
    }
}

impl Header {
    fn is_news(&mut self, body: &Bytes) -> bool {
        let news = !self.told || self.body.as_ref() != Some(body);
        self.body = Some(body.clone());
        self.told = true;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: Kind, body: &'static [u8]) -> Tag {
        Tag { kind, timestamp_ms: 0, body: Bytes::from_static(body) }
    }

    #[test]
    fn headers_are_told_once_unless_they_change() {
        let mut headers = Headers::default();
        let configuration = tag(Kind::Video, &[0x17, 0, 0, 0, 0, 1]);
        let changed = tag(Kind::Video, &[0x17, 0, 0, 0, 0, 2]);
        assert_eq!(headers.admit(&configuration), Some(Role::Configuration));
        assert_eq!(headers.admit(&configuration), None);
        assert_eq!(headers.admit(&changed), Some(Role::Configuration));
        let metadata = tag(Kind::Data, b"\x02\x00\x0aonMetaData\x05");
        assert_eq!(headers.admit(&metadata), Some(Role::Metadata));
        assert_eq!(headers.admit(&metadata), None);
        let cue = tag(Kind::Data, b"\x02\x00\x03cue");
        assert_eq!((headers.admit(&cue), headers.admit(&cue)), (Some(Role::Other), Some(Role::Other)));
    }

    #[test]
    fn pictures_wait_for_a_key_frame_and_sounds_do_not() {
        let mut headers = Headers { awaits_key_frame: true, ..Headers::default() };
        assert_eq!(headers.admit(&tag(Kind::Video, &[0x27, 1, 0, 0, 0])), None);
        assert_eq!(headers.admit(&tag(Kind::Audio, &[0xaf, 1])), Some(Role::Frame));
        assert_eq!(headers.admit(&tag(Kind::Video, &[0x17, 1, 0, 0, 0])), Some(Role::KeyFrame));
        assert_eq!(headers.admit(&tag(Kind::Video, &[0x27, 1, 0, 0, 0])), Some(Role::Frame));
    }
}
