//! The terminal: a screen of its own while this lives, and as it was before afterwards.
//!
//! Six escape sequences of ECMA-48 that every terminal of today has, and termios for the keyboard;
//! a library for that would add as much to the binary as this whole command.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use super::view::{Line, Tone};

/// A screen that was taken over. Dropping it gives it back.
pub(super) struct Screen {
    before: Option<Termios>,
    colours: bool,
}

/// Rows and columns, where the terminal does not say.
const USUAL: (usize, usize) = (24, 80);

impl Screen {
    /// Takes over the terminal: its second screen, no cursor, no echo, keys as they are pressed.
    pub(super) fn enter(colours: bool) -> Self {
        let before = tcgetattr(io::stdin()).ok().filter(|_| io::stdin().is_terminal());
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
            // Ctrl-Z would leave this screen behind without giving it back.
            quiet.special_codes[SpecialCodeIndex::VSUSP] = 0;
            // Then keys are echoed, which does no harm.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &quiet);
        }
        say("\x1b[?1049h\x1b[?25l");
        Self { before, colours }
    }

    /// Draws over what was there, without clearing first, so that nothing flickers.
    pub(super) fn draw(&self, lines: &[Line]) {
        let (rows, _) = size();
        let mut out = String::from("\x1b[H");
        for (number, line) in lines.iter().take(rows).enumerate() {
            if number > 0 {
                out.push_str("\r\n");
            }
            for (tone, text) in &line.0 {
                match code(*tone).filter(|_| self.colours) {
                    Some(code) => {
                        write!(out, "\x1b[{code}m{text}\x1b[0m").expect("writing to a String");
                    }
                    None => out.push_str(text),
                }
            }
            out.push_str("\x1b[K");
        }
        out.push_str("\x1b[J");
        say(&out);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        say("\x1b[?25h\x1b[?1049l");
        if let Some(before) = &self.before {
            // Nothing is left to try.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Rows and columns of the terminal at this moment.
pub(super) fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => USUAL,
    }
}

/// The lines as plain text.
pub(super) fn plain(lines: &[Line]) -> String {
    let text = |line: &Line| {
        let whole: String = line.0.iter().map(|(_, text)| text.as_str()).collect();
        whole.trim_end().to_owned()
    };
    lines.iter().map(text).collect::<Vec<_>>().join("\n")
}

fn say(text: &str) {
    let mut out = io::stdout().lock();
    // A terminal that went away sends a signal as well.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

const fn code(tone: Tone) -> Option<&'static str> {
    match tone {
        Tone::Plain => None,
        Tone::Dim => Some("2"),
        Tone::Bold => Some("1"),
        Tone::Good => Some("32"),
        Tone::Warn => Some("33"),
        Tone::Bad => Some("31;1"),
    }
}
