//! What can stand between the prober and a relay: TLS, and servers that stop answering.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// A certificate for `localhost` from an authority of its own, until the 3rd of February of a year.
pub(crate) struct Certificate {
    config: Arc<rustls::ServerConfig>,
    folder: TempDir,
}

impl Certificate {
    pub(crate) fn until(year: i32) -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let folder = TempDir::new().unwrap();
        let authority = params.self_signed(&key).unwrap();
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            base64::Engine::encode(
                &base64::engine::general_purpose::STANDARD,
                authority.der().as_ref()
            )
        );
        std::fs::write(folder.path().join("ca.pem"), pem).unwrap();
        let issuer = rcgen::Issuer::new(params, key);

        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.into())
            .unwrap();
        Self { config: Arc::new(config), folder }
    }

    /// The authority, as a file.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

/// A port on which something listens as long as this lives.
pub(crate) struct Front {
    listener: TcpListener,
}

impl Front {
    pub(crate) fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Ends TLS, and passes on what is said. Runs until the process ends.
    pub(crate) fn end_tls(&self, certificate: &Certificate, relay: SocketAddr) {
        let acceptor = TlsAcceptor::from(Arc::clone(&certificate.config));
        let listener = self.listener.try_clone().unwrap();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    let acceptor = acceptor.clone();
                    connections.spawn(async move {
                        let mut outside = acceptor.accept(stream).await?;
                        let mut inside = tokio::net::TcpStream::connect(relay).await?;
                        tokio::io::copy_bidirectional(&mut outside, &mut inside).await
                    });
                }
            });
        });
    }

    /// Passes on what the first connections say; to those after them it never answers.
    pub(crate) fn answer_first(&self, count: usize, relay: SocketAddr) {
        let listener = self.listener.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                if number < count {
                    pass_on(&stream, relay);
                } else {
                    silent.push(stream);
                }
            }
        });
    }

    /// Passes everything on, but what the second connection says after its request.
    pub(crate) fn mute_second(&self, relay: SocketAddr) {
        let listener = self.listener.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut muted = Vec::new();
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                if number == 1 {
                    muted.push(pass_request_on(stream, relay));
                } else {
                    pass_on(&stream, relay);
                }
            }
        });
    }
}

fn pass_request_on(mut outside: TcpStream, relay: SocketAddr) -> [TcpStream; 2] {
    let mut inside = TcpStream::connect(relay).unwrap();
    let mut byte = [0];
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        outside.read_exact(&mut byte).unwrap();
        request.extend(byte);
    }
    inside.write_all(&request).unwrap();
    let (mut from, mut to) = (inside.try_clone().unwrap(), outside.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    [outside, inside]
}

fn pass_on(outside: &TcpStream, relay: SocketAddr) {
    let inside = TcpStream::connect(relay).unwrap();
    for (from, to) in [(outside, &inside), (&inside, outside)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        std::thread::spawn(move || {
            // However it ends: then this direction has ended.
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}
