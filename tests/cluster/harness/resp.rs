//! The few words of Redis' protocol that the harness needs, on a connection of its own.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A connection to a Redis server.
pub(crate) struct Resp {
    stream: BufReader<TcpStream>,
}

impl Resp {
    /// Connects, if somebody listens.
    pub(crate) async fn connect(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        Some(Self { stream: BufReader::new(stream) })
    }

    /// Sends a command, given as words, and returns its answer as text; parts of a list are lines.
    pub(crate) async fn ask(&mut self, command: &str) -> Option<String> {
        self.ask_bytes(&command.split(' ').map(str::as_bytes).collect::<Vec<_>>()).await
    }

    /// Sends a command of these words and returns its answer as text.
    pub(crate) async fn ask_bytes(&mut self, words: &[&[u8]]) -> Option<String> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend(*word);
            bytes.extend(b"\r\n");
        }
        self.stream.write_all(&bytes).await.ok()?;
        self.answer().await
    }

    /// The next answer.
    async fn answer(&mut self) -> Option<String> {
        let mut lines = Vec::new();
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            let line = self.line().await?;
            let (kind, rest) = line.split_at_checked(1)?;
            match kind {
                "*" | "~" | ">" => left += rest.parse::<usize>().unwrap_or(0),
                "%" => left += 2 * rest.parse::<usize>().unwrap_or(0),
                "$" => match rest.parse::<usize>() {
                    Ok(length) => {
                        let mut bulk = vec![0; length + 2];
                        self.stream.read_exact(&mut bulk).await.ok()?;
                        bulk.truncate(length);
                        lines.push(String::from_utf8_lossy(&bulk).into_owned());
                    }
                    Err(_nothing) => lines.push(String::new()),
                },
                "-" => lines.push(format!("-{rest}")),
                _ => lines.push(rest.to_owned()),
            }
        }
        Some(lines.join("\n"))
    }

    /// A line as it comes, for `MONITOR`.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line).await.ok()?;
        (read > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}
