//! Links between children. The master knows which there are: each child tells which it has and which it has lost, and those
//! that are missing are made, whatever they were lost of. Nothing else joins two children.

use std::collections::{BTreeMap, HashMap};

use ipc::{Channel, LinkEnd, MasterToChild, Role};

use super::children::Children;

/// A link that ended sooner than this, ms, is made anew only after [`PAUSE_MS`]: something keeps ending it.
const SHORT_MS: u64 = 1_000;
const PAUSE_MS: u64 = 100;

/// Which slots a link joins: the reader of rings and their writer, or two http processes, the lower slot first.
type Pair = (usize, usize);

#[derive(Debug, Clone, Copy)]
struct Made {
    link: u64,
    at_ms: u64,
}

/// The links that there are.
#[derive(Debug, Default)]
pub(super) struct LinkTable {
    made: BTreeMap<Pair, Made>,
    /// Pairs that wait before they are linked again, monotonic ms.
    again: BTreeMap<Pair, u64>,
    last: u64,
    /// Some may be missing.
    changed: bool,
    /// A link has ended: somebody may have, too.
    suspects: bool,
}

impl LinkTable {
    /// A number that no link has or had, of this master's or an earlier one's.
    fn number(&mut self) -> u64 {
        self.last = (self.last + 1).max(reactor::now_ns());
        self.last
    }

    /// When [`Self::mend`] has something to do.
    pub(super) fn deadline(&self) -> Option<u64> {
        if self.changed { Some(0) } else { self.again.values().copied().min() }
    }

    /// The process in a slot can be told what it is linked to, or can't any more.
    pub(super) fn look_again(&mut self) {
        self.changed = true;
    }

    /// The process in a slot has ended.
    pub(super) fn forget(&mut self, slot: usize) {
        self.made.retain(|(one, other), _| *one != slot && *other != slot);
        self.again.retain(|(one, other), _| *one != slot && *other != slot);
        self.changed = true;
    }

    /// One end says that a link has ended. Of a link that was replaced meanwhile that is no news.
    pub(super) fn ended(&mut self, link: u64, now_ms: u64) {
        self.suspects = true;
        let Some((pair, made)) = self.made.iter().find(|(_, made)| made.link == link) else { return };
        let pause = if now_ms.saturating_sub(made.at_ms) < SHORT_MS { PAUSE_MS } else { 0 };
        let pair = *pair;
        self.made.remove(&pair);
        self.again.insert(pair, now_ms + pause);
        self.changed = true;
    }

    /// Whether a link has ended since this was last asked.
    pub(super) fn take_suspicion(&mut self) -> bool {
        std::mem::take(&mut self.suspects)
    }

    /// Takes over the links of which both ends were reported, by slot.
    pub(super) fn restore(&mut self, ends: impl IntoIterator<Item = (usize, LinkEnd)>) {
        let mut by_number: HashMap<u64, Vec<(usize, bool)>> = HashMap::new();
        for (slot, end) in ends {
            by_number.entry(end.link).or_default().push((slot, end.reads));
        }
        for (link, ends) in by_number {
            let pair = match ends.as_slice() {
                [(reader, true), (source, false)] | [(source, false), (reader, true)] => (*reader, *source),
                [(one, false), (other, false)] => (*one.min(other), *one.max(other)),
                _ => continue,
            };
            self.made.insert(pair, Made { link, at_ms: 0 });
        }
        self.changed = true;
    }

    /// A process that had lost its master tells which links it has: others of it have ended.
    pub(super) fn compare(&mut self, slot: usize, ends: &[LinkEnd]) {
        let lost = |(one, other): &Pair, made: &Made| {
            (*one == slot || *other == slot) && ends.iter().all(|end| end.link != made.link)
        };
        self.made.retain(|pair, made| !lost(pair, made));
        self.changed = true;
    }
}

impl LinkTable {
    /// Makes the links that are missing between children, when that is due.
    pub(super) fn mend(&mut self, children: &mut Children) {
        let now_ms = reactor::now_ms();
        if children.plan.is_stopping() {
            // Nothing is made any more, and nothing is due.
            (self.changed, self.again) = (false, BTreeMap::new());
            return;
        }
        if self.deadline().is_none_or(|at_ms| at_ms > now_ms) {
            return;
        }
        self.changed = false;
        for pair in wanted(children) {
            if self.made.contains_key(&pair) || self.again.get(&pair).is_some_and(|at_ms| *at_ms > now_ms) {
                continue;
            }
            self.again.remove(&pair);
            let link = self.number();
            match make(children, pair, link) {
                Ok(()) => drop(self.made.insert(pair, Made { link, at_ms: now_ms })),
                Err(error) => {
                    tracing::warn!("two processes can't be linked, tried again in {PAUSE_MS} ms: {error}");
                    self.again.insert(pair, now_ms + PAUSE_MS);
                }
            }
        }
        // Of pairs that are wanted no more nothing is due.
        self.again.retain(|_, at_ms| *at_ms > now_ms);
    }
}

/// Which pairs of children are to be linked.
fn wanted(children: &Children) -> Vec<Pair> {
    let of = |roles: &'static [Role]| {
        let up = children.iter().enumerate();
        up.filter(|(_, child)| child.is_up() && roles.contains(&child.role)).map(|(slot, _)| slot)
    };
    let mut pairs = Vec::new();
    for source in of(&[Role::BackSource]) {
        let readers = of(&[Role::Stream, Role::BackSource, Role::Http]);
        pairs.extend(readers.filter(|reader| *reader != source).map(|reader| (reader, source)));
    }
    for one in of(&[Role::Http]) {
        pairs.extend(of(&[Role::Http]).filter(|other| one < *other).map(|other| (one, other)));
    }
    pairs
}

/// Gives two children a link.
fn make(children: &mut Children, (one, other): Pair, link: u64) -> std::io::Result<()> {
    let (of_one, of_other) = Channel::pair()?;
    let number = |slot: usize| children.get(slot).map_or(0, |child| child.number);
    let role = |slot: usize| children.get(slot).map_or(Role::Master, |child| child.role);
    let (number_of_one, number_of_other, role_of_one) = (number(one), number(other), role(one));
    let (to_one, to_other, ends) = if role(other) == Role::Http {
        let to_one = MasterToChild::Sibling { number: number_of_other, link };
        let to_other = MasterToChild::Sibling { number: number_of_one, link };
        (to_one, to_other, (vec![of_one], vec![of_other]))
    } else {
        let (reader_wake, source_wake) = Channel::pair()?;
        let to_one = MasterToChild::Source { shard: number_of_other, link };
        let to_other = MasterToChild::Reader { role: role_of_one, number: number_of_one, link };
        (to_one, to_other, (vec![of_one, reader_wake], vec![of_other, source_wake]))
    };
    if let Some(child) = children.get_mut(one) {
        child.tell(&to_one, ends.0);
    }
    if let Some(child) = children.get_mut(other) {
        child.tell(&to_other, ends.1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(link: u64, reads: bool) -> LinkEnd {
        LinkEnd { link, reads }
    }

    #[test]
    fn a_link_counts_when_both_its_ends_are_there() {
        let mut table = LinkTable::default();
        let ends = [
            (2, end(7, true)),
            (0, end(7, false)),
            (1, end(8, false)),
            (4, end(9, false)),
            (3, end(9, false)),
        ];
        table.restore(ends);
        assert_eq!(table.made.keys().copied().collect::<Vec<_>>(), [(2, 0), (3, 4)]);
        table.compare(2, &[]);
        assert_eq!(table.made.keys().copied().collect::<Vec<_>>(), [(3, 4)]);
        table.forget(4);
        assert!(table.made.is_empty());
    }

    #[test]
    fn a_link_that_ends_again_and_again_is_made_with_pauses() {
        let mut table = LinkTable::default();
        table.made.insert((1, 0), Made { link: 5, at_ms: 1_000 });
        table.ended(4, 1_001);
        assert!(table.made.contains_key(&(1, 0)), "another one has ended");
        table.ended(5, 5_000);
        assert_eq!(table.again.get(&(1, 0)), Some(&5_000));
        table.made.insert((1, 0), Made { link: 6, at_ms: 5_000 });
        table.ended(6, 5_010);
        assert_eq!(table.again.get(&(1, 0)), Some(&5_110));
        let (one, two) = (table.number(), table.number());
        assert!(two > one);
    }
}
