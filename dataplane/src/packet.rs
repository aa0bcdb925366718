//! The interface of a packet buffer, so that the same code runs on mbufs, in tests and in replay.

/// A frame in one contiguous buffer, with free room in front of it and perhaps behind it.
///
/// Positions are bytes from the start of the Ethernet header. Dropping a packet returns its buffer.
pub trait Packet: Send + Sized + 'static {
    /// The frame.
    fn bytes(&self) -> &[u8];

    /// The frame, to be modified in place.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Adds `count` bytes of unspecified content in front, for headers. Returns false, and changes nothing, if there is
    /// not enough room.
    #[must_use]
    fn push_front(&mut self, count: usize) -> bool;

    /// Removes `count` bytes from the front. Returns false, and changes nothing, if the frame is shorter.
    #[must_use]
    fn pull_front(&mut self, count: usize) -> bool;

    /// Adds `count` bytes of unspecified content at the end, for a payload that grows when addresses in its text are
    /// rewritten, such as FTP's. Returns false, and changes nothing, if there is not enough room.
    #[must_use]
    fn extend(&mut self, count: usize) -> bool;

    /// Cuts the frame to `len` bytes. Does nothing if it is not longer.
    fn truncate(&mut self, len: usize);

    /// Allocates a packet of `len` bytes of unspecified content from the same pool, with as much room in front as a
    /// received packet. Returns `None` if the pool is empty or `len` does not fit a buffer.
    fn sibling(&self, len: usize) -> Option<Self>;
}
