//! The bare server of `bench-epoll` on io_uring: one thread, no limits, no tokens, no heartbeat.
//! `bench-uring <port>`; `bench-uring check` says whether the kernel lets it.
//!
//! One system call a turn: it hands over everything that was sent in the turn and waits for what
//! comes. Each connection has one receive that stays, into buffers that all share, and one send at a
//! time, from a buffer of its own into which the room's messages are copied.

#![expect(unsafe_code, reason = "the kernel is given addresses of buffers")]

use std::error::Error;
use std::io::{self, ErrorKind, IoSlice};
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};
use lethewire_bench::bare::{Rooms, Wire};

/// Buffers that receives share: how many (a power of two), and how large.
const BUFFERS: u16 = 512;
const BUFFER_BYTES: usize = 32 * 1024;
const GROUP: u16 = 0;
const ENTRIES: u32 = 4096;
/// What is under way, in the upper half of a request's data; the connection is in the lower.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;

struct Conn {
    socket: OwnedFd,
    room: Option<usize>,
    kept: Vec<u8>,
    /// What the kernel is sending, and how far it is. Does not move while a send is under way.
    sending: Vec<u8>,
    sent: usize,
    is_sending: bool,
    /// What comes behind it.
    waiting: Vec<u8>,
    is_marked: bool,
    is_over: bool,
    is_receiving: bool,
}

#[derive(Default)]
struct Conns {
    all: Vec<Option<Conn>>,
    free: Vec<usize>,
    /// Those that have something to send.
    marked: Vec<usize>,
}

impl Wire for Conns {
    fn send(&mut self, member: usize, parts: &[IoSlice<'_>]) {
        let Some(conn) = &mut self.all[member] else { return };
        for part in parts {
            conn.waiting.extend_from_slice(part);
        }
        if !conn.is_marked && !conn.waiting.is_empty() {
            conn.is_marked = true;
            self.marked.push(member);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let argument = std::env::args().nth(1).ok_or("usage: bench-uring <port> | check")?;
    let ring = ring().map_err(|e| format!("no io_uring: {e}"))?;
    let buffers = Buffers::new(&ring).map_err(|e| format!("no ring of buffers: {e}"))?;
    if argument == "check" {
        return Ok(());
    }
    let listener = TcpListener::bind(("127.0.0.1", argument.parse()?))?;
    // Again, for more than the 128 that the library asks for may be waiting to come in.
    rustix::net::listen(&listener, 4096)?;
    let mut server = Server {
        ring,
        buffers,
        listener: listener.as_raw_fd(),
        conns: Conns::default(),
        rooms: Rooms::default(),
    };
    server.accept()?;
    loop {
        server.turn()?;
    }
}

fn ring() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_cqsize(16 * ENTRIES)
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_defer_taskrun()
        .build(ENTRIES)
}

struct Server {
    ring: IoUring,
    buffers: Buffers,
    listener: RawFd,
    conns: Conns,
    rooms: Rooms,
}

impl Server {
    fn turn(&mut self) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Err(e) if !matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ResourceBusy) => {
                return Err(e);
            }
            _ => {}
        }
        let done: Vec<cqueue::Entry> = self.ring.completion().collect();
        for entry in done {
            let id = usize::try_from(entry.user_data() & 0xffff_ffff).map_err(io::Error::other)?;
            match entry.user_data() >> 32 {
                ACCEPT => self.accepted(&entry)?,
                RECEIVE => self.received(id, &entry)?,
                _ => self.sent(id, entry.result()),
            }
        }
        self.rooms.flush_all(&mut self.conns);
        for id in std::mem::take(&mut self.conns.marked) {
            self.send(id)?;
        }
        Ok(())
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the listener and the sockets live as long as requests on them; the buffers of
        // receives are never freed; a send's buffer does not move until its completion is seen.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(Fd(self.listener)).build().user_data(ACCEPT << 32);
        self.push(&entry)
    }

    fn accepted(&mut self, entry: &cqueue::Entry) -> io::Result<()> {
        if entry.result() >= 0 {
            // SAFETY: the kernel made this descriptor for us, and nobody else has it.
            let socket = unsafe { OwnedFd::from_raw_fd(entry.result()) };
            rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
            let id = self.conns.free.pop().unwrap_or_else(|| {
                self.conns.all.push(None);
                self.conns.all.len() - 1
            });
            self.conns.all[id] = Some(Conn {
                socket,
                room: None,
                kept: Vec::new(),
                sending: Vec::new(),
                sent: 0,
                is_sending: false,
                waiting: Vec::new(),
                is_marked: false,
                is_over: false,
                is_receiving: false,
            });
            self.receive(id)?;
        }
        if cqueue::more(entry.flags()) { Ok(()) } else { self.accept() }
    }

    fn receive(&mut self, id: usize) -> io::Result<()> {
        let Some(conn) = &mut self.conns.all[id] else { return Ok(()) };
        conn.is_receiving = true;
        let socket = Fd(conn.socket.as_raw_fd());
        let data = RECEIVE << 32 | id as u64;
        self.push(&opcode::RecvMulti::new(socket, GROUP).build().user_data(data))
    }

    fn received(&mut self, id: usize, entry: &cqueue::Entry) -> io::Result<()> {
        let len = usize::try_from(entry.result()).unwrap_or(0);
        if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
            self.take(id, buffer, len);
            self.buffers.give_back(buffer);
        }
        if cqueue::more(entry.flags()) {
            return Ok(());
        }
        let Some(conn) = &mut self.conns.all[id] else { return Ok(()) };
        conn.is_receiving = false;
        // Buffers may have run out, which ends a receive that stays, but not the connection.
        let is_out = entry.result() == -rustix::io::Errno::NOBUFS.raw_os_error();
        if (len > 0 || is_out) && !conn.is_over {
            return self.receive(id);
        }
        self.end(id);
        Ok(())
    }

    /// Takes whole requests and frames off what has come and keeps the rest.
    fn take(&mut self, id: usize, buffer: u16, len: usize) {
        let Some(conn) = &mut self.conns.all[id] else { return };
        if conn.is_over {
            return;
        }
        let mut room = conn.room;
        let mut whole = std::mem::take(&mut conn.kept);
        let bytes = self.buffers.get(buffer, len);
        let is_kept = !whole.is_empty();
        let input = if is_kept {
            whole.extend_from_slice(bytes);
            &mut whole[..]
        } else {
            bytes
        };
        let took = self.rooms.take(id, &mut room, input, &mut self.conns);
        let Some(conn) = &mut self.conns.all[id] else { return };
        conn.room = room;
        match took {
            Some(took) if is_kept => {
                whole.drain(..took);
                conn.kept = whole;
            }
            Some(took) => conn.kept.extend_from_slice(&input[took..]),
            None => self.end(id),
        }
    }

    fn send(&mut self, id: usize) -> io::Result<()> {
        let Some(conn) = &mut self.conns.all[id] else { return Ok(()) };
        conn.is_marked = false;
        if conn.is_sending || conn.is_over || conn.waiting.is_empty() {
            return Ok(());
        }
        conn.sending.clear();
        std::mem::swap(&mut conn.sending, &mut conn.waiting);
        conn.sent = 0;
        self.send_rest(id)
    }

    fn send_rest(&mut self, id: usize) -> io::Result<()> {
        let Some(conn) = &mut self.conns.all[id] else { return Ok(()) };
        conn.is_sending = true;
        let rest = &conn.sending[conn.sent..];
        let len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(Fd(conn.socket.as_raw_fd()), rest.as_ptr(), len).build();
        self.push(&entry.user_data(SEND << 32 | id as u64))
    }

    fn sent(&mut self, id: usize, result: i32) {
        let Some(conn) = &mut self.conns.all[id] else { return };
        conn.is_sending = false;
        match usize::try_from(result) {
            Ok(count) => conn.sent += count,
            Err(_) => return self.end(id),
        }
        if conn.is_over {
            return self.end(id);
        }
        if conn.sent < conn.sending.len() {
            // What could not be sent at once goes out before what waits.
            let mut rest = conn.sending.split_off(conn.sent);
            rest.append(&mut conn.waiting);
            conn.waiting = rest;
        }
        if !conn.waiting.is_empty() && !conn.is_marked {
            conn.is_marked = true;
            self.conns.marked.push(id);
        } else if conn.sending.capacity() > BUFFER_BYTES {
            conn.sending = Vec::new();
        }
    }

    /// Takes a connection out of its room, and closes it once the kernel uses nothing of it.
    fn end(&mut self, id: usize) {
        let Some(conn) = &mut self.conns.all[id] else { return };
        if !std::mem::replace(&mut conn.is_over, true) {
            // Ends what is under way.
            let _ = rustix::net::shutdown(&conn.socket, rustix::net::Shutdown::Both);
            if let Some(room) = conn.room {
                self.rooms.leave(id, room, &mut self.conns);
            }
        }
        if self.conns.all[id].as_ref().is_some_and(|conn| !conn.is_sending && !conn.is_receiving) {
            self.conns.all[id] = None;
            self.conns.free.push(id);
        }
    }
}

/// The buffers of receives, and the ring through which the kernel gets them back.
struct Buffers {
    ring: *mut BufRingEntry,
    bytes: *mut u8,
    tail: u16,
}

impl Buffers {
    fn new(ring: &IoUring) -> io::Result<Self> {
        #[repr(C, align(4096))]
        #[derive(Clone, Copy)]
        struct Page([u8; 4096]);
        let pages = usize::from(BUFFERS) * size_of::<BufRingEntry>() / size_of::<Page>();
        // Neither is ever freed: the kernel knows them as long as the process lives.
        let entries = vec![Page([0; 4096]); pages.max(1)].leak().as_mut_ptr().cast();
        let bytes = vec![0; usize::from(BUFFERS) * BUFFER_BYTES].leak().as_mut_ptr();
        let mut buffers = Self { ring: entries, bytes, tail: 0 };
        // SAFETY: the ring is aligned to a page, large enough, zero, and lives for ever.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(entries as u64, BUFFERS, GROUP, 0)?;
        }
        (0..BUFFERS).for_each(|buffer| buffers.give_back(buffer));
        Ok(buffers)
    }

    fn get(&mut self, buffer: u16, len: usize) -> &'static mut [u8] {
        // SAFETY: the kernel has given this buffer to us, has filled `len` bytes of it, and does not
        // touch it until it is given back, before which the caller lets go of it.
        unsafe {
            let at = self.bytes.add(usize::from(buffer) * BUFFER_BYTES);
            std::slice::from_raw_parts_mut(at, len.min(BUFFER_BYTES))
        }
    }

    fn give_back(&mut self, buffer: u16) {
        // SAFETY: the place is within the ring, and the kernel reads it only once the tail, which is
        // in the ring's first entry, says so.
        unsafe {
            let entry = &mut *self.ring.add(usize::from(self.tail & (BUFFERS - 1)));
            entry.set_addr(self.bytes.add(usize::from(buffer) * BUFFER_BYTES) as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.ring).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}
