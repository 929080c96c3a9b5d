//! Processes as operators see them: what the master knows of each, the scoreboard, and the kernel, put together. Nobody is
//! asked, so nobody can make it wait.

use api::{LastEnd, Process, State, Totals};
use ipc::{ProcessInfo, Role};
use machine::Sampler;
use mediaring::{Counter, Scoreboard};

/// A process that has not shown that it lives for so long hangs, ms. It does so every 100 ms.
const HUNG_MS: u64 = 500;

/// Notes and rates of the whole stand under this number.
const ALL: u64 = u64::MAX;

/// Describes processes, and remembers what is needed for rates.
#[derive(Debug, Default)]
pub struct Observer {
    sampler: Sampler,
}

impl Observer {
    /// When [`Self::look`] is to be called next, monotonic ms.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.sampler.deadline()
    }

    /// Notes counters, when it is time to.
    pub fn look(&mut self, infos: &[ProcessInfo], board: &Scoreboard) {
        let now_ms = reactor::now_ms();
        if !self.sampler.begin(now_ms) {
            return;
        }
        for info in infos {
            let usage = machine::usage(info.pid).unwrap_or_default();
            let (recv, send) = bytes(info, board);
            self.sampler.note(now_ms, key(info), usage, recv, send);
        }
        let all = used_by_all(infos);
        self.sampler.note(now_ms, ALL, all, board.sum(Counter::BytesIn), board.sum(Counter::BytesOut));
        self.sampler.tidy(now_ms);
    }

    /// All processes, and what they come to together.
    #[must_use]
    pub fn describe(&self, infos: &[ProcessInfo], board: &Scoreboard) -> (Vec<Process>, Totals) {
        let now_ms = reactor::now_ms();
        let processes = infos.iter().map(|info| self.process(info, board, now_ms)).collect();
        let (recv_bytes, send_bytes) = (board.sum(Counter::BytesIn), board.sum(Counter::BytesOut));
        let totals = Totals {
            connections: board.sum(Counter::Connections),
            accepted: board.sum(Counter::Accepted),
            refused: board.sum(Counter::Refused),
            ended: board.sum(Counter::Ended),
            errors: board.sum(Counter::Errors),
            recv_bytes,
            send_bytes,
            streams: board.live_streams(),
            kbps: self.sampler.kbps(now_ms, ALL, recv_bytes, send_bytes),
        };
        (processes, totals)
    }

    fn process(&self, info: &ProcessInfo, board: &Scoreboard, now_ms: u64) -> Process {
        let usage = machine::usage(info.pid);
        let beat_ms = info.board_slot.map_or(now_ms, |slot| board.last_beat(slot as usize));
        let heartbeat_ms = now_ms.saturating_sub(beat_ms.max(info.started_ms));
        let silent = info.board_slot.is_some() && heartbeat_ms >= HUNG_MS;
        let state = match (info.state, usage) {
            (State::Dead | State::Out, _) => info.state,
            (_, None) => State::Dead,
            (State::Serving | State::Draining, Some(usage)) if silent || usage.stopped => State::Hung,
            (state, Some(_)) => state,
        };
        let usage = usage.filter(|_| state.is_there()).unwrap_or_default();
        let (recv_bytes, send_bytes) = bytes(info, board);
        let counter = |counter| info.board_slot.map_or(0, |slot| board.get(slot as usize, counter));
        Process {
            role: info.role.name().to_owned(),
            slot: info.number,
            pid: info.pid,
            generation: info.generation,
            state,
            restarts: info.restarts,
            private_api_port: info.private_api_port,
            answered: state.is_there() && state != State::Hung,
            uptime_ms: if state.is_there() { now_ms.saturating_sub(info.started_ms) } else { 0 },
            heartbeat_ms,
            cpu_percent: self.sampler.cpu_percent(now_ms, key(info), usage),
            memory_bytes: usage.memory_bytes,
            connections: counter(Counter::Connections),
            recv_bytes,
            send_bytes,
            kbps: self.sampler.kbps(now_ms, key(info), recv_bytes, send_bytes),
            last_end: info.last_end.as_ref().map(|(how, pid, at_ms)| LastEnd {
                how: how.clone(),
                pid: *pid,
                ago_ms: now_ms.saturating_sub(*at_ms),
            }),
        }
    }

    /// Processor time of all in the last seconds, per cent of one processor.
    #[must_use]
    pub fn cpu_percent(&self, infos: &[ProcessInfo]) -> f64 {
        self.sampler.cpu_percent(reactor::now_ms(), ALL, used_by_all(infos))
    }
}

/// In single mode all are one process.
fn used_by_all(infos: &[ProcessInfo]) -> machine::Usage {
    let mut pids: Vec<u32> = infos.iter().map(|info| info.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    let used = pids.iter().filter_map(|pid| machine::usage(*pid)).map(|usage| usage.cpu_ms).sum();
    machine::Usage { cpu_ms: used, ..machine::Usage::default() }
}

fn bytes(info: &ProcessInfo, board: &Scoreboard) -> (u64, u64) {
    let get = |counter| info.board_slot.map_or(0, |slot| board.get(slot as usize, counter));
    (get(Counter::BytesIn), get(Counter::BytesOut))
}

/// A place and the process in it.
fn key(info: &ProcessInfo) -> u64 {
    // Roles without a place on the board are the master's alone.
    let place = info.board_slot.map_or(0xffff, u64::from);
    place << 32 | u64::from(if info.role == Role::Master { 0 } else { info.pid })
}
