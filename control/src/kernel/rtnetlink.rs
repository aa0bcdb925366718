//! The talk with the kernel's routing netlink: ask and be answered, or subscribe and listen.
//!
//! A socket belongs to the network namespace of the thread that opens it, for good.

use std::io;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// The multicast groups of `linux/rtnetlink.h` we listen to: links, neighbours, addresses, routes and rules of both
/// families.
const GROUPS: [u32; 8] = [1, 3, 5, 7, 8, 9, 11, 19];

/// The kernel builds its answers in pieces of at most 32 KiB; twice that cannot be cut short.
const BUFFER: usize = 64 << 10;

/// How much may wait for us in the kernel. A burst of routes from a routing daemon should not overrun it at once.
const BACKLOG: i32 = 4 << 20;

/// How often a dump that the kernel calls inconsistent is begun again before that counts as a fault.
const DUMP_TRIES: usize = 8;

/// What a socket gives: a message with its flags, or one that could not be read.
pub(super) struct Message {
    pub(super) flags: u16,
    pub(super) body: RouteNetlinkMessage,
}

/// Something went wrong between the kernel and us.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A system call failed.
    #[error("netlink: cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel understood the request and refused it.
    #[error("netlink: the kernel refuses to {doing}: {source}")]
    Refused {
        /// What was asked for.
        doing: &'static str,
        /// Why it was refused.
        source: io::Error,
    },
    /// The kernel's tables kept changing while they were read.
    #[error("netlink: the tables changed during each of {DUMP_TRIES} attempts to {doing}")]
    Restless {
        /// What was asked for.
        doing: &'static str,
    },
    /// There is no interface of that name in this network namespace.
    #[error("there is no interface {link} in this network namespace: {source}")]
    NoSuchLink {
        /// The name that was looked for.
        link: String,
        /// What the system said.
        source: io::Error,
    },
}

impl NetlinkError {
    fn io(doing: &'static str) -> impl FnOnce(io::Error) -> NetlinkError {
        move |source| NetlinkError::Io { doing, source }
    }
}

/// A socket for requests; the kernel answers before the call returns.
pub(super) struct Asker {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Asker {
    pub(super) fn open() -> Result<Asker, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(NetlinkError::io("open a socket"))?;
        socket.bind_auto().map_err(NetlinkError::io("bind a socket"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(NetlinkError::io("connect to the kernel"))?;
        Ok(Asker { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    /// The index of an interface, by its name.
    pub(super) fn index_of(&self, link: &str) -> Result<u32, NetlinkError> {
        rustix::net::netdevice::name_to_index(&self.socket, link)
            .map_err(|e| NetlinkError::NoSuchLink { link: link.to_owned(), source: e.into() })
    }

    /// Asks for a change and waits for the kernel's word on it.
    pub(super) fn command(
        &mut self,
        doing: &'static str,
        body: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.send(doing, body, flags | NLM_F_ACK)?;
        self.answer(doing, &mut |_| ()).map(|_| ())
    }

    /// Reads a whole table. Messages that cannot be read are left out and counted in the result.
    pub(super) fn dump(
        &mut self,
        doing: &'static str,
        body: &RouteNetlinkMessage,
    ) -> Result<(Vec<RouteNetlinkMessage>, u64), NetlinkError> {
        for _ in 0..DUMP_TRIES {
            self.send(doing, body.clone(), NLM_F_DUMP)?;
            let mut rows = Vec::new();
            let answer = self.answer(doing, &mut |row| rows.push(row))?;
            if !answer.interrupted {
                return Ok((rows, answer.unreadable));
            }
        }
        Err(NetlinkError::Restless { doing })
    }

    fn send(
        &mut self,
        doing: &'static str,
        body: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(body));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(|_| ()).map_err(NetlinkError::io(doing))
    }

    /// Reads until the kernel says that it has said everything. What answers an earlier, broken-off request is skipped.
    fn answer(
        &mut self,
        doing: &'static str,
        row: &mut dyn FnMut(RouteNetlinkMessage),
    ) -> Result<Answer, NetlinkError> {
        let mut answer = Answer::default();
        loop {
            receive(&self.socket, &mut self.buffer).map_err(NetlinkError::io(doing))?;
            for message in messages(&self.buffer) {
                let Ok(message) = message else {
                    answer.unreadable += 1;
                    continue;
                };
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                answer.interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(body) => row(body),
                    NetlinkPayload::Done(_) => return Ok(answer),
                    NetlinkPayload::Error(e) if e.code.is_none() => return Ok(answer),
                    NetlinkPayload::Error(e) => {
                        return Err(NetlinkError::Refused { doing, source: e.to_io() });
                    }
                    _ => {}
                }
            }
        }
    }
}

#[derive(Default)]
struct Answer {
    interrupted: bool,
    unreadable: u64,
}

/// A socket that hears of every change and never waits.
pub(super) struct Listener {
    pub(super) socket: Socket,
    buffer: Vec<u8>,
}

impl Listener {
    pub(super) fn open() -> Result<Listener, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(NetlinkError::io("open a socket"))?;
        socket.bind_auto().map_err(NetlinkError::io("bind a socket"))?;
        socket.set_non_blocking(true).map_err(NetlinkError::io("make a socket non-blocking"))?;
        // A smaller backlog only means more overruns, and from those we recover.
        let _ = socket.set_rx_buf_sz(BACKLOG);
        for group in GROUPS {
            socket.add_membership(group).map_err(NetlinkError::io("subscribe to changes"))?;
        }
        Ok(Listener { socket, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Hands over one portion of what has happened. False: nothing is waiting. `None` stands for a message lost or
    /// unreadable, after which only a dump tells the truth.
    pub(super) fn receive(&mut self, mut handle: impl FnMut(Option<Message>)) -> bool {
        match receive(&self.socket, &mut self.buffer) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
            // ENOBUFS above all: the kernel dropped messages because we were slow.
            Err(_) => {
                handle(None);
                return true;
            }
        }
        for message in messages(&self.buffer) {
            match message.map(|m| (m.header.flags, m.payload)) {
                Ok((flags, NetlinkPayload::InnerMessage(body))) => handle(Some(Message { flags, body })),
                Ok((_, NetlinkPayload::Overrun(_))) | Err(_) => handle(None),
                Ok(_) => {}
            }
        }
        true
    }

    /// Forgets what is waiting: a dump that begins now says it all.
    pub(super) fn forget(&mut self) {
        while self.receive(|_| ()) {}
    }
}

fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        buffer.clear();
        match socket.recv(buffer, 0) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|_| ()),
        }
    }
}

/// The messages in one received portion; each begins on a multiple of four bytes.
fn messages(
    mut rest: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<RouteNetlinkMessage>, DecodeError>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let here = rest;
        match NetlinkBuffer::new_checked(here) {
            Ok(message) => {
                let end = (message.length() as usize).next_multiple_of(4);
                rest = here.get(end..).unwrap_or_default();
                Some(NetlinkMessage::deserialize(here))
            }
            Err(e) => {
                rest = &[];
                Some(Err(e))
            }
        }
    })
}
