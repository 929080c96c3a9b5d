//! The further tracks of a stream: each is packed for itself, and cut where the first pictures are cut, so that all lists have the
//! same numbers, lengths and discontinuities.

use std::collections::HashMap;

use hls::member::{Choices, Rendition, Variant};
use hls::{END, Member};
use media::Kind;
use remux::{AccessUnit, TrackSet, TsPackager};

use super::cutting::Cutting;
use super::{GATHER_MS, HlsStream, MAX_SEGMENT_BYTES};
use hls::uri::relative;

/// A further track.
#[derive(Debug)]
struct Further {
    member: Member,
    /// What its segments have.
    track_set: TrackSet,
    packager: TsPackager,
    /// The segment that is open.
    open: Option<Open>,
    /// No segment of this publish has begun: the first may begin in mid-stream, with a sound.
    is_beginning: bool,
    /// Its segments have begun without a key frame, which was said.
    is_told: bool,
}

#[derive(Debug)]
struct Open {
    bytes: Vec<u8>,
    has_pictures: bool,
    /// It is the first of its publish.
    is_first: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Renditions(Vec<Further>);

/// The tracks that a member has.
fn tracks_of(member: Member, track_set: &TrackSet) -> TrackSet {
    match member {
        Member::Main => track_set.only(Some(0), Some(0)),
        Member::Video(track) => track_set.only(Some(track), Some(0)),
        Member::Audio(track) => track_set.only(None, Some(track)),
    }
}

impl Further {
    fn new(member: Member) -> Self {
        let packager = TsPackager::new(GATHER_MS);
        Self {
            member,
            track_set: TrackSet::default(),
            packager,
            open: None,
            is_beginning: true,
            is_told: false,
        }
    }

    fn begin(&mut self, absolute: bool) {
        let mut bytes = Vec::new();
        if absolute {
            self.packager.begin_anew(&self.track_set, &mut bytes);
        } else {
            self.packager.begin(&self.track_set, &mut bytes);
        }
        self.packager.owe_sets();
        self.open =
            Some(Open { bytes, has_pictures: false, is_first: std::mem::take(&mut self.is_beginning) });
    }

    /// What it has of a packet.
    fn own(&self, coded: &AccessUnit) -> Option<AccessUnit> {
        let is_own = match (self.member, coded.kind) {
            (Member::Video(track), Kind::Video) | (Member::Audio(track), Kind::Audio) => coded.track == track,
            (Member::Video(_), Kind::Audio) => coded.track == 0,
            _ => false,
        };
        is_own.then(|| AccessUnit { track: 0, ..coded.clone() })
    }
}

impl Renditions {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = Member> {
        self.0.iter().map(|further| further.member)
    }

    /// Whether there is one that has this track.
    pub(crate) fn has(&self, kind: Kind, track: u8) -> bool {
        self.members().any(|member| member == Member::of(kind, track))
    }

    /// The tracks are these: others go.
    pub(crate) fn retain(&mut self, track_set: &TrackSet) {
        let has = |member| match member {
            Member::Video(track) => track_set.further(Kind::Video).any(|known| known == track),
            Member::Audio(track) => track_set.further(Kind::Audio).any(|known| known == track),
            Member::Main => false,
        };
        self.0.retain(|further| has(further.member));
        self.0.iter_mut().for_each(|further| further.is_beginning = true);
    }

    /// The tracks are these, or more is known of them. Where a segment is open, new ones are begun in it if they may. Whether one
    /// that was there before is another now.
    pub(crate) fn review(
        &mut self,
        track_set: &TrackSet,
        may_grow: bool,
        open: bool,
        absolute: bool,
    ) -> bool {
        let mut is_other = false;
        for kind in [Kind::Video, Kind::Audio] {
            for track in track_set.further(kind).filter(|track| track_set.fits_ts(kind, *track)) {
                let member = Member::of(kind, track);
                if !self.has(kind, track) && may_grow {
                    let mut further = Further::new(member);
                    further.track_set = tracks_of(member, track_set);
                    if open {
                        further.begin(absolute);
                    }
                    self.0.push(further);
                    self.0.sort_by_key(|further| further.member);
                }
            }
        }
        for further in &mut self.0 {
            let tracks = tracks_of(further.member, track_set);
            if further.track_set == tracks {
                continue;
            }
            is_other |= !tracks.extends(&further.track_set);
            further.track_set = tracks;
            if let Some(open) = &mut further.open {
                further.packager.begin(&further.track_set, &mut open.bytes);
            }
        }
        is_other
    }

    /// A segment begins.
    pub(crate) fn begin(&mut self, absolute: bool) {
        self.0.iter_mut().for_each(|further| further.begin(absolute));
    }

    /// Packs a packet for all who have it. Returns how many could not, and the members that are to be told of because their
    /// segments begin without a key frame (but for the first of a publish).
    pub(crate) fn push(&mut self, dts_ms: i64, coded: &AccessUnit) -> (u64, Vec<Member>) {
        let (mut refused, mut told) = (0, Vec::new());
        for further in &mut self.0 {
            let Some(own) = further.own(coded) else { continue };
            let Some(open) = &mut further.open else { continue };
            let is_full = open.bytes.len() > MAX_SEGMENT_BYTES;
            if is_full || further.packager.push(&further.track_set, dts_ms, &own, &mut open.bytes).is_err() {
                refused += 1;
                continue;
            }
            let is_first = own.kind == Kind::Video && !std::mem::replace(&mut open.has_pictures, true);
            if is_first && !own.is_key && !open.is_first && !std::mem::replace(&mut further.is_told, true) {
                told.push(further.member);
            }
        }
        (refused, told)
    }

    /// The segment ends: its bytes.
    pub(crate) fn end(&mut self) -> Vec<(Member, Vec<u8>)> {
        let ended = self.0.iter_mut().filter_map(|further| {
            let Open { mut bytes, .. } = further.open.take()?;
            further.packager.flush(&mut bytes);
            Some((further.member, bytes))
        });
        ended.collect()
    }

    /// What was gathered is not to be had: no segment was open long enough.
    pub(crate) fn drop_open(&mut self) {
        self.0.iter_mut().for_each(|further| further.open = None);
    }

    fn track_set(&self, member: Member) -> Option<&TrackSet> {
        self.0.iter().find(|further| further.member == member).map(|further| &further.track_set)
    }
}

impl HlsStream {
    /// Whether the stream's list is a list of lists.
    pub(crate) fn is_several(&self) -> bool {
        self.is_several
    }

    /// Whether there are further tracks that players can choose.
    pub(crate) fn has_choice(&self) -> bool {
        self.is_several || !self.cutting.renditions.is_empty()
    }

    /// The names of its lists beside that of the first tracks.
    pub(crate) fn renditions(&self) -> Vec<String> {
        if !self.knows_tracks {
            return self.listed_members.iter().map(Member::to_string).collect();
        }
        self.cutting.renditions.members().map(|member| member.to_string()).collect()
    }

    /// The path of a member's list: that of the stream's list is the one of the first tracks, unless it is a list of lists.
    pub(crate) fn list_path_of(&self, member: Member) -> String {
        match member {
            Member::Main if !self.is_several => self.naming.list_path(),
            member => member.mark(&self.naming.list_path()),
        }
    }

    /// Whether a member's list has anything in it.
    pub(crate) fn has_listed(&self, member: Member) -> bool {
        let mut listed = self.playlist.listed();
        match member {
            Member::Main => listed.next().is_some(),
            member => listed.any(|listed| listed.segment.place.uri_of(member).is_some()),
        }
    }

    /// Whether what is published has a member; or had, where nobody has published since a former process died.
    pub(crate) fn is_current(&self, member: Member) -> bool {
        if member == Member::Main || self.cutting.renditions.members().any(|known| known == member) {
            return true;
        }
        let uri = relative(&self.naming.list_path(), &self.list_path_of(member));
        let former = &self.choices.former;
        let is_named = former.variants.is_empty()
            || former.variants.iter().any(|variant| variant.uri == uri)
            || former.renditions.iter().any(|rendition| rendition.uri.as_ref() == Some(&uri));
        !self.knows_tracks && is_named
    }

    /// The text of a member's list; `suffix` stands behind each name. That of a track that has gone says that nothing follows.
    pub(crate) fn text_of(&self, member: Member, suffix: &str) -> String {
        if member == Member::Main {
            return self.playlist.text("", suffix);
        }
        let mut text = self.playlist.text_of("", suffix, |segment| segment.place.uri_of(member));
        if !text.is_empty() && !text.ends_with(END) && !self.is_current(member) {
            text.push_str(END);
        }
        text
    }

    /// The text of the list of its lists; `suffix` stands behind each name.
    pub(crate) fn multivariant(&self, suffix: &str) -> String {
        if !self.knows_tracks && !self.choices.former.variants.is_empty() {
            // Nobody has published since: what was to be had still is.
            return self.choices.former.with_suffix(suffix).text();
        }
        let base = self.naming.list_path();
        let named = |member| relative(&base, &self.list_path_of(member));
        choices(&self.cutting, &self.choices.former, (&named, suffix), |member| self.rates.of(member)).text()
    }

    /// The list of lists is written last: what a former process said in it is no less than what its segments need.
    pub(crate) fn raise_former(&mut self) {
        let base = self.naming.list_path();
        let members = self.listed_members.iter().chain([&Member::Main]);
        let named =
            members.map(|member| (relative(&base, &self.list_path_of(*member)), self.rates.of(*member)));
        let rates: HashMap<String, u64> = named.collect();
        let rate = |uri: &str| rates.get(uri).copied().unwrap_or(0);
        let Choices { renditions, variants } = &mut self.choices.former;
        let sounds = renditions.iter().filter_map(|rendition| rendition.uri.as_deref()).map(rate).max();
        for variant in variants {
            variant.bandwidth = variant.bandwidth.max(rate(&variant.uri) + sounds.unwrap_or(0));
        }
    }
}

/// What the list of lists says: `named` is how each member's list is called from there, with the same behind each name; `rate_of` what a
/// member needed at most, bits per second. It promises no less than what a former process promised.
fn choices(
    cutting: &Cutting,
    former: &Choices,
    (named, suffix): (&dyn Fn(Member) -> String, &str),
    rate_of: impl Fn(Member) -> u64,
) -> Choices {
    let uri = |member| format!("{}{suffix}", named(member));
    let mut renditions = Vec::new();
    let has_sound = cutting.track_set.ts_tracks().audio(0).is_some();
    if has_sound {
        renditions.push(Rendition { uri: None, track: 0, channels: cutting.track_set.channels() });
    }
    let (mut codecs, mut rate) = (vec![], 0);
    for member in cutting.renditions.members() {
        if let (Member::Audio(track), Some(track_set)) = (member, cutting.renditions.track_set(member)) {
            renditions.push(Rendition { uri: Some(uri(member)), track, channels: track_set.channels() });
            codecs.push(track_set.codecs());
            rate = rate_of(member).max(rate);
        }
    }
    if codecs.is_empty() {
        renditions.clear();
    }
    let variant = |member, track_set: &TrackSet| {
        let all: Option<Vec<String>> =
            [track_set.codecs()].into_iter().chain(codecs.iter().cloned()).collect();
        let all = all.map(|all| {
            let mut names: Vec<&str> = all.iter().flat_map(|all| all.split(',')).collect();
            let mut known = std::collections::BTreeSet::new();
            names.retain(|name| known.insert(*name));
            names.join(",")
        });
        let own = named(member);
        let former = former.variants.iter().find(|former| former.uri == own);
        let former = former.map_or(1, |former| former.bandwidth);
        Variant {
            uri: uri(member),
            bandwidth: (rate_of(member) + rate).max(former),
            size: track_set.size(),
            codecs: all,
        }
    };
    let mut variants = vec![variant(Member::Main, &cutting.track_set)];
    for member in cutting.renditions.members().filter(|member| matches!(member, Member::Video(_))) {
        variants.extend(cutting.renditions.track_set(member).map(|track_set| variant(member, track_set)));
    }
    Choices { renditions, variants }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use remux::Probe;

    use super::*;

    const AVCC: &[u8] = b"\x01\x42\xc0\x1e\xff\xe1\0\x04\x67\x42\xc0\x1e\x01\0\x02\x68\xce";

    #[test]
    fn a_beginning_between_key_frames_is_not_told_of() {
        let mut track_set = TrackSet::default();
        let header = [b"\x96\0avc1\x01", AVCC].concat();
        track_set.see(Kind::Video, &header.into()).unwrap();
        let mut picture = |is_key: bool| {
            let body =
                [&[if is_key { 0x96 } else { 0xa6 }][..], b"\x01avc1\x01\0\0\0\0\0\0\x01\x65"].concat();
            let Ok(Probe::AccessUnit(coded)) = track_set.see(Kind::Video, &Bytes::from(body)) else {
                panic!("a picture")
            };
            coded
        };
        let (key, other) = (picture(true), picture(false));
        let mut renditions = Renditions::default();
        let mut told = |keys: [bool; 3]| {
            renditions.retain(&track_set);
            renditions.review(&track_set, true, false, false);
            let mut told = Vec::new();
            for (is_key, dts_ms) in keys.into_iter().zip([0, 1000, 2000]) {
                renditions.begin(false);
                for (coded, after_ms) in [(if is_key { &key } else { &other }, 0), (&other, 40)] {
                    let (refused, names) = renditions.push(dts_ms + after_ms, coded);
                    assert_eq!(refused, 0);
                    told.extend(names);
                }
                drop(renditions.end());
            }
            told
        };
        // What begins in mid-stream begins with a sound; the next segment with key frames.
        assert_eq!(told([false, true, true]), []);
        // So it may after a break.
        assert_eq!(told([false, true, true]), []);
        assert_eq!(told([true, false, false]), [Member::Video(1)]);
        assert_eq!(told([true, false, false]), [], "once");
    }
}
