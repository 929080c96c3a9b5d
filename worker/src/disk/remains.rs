//! What a former process left of a stream on the disk, as the disk's thread finds it: whatever it was writing when it died.
//!
//! A segment is listed when all its pieces are there, and one list is written after the other: what any of them names is there for
//! all members, whether their lists have it yet (or still) or not.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use hls::member::{Choices, named};
use hls::uri::relative;
use hls::{Ended, Member};

use super::list::{self, Old};
use super::{FilePath, NUMBER};

/// Numbers of further tracks that are carried.
const FURTHER: std::ops::Range<u8> = 1..8;
/// Most pieces whose sizes are asked for, the newest first: what they need at most is told of them.
const MAX_SIZED: usize = 4000;

/// What is looked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) list: FilePath,
    /// What stands before each name in the lists.
    pub(crate) prefix: String,
    /// What names segments have, with [`NUMBER`] where the number stands: those that no list names are removed, and lists that are
    /// no longer continued. `None`: nothing is removed.
    pub(crate) segment: Option<FilePath>,
}

/// A segment of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) member: Member,
    pub(crate) uri: String,
    /// Below the root.
    pub(crate) path: String,
    /// 0 where nobody asked, or it is not there.
    pub(crate) len: u64,
}

/// What there is.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    /// Number of the first segment, and the discontinuities before it.
    pub(crate) first: u64,
    pub(crate) discontinuities: u64,
    /// The first piece of each is that of the first tracks.
    pub(crate) segments: Vec<Ended<Vec<Piece>>>,
    /// Further members that have a list, or have pieces.
    pub(crate) members: BTreeSet<Member>,
    /// The stream's list is a list of lists, or was to become one.
    pub(crate) is_several: bool,
    /// That list of lists, and what it says.
    pub(crate) text: String,
    pub(crate) choices: Choices,
    /// The lists say that nothing follows.
    pub(crate) is_over: bool,
}

impl Remains {
    /// The number behind the last segment.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.segments.len() as u64
    }
}

fn end(old: &Old) -> u64 {
    old.first + old.segments.len() as u64
}

/// A segment that some list names: its facts, and its names in the lists that have it.
type Named = (Ended<()>, BTreeMap<Member, String>);

/// Looks for all of it, and removes what nobody names.
pub(crate) fn look(wanted: &Wanted) -> Remains {
    let text = wanted.list.read_text();
    let is_named = named(&text).next().is_some();
    let place =
        |member: Member| FilePath { root: wanted.list.root.clone(), below: member.mark(&wanted.list.below) };
    let read = |text: &str| list::read(text).filter(|old| !old.segments.is_empty());
    let further = FURTHER.flat_map(|number| [Member::Video(number), Member::Audio(number)]);
    let all: Vec<Member> = [Member::Main].into_iter().chain(further).collect();
    let mut lists: BTreeMap<Member, Old> = BTreeMap::new();
    for member in &all {
        lists.extend(read(&place(*member).read_text()).map(|old| (*member, old)));
    }
    let plain = read(&text);
    let newest = lists.values().map(end).max();
    let is_several = is_named || newest > plain.as_ref().map(end);
    let former = if is_several { BTreeMap::new() } else { std::mem::take(&mut lists) };
    if let Some(plain) = plain {
        lists.entry(Member::Main).or_insert(plain);
    }
    let (run, first) = newest_run(&lists);
    let is_old = |old: &Old| end(old) <= first;
    let old = lists.iter().filter(|(member, old)| **member != Member::Main && is_old(old));
    let stale: Vec<Member> = old.map(|(member, _)| *member).chain(former.into_keys()).collect();
    lists.retain(|_, old| !is_old(old));
    let holder = lists.values().find(|old| old.first <= first && first < end(old));
    let discontinuities = holder.map_or(0, |old| {
        let before = old.segments.iter().zip(old.first..).take_while(|(_, number)| *number < first);
        old.discontinuities + before.filter(|(segment, _)| segment.is_break).count() as u64
    });
    let mut remains = Remains {
        first,
        discontinuities,
        is_several,
        is_over: !lists.is_empty() && lists.values().all(|old| old.is_over),
        choices: Choices::read(&text),
        text: if is_named { text } else { String::new() },
        ..Remains::default()
    };
    remains.segments = run.into_iter().filter_map(|named| wanted.pieces(named)).collect();
    if is_several {
        all.iter().skip(1).for_each(|member| wanted.complete(&mut remains, *member));
    }
    wanted.measure(&mut remains);
    let pieces = remains.segments.iter().flat_map(|segment| &segment.place);
    remains.members = pieces.map(|piece| piece.member).filter(|member| *member != Member::Main).collect();
    remains.members.extend(lists.into_keys().filter(|member| *member != Member::Main));
    if let Some(segment) = &wanted.segment {
        stale.into_iter().for_each(|member| place(member).remove_if_there());
        remove_strays(segment, &remains);
    }
    remains
}

/// The newest segments that some list names without a gap, and the number of the first.
fn newest_run(lists: &BTreeMap<Member, Old>) -> (Vec<Named>, u64) {
    let mut all: BTreeMap<u64, Named> = BTreeMap::new();
    for (member, old) in lists {
        for (segment, number) in old.segments.iter().zip(old.first..) {
            let (known, uris) = all.entry(number).or_insert_with(|| (segment.clone(), BTreeMap::new()));
            known.began_ms = known.began_ms.or(segment.began_ms);
            uris.insert(*member, segment.uri.clone());
        }
    }
    let mut first = all.keys().next_back().copied().unwrap_or(0);
    while first.checked_sub(1).is_some_and(|before| all.contains_key(&before)) {
        first -= 1;
    }
    (all.split_off(&first).into_values().collect(), first)
}

impl Wanted {
    /// The path of what a list names.
    fn path_of(&self, uri: &str) -> String {
        let directory = self.list.below.rsplit_once('/').map_or("", |(above, _)| above);
        hls::uri::absolute(directory, uri.strip_prefix(&self.prefix).unwrap_or(uri))
    }

    fn piece(&self, member: Member, path: String) -> Piece {
        let uri = format!("{}{}", self.prefix, relative(&self.list.below, &path));
        Piece { member, uri, path, len: 0 }
    }

    fn place(&self, path: &str) -> FilePath {
        FilePath { root: self.list.root.clone(), below: path.to_owned() }
    }

    /// The pieces of a segment that are named; that of the first tracks is called like any of them.
    fn pieces(&self, (segment, uris): Named) -> Option<Ended<Vec<Piece>>> {
        let mut pieces: Vec<Piece> = Vec::with_capacity(uris.len());
        for (member, uri) in uris {
            let path = self.path_of(&uri);
            if pieces.is_empty() && member != Member::Main {
                let (_, main) = Member::unmark(&path)?;
                pieces.push(self.piece(Member::Main, main));
            }
            pieces.push(Piece { member, uri, path, len: 0 });
        }
        let Ended { duration_ms, is_break, began_ms, .. } = segment;
        let uri = pieces.first()?.uri.clone();
        Some(Ended { duration_ms, is_break, began_ms, uri, place: pieces })
    }

    /// Pieces of a member that its list does not name yet.
    fn complete(&self, remains: &mut Remains, member: Member) {
        for segment in remains.segments.iter_mut().rev() {
            let Some(main) = segment.place.first() else { return };
            if segment.place.iter().any(|piece| piece.member == member) {
                return;
            }
            let path = member.mark(&main.path);
            if self.place(&path).len().is_none() {
                return;
            }
            segment.place.push(self.piece(member, path));
        }
    }

    fn measure(&self, remains: &mut Remains) {
        let pieces = remains.segments.iter_mut().rev().flat_map(|segment| &mut segment.place);
        for piece in pieces.take(MAX_SIZED) {
            piece.len = self.place(&piece.path).len().unwrap_or(0);
        }
    }
}

/// Segments of a former run that nobody lists, those of further tracks as well.
fn remove_strays(segment: &FilePath, remains: &Remains) {
    let (above, pattern) = segment.below.rsplit_once('/').unwrap_or(("", &segment.below));
    let Some((before, behind)) = pattern.split_once(NUMBER) else { return };
    let pieces = remains.segments.iter().flat_map(|segment| &segment.place);
    let listed: HashSet<&str> =
        pieces.map(|piece| piece.path.rsplit('/').next().unwrap_or(&piece.path)).collect();
    for name in segment.siblings() {
        let plain = name.strip_suffix(".tmp").unwrap_or(&name);
        let unmarked = Member::unmark(plain).map(|(_, name)| name);
        let plain = unmarked.as_deref().unwrap_or(plain);
        let number = plain.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind));
        let is_ours = number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
        if is_ours && !listed.contains(name.as_str()) {
            let place = FilePath { root: segment.root.clone(), below: format!("{above}/{name}") };
            tracing::info!("a segment of a former run is removed: {name}");
            place.remove_if_there();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::disk::place;

    use super::*;

    /// Segments of these numbers, those of a member.
    fn text(member: Member, first: u64, end: u64) -> String {
        let mut playlist =
            hls::Playlist::new(60_000, hls::Position { next: first, discontinuities: 0, target_s: 1 });
        for number in first..end {
            let path = if member == Member::Main {
                format!("a-{number}.ts")
            } else {
                member.mark(&format!("a-{number}.ts"))
            };
            let uri = http1::encode(&path);
            playlist.push(Ended { duration_ms: 1000, is_break: number == 2, began_ms: None, uri, place: () });
        }
        playlist.text("", "")
    }

    #[test]
    fn what_any_list_names_is_found_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let at = |below: &str| place(directory.path(), format!("live/{below}"));
        let (video, sound) = (Member::Video(1), Member::Audio(1));
        for number in 0..7 {
            at(&format!("a-{number}.ts")).write(b"first").unwrap();
            at(&format!("a-{number}%audio1.ts")).write(b"sounds").unwrap();
            if number < 4 {
                at(&format!("a-{number}%video1.ts")).write(b"pictures").unwrap();
            }
        }
        at("a-x.ts").write(b"another's").unwrap();
        std::fs::write(directory.path().join("live/a-9.ts.tmp"), "half").unwrap();
        let look = |cleans: bool| {
            let segment = at(&format!("a-{NUMBER}.ts"));
            look(&Wanted {
                list: at("a.m3u8"),
                prefix: String::new(),
                segment: Some(segment).filter(|_| cleans),
            })
        };
        // The pictures have ended; the first tracks' list is a segment ahead of that of the sounds, and of one that left it.
        at("a%main.m3u8").write(text(Member::Main, 2, 6).as_bytes()).unwrap();
        at("a%video1.m3u8").write(text(video, 1, 4).as_bytes()).unwrap();
        at("a%audio1.m3u8").write(text(sound, 1, 5).as_bytes()).unwrap();
        for cleans in [false, true] {
            let found = look(cleans);
            assert!(found.is_several && !found.is_over);
            assert_eq!((found.first, found.end(), found.discontinuities), (1, 6, 0));
            assert_eq!(found.members, [video, sound].into());
            for (segment, number) in found.segments.iter().zip(1..) {
                assert_eq!(segment.uri, format!("a-{number}.ts"));
                let has = |member| segment.place.iter().any(|piece| piece.member == member && piece.len > 0);
                assert_eq!([Member::Main, sound, video].map(has), [true, true, number < 4], "{number}");
            }
        }
        let mut names = at("x").siblings();
        names.retain(|name| name.ends_with(".ts") || name.ends_with(".tmp"));
        assert_eq!(names.len(), 5 + 5 + 3 + 1, "{names:?}");
        // A list of segments that is newer than those of members: they are over.
        at("a.m3u8").write(text(Member::Main, 5, 7).as_bytes()).unwrap();
        let found = look(true);
        assert_eq!((found.is_several, found.first, found.end()), (false, 5, 7));
        assert!(found.members.is_empty());
        let mut names = at("x").siblings();
        names.sort();
        assert_eq!(names, ["a-5.ts", "a-x.ts", "a.m3u8"], "6 was removed above");
    }
}
