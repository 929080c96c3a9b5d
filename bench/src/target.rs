//! Where streams are published and played: `rtmp://host[:port]/app/name`; a number is appended to the name. With
//! `#http=host:port` behind it viewers take HTTP-FLV from there.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use anyhow::{Context, bail};
use rtmp::{ClientMode, ClientOptions};
use serde::{Deserialize, Serialize};

/// A server, an application and the beginning of stream names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Resolved address.
    pub address: SocketAddr,
    /// As it stood in the URL, with the port.
    pub host: String,
    /// Application.
    pub app: String,
    /// Stream names are this and a number.
    pub prefix: String,
    /// Where viewers take HTTP-FLV, instead of RTMP.
    #[serde(default)]
    pub http: Option<SocketAddr>,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (url, http) = url.split_once("#http=").map_or((url, None), |(url, http)| (url, Some(http)));
        let http = http.map(|http| http.parse().with_context(|| format!("{http} is no ADDRESS:PORT")));
        let rest = url.strip_prefix("rtmp://").context("the URL does not begin with rtmp://")?;
        let Some((host, path)) = rest.split_once('/') else { bail!("{url} has no application") };
        let (app, prefix) = path.rsplit_once('/').unwrap_or((path, "bench"));
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:1935") };
        let address = host.to_socket_addrs().with_context(|| format!("can't resolve {host}"))?.next();
        let address = address.with_context(|| format!("{host} has no address"))?;
        Ok(Self { address, host, app: app.to_owned(), prefix: prefix.to_owned(), http: http.transpose()? })
    }
}

impl Target {
    /// A server on loopback, as started by us.
    #[must_use]
    pub fn local(address: SocketAddr) -> Self {
        Self { address, host: address.to_string(), app: "live".into(), prefix: "bench".into(), http: None }
    }

    /// The options of a client for stream `number`.
    #[must_use]
    pub fn options(&self, number: u32, publishes: bool) -> ClientOptions {
        let stream = format!("{}{number}", self.prefix);
        let mode =
            if publishes { ClientMode::Publish { stream, fmle: true } } else { ClientMode::Play { stream } };
        let tc_url = format!("rtmp://{}/{}", self.host, self.app);
        let mut seed = [0x5a; 32];
        for (place, byte) in seed.iter_mut().zip(crate::clock::now_ns().to_le_bytes()) {
            *place = byte;
        }
        let mut options = ClientOptions::new(tc_url, self.app.clone(), mode, seed);
        // The digests of the complex handshake would be the load generator's work, thousands of times.
        options.simple_handshake = true;
        options.start_timeout_ms = 60_000;
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let target: Target = "rtmp://127.0.0.1:19350/a/b/cam".parse().unwrap();
        assert_eq!((target.app.as_str(), target.prefix.as_str()), ("a/b", "cam"));
        assert_eq!(target.address.port(), 19350);
        assert_eq!("rtmp://127.0.0.1/live".parse::<Target>().unwrap().prefix, "bench");
        let both: Target = "rtmp://127.0.0.1:1/live/x#http=127.0.0.1:8080".parse().unwrap();
        assert_eq!((both.prefix.as_str(), both.http.map(|http| http.port())), ("x", Some(8080)));
        assert!("rtmp://127.0.0.1/live/x#http=y".parse::<Target>().is_err());
        assert!("http://127.0.0.1/live/x".parse::<Target>().is_err());
    }
}
