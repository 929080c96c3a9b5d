//! What a reload would do: the differences, and from every process whom they would touch. Nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use api::{Effect, Reload, Touched};
use ipc::{MasterToChild, Role};

use super::operators::OperatorId;
use super::{Supervisor, runtime};

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
    /// When [`Supervisor::check_previews`] is due.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.under_way.values().map(|preview| preview.until_ms).min()
    }
}

impl Supervisor {
    /// An operator wants to know what a reload would do.
    pub(super) fn preview(&mut self, operator: OperatorId) {
        let mut result = Reload { generation: self.generation, ..Reload::default() };
        let tried = self.draft().and_then(|draft| {
            self.try_out(&draft.config).map_err(|error| error.to_string())?;
            Ok(draft)
        });
        let draft = match tried {
            Ok(draft) => draft,
            Err(error) => {
                result.error = Some(error);
                self.operators.answer(operator, &result);
                return;
            }
        };
        (result.changes, result.after_restart) = (draft.changes, draft.after_restart);
        let id = self.previews.next_id;
        self.previews.next_id += 1;
        let mut waiting = BTreeSet::new();
        if !result.changes.is_empty() {
            for (slot, child) in self.children.iter_mut().enumerate() {
                if child.is_up() && matches!(child.role, Role::Stream | Role::BackSource | Role::Http) {
                    let config = Self::config_for(child.role, &draft.config);
                    child.tell(&MasterToChild::Preview { id, config }, Vec::new());
                    waiting.insert(slot);
                }
            }
        }
        let (workers, until_ms) = (runtime::workers(&draft.config), reactor::now_ms() + PATIENCE_MS);
        let preview = Preview { operator, result, waiting, workers, until_ms };
        self.previews.under_way.insert(id, preview);
        self.check_previews();
    }

    /// A process says whom it would touch.
    pub(super) fn previewed(&mut self, slot: usize, id: u64, touched: Vec<Touched>, all: Touched) {
        let Some(preview) = self.previews.under_way.get_mut(&id) else { return };
        if !preview.waiting.remove(&slot) {
            return;
        }
        for touched in touched {
            match preview.result.touched.iter_mut().find(|known| known.what == touched.what) {
                Some(known) => known.merge(touched),
                None => preview.result.touched.push(touched),
            }
        }
        if let Some(child) = self.children.get(slot)
            && child.role == Role::Stream
            && child.number >= preview.workers
            && !child.draining
        {
            preview.result.touched.push(Touched { what: child.name(), effect: Effect::Drains, ..all });
        }
    }

    /// Answers what is complete, or has waited long enough.
    pub(super) fn check_previews(&mut self) {
        let now_ms = reactor::now_ms();
        let done: Vec<u64> = self
            .previews
            .under_way
            .iter()
            .filter(|(_, preview)| preview.waiting.is_empty() || now_ms >= preview.until_ms)
            .map(|(id, _)| *id)
            .collect();
        for id in done {
            let Some(mut preview) = self.previews.under_way.remove(&id) else { continue };
            for child in preview.waiting.iter().filter_map(|slot| self.children.get(*slot)) {
                let what = format!("{} (has not answered)", child.name());
                preview.result.touched.push(Touched { what, ..Touched::default() });
            }
            preview.result.touched.sort_by(|a, b| a.what.cmp(&b.what));
            self.operators.answer(preview.operator, &preview.result);
        }
    }
}
