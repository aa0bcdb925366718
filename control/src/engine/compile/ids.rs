//! Allocation of small integer ids for keys. A key keeps its id until it is freed.

use std::hash::Hash;

use hashbrown::HashMap;

/// Ids below a fixed capacity.
pub struct Ids<K> {
    by_key: HashMap<K, u32>,
    keys: Vec<Option<K>>,
    free: Vec<u32>,
    capacity: usize,
}

impl<K: Copy + Eq + Hash> Ids<K> {
    /// Returns an allocator of at most `capacity` ids.
    pub fn new(capacity: usize) -> Ids<K> {
        Ids { by_key: HashMap::new(), keys: Vec::new(), free: Vec::new(), capacity }
    }

    /// Returns the number of ids in use.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Returns the id of a key.
    pub fn get(&self, key: &K) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// Returns the key with this id.
    pub fn key(&self, id: u32) -> Option<&K> {
        self.keys.get(id as usize)?.as_ref()
    }

    /// Returns one more than the largest id used so far.
    pub fn end(&self) -> u32 {
        self.keys.len() as u32
    }

    /// Iterates over all ids used so far, each with its key, if it is in use.
    pub fn slots(&self) -> impl Iterator<Item = Option<&K>> {
        self.keys.iter().map(Option::as_ref)
    }

    /// Returns the id of a key, allocating one if needed, and whether it is new. `None` if no id is free.
    pub fn claim(&mut self, key: K) -> Option<(u32, bool)> {
        if let Some(id) = self.get(&key) {
            return Some((id, false));
        }
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.keys.len() < self.capacity => {
                self.keys.push(None);
                (self.keys.len() - 1) as u32
            }
            None => return None,
        };
        self.keys[id as usize] = Some(key);
        self.by_key.insert(key, id);
        Some((id, true))
    }

    /// Frees the id of a key.
    pub fn free(&mut self, key: &K) -> Option<u32> {
        let id = self.by_key.remove(key)?;
        self.keys[id as usize] = None;
        self.free.push(id);
        Some(id)
    }
}
