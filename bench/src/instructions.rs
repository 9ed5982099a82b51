//! Counts of instructions and their bounds: `bench/instructions.json`.
//!
//! gungraun counts; here it is said whether that is too many. Counts depend on the compiler, the C
//! library, valgrind and the processor, so the file knows what it was made with, and where that is
//! another one, more is allowed: a new compiler is no regression.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::BufRead;
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Fault;

/// Percent over its bound that a count may be, made with the same tools.
const OVER_PERCENT: u64 = 5;
/// The same with other tools: inlining and the C library's copies differ by more than a change of
/// ours that should be noticed, and a new algorithm in the wrong place by much more.
const OVER_PERCENT_ELSEWHERE: u64 = 25;
/// Percent under its bound from which on a bound says nothing any more.
const UNDER_PERCENT: u64 = 10;

/// What counts depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    /// The compiler, as it says itself.
    pub rustc: String,
    /// The C library, whose copies are chosen by the processor.
    pub libc: String,
    /// Which simulates the processor.
    pub valgrind: String,
    /// Architecture and the extensions by which libraries choose their code.
    pub cpu: String,
}

impl Tools {
    /// Those of this machine.
    ///
    /// # Errors
    ///
    /// One of them is missing.
    pub fn here() -> Result<Self, Fault> {
        Ok(Self {
            rustc: said("rustc", &["--version"])?,
            libc: said("getconf", &["GNU_LIBC_VERSION"])?,
            valgrind: said("valgrind", &["--version"])?,
            cpu: cpu(),
        })
    }
}

fn said(program: &str, arguments: &[&str]) -> Result<String, Fault> {
    let output = Command::new(program).args(arguments).output()?;
    if !output.status.success() {
        return Err(format!("{program}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(target_arch = "x86_64")]
fn cpu() -> String {
    let mut cpu = "x86_64".to_owned();
    for (name, is_there) in [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("ermsb", std::arch::is_x86_feature_detected!("ermsb")),
    ] {
        cpu += if is_there { " +" } else { " -" };
        cpu += name;
    }
    cpu
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu() -> String {
    std::env::consts::ARCH.to_owned()
}

/// One function's bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// What it took when the bound was recorded.
    pub instructions: u64,
    /// How many of the same are in that: messages delivered, tokens, calls.
    pub of: u64,
}

/// The committed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// What the bounds were recorded with.
    pub tools: Tools,
    /// By the name of the function.
    pub functions: BTreeMap<String, Bound>,
}

/// Counts by the name of the function.
pub type Counts = BTreeMap<String, u64>;

/// Reads what gungraun writes with `--output-format=json`: a line for each function.
///
/// # Errors
///
/// It is something else, or nothing was counted.
pub fn read(lines: impl BufRead) -> Result<Counts, Fault> {
    let mut counts = Counts::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(&line?)?;
        let text = |key: &str| line[key].as_str().ok_or_else(|| format!("a line without {key}"));
        let name = format!("{}.{}", text("function_name")?, text("id")?);
        let count = line
            .pointer("/profiles/0/data/total/metrics/Ir/values/new")
            .and_then(Value::as_u64)
            .ok_or_else(|| format!("no count of {name}"))?;
        counts.insert(name, count);
    }
    if counts.is_empty() { Err("nothing was counted".into()) } else { Ok(counts) }
}

impl Bounds {
    /// These counts as bounds. How many are in a count is kept; for a new function it is one.
    #[must_use]
    pub fn recorded(&self, counts: &Counts, tools: Tools) -> Self {
        let of = |name: &str| self.functions.get(name).map_or(1, |bound| bound.of);
        let bound = |(name, count): (&String, &u64)| {
            (name.clone(), Bound { instructions: *count, of: of(name) })
        };
        Self { tools, functions: counts.iter().map(bound).collect() }
    }

    /// Compares: what there is to read, and whether it is good.
    #[must_use]
    pub fn compare(&self, counts: &Counts, tools: &Tools) -> (String, bool) {
        let mut report =
            Report::new(if self.tools == *tools { OVER_PERCENT } else { OVER_PERCENT_ELSEWHERE });
        for (name, count) in counts {
            match self.functions.get(name) {
                Some(bound) => report.function(name, *count, *bound),
                None => report.fails(&format!("{name} has no bound")),
            }
        }
        for name in self.functions.keys().filter(|name| !counts.contains_key(*name)) {
            report.fails(&format!("{name} has a bound and was not counted"));
        }
        report.end(&self.tools, tools)
    }
}

/// What a comparison has to say.
struct Report {
    over_percent: u64,
    table: String,
    failures: Vec<String>,
    hints: Vec<String>,
}

impl Report {
    fn new(over_percent: u64) -> Self {
        let table = format!(
            "{:<36} {:>12} {:>12} {:>8} {:>12}\n",
            "function", "instructions", "bound", "", "each"
        );
        Self { over_percent, table, failures: Vec::new(), hints: Vec::new() }
    }

    fn function(&mut self, name: &str, count: u64, bound: Bound) {
        let percent = (count as f64 / bound.instructions.max(1) as f64 - 1.0) * 100.0;
        let each = count as f64 / bound.of.max(1) as f64;
        let bound = bound.instructions;
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.table,
            "{name:<36} {count:>12} {bound:>12} {percent:>+6.1} % {each:>12.1}"
        );
        // Whole numbers, so that a count on the limit is within it.
        if count * 100 > bound * (100 + self.over_percent) {
            let allowed = self.over_percent;
            self.fails(&format!(
                "{name} takes {count} instructions, {percent:.1} % more than its bound of {bound}; \
                 {allowed} % are allowed"
            ));
        } else if count * 100 < bound * (100 - UNDER_PERCENT) {
            self.hints.push(format!(
                "{name} takes {count} instructions, {:.1} % less than its bound of {bound}: \
                 tighten it",
                -percent
            ));
        }
    }

    fn fails(&mut self, why: &str) {
        self.failures.push(why.to_owned());
    }

    fn end(self, recorded: &Tools, here: &Tools) -> (String, bool) {
        let mut text = self.table;
        if recorded != here {
            let allowed = self.over_percent;
            let _ = write!(
                text,
                "\nThe bounds were recorded with other tools, so {allowed} % over them are allowed:\n  \
                 recorded: {}\n  here:     {}\n",
                recorded.line(),
                here.line()
            );
        }
        for hint in &self.hints {
            let _ = write!(text, "\nhint: {hint} (bench/instructions.sh record)\n");
        }
        for failure in &self.failures {
            let _ = write!(text, "\nFAILED: {failure}\n");
        }
        if !self.failures.is_empty() {
            text.push_str(
                "\nWhere they go: callgrind_annotate, on the files below gungraun/ in cargo's build folder.\n\
                 If it is worth that, bench/instructions.sh record moves the bounds, and the commit says\n\
                 why (CONTRIBUTING.md, \"Instructions\").\n",
            );
        }
        (text, self.failures.is_empty())
    }
}

impl Tools {
    fn line(&self) -> String {
        let Self { rustc, libc, valgrind, cpu } = self;
        format!("{rustc}, {libc}, {valgrind}, {cpu}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(rustc: &str) -> Tools {
        let text = str::to_owned;
        Tools { rustc: text(rustc), libc: text("l"), valgrind: text("v"), cpu: text("c") }
    }

    fn bounds() -> Bounds {
        let functions = [("burn.one".to_owned(), Bound { instructions: 1000, of: 10 })];
        Bounds { tools: tools("1.90"), functions: functions.into() }
    }

    fn compared(name: &str, count: u64, rustc: &str) -> (String, bool) {
        bounds().compare(&[(name.to_owned(), count)].into(), &tools(rustc))
    }

    #[test]
    fn a_count_over_its_bound_fails_and_is_named() {
        let (text, good) = compared("burn.one", 1050, "1.90");
        assert!(good && !text.contains("FAILED") && text.contains(" 105.0\n"), "{text}");
        let (text, good) = compared("burn.one", 1051, "1.90");
        assert!(!good, "{text}");
        assert!(
            text.contains("burn.one takes 1051 instructions, 5.1 % more than its bound of 1000")
        );
        assert!(text.contains("instructions.sh record"));
    }

    #[test]
    fn another_compiler_is_said_and_allowed_more() {
        let (text, good) = compared("burn.one", 1250, "1.91");
        assert!(good && text.contains("recorded: 1.90, l, v, c\n  here:     1.91"), "{text}");
        assert!(!compared("burn.one", 1251, "1.91").1);
        assert!(!compared("burn.one", 1000, "1.90").0.contains("recorded"));
    }

    #[test]
    fn a_bound_far_above_its_count_is_to_be_tightened() {
        let (text, good) = compared("burn.one", 899, "1.90");
        assert!(good && text.contains("10.1 % less than its bound of 1000: tighten it"), "{text}");
        assert!(!compared("burn.one", 900, "1.90").0.contains("hint"));
    }

    #[test]
    fn bounds_and_functions_belong_together() {
        let (text, good) = compared("burn.two", 1000, "1.90");
        assert!(!good && text.contains("burn.two has no bound"), "{text}");
        assert!(text.contains("burn.one has a bound and was not counted"), "{text}");
    }

    #[test]
    fn recording_keeps_how_many_are_in_a_count() {
        let counts = [("burn.one".to_owned(), 7), ("burn.new".to_owned(), 8)].into();
        let recorded = bounds().recorded(&counts, tools("1.91"));
        assert_eq!(recorded.tools, tools("1.91"));
        assert_eq!(recorded.functions["burn.one"], Bound { instructions: 7, of: 10 });
        assert_eq!(recorded.functions["burn.new"], Bound { instructions: 8, of: 1 });
    }

    #[test]
    fn lines_of_the_counter_are_read_and_anything_else_is_refused() {
        let line = |count: &str| {
            format!(
                r#"{{"function_name":"burn","id":"one","profiles":[{{"data":{{"total":{{"metrics":
                {{"Ir":{{"values":{{"new":{count}}}}}}}}}}}}}]}}"#
            )
            .replace('\n', "")
        };
        let read = |text: &str| read(text.as_bytes());
        assert_eq!(read(&line("12")).unwrap(), Counts::from([("burn.one".to_owned(), 12)]));
        assert!(read(&line("null")).is_err());
        assert!(read("nonsense").is_err());
        assert!(read("").is_err());
    }
}
