//! How late the event loop's turns come: one timer, four times a second, beside everything else.
//!
//! A turn that should have come at once waits behind whatever the workers are doing. That wait is
//! what every member's message waits too, so it is measured where it happens and costs no message
//! anything. It runs on the threads that serve members; those of the front door are not watched,
//! for a flood that keeps them busy is no reason to send members elsewhere.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::http::App;
use crate::metrics::Timed;

/// Measures until it is dropped.
pub(super) async fn measure(app: Arc<App>) {
    let _ends = Ends(&app);
    let mut asked = clock::now();
    loop {
        tokio::time::sleep(PERIOD).await;
        let now = clock::now();
        let lag = now.since(asked.after(PERIOD));
        app.metrics.observe(Timed::EventLoopLag, lag);
        app.lag.note(lag, now, now.after(PERIOD));
        asked = now;
    }
}

/// Nobody waits for the next turn once there is none.
struct Ends<'a>(&'a App);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.lag.end();
    }
}

/// Short enough that what lasts for longer than a blink is met, long enough to cost nothing.
const PERIOD: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::runtime::Builder;

    use super::*;
    use crate::config::Config;
    use crate::core::id::Kid;
    use crate::core::limit::Instant;
    use crate::core::secret::SecretBytes;
    use crate::core::token::{Keys, SigningKey};

    fn app() -> Arc<App> {
        let (kid, secret) = (Kid::new("k1").unwrap(), SecretBytes::new(vec![7; 32]));
        let key = SigningKey { kid, issuer: "lethewire".to_owned(), secret };
        Arc::new(App::new(Config::default(), Keys::new(vec![key]).unwrap(), None).unwrap())
    }

    /// Until the condition holds; the workers are other threads.
    fn until(what: &str, holds: impl Fn() -> bool) {
        let begun = clock::now();
        while !holds() {
            assert!(clock::now().since(begun) < Duration::from_secs(20), "waited for {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_worker_that_is_blocked_shows_while_it_is_and_afterwards() {
        const LATE: Duration = Duration::from_secs(1);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let app = app();
        let measuring = runtime.spawn(measure(Arc::clone(&app)));
        // Nothing is overdue before anything was measured.
        let later = || clock::now().after(Duration::from_secs(3600));
        until("the first measurement", || app.lag.worst(later()) > Duration::ZERO);
        // What came is known at any moment; what has not come yet only after its time.
        let came = || app.lag.worst(Instant::START);
        assert!(came() < LATE, "{:?}: this machine is too busy to tell", came());

        let (release, released) = mpsc::channel::<()>();
        let blocks = runtime.spawn(async move { released.recv() });
        until("a turn to be late", || app.lag.worst(clock::now()) >= LATE);
        assert!(came() < LATE, "it has not come yet");
        drop(release);
        until("the turn to come", || came() >= LATE);
        assert!(runtime.block_on(blocks).unwrap().is_err(), "it waited for the release");

        let shown = app.metrics.encode(clock::now());
        let bucket = |le: &str| -> u64 {
            let series = format!("lethewire_event_loop_lag_seconds_bucket{{le=\"{le}\"}} ");
            shown.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
        };
        assert!(bucket("+Inf") > bucket("1.0") && bucket("1.0") > 0, "{shown}");

        measuring.abort();
        assert!(runtime.block_on(measuring).unwrap_err().is_cancelled());
        assert!(app.lag.worst(later()) < LATE, "nobody waits for a turn that nobody takes");
    }
}
