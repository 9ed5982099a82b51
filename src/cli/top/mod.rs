//! `lethewire top`: what a relay says of itself, for people at a shell.
//!
//! It asks the operations listener as a scraper does, and shows nothing that a scraper would not
//! see. What it keeps are two looks; everything else is worked out from them.

mod look;
mod openmetrics;
mod terminal;
mod view;

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use self::look::{Look, Since};
use self::terminal::{Screen, plain, size};
use self::view::{About, Line, render};
use super::remote::{Call, Caller, Trust, Url, dial};
use super::{complain, print};
use crate::clock;

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// The operations listener of the relay.
    #[arg(long, default_value = "http://127.0.0.1:9090")]
    url: String,

    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,

    /// Print one look as plain text, and end.
    #[arg(long)]
    once: bool,
}

const AFTER_HELP: &str = "\
Rates are those since the look before; quantiles are estimated from the buckets of histograms. Where
METRICS_PRIVACY blurs the figures, they are multiples of 8 and change once a minute, which is said.
Without a terminal, a plain look is printed at each interval. NO_COLOR=1 takes the colours away.

Keys: q or Ctrl-C ends.

Examples:
  lethewire top
  lethewire top --url http://10.0.0.7:9090 --interval 10
  lethewire top --once
  ssh relay.example lethewire top --once

Exit codes: 0 ended, 1 no relay answers there, 2 command line not understood.";

pub(super) fn run(args: &Args) -> ExitCode {
    let url = match Url::parse(&args.url) {
        Ok(url) => url,
        Err(what) => {
            complain(what);
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(Box::pin(watch(args, url)));
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            complain(what);
            ExitCode::FAILURE
        }
    }
}

/// What is asked, and what is known.
struct Watch {
    url: Url,
    target: String,
    trust: Option<Trust>,
    interval_s: u64,
    blurred: bool,
    now: Option<Look>,
    before: Option<Look>,
    trouble: Option<String>,
}

async fn watch(args: &Args, url: Url) -> Result<(), String> {
    let trust = if url.secure { Some(Trust::new(None)?) } else { None };
    let target = url.authority();
    let mut watch = Watch {
        url,
        target,
        trust,
        interval_s: args.interval,
        blurred: false,
        now: None,
        before: None,
        trouble: None,
    };
    watch.look().await;
    if let Some(trouble) = &watch.trouble {
        return Err(format!("{}: {trouble}", watch.target));
    }
    if args.once {
        print(plain(&watch.lines(size().1)));
        return Ok(());
    }
    let mut events = Events::new(args.interval).map_err(|error| error.to_string())?;
    if !std::io::stdout().is_terminal() {
        loop {
            print(format_args!("{}\n", plain(&watch.lines(size().1))));
            match events.next().await {
                Event::Look => watch.look().await,
                Event::Resize => {}
                Event::End => return Ok(()),
            }
        }
    }
    let screen = Screen::enter(has_colours());
    loop {
        screen.draw(&watch.lines(size().1));
        match events.next().await {
            Event::Look => watch.look().await,
            Event::Resize => {}
            Event::End => return Ok(()),
        }
    }
}

impl Watch {
    /// Looks once more, or notes why that did not work.
    async fn look(&mut self) {
        let looked = tokio::time::timeout(PATIENCE, self.ask()).await;
        match looked.unwrap_or_else(|_| Err("nothing within 5 s".to_owned())) {
            Ok((look, blurred)) => {
                self.trouble = None;
                self.blurred = blurred;
                // Blurred figures stay for a minute; a rate is from one change to the next.
                let new = self.now.as_ref().is_none_or(|now| look.differs(now));
                if new || !blurred {
                    self.before = self.now.replace(look);
                }
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    async fn ask(&self) -> Result<(Look, bool), String> {
        let link = dial(&self.url, self.trust.as_ref(), PATIENCE).await;
        let mut caller = Caller::new(link.map_err(|fault| fault.what)?).await?;
        let mut get = async |path, accept| {
            let call = Call { path, body: None, accept, bytes_max: ANSWER_BYTES_MAX };
            caller.call(&self.url, call).await
        };
        // A relay that is not healthy says so with 503 and the same body.
        let health = get("/health", "application/json").await?;
        if health.status != 200 && health.status != 503 {
            return Err(format!("/health has status {}: {OTHER}", health.status.as_u16()));
        }
        let metrics = get("/metrics", "application/openmetrics-text").await?;
        if metrics.status != 200 {
            return Err(format!("/metrics has status {}: {OTHER}", metrics.status.as_u16()));
        }
        // Whether figures are blurred is a matter of the configuration; where that is not shown,
        // they are taken for what they are.
        let config = get("/admin/config", "*/*").await.ok().filter(|config| config.status == 200);
        let blurred = config.is_some_and(|c| is_blurred(&String::from_utf8_lossy(&c.body)));
        Ok((Look::new(clock::now(), &health.body, &metrics.body)?, blurred))
    }

    fn lines(&self, width: usize) -> Vec<Line> {
        let about = About {
            target: &self.target,
            interval_s: self.interval_s,
            blurred: self.blurred,
            trouble: self.trouble.as_deref(),
        };
        let since = self.now.as_ref().map(|now| Since { now, before: self.before.as_ref() });
        render(&about, since, width)
    }
}

/// Whether the effective configuration, as TOML, says that figures are blurred.
fn is_blurred(config: &str) -> bool {
    let value = |key: &str| {
        config.lines().find_map(|line| {
            let (name, value) = line.split_once(" = \"")?;
            (name == key).then(|| value.split('"').next().unwrap_or_default().to_owned())
        })
    };
    match value("privacy").as_deref() {
        Some("auto") => value("deployment_env").as_deref() == Some("production"),
        privacy => privacy == Some("blurred"),
    }
}

/// Colours are for terminals, and for people who did not refuse them (no-color.org).
#[expect(clippy::disallowed_methods, reason = "a matter of the terminal, not of the relay")]
fn has_colours() -> bool {
    std::env::var("NO_COLOR").map_or(true, |refused| refused.is_empty())
}

/// What happens between two screens.
enum Event {
    Look,
    Resize,
    End,
}

/// Time, signals and keys.
struct Events {
    tick: tokio::time::Interval,
    resize: Signal,
    ends: [Signal; 3],
    quit: mpsc::Receiver<()>,
}

impl Events {
    fn new(interval_s: u64) -> std::io::Result<Self> {
        let period = Duration::from_secs(interval_s);
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one is now, and that look was taken.
        tick.reset();
        let (sender, quit) = mpsc::channel(1);
        if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            // Ends with the process; nothing else reads keys.
            std::thread::spawn(move || {
                let mut keys = std::io::stdin().lock().bytes();
                while let Some(Ok(key)) = keys.next() {
                    if key == b'q' && sender.blocking_send(()).is_err() {
                        return;
                    }
                }
            });
        }
        let on = |kind| signal(kind);
        Ok(Self {
            tick,
            resize: on(SignalKind::window_change())?,
            ends: [
                on(SignalKind::interrupt())?,
                on(SignalKind::terminate())?,
                on(SignalKind::hangup())?,
            ],
            quit,
        })
    }

    async fn next(&mut self) -> Event {
        let [interrupt, terminate, hangup] = &mut self.ends;
        tokio::select! {
            _ = self.tick.tick() => Event::Look,
            _ = self.resize.recv() => Event::Resize,
            _ = interrupt.recv() => Event::End,
            _ = terminate.recv() => Event::End,
            _ = hangup.recv() => Event::End,
            Some(()) = self.quit.recv() => Event::End,
        }
    }
}

/// Longest wait for all answers of one look.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest answer that is read, in bytes: metrics are some tens of kilobytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

const OTHER: &str = "is this the operations listener (OPS_LISTEN)?";

#[cfg(test)]
mod tests {
    use super::is_blurred;

    #[test]
    fn the_configuration_says_whether_figures_are_blurred() {
        for (config, blurred) in [
            ("privacy = \"blurred\"\n", true),
            ("privacy = \"exact\"  # from METRICS_PRIVACY\n", false),
            ("deployment_env = \"production\"  # x\nprivacy = \"auto\"\n", true),
            ("deployment_env = \"development\"\nprivacy = \"auto\"\n", false),
            ("deployment_env = \"production\"\n", false),
        ] {
            assert_eq!(is_blurred(config), blurred, "{config}");
        }
    }
}
