//! `lethewire probe --listen`: probes again and again, and shows the figures of the last time.
//!
//! Nothing grows: one probe at a time, a few connections that end after one answer, and as many
//! series as there are stages.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::journey::{Outcome, Plan};
use super::stage::{Stage, TIMEOUT};

type Float = Gauge<f64, AtomicU64>;

/// The figures.
struct Figures {
    registry: Registry,
    up: Gauge,
    success: Counter,
    failures: Family<Label, Counter>,
    /// Not a number until measured, and after a probe that did not come so far: so no alert
    /// compares with what was.
    seconds: [(Stage, Float); 3],
    not_after: Float,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    stage: &'static str,
}

impl Figures {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("lethewire_probe");
        let (up, success, not_after) = (Gauge::default(), Counter::default(), Float::default());
        let failures = Family::<Label, Counter>::default();
        for stage in Stage::ALL.map(Stage::name).into_iter().chain([TIMEOUT]) {
            // There from the start, so that the first failure is an increase.
            drop(failures.get_or_create(&Label { stage }));
        }
        registry.register("up", "Whether the last probe succeeded", up.clone());
        registry.register("success", "Probes that succeeded", success.clone());
        registry.register("failures", "Probes that failed, by where", failures.clone());
        let seconds = [
            (Stage::Handshake, "A member's connection, TLS and upgrade; the slower of two"),
            (Stage::Join, "From the upgrade to the welcome; the slower of two members"),
            (Stage::Message, "From sending a message to its arrival at the other member"),
        ];
        let seconds = seconds.map(|(stage, help)| {
            let gauge = Float::default();
            gauge.set(f64::NAN);
            registry.register_with_unit(stage.name(), help, Unit::Seconds, gauge.clone());
            (stage, gauge)
        });
        not_after.set(f64::NAN);
        let help = "When the first certificate on the way ends, in seconds since 1970";
        registry.register_with_unit("tls_not_after", help, Unit::Seconds, not_after.clone());
        Self { registry, up, success, failures, seconds, not_after }
    }

    fn note(&self, outcome: &Outcome) {
        match &outcome.failure {
            None => self.success.inc(),
            Some(failure) => self.failures.get_or_create(&Label { stage: failure.label() }).inc(),
        };
        self.up.set(i64::from(outcome.failure.is_none()));
        for (stage, gauge) in &self.seconds {
            gauge.set(outcome.journal.took(*stage).map_or(f64::NAN, |took| took.as_secs_f64()));
        }
        if let Some(end) = outcome.not_after {
            #[expect(clippy::cast_precision_loss, reason = "seconds of this era are exact")]
            self.not_after.set(end.0 as f64);
        }
    }

    fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a String cannot fail");
        out
    }
}

/// Listens on `address`, tells `announce` where, and probes once per `interval` until `stop`.
///
/// # Errors
///
/// That nobody can listen there.
pub(super) async fn run(
    plan: &Plan<'_>,
    address: SocketAddr,
    interval: Duration,
    announce: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    announce(listener.local_addr()?);
    let figures = Arc::new(Figures::new());
    let probing = async {
        let mut tick = tokio::time::interval(interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            figures.note(&Box::pin(plan.run()).await);
        }
    };
    tokio::select! {
        () = probing => Ok(()),
        () = serve(listener, &figures) => Ok(()),
        () = stop => Ok(()),
    }
}

async fn serve(listener: TcpListener, figures: &Arc<Figures>) {
    let mut connections = JoinSet::new();
    loop {
        // No file free is a reason to wait for a connection's end, or for a moment.
        let Ok((stream, _)) = listener.accept().await else {
            let _ = tokio::time::timeout(ACCEPT_PAUSE, connections.join_next()).await;
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        let figures = Arc::clone(figures);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&figures, &request);
                async move { Ok::<_, std::convert::Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(CONNECTION_LIMIT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A scraper that went away, or stays for too long, asks again.
            let _ = tokio::time::timeout(CONNECTION_LIMIT, connection).await;
        });
    }
}

fn answer(figures: &Figures, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, kind, body) = match request.uri().path() {
        _ if !get => (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".to_owned()),
        "/metrics" => (StatusCode::OK, OPENMETRICS, figures.encode()),
        "/live" => (StatusCode::OK, JSON, "{\"alive\":true}".to_owned()),
        _ => (StatusCode::NOT_FOUND, PLAIN, "/metrics or /live\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Scrapers that are answered at the same time; more wait.
const CONNECTIONS_MAX: usize = 8;
/// Longest stay of one.
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);
/// Wait after a connection that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
