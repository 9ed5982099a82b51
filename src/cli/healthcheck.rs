//! `lethewire healthcheck`: asks a relay whether it is ready, with nothing but a socket.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::{UNUSABLE_CONFIGURATION, complain, print};
use crate::clock;
use crate::config::{Config, Environment};
use crate::core::limit::Instant;

#[derive(clap::Args)]
pub(super) struct Args {
    /// What to ask instead of the operations listener of the configuration, or of the one for members
    /// if that is off; as in `http://127.0.0.1:9090/ready`.
    #[arg(long)]
    url: Option<String>,

    /// Seconds to wait for the whole answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

pub(super) fn run(args: &Args, file: Option<&Path>) -> ExitCode {
    let target = match &args.url {
        Some(url) => Target::of_url(url),
        None => match Config::load(file, &Environment::of_process()) {
            Ok(config) => Some(Target::of_config(&config)),
            Err(error) => {
                complain(error);
                return ExitCode::from(UNUSABLE_CONFIGURATION);
            }
        },
    };
    let Some(target) = target else {
        complain("expected an address like http://127.0.0.1:9090/ready");
        return ExitCode::from(2);
    };
    match ask(&target, clock::now().after(Duration::from_secs(args.timeout))) {
        Ok(200) => {
            print("ready");
            ExitCode::SUCCESS
        }
        Ok(status) => {
            complain(format_args!("not ready: status {status}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(format_args!("not ready: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What to connect to, and what to ask there.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// Host and port, as in a `Host` header.
    authority: String,
    path: String,
}

impl Target {
    fn of_config(config: &Config) -> Self {
        let mut address = config.server.ops_listen.unwrap_or_else(|| config.server.listen());
        if address.ip().is_unspecified() {
            // Whoever listens everywhere listens here.
            address.set_ip(match address {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        Self { authority: address.to_string(), path: READY.to_owned() }
    }

    fn of_url(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let (authority, path) = match rest.find('/') {
            Some(at) if rest.get(at..) != Some("/") => rest.split_at(at),
            _ => (rest.trim_end_matches('/'), READY),
        };
        let plain = url.bytes().all(|b| b.is_ascii_graphic());
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let host = !authority.starts_with(':');
        (plain && host).then(|| Self { authority, path: path.to_owned() })
    }
}

const READY: &str = "/ready";

/// Asks and returns the status. Ends by the deadline, whatever the other side does.
fn ask(target: &Target, deadline: Instant) -> io::Result<u16> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in target.authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return converse(stream, target, deadline),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn converse(mut stream: TcpStream, target: &Target, deadline: Instant) -> io::Result<u16> {
    let Target { authority, path } = target;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request.as_bytes())?;
    // "HTTP/1.1 200" is all that is of interest.
    let mut head = [0; 12];
    let mut filled = 0;
    while let Some(free) = head.get_mut(filled..).filter(|free| !free.is_empty()) {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(free) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(timed_out()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let status =
        head.strip_prefix(b"HTTP/1.1 ").and_then(|digits| std::str::from_utf8(digits).ok());
    status
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

/// The time that is left, at least enough for a socket option to take it.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.since(clock::now());
    if left < Duration::from_millis(1) { Err(timed_out()) } else { Ok(left) }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers one connection with `answer` and holds it open until the client has gone.
    fn answered(answer: &'static [u8]) -> io::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let len = stream.read(&mut request).unwrap();
            for byte in answer {
                // Byte by byte, so that the client has to put the answer together.
                if stream.write_all(&[*byte]).is_err() {
                    break;
                }
            }
            // Ends when the client closes; what it then says is of no interest.
            let _ = stream.read(&mut request[len..]);
            String::from_utf8(request[..len].to_vec()).unwrap()
        });
        let target = Target::of_url(&url).unwrap();
        let asked = clock::now();
        let result = ask(&target, asked.after(Duration::from_millis(500)));
        assert!(clock::now().since(asked) < Duration::from_secs(4), "long after the deadline");
        let request = server.join().unwrap();
        assert!(request.starts_with("GET /ready HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
        assert!(request.ends_with("\r\nConnection: close\r\n\r\n"), "{request}");
        result
    }

    #[test]
    fn the_status_is_the_answer() {
        assert_eq!(answered(b"HTTP/1.1 200 OK\r\n\r\n").unwrap(), 200);
        assert_eq!(answered(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap(), 503);
    }

    #[test]
    fn what_is_not_an_answer_is_an_error() {
        assert_eq!(answered(b"SSH-2.0-OpenSSH_9").unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(answered(b"HTTP/1.1 2x0").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_relay_that_says_nothing_is_given_up_by_the_deadline() {
        assert_eq!(answered(b"").unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(answered(b"HTTP/1.1 20").unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn nobody_there_is_an_error() {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let target = Target::of_url(&format!("http://{unused}")).unwrap();
        assert!(ask(&target, clock::now().after(Duration::from_secs(5))).is_err());
    }

    #[test]
    fn addresses_are_http_with_a_port_and_a_path() {
        for (url, expected) in [
            ("http://127.0.0.1:9090/ready", Some(("127.0.0.1:9090", "/ready"))),
            ("http://127.0.0.1:9090/live", Some(("127.0.0.1:9090", "/live"))),
            ("http://127.0.0.1:9090", Some(("127.0.0.1:9090", "/ready"))),
            ("http://localhost/", Some(("localhost:80", "/ready"))),
            ("http://[::1]/", Some(("[::1]:80", "/ready"))),
            ("http://[::1]:1", Some(("[::1]:1", "/ready"))),
            ("https://localhost", None),
            ("localhost:9090", None),
            ("http://", None),
            ("http://a b/", None),
            ("http://a/\r\nX: y", None),
        ] {
            let target = Target::of_url(url);
            let found = target.as_ref().map(|t| (t.authority.as_str(), t.path.as_str()));
            assert_eq!(found, expected, "{url}");
        }
    }

    #[test]
    fn the_configuration_says_whom_to_ask() {
        let mut config = Config::default();
        let authority = |config: &Config| Target::of_config(config).authority;
        assert_eq!(authority(&config), "127.0.0.1:9090");
        config.server.ops_listen = Some("[::]:9091".parse().unwrap());
        assert_eq!(authority(&config), "[::1]:9091");
        config.server.ops_listen = None;
        config.server.host = Ipv4Addr::UNSPECIFIED.into();
        assert_eq!(authority(&config), "127.0.0.1:8080");
    }
}
