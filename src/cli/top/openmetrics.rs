//! What a relay says under `/metrics`, taken apart: OpenMetrics 1.0 text, as far as samples go.
//!
//! Families, help and exemplars are passed over. Bounded by the length of the text, which whoever
//! fetches it bounds.

/// A value with its name and labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Sample {
    /// The value of a label.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// All samples of a text, in its order.
///
/// # Errors
///
/// The number of the first line that is no sample and no comment.
pub(super) fn parse(text: &str) -> Result<Vec<Sample>, usize> {
    let lines =
        text.lines().zip(1..).filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(line, number)| sample(line).ok_or(number)).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let word = rest.strip_prefix(' ')?.split(' ').next()?;
    let first = name.chars().next()?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if first.is_ascii_digit() || !name.chars().all(is_name) {
        return None;
    }
    Some(Sample { name: name.to_owned(), labels, value: word.parse().ok()? })
}

/// The labels behind an opening brace, and what stands behind the closing one.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut found = Vec::new();
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((found, rest));
    }
    loop {
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    c @ ('"' | '\\') => c,
                    _ => return None,
                }),
                (_, c) => value.push(c),
            }
        };
        found.push((name.to_owned(), value));
        rest = quoted.get(end..)?;
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Some((found, rest.strip_prefix('}')?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn samples_are_taken_from_between_the_comments() {
        let text = "# HELP a_b Help {with=\"braces\"} 1\n# TYPE a_b counter\na_b_total 7\n\
                    c{x=\"1\",y=\"a \\\"q\\\" \\\\ }\\n\"} 2.5e3 1700000000\n\
                    d_bucket{le=\"+Inf\"} 3 # {id=\"x\"} 0.5\ne{} NaN\nf -Inf\n# EOF\n";
        let samples = parse(text).unwrap();
        let names: Vec<_> = samples.iter().map(|sample| sample.name.as_str()).collect();
        assert_eq!(names, ["a_b_total", "c", "d_bucket", "e", "f"]);
        assert_eq!(samples[1].label("y"), Some("a \"q\" \\ }\n"));
        assert_eq!(samples[1].label("z"), None);
        assert!((samples[1].value - 2500.0).abs() < f64::EPSILON);
        assert_eq!(samples[2].label("le"), Some("+Inf"));
        assert!(samples[3].value.is_nan() && samples[4].value < 0.0);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for line in [
            "a",
            "a ",
            "a x",
            "a{ 1",
            "a{b} 1",
            "a{b=\"c} 1",
            "a{b=\"c\"",
            "a{b=\"c\"}1",
            "1a 1",
            "a{b=\"\\x\"} 1",
            "a-b 1",
            " 1",
            "{b=\"c\"} 1",
        ] {
            assert_eq!(parse(&format!("ok 1\n{line}\n")), Err(2), "{line}");
        }
    }

    #[test]
    fn what_the_relay_itself_says_is_understood() {
        let metrics = crate::metrics::Metrics::new();
        let text = metrics.encode(crate::core::limit::Instant::START);
        let samples = parse(&text).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(samples.len(), lines);
        assert!(samples.iter().any(|sample| sample.name == "lethewire_connections"));
    }

    proptest! {
        /// Whatever is written is read back.
        #[test]
        fn reading_undoes_writing(
            samples in prop::collection::vec(
                ("[a-z_:][a-z0-9_:]{0,8}", prop::collection::vec(("[a-z]{1,4}", ".{0,6}"), 0..4), -1e9..1e9_f64),
                0..8,
            ),
        ) {
            let escape = |value: &str| {
                value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
            };
            let mut text = String::from("# TYPE x gauge\n");
            for (name, labels, value) in &samples {
                let labels: Vec<_> =
                    labels.iter().map(|(l, v)| format!("{l}=\"{}\"", escape(v))).collect();
                let line = format!("{name}{{{}}} {value}\n", labels.join(","));
                text.push_str(&line);
            }
            // `lines` takes a lone carriage return before a line feed for a line's end.
            prop_assume!(!text.contains('\r'));
            let read = parse(&text).unwrap();
            prop_assert_eq!(read.len(), samples.len());
            for (read, (name, labels, value)) in read.iter().zip(&samples) {
                prop_assert_eq!(&read.name, name);
                prop_assert_eq!(&read.labels, labels);
                prop_assert!((read.value - value).abs() <= value.abs() * 1e-12);
            }
        }

        /// Any text at all, and any text with one character changed: an answer, and no panic.
        #[test]
        fn no_text_is_a_panic(noise in "(?s).{0,80}", at in 0..60_usize, with in any::<char>()) {
            let mut text: Vec<char> = "a_total{b=\"c\\n\",d=\"\"} 1.5 17 # {e=\"f\"} 2\ng 3\n".chars().collect();
            if let Some(c) = text.get_mut(at) {
                *c = with;
            }
            let text: String = text.into_iter().collect();
            for text in [noise, text] {
                if let Ok(samples) = parse(&text) {
                    prop_assert!(samples.len() <= text.lines().count());
                }
            }
        }
    }
}
