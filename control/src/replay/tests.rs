//! The judge is tried before the judged.
