//! What is looked at now and then: slow viewers, silent publishers, the load.

use mediaring::Counter;

use super::Hub;
use crate::host::Host;

/// How often that is, ms.
const TICK_MS: u64 = 200;

impl Hub {
    pub(super) fn tick<H: Host>(&mut self, host: &mut H) {
        let now_ms = self.now_ms();
        if now_ms < self.next_tick_ms {
            return;
        }
        self.next_tick_ms = now_ms + TICK_MS;
        self.look_at_load(host);
        self.look_at_clients(host);
        self.look_at_newcomers();
        self.status.print(self.delivery.overview(), &self.delivery.config.pithy_print);
    }

    /// How busy the loop is says how long packets are gathered.
    fn look_at_load<H: Host>(&mut self, host: &mut H) {
        let busy = self.reactor.busy();
        self.delivery.gathering.adapt(busy);
        for id in self.delivery.audiences.ids() {
            self.adapt_pace(host, id);
        }
    }

    /// Who is too slow, too silent, or waits for something that may have come.
    fn look_at_clients<H: Host>(&mut self, host: &mut H) {
        let (mut ends, holds) = self.delivery.watch_viewers();
        self.delivery.mark_traffic();
        ends.extend(self.delivery.silent());
        for (key, end) in ends {
            self.with(host, key).end(end);
        }
        for id in self.delivery.awaiting_tracks() {
            self.fan_out(host, id);
        }
        for (key, lag_ms) in holds {
            host.hold(&key, lag_ms);
        }
    }

    fn look_at_newcomers(&mut self) {
        // Whatever others may have written there.
        self.delivery.counts.set(Counter::Connections, self.connection_count() as u64);
        if let Some(dropped) = self.newcomers.lines.renew(self.now_ms()) {
            tracing::warn!("{dropped} lines about connections were left out: too many come and go");
        }
    }
}
