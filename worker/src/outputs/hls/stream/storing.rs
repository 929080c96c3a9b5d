//! Segments that are complete: on their way to the disk, listed, given up; and what a former process left.

use std::collections::HashMap;
use std::io::ErrorKind;

use conf::vhost::HlsStorage;
use hls::{Ended, Listed, Member, Position};

use super::{Changes, HlsStream, MAX_MEMORY, Pieces, SLACK, Stored};
use crate::disk::remains::{Remains, Wanted};
use crate::disk::{Disk, FilePath, Job, place};

/// A segment that is on its way to the disk.
#[derive(Debug)]
pub(crate) struct Writing {
    /// What of it is not there yet.
    tickets: Vec<u64>,
    failed: Option<ErrorKind>,
    segment: Ended<Pieces>,
}

pub(crate) fn in_memory(listed: &Listed<Pieces>) -> u64 {
    let bytes = listed.segment.place.all().filter_map(|stored| stored.bytes.as_ref());
    bytes.map(|bytes| bytes.len() as u64).sum()
}

/// Bits per second of so many bytes in so many ms.
fn rate(bytes: u64, duration_ms: u64) -> u64 {
    bytes.saturating_mul(8000) / duration_ms.max(1)
}

/// What each member of a stream needed at most since the stream began, bits per second.
#[derive(Debug, Default)]
pub(super) struct Rates(HashMap<Member, u64>);

impl Rates {
    /// A segment is complete.
    fn note(&mut self, place: &Pieces, duration_ms: u64) {
        for (member, len) in place.lengths() {
            let known = self.0.entry(member).or_default();
            *known = rate(len, duration_ms).max(*known);
        }
    }

    /// What this one needed.
    pub(super) fn of(&self, member: Member) -> u64 {
        self.0.get(&member).copied().unwrap_or(0)
    }
}

impl HlsStream {
    /// A segment is complete.
    pub(crate) fn give(&mut self, mut segment: Ended<Pieces>, disk: &mut Disk, changes: &mut Changes) {
        if !self.naming.on_disk() {
            return self.list(segment, disk, changes);
        }
        let is_kept = self.naming.config.storage != HlsStorage::Disk;
        let mut jobs = Vec::new();
        for stored in segment.place.all_mut() {
            let bytes = if is_kept { stored.bytes.clone() } else { stored.bytes.take() };
            if let (Some(file), Some(bytes)) = (stored.file.clone(), bytes) {
                jobs.push((disk.ticket(), file, bytes));
            }
        }
        let tickets = jobs.iter().map(|(ticket, ..)| *ticket).collect();
        self.writing.push(Writing { tickets, failed: None, segment });
        for (ticket, file, bytes) in jobs {
            if !disk.push(Job::Write(ticket, file, bytes)) {
                self.written(ticket, &Err(ErrorKind::StorageFull.into()), disk, changes);
            }
        }
    }

    /// A piece of a segment is on the disk, or could not be written.
    pub(crate) fn written(
        &mut self,
        ticket: u64,
        result: &std::io::Result<()>,
        disk: &mut Disk,
        changes: &mut Changes,
    ) {
        let Some(at) = self.writing.iter().position(|writing| writing.tickets.contains(&ticket)) else {
            return;
        };
        let Some(writing) = self.writing.get_mut(at) else { return };
        writing.tickets.retain(|known| *known != ticket);
        if let Err(error) = result {
            tracing::error!("hls of {}: a segment can't be written: {error}", self.naming.key);
            writing.failed = Some(error.kind());
        }
        if !writing.tickets.is_empty() {
            return;
        }
        let Writing { failed, segment, .. } = self.writing.remove(at);
        match failed {
            None => self.list(segment, disk, changes),
            Some(why) => self.lose(&segment, why, disk, changes),
        }
    }

    /// A segment could not be written whole.
    fn lose(&mut self, segment: &Ended<Pieces>, why: ErrorKind, disk: &mut Disk, changes: &mut Changes) {
        self.lost += 1;
        self.cutting.owes_break = true;
        if !segment.place.others.is_empty() {
            let files = segment.place.all().filter_map(|stored| stored.file.clone()).collect();
            disk.push(Job::Remove(files));
        }
        // Where room helps. On a disk that can't be written at all, the list that names the oldest could not be, either.
        if !matches!(why, ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            return;
        }
        // The oldest make room for those to come: what nobody lists first, then what is no longer listed.
        let wanted = segment.place.len();
        let mut freed = 0;
        let gone = self.playlist.shrink(|listed| {
            freed += listed.segment.place.len();
            freed >= wanted
        });
        self.write_lists(disk);
        self.forget(gone, disk, changes);
        self.write_lists(disk);
    }

    fn list(&mut self, segment: Ended<Pieces>, disk: &mut Disk, changes: &mut Changes) {
        let number = self.playlist.next_number();
        changes.new.extend(segment.place.all().map(|stored| (stored.path.clone(), number)));
        self.rates.note(&segment.place, segment.duration_ms);
        self.is_listed = true;
        let mut gone = self.playlist.push(segment);
        self.bytes_in_memory = self.playlist.available().map(in_memory).sum();
        if let Some(over) = self.bytes_in_memory.checked_sub(MAX_MEMORY).filter(|over| *over > 0) {
            gone.extend(self.shrink(over));
        }
        self.write_lists(disk);
        self.drop_lists(disk, changes);
        self.forget(gone, disk, changes);
    }

    /// Gives up so many bytes in memory, the oldest first; the newest segment stays.
    pub(crate) fn give_up(&mut self, bytes: u64, disk: &Disk) -> Changes {
        let mut changes = Changes::default();
        let gone = self.shrink(bytes);
        self.write_lists(disk);
        self.forget(gone, disk, &mut changes);
        changes
    }

    fn shrink(&mut self, mut bytes: u64) -> Vec<Listed<Pieces>> {
        if !self.is_told {
            self.is_told = true;
            tracing::warn!(
                "hls of {}: its window is too long for memory (limits {{ hls_memory }})",
                self.naming.key
            );
        }
        let gone = self.playlist.shrink(|listed| {
            bytes = bytes.saturating_sub(in_memory(listed));
            bytes == 0
        });
        self.bytes_in_memory = self.playlist.available().map(in_memory).sum();
        gone
    }

    /// Writes the lists to the disk: that of lists behind those that it names, and when it is another.
    fn write_lists(&mut self, disk: &Disk) {
        if !self.naming.on_disk() {
            return;
        }
        self.all_members().into_iter().for_each(|member| self.write_list(member, disk));
        if self.is_several {
            let text = self.multivariant("");
            if text != self.choices.text
                && disk.push(Job::Note(self.naming.list_place(), text.clone().into()))
            {
                self.choices.text = text;
            }
        }
    }

    fn write_list(&self, member: Member, disk: &Disk) {
        let text = self.text_of(member, "");
        if !text.is_empty() {
            disk.push(Job::Note(place(&self.naming.config.path, self.list_path_of(member)), text.into()));
        }
    }

    /// The lists of tracks that have gone say so.
    pub(crate) fn end_lists(&self, disk: &Disk) {
        let ended =
            self.listed_members.iter().filter(|member| self.naming.on_disk() && !self.is_current(**member));
        for member in ended {
            self.write_list(*member, disk);
        }
    }

    /// Lists of tracks that have gone go when nothing of them is listed any more.
    fn drop_lists(&mut self, disk: &Disk, changes: &mut Changes) {
        let is_empty = |member: &&Member| !self.is_current(**member) && !self.has_listed(**member);
        let gone: Vec<Member> = self.listed_members.iter().filter(is_empty).copied().collect();
        for member in gone {
            self.listed_members.remove(&member);
            let path = self.list_path_of(member);
            if self.naming.on_disk() && self.naming.config.cleanup {
                disk.push(Job::Remove(vec![place(&self.naming.config.path, path.clone())]));
            }
            changes.gone.push(path);
        }
    }

    /// All members that have had a list.
    fn all_members(&self) -> Vec<Member> {
        [Member::Main].into_iter().chain(self.listed_members.iter().copied()).collect()
    }

    fn forget(&self, gone: Vec<Listed<Pieces>>, disk: &Disk, changes: &mut Changes) {
        let mut files = Vec::new();
        for Listed { mut segment, .. } in gone {
            for stored in segment.place.all_mut() {
                changes.gone.push(std::mem::take(&mut stored.path));
                files.extend(stored.file.take().filter(|_| self.naming.config.cleanup));
            }
        }
        if !files.is_empty() {
            disk.push(Job::Remove(files));
        }
    }

    /// Nobody has published for so long that nobody will, or somebody does again: the lists say so.
    pub(crate) fn set_over(&mut self, is_over: bool, disk: &Disk) {
        if self.playlist.set_over(is_over) {
            self.write_lists(disk);
        }
    }

    /// Everything goes: nobody has published for too long.
    pub(crate) fn dispose(&mut self, disk: &Disk) -> Changes {
        let mut changes = Changes::default();
        let gone = self.playlist.drain();
        self.forget(gone, disk, &mut changes);
        if self.naming.on_disk() && self.naming.config.cleanup {
            self.abandon(disk);
            let of_members = self.all_members().into_iter().map(|member| self.list_path_of(member));
            let mut lists: Vec<String> = of_members.chain([self.naming.list_path()]).collect();
            lists.dedup();
            disk.push(Job::Remove(
                lists.into_iter().map(|path| place(&self.naming.config.path, path)).collect(),
            ));
        }
        changes
    }

    /// What is on its way to the disk will not be listed: it goes when it is there.
    pub(crate) fn abandon(&mut self, disk: &Disk) {
        let writing = std::mem::take(&mut self.writing);
        let pieces = writing.iter().flat_map(|writing| writing.segment.place.all());
        let files: Vec<FilePath> = pieces.filter_map(|stored| stored.file.clone()).collect();
        if !files.is_empty() {
            disk.push(Job::Remove(files));
        }
    }

    /// What is to be looked for of it on the disk; with `cleans`, what nobody names goes.
    pub(crate) fn wanted(&self, cleans: bool) -> Wanted {
        let segment = self.naming.segment_pattern().filter(|_| cleans);
        Wanted { list: self.naming.list_place(), prefix: self.naming.config.entry_prefix.clone(), segment }
    }

    /// Takes over what a former process listed and noted. Returns what can be had of it.
    pub(crate) fn recovered(&mut self, remains: Remains, noted: Option<Position>, disk: &Disk) -> Changes {
        let mut changes = Changes::default();
        self.ready = true;
        self.is_several |= remains.is_several;
        self.listed_members.extend(&remains.members);
        self.tell_lists(&mut changes);
        let end = remains.end();
        let Remains { first, discontinuities, segments, is_over, text, choices, .. } = remains;
        (self.choices.text, self.choices.former) = (text, choices);
        let least = noted.map_or_else(|| self.playlist.next_number(), |noted| noted.next);
        if segments.is_empty() || end < least {
            // What came behind the last note has a number, too.
            noted.into_iter().for_each(|noted| self.resume(Position { next: noted.next + SLACK, ..noted }));
            return changes;
        }
        self.resume(Position { next: first, discontinuities, target_s: 0 });
        let mut gone = Vec::new();
        for Ended { duration_ms, is_break, began_ms, uri, place: pieces } in segments {
            let number = self.playlist.next_number();
            let mut pieces = pieces.into_iter().map(|piece| {
                let file = Some(place(&self.naming.config.path, piece.path.clone()));
                let stored = Stored { bytes: None, file, len: piece.len, path: piece.path };
                (piece.member, piece.uri, stored)
            });
            let Some((_, _, main)) = pieces.next() else { continue };
            let place = Pieces { main, others: pieces.collect() };
            changes.new.extend(place.all().map(|stored| (stored.path.clone(), number)));
            self.rates.note(&place, duration_ms);
            gone.extend(self.playlist.push(Ended { duration_ms, is_break, began_ms, uri, place }));
        }
        if self.rests_since_ms.is_some() {
            self.playlist.set_over(is_over);
        }
        self.cutting.owes_break = true;
        self.raise_former();
        if !gone.is_empty() {
            // Of a longer window than this configuration's.
            self.write_lists(disk);
            self.forget(gone, disk, &mut changes);
        }
        changes
    }

    /// What a client is promised it can take in, bits per second.
    pub(crate) fn bits_per_second(&self) -> u64 {
        let rates = self.playlist.listed();
        let rates = rates.map(|Listed { segment, .. }| rate(segment.place.main.len, segment.duration_ms));
        rates.max().unwrap_or(0).max(1)
    }
}
