//! What the core asks of a packet buffer, so that the same code runs on mbufs, in tests and in replay.

/// A frame in one contiguous buffer with some free room in front of it.
///
/// Positions are bytes from the start of the Ethernet header. Dropping a packet gives its buffer back.
pub trait Packet: Send + Sized + 'static {
    /// The frame as it stands.
    fn bytes(&self) -> &[u8];

    /// The frame, to be rewritten in place.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Adds `count` bytes of unspecified content in front. Returns false, and changes nothing, without the room.
    #[must_use]
    fn push_front(&mut self, count: usize) -> bool;

    /// Takes `count` bytes off the front. Returns false, and changes nothing, when the frame is shorter.
    #[must_use]
    fn pull_front(&mut self, count: usize) -> bool;

    /// A new packet of `len` bytes of unspecified content, from where this one came from and with as much room in front
    /// as a packet that has just come in. None when there is no buffer left or `len` does not fit one.
    fn sibling(&self, len: usize) -> Option<Self>;

    /// Cuts the frame to `len` bytes; longer than it is changes nothing.
    fn truncate(&mut self, len: usize);
}
