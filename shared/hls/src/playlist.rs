//! The segments that are listed, and the text that lists them.

use std::collections::VecDeque;
use std::fmt::Write as _;

/// So many segments stay listed whatever the window says: players begin three from the end.
const FEWEST: usize = 3;
/// So many that left the list can still be had, for players with an older list.
const LEFT: usize = 3;

/// The last line of a list that nothing follows in.
pub const END: &str = "#EXT-X-ENDLIST\n";

/// A segment that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended<T> {
    /// Its length, ms.
    pub duration_ms: u64,
    /// What came before does not belong together with it.
    pub is_break: bool,
    /// When it began, ms since 1970; `None` where nobody knows.
    pub began_ms: Option<i64>,
    /// Its name in the list.
    pub uri: String,
    /// Where its bytes are.
    pub place: T,
}

/// A segment with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// Its media sequence number.
    pub number: u64,
    /// The segment.
    pub segment: Ended<T>,
}

/// Where a list stands: what a successor needs to go on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// Number of the next segment.
    pub next: u64,
    /// Discontinuities that have left the list.
    pub discontinuities: u64,
    /// Target duration in seconds; 0 when none is fixed.
    pub target_s: u64,
}

/// A list of segments.
#[derive(Debug, Clone)]
pub struct Playlist<T> {
    window_ms: u64,
    position: Position,
    listed: VecDeque<Listed<T>>,
    left: VecDeque<Listed<T>>,
    listed_ms: u64,
    /// Nothing follows any more.
    is_over: bool,
}

impl<T> Playlist<T> {
    /// An empty list that goes on at `position`; segments that are older than `window_ms` leave it.
    #[must_use]
    pub fn new(window_ms: u64, position: Position) -> Self {
        Self {
            window_ms,
            position,
            listed: VecDeque::new(),
            left: VecDeque::new(),
            listed_ms: 0,
            is_over: false,
        }
    }

    /// Where it stands; the discontinuities of all that is listed count as past.
    #[must_use]
    pub fn position(&self) -> Position {
        let breaks = self.listed.iter().filter(|listed| listed.segment.is_break).count() as u64;
        Position { discontinuities: self.position.discontinuities + breaks, ..self.position }
    }

    /// The number that the next segment will have.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.position.next
    }

    /// Skips to a number (that of a clock), where it is ahead.
    pub fn skip_to(&mut self, number: u64) {
        if self.listed.is_empty() {
            self.position.next = self.position.next.max(number);
        }
    }

    /// Nothing follows any more, or something does all the same. Whether that is news.
    pub fn set_over(&mut self, is_over: bool) -> bool {
        std::mem::replace(&mut self.is_over, is_over) != is_over
    }

    /// Adds a segment. Returns those that can't be had any more: their bytes can go.
    pub fn push(&mut self, segment: Ended<T>) -> Vec<Listed<T>> {
        self.listed_ms += segment.duration_ms;
        self.listed.push_back(Listed { number: self.position.next, segment });
        self.position.next += 1;
        let first_ms = |list: &VecDeque<Listed<T>>| list.front().map_or(0, |first| first.segment.duration_ms);
        // No list is shorter than three target durations because of what left it (RFC 8216, 6.2.2).
        let window_ms = self.window_ms.max(3000 * self.position.target_s);
        while self.listed.len() > FEWEST && self.listed_ms - first_ms(&self.listed) >= window_ms {
            self.drop_oldest();
        }
        let mut gone = Vec::new();
        while self.left.len() > LEFT {
            gone.extend(self.left.pop_front());
        }
        gone
    }

    fn drop_oldest(&mut self) {
        if let Some(first) = self.listed.pop_front() {
            self.listed_ms -= first.segment.duration_ms;
            self.position.discontinuities += u64::from(first.segment.is_break);
            self.left.push_back(first);
        }
    }

    /// Gives up the oldest segments until `enough` says so, keeping one: there is no room for more. Returns them.
    pub fn shrink(&mut self, mut enough: impl FnMut(&Listed<T>) -> bool) -> Vec<Listed<T>> {
        let mut gone: Vec<Listed<T>> = self.left.drain(..).collect();
        let mut done = gone.iter().any(&mut enough);
        while !done && self.listed.len() > 1 {
            self.drop_oldest();
            if let Some(first) = self.left.pop_front() {
                done = enough(&first);
                gone.push(first);
            }
        }
        gone
    }

    /// What is listed, the oldest first.
    pub fn listed(&self) -> impl Iterator<Item = &Listed<T>> {
        self.listed.iter()
    }

    /// All that can be had.
    pub fn available(&self) -> impl Iterator<Item = &Listed<T>> {
        self.left.iter().chain(&self.listed)
    }

    /// Takes everything out.
    pub fn drain(&mut self) -> Vec<Listed<T>> {
        self.position = self.position();
        self.listed_ms = 0;
        self.left.drain(..).chain(self.listed.drain(..)).collect()
    }

    /// The text of the list; empty while nothing is listed. `prefix` stands before each name, `suffix` behind it.
    #[must_use]
    pub fn text(&self, prefix: &str, suffix: &str) -> String {
        self.text_of(prefix, suffix, |segment| Some(&segment.uri))
    }

    /// The text of a list of something that segments have beside, under a name of its own: of the newest segments that have it one
    /// after the other.
    #[must_use]
    pub fn text_of<'p>(
        &'p self,
        prefix: &str,
        suffix: &str,
        uri: impl Fn(&'p Ended<T>) -> Option<&'p str>,
    ) -> String {
        let has = |listed: &&'p Listed<T>| uri(&listed.segment).is_some();
        let behind = self.listed.iter().rev().skip_while(|listed| !has(listed)).take_while(has).count();
        let end = self.listed.len() - self.listed.iter().rev().take_while(|listed| !has(listed)).count();
        let skip = end.saturating_sub(behind);
        let past = self.listed.iter().take(skip).filter(|listed| listed.segment.is_break).count() as u64;
        let Some(first) = self.listed.get(skip).filter(|_| behind > 0) else { return String::new() };
        let mut out = String::with_capacity(128 + 96 * self.listed.len());
        let target_s = self.position.target_s.max(1);
        let _ = write!(
            out,
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{target_s}\n#EXT-X-MEDIA-SEQUENCE:{}\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:{}\n",
            first.number,
            self.position.discontinuities + past
        );
        for (at, Listed { segment, .. }) in self.listed.range(skip..end).enumerate() {
            let Some(uri) = uri(segment) else { continue };
            if segment.is_break {
                out.push_str("#EXT-X-DISCONTINUITY\n");
            }
            if let Some(began_ms) = segment.began_ms.filter(|_| at == 0 || segment.is_break) {
                let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", date(began_ms));
            }
            let (seconds, ms) = (segment.duration_ms / 1000, segment.duration_ms % 1000);
            let _ = writeln!(out, "#EXTINF:{seconds}.{ms:03},\n{prefix}{uri}{suffix}");
        }
        if self.is_over {
            out.push_str(END);
        }
        out
    }
}

/// ISO 8601, UTC, with milliseconds.
fn date(ms: i64) -> String {
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // The civil calendar in eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hours, minutes) = (rest / 3_600_000, rest / 60_000 % 60);
    let (seconds, ms) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u64, is_break: bool) -> Ended<u64> {
        let began_ms = Some(1_700_000_000_000 + i64::try_from(number).unwrap() * 2000);
        Ended { duration_ms: 2000, is_break, began_ms, uri: format!("s-{number}.ts"), place: number }
    }

    #[test]
    fn the_window_moves_and_numbers_and_discontinuities_go_on() {
        let mut list = Playlist::new(6000, Position { next: 7, discontinuities: 2, target_s: 2 });
        assert_eq!(list.text("", ""), "");
        let mut gone = Vec::new();
        for number in 7..15 {
            gone.extend(list.push(segment(number, number == 9)));
        }
        assert_eq!(gone.iter().map(|listed| listed.number).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(
            list.text("http://cdn/", "?x"),
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:12\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:44.000Z\n\
             #EXTINF:2.000,\nhttp://cdn/s-12.ts?x\n#EXTINF:2.000,\nhttp://cdn/s-13.ts?x\n\
             #EXTINF:2.000,\nhttp://cdn/s-14.ts?x\n"
        );
        assert_eq!(list.available().map(|listed| listed.number).collect::<Vec<_>>(), [9, 10, 11, 12, 13, 14]);
        list.push(segment(15, true));
        assert_eq!(list.position(), Position { next: 16, discontinuities: 4, target_s: 2 });
    }

    #[test]
    fn what_segments_have_beside_has_a_list_with_their_numbers() {
        let mut list = Playlist::new(60_000, Position { next: 3, discontinuities: 1, target_s: 2 });
        (3..9).for_each(|number| drop(list.push(segment(number, number == 5 || number == 7))));
        let only = |has: &'static [u64]| {
            list.text_of("", "", |segment| has.contains(&segment.place).then_some(segment.uri.as_str()))
        };
        assert_eq!(only(&[3, 4, 5, 6, 7, 8]), list.text("", ""));
        assert_eq!(only(&[]), "");
        for has in [&[6, 7, 8][..], &[3, 4, 6, 7, 8], &[6, 7]] {
            let text = only(has);
            let head = "#EXT-X-MEDIA-SEQUENCE:6\n#EXT-X-DISCONTINUITY-SEQUENCE:2\n";
            assert!(text.contains(head) && text.contains("s-7.ts") && !text.contains("s-4.ts"), "{text}");
            assert_eq!(text.contains("s-8.ts"), has.contains(&8));
        }
    }

    #[test]
    fn where_there_is_no_room_the_oldest_go_first() {
        let mut list = Playlist::new(60_000, Position::default());
        for number in 0..10 {
            list.push(segment(number, false));
        }
        let mut freed = 0;
        let gone = list.shrink(|_| {
            freed += 1;
            freed == 4
        });
        assert_eq!(gone.iter().map(|listed| listed.number).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(list.listed().next().unwrap().number, 4);
        assert_eq!(list.shrink(|_| false).len(), 5);
        assert_eq!(list.listed().count(), 1);
    }

    #[test]
    fn dates_over_the_centuries() {
        assert_eq!(date(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(date(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(date(4_107_542_399_000), "2100-02-28T23:59:59.000Z");
    }
}
