//! Whom another configuration would touch.

use std::collections::BTreeMap;

use api::{Effect, Touched};
use conf::Config;

use crate::overview::Overview;

impl Overview<'_> {
    /// The clients of each vhost that would change or go, and all clients.
    pub(crate) fn preview(&self, now: &Config, config: &Config) -> (Vec<Touched>, Touched) {
        let mut vhosts: BTreeMap<&str, Touched> = BTreeMap::new();
        let mut all = Touched::default();
        for (_, connection) in self.connections.iter() {
            let streams = self.streams_of(connection);
            add(&mut all, connection.id, &streams);
            let Some(name) = connection.vhost() else { continue };
            let new = config.vhosts.iter().find(|vhost| vhost.enabled && vhost.name == name);
            let effect = match new {
                None => Effect::Closes,
                Some(new) if now.vhosts.iter().find(|vhost| vhost.name == name) != Some(new) => {
                    Effect::Changes
                }
                Some(_) => continue,
            };
            let touched = vhosts.entry(name).or_insert_with(|| Touched {
                what: format!("vhost {name}"),
                effect,
                ..Touched::default()
            });
            add(touched, connection.id, &streams);
        }
        (vhosts.into_values().collect(), all)
    }
}

fn add(touched: &mut Touched, id: u64, streams: &[String]) {
    touched.merge(Touched { clients: 1, ids: vec![id], streams: streams.to_vec(), ..Touched::default() });
}
