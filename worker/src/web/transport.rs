//! What a connection's bytes go through: the socket, or TLS over it.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use conf::config::Https;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

/// How often it is looked whether there is another certificate, ms.
const LOOK_EVERY_MS: u64 = 2_000;

/// A socket, plain or with TLS.
#[derive(Debug)]
pub(crate) enum Transport {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted.
    Tls(TcpStream, Box<ServerConnection>),
}

/// Why HTTPS can't be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file can't be read, or holds none of what it should.
    #[error("{0}: {1}")]
    Pem(String, rustls::pki_types::pem::Error),
    /// Certificate and key do not fit, or are of an unknown kind.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// The certificate in force.
#[derive(Debug, Default)]
pub(crate) struct Certificate {
    config: Option<Arc<ServerConfig>>,
    /// When certificate and key were written, and when it was looked, ms.
    written: Option<[SystemTime; 2]>,
    looked_ms: u64,
}

impl Certificate {
    pub(crate) fn config(&self) -> Option<&Arc<ServerConfig>> {
        self.config.as_ref()
    }

    /// Reads it when it is another than before, so that a renewed one is in force without a word; at once, or from time to
    /// time. One that can't be read leaves the old one in force.
    pub(crate) fn look(&mut self, https: &Https, at_once: bool) {
        let now_ms = reactor::now_ms();
        if !https.enabled || !at_once && now_ms < self.looked_ms + LOOK_EVERY_MS {
            return;
        }
        self.looked_ms = now_ms;
        let written = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        let now = written(&https.cert).and_then(|cert| Some([cert, written(&https.key)?]));
        if now == self.written && (now.is_some() || !at_once) {
            return;
        }
        match server_config(&https.cert, &https.key) {
            Ok(config) => {
                self.config = Some(config);
                tracing::info!("https with the certificate {}", https.cert.display());
            }
            Err(error) => tracing::error!("https: {error}"),
        }
        self.written = now;
    }
}

/// Reads a certificate chain and its key.
///
/// # Errors
/// [`TlsError`].
fn server_config(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let named = |path: &Path| {
        let path = path.display().to_string();
        move |error| TlsError::Pem(path, error)
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .map_err(named(cert))?
        .collect::<Result<_, _>>()
        .map_err(named(cert))?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(named(key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl Transport {
    /// A socket that was accepted where TLS is spoken.
    ///
    /// # Errors
    /// When the session can't be made.
    pub(crate) fn tls(socket: TcpStream, config: &Arc<ServerConfig>) -> io::Result<Self> {
        let mut session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        // What is given to it at once is bounded, and it gets no more before that is out.
        session.set_buffer_limit(None);
        Ok(Self::Tls(socket, Box::new(session)))
    }

    /// The socket itself.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) | Self::Tls(socket, _) => socket,
        }
    }

    /// Whether files have to be read to be sent.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(..))
    }

    /// Says that nothing follows.
    pub(crate) fn shut_down(&mut self) {
        if let Self::Tls(socket, session) = self {
            session.send_close_notify();
            let _ = session.write_tls(socket);
        }
        let _ = self.socket().shutdown(std::net::Shutdown::Write);
    }
}

/// Sends what the session has for the socket.
fn drain(socket: &mut TcpStream, session: &mut ServerConnection) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(socket) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Trouble that is no more than a full socket is none.
fn unless_full(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        other => other,
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (socket, session) = match self {
            Self::Plain(socket) => return socket.read(buffer),
            Self::Tls(socket, session) => (socket, session),
        };
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // A peer that ends without saying so has left all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            if session.read_tls(socket)? == 0 {
                return Ok(0);
            }
            let state = session.process_new_packets();
            unless_full(drain(socket, session))?;
            state.map_err(io::Error::other)?;
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write_vectored(slices),
            Self::Tls(socket, session) => {
                // No more is encrypted than the socket takes.
                drain(socket, session)?;
                let count = session.writer().write_vectored(slices)?;
                unless_full(drain(socket, session))?;
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(socket, session) => drain(socket, session),
        }
    }
}

impl AsRawFd for Transport {
    fn as_raw_fd(&self) -> RawFd {
        self.socket().as_raw_fd()
    }
}
