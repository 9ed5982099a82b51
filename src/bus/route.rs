//! Which server has which partition, in each of the ways in which there can be several.
//!
//! One server, or the one that sentinels name, has all. Of independent servers, the one that wants
//! a partition most has it, so that a server more or less moves only its own. In a cluster, the
//! servers say so themselves, and are asked again whenever something was not as expected.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::{Cmd, ConnectionInfo, Value};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::link::{Link, Server, ask_once, moved, parse, supervise};
use super::names::{Names, PARTITIONS};
use super::scripts::integer;
use super::settings::{BusSettings, Servers};
use super::{Bus, slots};

/// The links, and which of them a partition is on.
pub(super) struct Route {
    table: RwLock<Table>,
    /// The cluster's nodes to ask first; empty without a cluster.
    seeds: Vec<ConnectionInfo>,
    stirred: Notify,
}

#[derive(Default)]
struct Table {
    links: Vec<Arc<Link>>,
    /// For each partition, the place of its link.
    of: Vec<usize>,
}

/// How often a cluster is asked where its slots are, though nothing happened.
const REFRESH: Duration = Duration::from_secs(30);
/// Shortest time between two such questions.
const REFRESH_MIN: Duration = Duration::from_millis(100);

impl Route {
    pub(super) fn new(settings: &BusSettings, names: &Names) -> io::Result<Self> {
        let read = |url: &String| {
            // The error would quote the address, and there is a password in it.
            parse(url, settings.timeout)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a Redis address"))
        };
        let all = |urls: &[String]| urls.iter().map(read).collect::<io::Result<Vec<_>>>();
        let (servers, seeds) = match &settings.servers {
            Servers::Single(url) => (vec![Server::Fixed(read(url)?)], Vec::new()),
            Servers::Shards(urls) => {
                (all(urls)?.into_iter().map(Server::Fixed).collect(), Vec::new())
            }
            Servers::Sentinel { sentinels, master, login } => {
                let sentinels = all(sentinels)?;
                let login = match login {
                    Some(url) => read(url)?,
                    None => read(&"redis://localhost".to_owned())?,
                };
                (vec![Server::Named { sentinels, master: master.clone(), login }], Vec::new())
            }
            Servers::Cluster(urls) => (Vec::new(), all(urls)?),
        };
        if servers.is_empty() && seeds.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no Redis address"));
        }
        let of = (0..PARTITIONS).map(|partition| wanted(names, partition, &servers)).collect();
        let links = servers.into_iter().map(|server| Arc::new(Link::new(server))).collect();
        Ok(Self { table: RwLock::new(Table { links, of }), seeds, stirred: Notify::new() })
    }

    /// The link of a partition; `None` while a cluster has not said.
    pub(super) fn link(&self, partition: usize) -> Option<Arc<Link>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.links.get(*table.of.get(partition)?).cloned()
    }

    /// The link on which nodes have their leases, for rooms of a partition: a cluster has one for
    /// all.
    pub(super) fn lease_link(&self, partition: usize) -> Option<Arc<Link>> {
        self.link(if self.seeds.is_empty() { partition } else { 0 })
    }

    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).links.clone()
    }

    /// The partitions of a link, in order.
    pub(super) fn partitions(&self, link: &Link) -> Vec<usize> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let is_it = |at: &usize| {
            table.links.get(*at).is_some_and(|there| std::ptr::eq(Arc::as_ptr(there), link))
        };
        table.of.iter().enumerate().filter(|(_, at)| is_it(at)).map(|(part, _)| part).collect()
    }

    /// Something was not where it should be: a cluster is asked again.
    pub(super) fn stir(&self) {
        self.stirred.notify_one();
    }
}

impl Bus {
    /// Drives all links until `stop`.
    pub(super) async fn drive(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        for link in self.route.links() {
            tasks.spawn(supervise(Arc::clone(self), link, stop.child_token()));
        }
        if self.route.seeds.is_empty() {
            return stop.cancelled().await;
        }
        let mut running: Vec<(Arc<Link>, CancellationToken)> = Vec::new();
        loop {
            if let Some(masters) = self.ask_cluster().await {
                self.follow(masters, &mut running, tasks, stop);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REFRESH) => {}
                () = self.route.stirred.notified() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REFRESH_MIN) => {}
            }
        }
    }

    /// The address of each partition's master, as the first node says that answers.
    async fn ask_cluster(&self) -> Option<Vec<(String, u16)>> {
        let mut known: Vec<ConnectionInfo> = Vec::new();
        for link in self.route.links() {
            if let Server::Fixed(info) = &link.server {
                known.push(info.clone());
            }
        }
        for info in known.iter().chain(&self.route.seeds) {
            let mut cmd = Cmd::new();
            cmd.arg("CLUSTER").arg("SLOTS");
            let host = slots::host(info.addr());
            if let Ok(answer) = ask_once(info, &self.settings, &cmd).await
                && let Some(masters) = masters(&answer, &host)
            {
                return Some(masters);
            }
        }
        None
    }

    /// Makes links to new masters, ends those to former ones, and moves rooms.
    fn follow(
        self: &Arc<Self>,
        masters: Vec<(String, u16)>,
        running: &mut Vec<(Arc<Link>, CancellationToken)>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let Some(like) = self.route.seeds.first() else { return };
        let mut before: BTreeMap<(String, u16), Arc<Link>> = BTreeMap::new();
        for (link, _) in running.iter() {
            before.insert(slots::place(link), Arc::clone(link));
        }
        let mut table = Table::default();
        let mut places: BTreeMap<(String, u16), usize> = BTreeMap::new();
        for place in masters {
            let at = *places.entry(place.clone()).or_insert_with(|| {
                let link = before.get(&place).cloned().unwrap_or_else(|| {
                    let address = moved(like.addr(), place.0, place.1);
                    Arc::new(Link::new(Server::Fixed(like.clone().set_addr(address))))
                });
                table.links.push(link);
                table.links.len() - 1
            });
            table.of.push(at);
        }
        let links = table.links.clone();
        let old = {
            let mut current = self.route.table.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, table)
        };
        for link in &links {
            if !running.iter().any(|(known, _)| Arc::ptr_eq(known, link)) {
                let end = stop.child_token();
                tasks.spawn(supervise(Arc::clone(self), Arc::clone(link), end.clone()));
                running.push((Arc::clone(link), end));
            }
        }
        running.retain(|(link, end)| {
            let stays = links.iter().any(|wanted| Arc::ptr_eq(wanted, link));
            if !stays {
                end.cancel();
            }
            stays
        });
        for partition in 0..PARTITIONS {
            let from = old.of.get(partition).and_then(|at| old.links.get(*at));
            if let (Some(from), Some(to)) = (from, self.route.link(partition))
                && !Arc::ptr_eq(from, &to)
            {
                for room in self.rooms.of_partition(partition) {
                    self.cut(&room);
                    from.leave(room.names.order.clone());
                    to.subscribe(room);
                }
            }
        }
    }
}

/// The server that wants a partition most.
fn wanted(names: &Names, partition: usize, servers: &[Server]) -> usize {
    if servers.len() < 2 {
        return 0;
    }
    let weight = |server: &Server| match server {
        Server::Fixed(info) => names.weight(partition, &info.addr().to_string()),
        Server::Named { master, .. } => names.weight(partition, master),
    };
    let best = servers.iter().enumerate().max_by_key(|(_, server)| weight(server));
    best.map_or(0, |(at, _)| at)
}

/// Reads `CLUSTER SLOTS`: the master of each partition's slot. `None` unless all are there.
fn masters(answer: &Value, asked: &str) -> Option<Vec<(String, u16)>> {
    let Value::Array(ranges) = answer else { return None };
    let mut of: Vec<Option<(String, u16)>> = vec![None; PARTITIONS];
    for range in ranges {
        let Value::Array(range) = range else { return None };
        let (first, last) = (integer(range.first()?)?, integer(range.get(1)?)?);
        let Value::Array(master) = range.get(2)? else { return None };
        let host = match master.first()? {
            Value::BulkString(host) if !host.is_empty() => String::from_utf8(host.clone()).ok()?,
            // The server does not know its own address: it is the one that was asked.
            _ => asked.to_owned(),
        };
        let port = u16::try_from(integer(master.get(1)?)?).ok()?;
        for (partition, master) in of.iter_mut().enumerate() {
            if (first..=last).contains(&i64::from(slots::of_partition(partition))) {
                *master = Some((host.clone(), port));
            }
        }
    }
    of.into_iter().collect()
}
