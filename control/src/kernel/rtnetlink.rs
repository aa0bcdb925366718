//! rtnetlink(7) sockets: one for requests, one for notifications of changes.
//!
//! A socket belongs to the network namespace of the thread that opens it.

use std::io;

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Multicast groups of `linux/rtnetlink.h`: links, neighbours, addresses, routes and rules of both families.
const GROUPS: [u32; 8] = [1, 3, 5, 7, 8, 9, 11, 19];

/// Receive buffer in bytes; the kernel sends at most 32 KiB at once.
const BUFFER: usize = 64 << 10;

/// Receive buffer of the socket in bytes, for a burst of routes from a routing daemon.
const BACKLOG: i32 = 4 << 20;

/// Number of attempts to read a table that changes during the dump.
const DUMP_TRIES: usize = 8;

/// A message with its flags.
pub(super) struct Message {
    pub(super) flags: u16,
    pub(super) body: RouteNetlinkMessage,
}

/// An error of netlink.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A system call failed.
    #[error("netlink: cannot {doing}: {source}; polluxd needs CAP_NET_ADMIN")]
    Io {
        /// The operation.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The kernel refused the request.
    #[error("netlink: the kernel refused to {doing}: {source}")]
    Refused {
        /// The operation.
        doing: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// The tables kept changing while they were read.
    #[error(
        "netlink: the tables changed during each of {DUMP_TRIES} attempts to {doing}; try again when the routes change \
         less often"
    )]
    Inconsistent {
        /// The operation.
        doing: &'static str,
    },
    /// There is no interface of this name in this network namespace.
    #[error("there is no interface {link} in this network namespace: {source}")]
    NoSuchLink {
        /// The name.
        link: String,
        /// The system's error.
        source: io::Error,
    },
}

impl NetlinkError {
    fn io(doing: &'static str) -> impl FnOnce(io::Error) -> NetlinkError {
        move |source| NetlinkError::Io { doing, source }
    }
}

/// A socket for requests, which the kernel answers synchronously.
pub(super) struct RequestSocket {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl RequestSocket {
    pub(super) fn open() -> Result<RequestSocket, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(NetlinkError::io("open a socket"))?;
        socket.bind_auto().map_err(NetlinkError::io("bind a socket"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(NetlinkError::io("connect to the kernel"))?;
        Ok(RequestSocket { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Returns the index of an interface.
    pub(super) fn index_of(&self, link: &str) -> Result<u32, NetlinkError> {
        rustix::net::netdevice::name_to_index(&self.socket, link)
            .map_err(|e| NetlinkError::NoSuchLink { link: link.to_owned(), source: e.into() })
    }

    /// Requests a change and waits for the acknowledgement.
    pub(super) fn command(
        &mut self,
        doing: &'static str,
        body: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.send(doing, body, flags | NLM_F_ACK)?;
        self.response(doing, &mut |_| ()).map(|_| ())
    }

    /// Reads a table. Returns its rows, and the number of rows that could not be parsed.
    pub(super) fn dump(
        &mut self,
        doing: &'static str,
        body: &RouteNetlinkMessage,
    ) -> Result<(Vec<RouteNetlinkMessage>, u64), NetlinkError> {
        for _ in 0..DUMP_TRIES {
            self.send(doing, body.clone(), NLM_F_DUMP)?;
            let mut rows = Vec::new();
            let response = self.response(doing, &mut |row| rows.push(row))?;
            if !response.interrupted {
                return Ok((rows, response.unreadable));
            }
        }
        Err(NetlinkError::Inconsistent { doing })
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

    /// Reads until the end of the kernel's response. Messages that answer an earlier, aborted request are skipped.
    fn response(
        &mut self,
        doing: &'static str,
        row: &mut dyn FnMut(RouteNetlinkMessage),
    ) -> Result<Response, NetlinkError> {
        let mut response = Response::default();
        loop {
            receive(&self.socket, &mut self.buffer).map_err(NetlinkError::io(doing))?;
            for message in messages(&self.buffer) {
                let Ok(message) = message else {
                    response.unreadable += 1;
                    continue;
                };
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                response.interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(body) => row(body),
                    NetlinkPayload::Done(_) => return Ok(response),
                    NetlinkPayload::Error(e) if e.code.is_none() => return Ok(response),
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
struct Response {
    interrupted: bool,
    unreadable: u64,
}

/// A non-blocking socket that receives all changes.
pub(super) struct Monitor {
    pub(super) socket: Socket,
    buffer: Vec<u8>,
}

impl Monitor {
    pub(super) fn open() -> Result<Monitor, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(NetlinkError::io("open a socket"))?;
        socket.bind_auto().map_err(NetlinkError::io("bind a socket"))?;
        socket.set_non_blocking(true).map_err(NetlinkError::io("make a socket non-blocking"))?;
        // A smaller buffer only causes more overruns, after which the tables are read again.
        let _ = socket.set_rx_buf_sz(BACKLOG);
        for group in GROUPS {
            socket.add_membership(group).map_err(NetlinkError::io("subscribe to changes"))?;
        }
        Ok(Monitor { socket, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Receives pending messages; returns false if there are none. `handle` gets `None` for a message that was lost or
    /// cannot be parsed, after which the tables must be read again.
    pub(super) fn receive(&mut self, mut handle: impl FnMut(Option<Message>)) -> bool {
        match receive(&self.socket, &mut self.buffer) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
            // Mostly ENOBUFS: the kernel dropped messages because this socket was not read in time.
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

    /// Discards pending messages, before a dump.
    pub(super) fn discard(&mut self) {
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

/// Iterates over the messages in a buffer; each is aligned to four bytes.
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
