//! Rows: a sentence, packets in, what becomes of them. Every drop reason and every answer has a packet here.

mod bed;
mod drops;
mod rows;
mod services;
mod steering;
