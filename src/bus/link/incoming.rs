//! What comes on the subscriber's connection, sorted in its task, without waiting for anything.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use super::Link;
use crate::bus::Bus;
use crate::clock;

impl Link {
    /// Something came on the subscriber's connection. Called in its task, so it only sorts.
    pub(super) fn came(&self, bus: &Arc<Bus>, lease: &str, broken: &Notify, info: PushInfo) {
        match info.kind {
            PushKind::SMessage => {
                let mut data = info.data.into_iter();
                let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
                    (data.next(), data.next())
                else {
                    return;
                };
                if let Some(room) = bus.rooms.by_channel(&channel) {
                    bus.receive(&room, payload);
                } else if channel == lease.as_bytes() {
                    self.echoed(&payload);
                }
            }
            PushKind::SUnsubscribe => {
                let less = |count: usize| count.checked_sub(1);
                let (set, get) = (Ordering::AcqRel, Ordering::Acquire);
                if self.unsubscribing.fetch_update(set, get, less).is_err() {
                    broken.notify_one();
                }
            }
            PushKind::Disconnection => broken.notify_one(),
            _ => {}
        }
    }

    /// A probe came back.
    fn echoed(&self, payload: &[u8]) {
        let sign = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok());
        let mut probe = self.probe();
        if let Some(sent) = probe.take_if(|probe| Some(probe.sign) == sign).map(|probe| probe.sent)
        {
            let nanos = clock::now().since(sent).as_nanos();
            self.round_trip_ns
                .store(u64::try_from(nanos).unwrap_or(u64::MAX).max(1), Ordering::Release);
        }
    }
}
