//! What is said about one probe: to people, or to programs as JSON.
//!
//! No token, no name of a room or of a member, and nothing that a peer wrote is in either.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::journey::Outcome;
use super::stage::Stage;
use crate::core::limit::UnixSeconds;
use crate::telemetry::rfc3339;

/// A line per stage, and how it went. `target` is what was probed.
pub(super) fn text(target: &str, outcome: &Outcome, now: UnixSeconds) -> String {
    let mut out = format!("{target}\n");
    for stage in Stage::ALL {
        let Some(took) = outcome.journal.took(stage) else { continue };
        let remark = remark(stage, outcome, now);
        let line = format!("  {:<10}{:>9.1} ms   {remark}", stage.name(), millis(took));
        out.push_str(line.trim_end());
        out.push('\n');
    }
    if let Some(failure) = &outcome.failure {
        let name = failure.stage.name();
        append(&mut out, format_args!("  {name:<10}   failed: {}\n", failure.what));
        append(&mut out, format_args!("next: {}", failure.next));
        return out;
    }
    append(&mut out, format_args!("ok, {:.1} ms in all", millis(outcome.took)));
    if !outcome.closed {
        out.push_str("; the room was not closed and ends by itself");
    }
    out
}

fn remark(stage: Stage, outcome: &Outcome, now: UnixSeconds) -> String {
    match stage {
        Stage::Tls => outcome.not_after.map_or_else(String::new, |end| {
            let time = rfc3339(end);
            match end.0.checked_sub(now.0) {
                Some(left) => format!("certificate until {time}, {} days", left / 86_400),
                None => format!("certificate until {time}, which is over"),
            }
        }),
        Stage::Token => outcome.by.unwrap_or_default().to_owned(),
        Stage::Handshake => {
            let to = outcome.elsewhere.as_ref();
            to.map_or_else(String::new, |to| format!("the relay sends members to {to}"))
        }
        Stage::Message if outcome.payload_bytes > 0 => {
            format!("{} bytes, as they were sent", outcome.payload_bytes)
        }
        _ => String::new(),
    }
}

/// The same as one JSON object.
pub(super) fn json(target: &str, outcome: &Outcome) -> String {
    let stages: Map<String, Value> = Stage::ALL
        .into_iter()
        .filter_map(|stage| {
            let ms = millis(outcome.journal.took(stage)?);
            Some((stage.name().to_owned(), json!((ms * 1000.0).round() / 1000.0)))
        })
        .collect();
    let failure = outcome.failure.as_ref().map(|failure| {
        json!({
            "stage": failure.stage.name(),
            "timeout": failure.timed_out,
            "what": failure.what,
            "next": failure.next,
        })
    });
    let report = json!({
        "ok": outcome.failure.is_none(),
        "target": target,
        "stages_ms": stages,
        "total_ms": (millis(outcome.took) * 1000.0).round() / 1000.0,
        "tls_not_after": outcome.not_after.map(|end| end.0),
        "members_sent_to": outcome.elsewhere,
        "room_closed": outcome.closed,
        "failure": failure,
    });
    report.to_string()
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

fn append(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("writing to a String");
}
