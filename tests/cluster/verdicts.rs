//! What the checker found, as a line of the table in `docs/chaos.md` and as a failure.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::checker::{Log, Verdict, check};

/// Judges what a crowd wrote down; fails with what is wrong.
#[track_caller]
pub(crate) fn assert_good(what: &str, logs: &[Log]) -> Verdict {
    let verdict = check(logs);
    let mut wrong = String::new();
    for finding in verdict.findings.iter().take(20) {
        let events = &logs[finding.log].events;
        let _ = writeln!(wrong, "{finding:?} of {} events", events.len());
    }
    assert!(
        verdict.findings.is_empty(),
        "{what}: {} findings, {} of them undetected losses, {:?}:\n{wrong}{}",
        verdict.findings.len(),
        verdict.undetected(),
        verdict.faults(),
        around(&verdict, logs),
    );
    assert!(verdict.acked > 0 && verdict.deliveries > 0, "{what}: nothing was said");
    verdict
}

/// What the first finding's member wrote down, its last part.
fn around(verdict: &Verdict, logs: &[Log]) -> String {
    const LINES: usize = 60;
    let Some(first) = verdict.findings.first() else { return String::new() };
    let events = &logs[first.log].events;
    let is_control = |event: &&crate::checker::Event| {
        use crate::checker::Event::{Ack, Direct, Message, Sent, Volatile};
        !matches!(
            event,
            Message { .. } | Ack { .. } | Sent { .. } | Direct { .. } | Volatile { .. }
        )
    };
    let tail = events.iter().filter(is_control).rev().take(LINES);
    tail.fold(String::new(), |text, event| format!("{event:?}\n{text}"))
}

/// One line of the table: what was done, what members saw, how long it took.
pub(crate) fn report(order: u32, fault: &str, verdict: &Verdict, seconds: Option<f64>) {
    let Verdict { sent, deliveries, gaps, resets, pauses, gap_numbers, refused, .. } = verdict;
    let mut saw = format!("{pauses} paused, {gaps} gap ({gap_numbers} numbers), {resets} reset");
    for (code, count) in verdict.ends.iter().filter(|(code, _)| **code != 1000) {
        let _ = match code {
            0 => write!(saw, ", {count} connections lost"),
            code => write!(saw, ", {count} closed with {code}"),
        };
    }
    let seconds = seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1}"));
    let undetected = verdict.undetected();
    let line = format!(
        "| {fault} | {sent} | {deliveries} | {refused} | {saw} | {seconds} | {undetected} |"
    );
    println!("chaos: {line}");
    if let Some(folder) = std::env::var_os("CLUSTER_RESULTS").map(PathBuf::from) {
        std::fs::create_dir_all(&folder).expect("a folder for the results");
        std::fs::write(folder.join(format!("{order:02}.row")), line + "\n").expect("a result");
    }
}
