//! One connection from its place to its end, and its way from the door to where members are.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::{Shared, proxy};
use crate::admission::addresses::AddressGuard;
use crate::clock;
use crate::config::TrustProxy;
use crate::conn::{self, Upgraded};
use crate::core::close::Close;
use crate::http::{App, Begun, Caller, Opening, Shaken, begin, serve_public};
use crate::metrics::{ConnectionGauge, Count, Refusal};

/// A connection's place; giving it up makes room for another one.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    /// A member's; until there is one the [`Caller`] has it.
    address: Option<AddressGuard>,
    _gauge: ConnectionGauge,
}

impl Place {
    /// Lets the address answer for how its connection ended.
    fn blame(&self, close: Close) {
        if let Some(address) = &self.address {
            address.blame(close, clock::now());
        }
    }
}

impl Shared {
    /// A place for a new connection, unless it gets only an answer. `None` drops it.
    fn place(&self, peer: SocketAddr) -> Option<(Place, Caller)> {
        let server = &self.app.config.server;
        // Dropped, because whoever comes past the proxies could say that it is anybody.
        if server.trust_proxy == TrustProxy::ProxyProtocol && !server.trusts(peer.ip()) {
            self.app.metrics.refused(Refusal::UntrustedProxy);
            return None;
        }
        let mut caller = Caller { client: peer.ip(), no_place: None, address: None };
        let refusal = match Arc::clone(&self.places).try_acquire_owned() {
            Err(_) => Refusal::Capacity,
            // Behind proxies all connections come from them: who it is is known later.
            Ok(permit) if server.trust_proxy != TrustProxy::Nobody => {
                return Some((self.counted(permit), caller));
            }
            Ok(permit) => match self.app.connect(peer.ip()) {
                Ok(address) => {
                    caller.address = address;
                    return Some((self.counted(permit), caller));
                }
                Err(refusal) => refusal,
            },
        };
        let Ok(permit) = Arc::clone(&self.apologies).try_acquire_owned() else {
            self.app.metrics.refused(refusal);
            return None;
        };
        caller.no_place = Some(refusal);
        Some((self.counted(permit), caller))
    }

    /// Reads the proxy's header, and counts the connection for the client that it names. `None`
    /// drops the connection.
    async fn introduce(&self, stream: &TcpStream, caller: &mut Caller) -> Option<Apology> {
        let limit = self.app.config.http.header_timeout();
        let header = tokio::time::timeout(limit, proxy::read_header(stream)).await;
        let Ok(Ok(client)) = header else {
            self.app.metrics.refused(Refusal::ProxyHeader);
            return None;
        };
        caller.client = client.unwrap_or(caller.client);
        if caller.no_place.is_some() {
            return Some(Apology::default());
        }
        match self.app.connect(caller.client) {
            Ok(address) => {
                caller.address = address;
                Some(Apology::default())
            }
            Err(refusal) => {
                let Ok(apology) = Arc::clone(&self.apologies).try_acquire_owned() else {
                    self.app.metrics.refused(refusal);
                    return None;
                };
                caller.no_place = Some(refusal);
                Some(Apology(Some(apology)))
            }
        }
    }

    fn counted(&self, permit: OwnedSemaphorePermit) -> Place {
        Place { _permit: permit, address: None, _gauge: self.app.metrics.connection_opened() }
    }
}

/// A client above its limit keeps one of the few tasks that tell it so, and not only a place: otherwise
/// it could take all places of all others.
#[derive(Default)]
struct Apology(#[expect(dead_code, reason = "a guard")] Option<OwnedSemaphorePermit>);

impl Shared {
    /// Takes in a connection. A handshake that is there already is answered here and now, without a task.
    pub(super) fn receive(self: &Arc<Self>, stream: std::net::TcpStream, peer: SocketAddr) {
        let Some((mut place, mut caller)) = self.place(peer) else { return };
        // What a proxy says comes before.
        if self.app.config.server.trust_proxy == TrustProxy::ProxyProtocol {
            return self.serve(stream, caller, place, None);
        }
        let panics = CountsPanics(Arc::clone(&self.app));
        let begun =
            catch_unwind(AssertUnwindSafe(|| (begin(&panics.0, &mut caller, stream), panics)));
        match begun {
            Ok((Begun::Shaken(Shaken { upgraded, address }), panics)) => {
                place.address = address;
                let newcomer = Newcomer { panics, upgraded, place };
                if self.moves(&newcomer.upgraded) {
                    self.show_in(newcomer);
                } else {
                    self.start(newcomer);
                }
            }
            Ok((Begun::Open(stream, opening), _)) => {
                self.serve(stream, caller, place, Some(opening).filter(Opening::has_begun));
            }
            // Counted. It ends this connection only.
            Err(_panic) => {}
        }
    }

    /// Starts the task of a connection that speaks HTTP, or has said nothing yet.
    fn serve(
        self: &Arc<Self>,
        stream: std::net::TcpStream,
        caller: Caller,
        place: Place,
        opening: Option<Opening>,
    ) {
        if let Some(stream) = self.watched(stream) {
            self.tracker.spawn(connection(Arc::clone(self), stream, caller, place, opening));
        }
    }

    /// Has the event loop of this thread watch a socket. If it cannot, which is counted, the
    /// connection ends.
    pub(super) fn watched(&self, stream: std::net::TcpStream) -> Option<TcpStream> {
        let watched = TcpStream::from_std(stream);
        watched.inspect_err(|_| self.app.metrics.add(Count::AcceptErrors, 1)).ok()
    }

    /// Whether a connection goes on elsewhere. Who is only told why not is not let past the door.
    const fn moves<S>(&self, upgraded: &Upgraded<S>) -> bool {
        self.members.is_some() && upgraded.admitted.is_ok()
    }

    /// Shows a member to where members are.
    fn show_in(self: &Arc<Self>, newcomer: Newcomer) {
        if self.doorstep.put(newcomer) {
            let shared = Arc::clone(self);
            self.tracker.spawn(async move {
                let together = shared.doorstep.gather().await;
                shared.let_in(together);
            });
        }
    }

    /// Starts what these connections do from now on, on the threads of members. Their sockets are watched
    /// there from there: adding them from outside would wake a thread for each.
    fn let_in(self: &Arc<Self>, newcomers: Vec<Newcomer>) {
        let Some(members) = self.members.as_ref() else { return };
        let shared = Arc::clone(self);
        let all = async move {
            for newcomer in newcomers {
                shared.start(newcomer);
            }
        };
        self.tracker.spawn_on(all, members);
    }

    /// Starts the task of a connection after its upgrade.
    fn start(&self, Newcomer { panics, upgraded, place }: Newcomer) {
        if let Some(upgraded) = upgraded.with_stream(|stream| self.watched(stream)) {
            self.tracker.spawn(upgraded_connection(panics, upgraded, place));
        }
    }
}

/// One connection whose handshake was not there at once, until it is a member or to its end.
fn connection(
    shared: Arc<Shared>,
    stream: TcpStream,
    caller: Caller,
    mut place: Place,
    opening: Option<Opening>,
) -> impl Future<Output = ()> + Send {
    // Boxed and gone before the connection proper begins: an idle member keeps no HTTP buffers. And
    // made out here, so that the task has no place for what goes in.
    let http = Box::pin(until_upgrade(Arc::clone(&shared), stream, caller, opening));
    async move {
        let panics = CountsPanics(Arc::clone(&shared.app));
        let Some(Shaken { upgraded, address }) = http.await else { return };
        place.address = address;
        if shared.moves(&upgraded) {
            let Some(upgraded) = upgraded.with_stream(|stream| stream.into_std().ok()) else {
                return;
            };
            shared.show_in(Newcomer { panics, upgraded, place });
        } else {
            upgraded_connection(panics, upgraded, place).await;
        }
    }
}

/// The connection until its upgrade.
async fn until_upgrade(
    shared: Arc<Shared>,
    stream: TcpStream,
    mut caller: Caller,
    opening: Option<Opening>,
) -> Option<Shaken> {
    let app = Arc::clone(&shared.app);
    let mut _apology = Apology::default();
    if app.config.server.trust_proxy == TrustProxy::ProxyProtocol {
        _apology = shared.introduce(&stream, &mut caller).await?;
    }
    serve_public(app, stream, caller, opening).await
}

/// Somebody who is upgraded, whose socket nobody watches.
pub(super) struct Newcomer {
    panics: CountsPanics,
    upgraded: Upgraded<std::net::TcpStream>,
    place: Place,
}

/// A connection after its upgrade, in one task. Not an async function: that would keep a place for
/// what goes in beside what it is made into.
pub(super) fn upgraded_connection(
    panics: CountsPanics,
    upgraded: Upgraded,
    place: Place,
) -> impl Future<Output = ()> + Send {
    conn::run(upgraded, Arc::clone(&panics.0.hub)).map(move |close| {
        place.blame(close);
        drop(panics);
    })
}

/// Counts a task that ends by a panic. The panic itself ends that one connection only.
pub(super) struct CountsPanics(pub(super) Arc<App>);

impl Drop for CountsPanics {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.metrics.add(Count::Panics, 1);
        }
    }
}
