//! Rows: a sentence, packets in, what becomes of them. Every drop reason and every answer has a packet here.

mod bed;
mod drops;
mod edges;
mod events;
mod express;
mod families;
mod fragments;
mod kernel;
mod originate;
mod rows;
mod services;
mod steering;
mod trains;
mod tunnels;
