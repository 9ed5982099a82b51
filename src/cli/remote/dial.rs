//! The way to a relay: a name's addresses, a connection, and TLS if the address says so.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, Error as TlsError, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::certificate::not_after;
use super::url::Url;
use crate::core::limit::UnixSeconds;

/// A part of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    Resolve,
    Connect,
    Tls,
}

/// Why the way ends early.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) leg: Leg,
    /// What is the matter.
    pub(crate) what: String,
    /// What to do next.
    pub(crate) next: &'static str,
}

/// Something to read from and to write to.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A way that is open.
pub(crate) struct Link {
    pub(crate) stream: Box<dyn Stream>,
    /// When the certificate of the other side ends, if it showed one.
    pub(crate) not_after: Option<UnixSeconds>,
}

/// Whose certificates are believed.
#[derive(Clone)]
pub(crate) struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Those that the system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` count), or, with a PEM
    /// `file`, the authorities in it and nobody else.
    ///
    /// # Errors
    ///
    /// A sentence, if there is not a single certificate.
    pub(crate) fn new(file: Option<&Path>) -> Result<Self, String> {
        let certificates = match file {
            Some(path) => of_file(path)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(match file {
                Some(_) => "the file of --ca-file has no certificate in it".to_owned(),
                None => "this system has no trusted certificates; give some with --ca-file, or a \
                         file of them with SSL_CERT_FILE"
                    .to_owned(),
            });
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

fn of_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    found.map_err(|error| format!("cannot read the file of --ca-file: {error}"))
}

/// Goes the whole way. `patience` is the longest wait for a connection, all addresses together.
pub(crate) async fn dial(
    url: &Url,
    trust: Option<&Trust>,
    patience: Duration,
) -> Result<Link, Fault> {
    let addresses = resolve(url).await?;
    let stream = connect(&addresses, patience).await?;
    secure(url, stream, trust).await
}

/// The addresses of the host; at least one, and not more than are worth trying.
pub(crate) async fn resolve(url: &Url) -> Result<Vec<SocketAddr>, Fault> {
    let fault = |what: String| Fault { leg: Leg::Resolve, what, next: RESOLVE };
    let found = tokio::net::lookup_host((url.host.as_str(), url.port)).await;
    let found = found.map_err(|error| fault(format!("the host has no address: {error}")))?;
    let addresses: Vec<_> = found.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() {
        return Err(fault("the host has no address".to_owned()));
    }
    Ok(addresses)
}

/// A connection to the first address that takes one.
pub(crate) async fn connect(
    addresses: &[SocketAddr],
    patience: Duration,
) -> Result<TcpStream, Fault> {
    let each = patience / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match tokio::time::timeout(each, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Only a message's latency would suffer without it.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
        }
    }
    let what = format!("cannot connect: {last}");
    Err(Fault { leg: Leg::Connect, what, next: CONNECT })
}

/// Speaks TLS where the address wants it.
pub(crate) async fn secure(
    url: &Url,
    stream: TcpStream,
    trust: Option<&Trust>,
) -> Result<Link, Fault> {
    let (true, Some(Trust(config))) = (url.secure, trust) else {
        return Ok(Link { stream: Box::new(stream), not_after: None });
    };
    let fault = |what: String, next| Fault { leg: Leg::Tls, what, next };
    let name = ServerName::try_from(url.host.clone())
        .map_err(|_| fault("no certificate can be for this host".to_owned(), NAME))?;
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector.connect(name, stream).await.map_err(|error| {
        let (what, next) = explained(&error);
        fault(what, next)
    })?;
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let not_after = leaf.and_then(|leaf| not_after(leaf));
    Ok(Link { stream: Box::new(stream), not_after })
}

/// What is the matter with TLS, and what to do; nothing of the certificate is repeated.
fn explained(error: &io::Error) -> (String, &'static str) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    let (what, next) = match inner {
        Some(TlsError::InvalidCertificate(certificate)) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                ("the certificate has expired", EXPIRED)
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                ("the certificate is not valid yet", EXPIRED)
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                ("the certificate is for another name", NAME)
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                ("the certificate's issuer is not trusted here", ISSUER)
            }
            _ => ("the certificate is not valid", ISSUER),
        },
        Some(TlsError::InvalidMessage(_)) => ("what answers does not speak TLS", NOT_TLS),
        Some(_) => ("the handshake was refused", HANDSHAKE),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            ("the other side hung up during the handshake", HANDSHAKE)
        }
        None => return (format!("the connection broke: {error}"), HANDSHAKE),
    };
    (what.to_owned(), next)
}

/// More addresses of one name than this are not tried.
const ADDRESSES_MAX: usize = 4;

const RESOLVE: &str = "check the name in the address, and DNS here: getent hosts <name>";
const CONNECT: &str = "is the relay, or the proxy in front of it, running and listening there, and \
                       does a firewall let this machine in?";
const EXPIRED: &str =
    "renew the certificate where TLS ends, reload the proxy, and check the clocks";
const NAME: &str = "use the name that the certificate is for, or get one for this name";
const ISSUER: &str = "let the proxy send its whole chain; for an authority of your own: --ca-file";
const NOT_TLS: &str = "does this port speak plain HTTP? then the address starts with http://";
const HANDSHAKE: &str = "look at the log of the proxy that ends TLS; TLS 1.2 or 1.3 is needed";
