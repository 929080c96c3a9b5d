//! What a reload would do: the differences, and from every process whom they would touch. Nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use api::{Effect, Reload, Touched};
use ipc::{MasterToChild, Role};

use super::child::Child;
use super::children::Children;
use super::configuration::{Draft, for_role, workers};
use super::operators::{OperatorId, Operators};

/// How long processes may take to say whom they would touch, ms.
const PATIENCE_MS: u64 = 1_000;

/// Questions that are under way.
#[derive(Debug, Default)]
pub(super) struct Previews {
    next_id: u64,
    under_way: BTreeMap<u64, Preview>,
}

#[derive(Debug)]
struct Preview {
    operator: OperatorId,
    result: Reload,
    waiting: BTreeSet<usize>,
    /// Stream processes that there would be.
    workers: u32,
    until_ms: u64,
}

impl Previews {
    /// When [`Self::finish`] is due.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.under_way.values().map(|preview| preview.until_ms).min()
    }
}

impl Previews {
    /// Asks the processes whom a draft would touch; `workers`: how many stream processes there would be.
    pub(super) fn begin(
        &mut self,
        operator: OperatorId,
        generation: u64,
        draft: Draft,
        children: &mut Children,
    ) {
        let Draft { config, changes, after_restart, .. } = draft;
        let (id, workers) = (self.next_id, workers(&config));
        self.next_id += 1;
        let mut waiting = BTreeSet::new();
        for (slot, child) in children.iter_mut().enumerate() {
            let is_asked = matches!(child.role, Role::Stream | Role::BackSource | Role::Http);
            if !changes.is_empty() && child.is_up() && is_asked {
                let config = for_role(child.role, &config);
                child.tell(&MasterToChild::Preview { id, config }, Vec::new());
                waiting.insert(slot);
            }
        }
        let result = Reload { generation, changes, after_restart, ..Reload::default() };
        let until_ms = reactor::now_ms() + PATIENCE_MS;
        self.under_way.insert(id, Preview { operator, result, waiting, workers, until_ms });
    }

    /// A process says whom it would touch.
    pub(super) fn answer(
        &mut self,
        (slot, child): (usize, &Child),
        id: u64,
        touched: Vec<Touched>,
        all: Touched,
    ) {
        let Some(preview) = self.under_way.get_mut(&id) else { return };
        if !preview.waiting.remove(&slot) {
            return;
        }
        for touched in touched {
            match preview.result.touched.iter_mut().find(|known| known.what == touched.what) {
                Some(known) => known.merge(touched),
                None => preview.result.touched.push(touched),
            }
        }
        if child.role == Role::Stream && child.number >= preview.workers && !child.draining {
            preview.result.touched.push(Touched { what: child.name(), effect: Effect::Drains, ..all });
        }
    }

    /// Answers what is complete, or has waited long enough.
    pub(super) fn finish(&mut self, children: &Children, operators: &mut Operators) {
        let now_ms = reactor::now_ms();
        let is_done = |preview: &Preview| preview.waiting.is_empty() || now_ms >= preview.until_ms;
        let done: Vec<u64> =
            self.under_way.iter().filter(|(_, preview)| is_done(preview)).map(|(id, _)| *id).collect();
        for id in done {
            let Some(mut preview) = self.under_way.remove(&id) else { continue };
            for child in preview.waiting.iter().filter_map(|slot| children.get(*slot)) {
                let what = format!("{} (has not answered)", child.name());
                preview.result.touched.push(Touched { what, ..Touched::default() });
            }
            preview.result.touched.sort_by(|a, b| a.what.cmp(&b.what));
            operators.answer(preview.operator, &preview.result);
        }
    }
}
