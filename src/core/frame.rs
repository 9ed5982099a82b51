//! RFC 6455 frames: a strict, resumable reader for what clients send, and heads for what we send.
//!
//! The reader looks at a buffer and either takes one whole frame from its front or says how many
//! bytes it needs; between calls it keeps nothing but a fragmented message, so a connection that
//! waits holds no read buffer, and dropping a future in the middle of a frame loses nothing.
//! Everything that section 5 of the RFC forbids is refused as soon as the bytes that show it are
//! there: a head that claims too much never makes the relay wait for, or hold, what it claims.
//!
//! Counting frames over time is the caller's business; sizes and fragments are checked here.

use crate::core::close::Close;

/// What one message may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest binary message, in bytes, over all its fragments.
    pub binary_bytes: usize,
    /// Longest text message, in bytes, over all its fragments.
    pub text_bytes: usize,
    /// Most fragments of one message, empty ones included.
    pub fragments: u32,
}

/// The type of a data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text; the reader has checked that it is.
    Text,
    /// Bytes.
    Binary,
}

/// A payload, where it was read or where its fragments were put together.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// One frame's payload, still masked with this key.
    Masked(&'a mut [u8], Mask),
    /// The fragments of a message, unmasked and joined.
    Joined(Vec<u8>),
}

impl Payload<'_> {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Masked(bytes, _) => bytes.len(),
            Self::Joined(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The plain bytes, unmasked in place.
    pub fn unmask(&mut self) -> &mut [u8] {
        match self {
            Self::Masked(bytes, mask) => {
                mask.apply(bytes);
                *mask = Mask::NONE;
                bytes
            }
            Self::Joined(bytes) => bytes,
        }
    }

    /// The first bytes in plain: as many as fit into `head`, or all there are.
    pub fn peek<'b, const N: usize>(&self, head: &'b mut [u8; N]) -> &'b [u8] {
        let (bytes, mask): (&[u8], _) = match self {
            Self::Masked(bytes, mask) => (bytes, *mask),
            Self::Joined(bytes) => (bytes, Mask::NONE),
        };
        if let Some(first) = bytes.first_chunk::<N>() {
            mask.copy(first, head);
            return head;
        }
        let (head, _) = head.split_at_mut(bytes.len());
        mask.copy(bytes, head);
        head
    }

    /// Appends the plain bytes from `skip` on to `out`.
    pub fn append_to(&self, skip: usize, out: &mut Vec<u8>) {
        match self {
            Self::Masked(bytes, mask) => {
                let rest = bytes.get(skip..).unwrap_or_default();
                let start = out.len();
                out.extend_from_slice(rest);
                mask.shifted(skip).apply(out.get_mut(start..).unwrap_or_default());
            }
            Self::Joined(bytes) => out.extend_from_slice(bytes.get(skip..).unwrap_or_default()),
        }
    }
}

/// What one frame brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message.
    Message(Kind, Payload<'a>),
    /// A part of a message; more is to come.
    Fragment,
    /// A ping with its payload, unmasked.
    Ping(&'a [u8]),
    /// A pong; what it carries does not matter.
    Pong,
    /// The peer closes, with its code if it gave one.
    Close(Option<u16>),
}

/// What the reader found at the front of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// One frame, and the bytes behind it.
    Frame(Event<'a>, &'a mut [u8]),
    /// No whole frame yet: nothing can be said before the buffer, which comes back, has this many
    /// bytes.
    Need(usize, &'a mut [u8]),
}

/// Reads one connection's frames. Holds nothing but an unfinished fragmented message.
#[derive(Debug, Default)]
pub struct Reader {
    /// Boxed, so that the common case costs a connection eight bytes.
    partial: Option<Box<Partial>>,
}

#[derive(Debug)]
struct Partial {
    kind: Kind,
    payload: Vec<u8>,
    fragments: u32,
}

impl Reader {
    /// Takes the frame at the front of `input`, unmasking in place what is not a message.
    ///
    /// Errors are final: close with them and read no more. They are `Protocol`, `TooLarge` or
    /// `BadUtf8`.
    #[inline]
    pub fn next<'a>(&mut self, input: &'a mut [u8], limits: &Limits) -> Result<Step<'a>, Close> {
        let head = match Head::parse(input)? {
            Ok(head) => head,
            Err(need) => return Ok(Step::Need(need, input)),
        };
        self.check(&head, limits)?;
        let Some(mask) = head.mask else { return Ok(Step::Need(head.len, input)) };
        let end = head.len + head.payload_len;
        if input.len() < end {
            return Ok(Step::Need(end, input));
        }
        let (frame, rest) = input.split_at_mut(end);
        let (_, payload) = frame.split_at_mut(head.len);
        // Almost every frame is a whole message. It is made where it is returned: each move of it is
        // written in other pieces than it is read in, for which processors wait.
        if head.fin && head.opcode == Opcode::Binary {
            let payload = Payload::Masked(payload, mask);
            return Ok(Step::Frame(Event::Message(Kind::Binary, payload), rest));
        }
        let event = match head.opcode {
            Opcode::Close => Event::Close(close_code(mask.applied(payload))?),
            Opcode::Ping => Event::Ping(mask.applied(payload)),
            Opcode::Pong => Event::Pong,
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                self.message(&head, Payload::Masked(payload, mask))?
            }
        };
        Ok(Step::Frame(event, rest))
    }

    /// Whether a fragmented message is under way.
    pub fn is_mid_message(&self) -> bool {
        self.partial.is_some()
    }

    /// What can be said of a frame from its head alone (RFC 6455 §5.4, §5.5).
    fn check(&self, head: &Head, limits: &Limits) -> Result<(), Close> {
        let (kind, before, fragments) = match (head.opcode, &self.partial) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(()),
            (Opcode::Text, None) => (Kind::Text, 0, 1),
            (Opcode::Binary, None) => (Kind::Binary, 0, 1),
            (Opcode::Continuation, Some(p)) => (p.kind, p.payload.len(), p.fragments + 1),
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(Close::Protocol);
            }
        };
        let most = match kind {
            Kind::Text => limits.text_bytes,
            Kind::Binary => limits.binary_bytes,
        };
        let fits = head.payload_len <= most.saturating_sub(before);
        if fits && fragments <= limits.fragments { Ok(()) } else { Err(Close::TooLarge) }
    }

    /// Takes a whole text, or a part of a message, of which the last one brings all.
    fn message<'a>(&mut self, head: &Head, mut payload: Payload<'a>) -> Result<Event<'a>, Close> {
        if head.fin && head.opcode == Opcode::Text {
            if std::str::from_utf8(payload.unmask()).is_err() {
                return Err(Close::BadUtf8);
            }
            return Ok(Event::Message(Kind::Text, payload));
        }
        let kind = if head.opcode == Opcode::Text { Kind::Text } else { Kind::Binary };
        let mut partial = self.partial.take().unwrap_or_else(|| Box::new(Partial::of(kind)));
        partial.fragments += 1;
        payload.append_to(0, &mut partial.payload);
        if !head.fin {
            self.partial = Some(partial);
            return Ok(Event::Fragment);
        }
        if partial.kind == Kind::Text && std::str::from_utf8(&partial.payload).is_err() {
            return Err(Close::BadUtf8);
        }
        Ok(Event::Message(partial.kind, Payload::Joined(partial.payload)))
    }
}

impl Partial {
    const fn of(kind: Kind) -> Self {
        Self { kind, payload: Vec::new(), fragments: 0 }
    }
}

/// The opcodes of RFC 6455 §5.2; all others are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The end of the connection.
    Close = 0x8,
    /// A sign of life, to be answered.
    Ping = 0x9,
    /// The answer.
    Pong = 0xA,
}

impl Opcode {
    const fn parse(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The key that a client's frame is masked with (RFC 6455 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(4))] // So that it is moved as a word, also within something else.
pub struct Mask([u8; 4]);

impl Mask {
    /// The key that changes nothing.
    pub const NONE: Self = Self([0; 4]);

    /// Masks or unmasks in place: 32 bytes at a time, which compilers turn into vector instructions,
    /// then four, then one.
    #[inline]
    pub fn apply(self, bytes: &mut [u8]) {
        let (chunks, rest) = bytes.as_chunks_mut::<32>();
        for chunk in chunks {
            for quad in chunk.as_chunks_mut::<4>().0 {
                self.xor(quad);
            }
        }
        let (quads, rest) = rest.as_chunks_mut::<4>();
        for quad in quads {
            self.xor(quad);
        }
        for (byte, key) in rest.iter_mut().zip(self.0) {
            *byte ^= key;
        }
    }

    /// Masks or unmasks a few bytes into another place of the same length. Copying first would have
    /// the processor wait for what it has just written, in other pieces than it is read in.
    #[inline]
    fn copy(self, from: &[u8], to: &mut [u8]) {
        let (from, from_rest) = from.as_chunks::<4>();
        let (to, to_rest) = to.as_chunks_mut::<4>();
        for (from, to) in from.iter().zip(to) {
            *to = *from;
            self.xor(to);
        }
        for ((from, to), key) in from_rest.iter().zip(to_rest).zip(self.0) {
            *to = from ^ key;
        }
    }

    fn xor(self, quad: &mut [u8; 4]) {
        *quad = (u32::from_ne_bytes(*quad) ^ u32::from_ne_bytes(self.0)).to_ne_bytes();
    }

    /// The key as it stands `by` bytes into the payload.
    fn shifted(self, by: usize) -> Self {
        // Every four bytes it stands as before, so the low byte of `by` says it all.
        let [low, ..] = by.to_le_bytes();
        Self(u32::from_be_bytes(self.0).rotate_left(8 * u32::from(low)).to_be_bytes())
    }

    fn applied(self, bytes: &mut [u8]) -> &[u8] {
        self.apply(bytes);
        bytes
    }
}

/// A client frame's head.
struct Head {
    fin: bool,
    opcode: Opcode,
    /// The last four bytes of the head; what stands before them can be judged without.
    mask: Option<Mask>,
    /// Of the head itself, in bytes.
    len: usize,
    payload_len: usize,
}

impl Head {
    /// Parses a head; the inner error is the number of bytes that are needed to say more.
    fn parse(input: &[u8]) -> Result<Result<Self, usize>, Close> {
        let [first, second, rest @ ..] = input else { return Ok(Err(2)) };
        let opcode = Opcode::parse(first & 0x0F).ok_or(Close::Protocol)?;
        let fin = first & 0x80 != 0;
        let (reserved, masked, short) = (first & 0x70, second & 0x80 != 0, second & 0x7F);
        // An unmasked client frame MUST fail the connection (§5.1); no extension sets RSV (§5.2).
        if reserved != 0 || !masked || (opcode.is_control() && (!fin || short > 125)) {
            return Err(Close::Protocol);
        }
        let (payload_len, rest) = match short {
            126 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest),
                None => return Ok(Err(4)),
            },
            127 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return Ok(Err(10)),
            },
            short => (u64::from(short), rest),
        };
        // The minimal number of bytes MUST be used (§5.2), and the top bit is zero.
        let least = [0, 126, 0x1_0000];
        let form = usize::from(short >= 126) + usize::from(short == 127);
        if least.get(form).is_some_and(|least| payload_len < *least) || payload_len >> 63 != 0 {
            return Err(Close::Protocol);
        }
        let len = [6, 8, 14].get(form).copied().unwrap_or(14);
        let payload_len = usize::try_from(payload_len).unwrap_or(usize::MAX / 2);
        let mask = rest.first_chunk().copied().map(Mask);
        Ok(Ok(Self { fin, opcode, mask, len, payload_len }))
    }
}

/// The code of a close frame's payload (RFC 6455 §5.5.1, §7.4), checked.
fn close_code(payload: &[u8]) -> Result<Option<u16>, Close> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Close::Protocol),
        [a, b, reason @ ..] => (u16::from_be_bytes([*a, *b]), reason),
    };
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => {}
        _ => return Err(Close::Protocol),
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Close::BadUtf8);
    }
    Ok(Some(code))
}

/// Appends the head of an unfragmented, unmasked frame, as servers send them (RFC 6455 §5.2).
pub fn put_head(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    out.push(0x80 | opcode as u8);
    match payload_len {
        // The casts below are within what the arms allow.
        0..=125 => out.push(u8::try_from(payload_len).unwrap_or(0)),
        126..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&u16::try_from(payload_len).unwrap_or(0).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(payload_len as u64).to_be_bytes());
        }
    }
}

/// A whole frame.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + HEAD_MAX);
    put_head(&mut out, opcode, payload.len());
    out.extend_from_slice(payload);
    out
}

/// A close frame; the reason is cut to what a control frame holds.
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = Vec::with_capacity(CONTROL_MAX);
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend(reason.bytes().take(CONTROL_MAX - 2));
    frame(Opcode::Close, &payload)
}

/// Longest head of a server's frame, in bytes.
pub const HEAD_MAX: usize = 10;
/// Longest payload of a control frame, in bytes (RFC 6455 §5.5).
const CONTROL_MAX: usize = 125;

#[cfg(test)]
mod tests;
