//! Test beds for end-to-end stories.
