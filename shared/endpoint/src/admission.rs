//! Who may, by the configuration: vhosts, and the pages that players are in.

use std::net::TcpStream;

use conf::Config;
use conf::config::Lookup;
use conf::vhost::Vhost;
use media::StreamKey;
use rtmp::{ConnectRequest, Pending};
use socket2::SockRef;

use crate::connection::Connection;
use crate::refer;
use crate::verdict::{Asked, Reason, Refusal};

/// The vhost that a connection is let into.
///
/// # Errors
/// Why it is not.
pub(crate) fn connect<'a>(
    config: &'a Config,
    connection: &Connection,
    request: &ConnectRequest,
) -> Result<&'a Vhost, Refusal> {
    if connection.life.refuse {
        return Err(Refusal::new(Reason::ServerFull, "The server is full: max_connections is reached"));
    }
    vhost(config, &request.target.vhost, request.page_url.as_deref())
}

fn vhost<'a>(config: &'a Config, name: &str, page: Option<&str>) -> Result<&'a Vhost, Refusal> {
    match config.vhost(name) {
        Lookup::Found(vhost) if refer::allowed(&vhost.refer.all, page) => Ok(vhost),
        Lookup::Found(_) => {
            Err(Refusal::new(Reason::Referer, "The page is not allowed to use this server (refer)"))
        }
        Lookup::Disabled(vhost) => {
            Err(Refusal::new(Reason::VhostDisabled, format!("The vhost {} is disabled", vhost.name)))
        }
        Lookup::NotFound => Err(Refusal::new(Reason::NoVhost, format!("There is no vhost {name}"))),
    }
}

/// The resolved name of a stream that a connection may publish or play. A `vhost` among the stream's own parameters wins
/// over the one it connected to, and has to let the client in like that one.
///
/// # Errors
/// Why it may not.
pub(crate) fn stream(
    config: &Config,
    connection: &Connection,
    pending: &Pending,
) -> Result<StreamKey, Refusal> {
    let (name, params) = match pending {
        Pending::Publish(request) => (&request.name, &request.params),
        Pending::Play(request) => (&request.name, &request.params),
        Pending::Connect(_) => return Err(Refusal::no_connect()),
    };
    let request = connection.session.connect_request();
    let (Some(request), Some(own)) = (request, connection.vhost()) else {
        return Err(Refusal::no_connect());
    };
    let page = request.page_url.as_deref();
    let other = rtmp::url::vhost_of(params)
        .map_err(|error| Refusal::new(Reason::Parameters, format!("The stream's parameters: {error}")))?;
    let resolved = match other {
        None => own.to_owned(),
        Some(other) => vhost(config, &other, page)?.name.clone(),
    };
    let rules = config.vhosts.iter().find(|known| known.name == resolved && known.enabled);
    let (list, why) = match Asked::of(pending) {
        Asked::Publish => {
            let list = rules.map(|vhost| &vhost.refer.publish);
            (list, "The page is not allowed to publish (refer_publish)")
        }
        _ => (rules.map(|vhost| &vhost.refer.play), "The page is not allowed to play (refer_play)"),
    };
    if !list.is_some_and(|list| refer::allowed(list, page)) {
        return Err(Refusal::new(Reason::Referer, why));
    }
    Ok(StreamKey { vhost: resolved, app: request.target.app.clone(), stream: name.clone() })
}

/// The chunk size that a connection's vhost asks for, bytes.
pub(crate) fn chunk_size(config: &Config, connection: &Connection) -> u32 {
    let vhost = config.vhosts.iter().find(|vhost| Some(vhost.name.as_str()) == connection.vhost());
    vhost.map_or(config.chunk_size, |vhost| vhost.chunk_size)
}

/// The vhost of what a client plays or publishes is its vhost from now on, also where it connected to another.
pub(crate) fn enter(connection: &mut Connection, vhost: &Vhost) {
    if connection.vhost() != Some(&*vhost.name) {
        connection.vhost = Some(vhost.name.as_str().into());
        tune(&connection.socket, vhost);
    }
}

/// Socket options of a vhost's clients. A kernel that refuses one serves without it.
fn tune(socket: &TcpStream, vhost: &Vhost) {
    let options = SockRef::from(socket);
    if let Some(nodelay) = vhost.tcp_nodelay {
        let _ = options.set_tcp_nodelay(nodelay);
    }
    if vhost.send_buffer > 0 {
        let _ = options.set_send_buffer_size(vhost.send_buffer as usize);
    }
    if vhost.tcp_notsent_lowat > 0 {
        let _ = options.set_tcp_notsent_lowat(vhost.tcp_notsent_lowat);
    }
}
