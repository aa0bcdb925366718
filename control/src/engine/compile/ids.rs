//! Small numbers for keys, that stay the same as long as the key does.

use std::hash::Hash;

use hashbrown::HashMap;

/// Numbers below a fixed capacity.
pub struct Ids<K> {
    by_key: HashMap<K, u32>,
    keys: Vec<Option<K>>,
    free: Vec<u32>,
    capacity: usize,
}

impl<K: Copy + Eq + Hash> Ids<K> {
    /// No numbers given yet, `capacity` at most.
    pub fn new(capacity: usize) -> Ids<K> {
        Ids { by_key: HashMap::new(), keys: Vec::new(), free: Vec::new(), capacity }
    }

    /// How many can be given at once.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many are given.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The number of a key.
    pub fn get(&self, key: &K) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// The key with this number.
    pub fn key(&self, id: u32) -> Option<&K> {
        self.keys.get(id as usize)?.as_ref()
    }

    /// One more than the largest number there ever was.
    pub fn end(&self) -> u32 {
        self.keys.len() as u32
    }

    /// Every number there ever was with its key, if it has one.
    pub fn places(&self) -> impl Iterator<Item = Option<&K>> {
        self.keys.iter().map(Option::as_ref)
    }

    /// The number of a key, a new one if it has none, and whether it is new. `None` when none is left.
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

    /// Takes a key's number back.
    pub fn free(&mut self, key: &K) -> Option<u32> {
        let id = self.by_key.remove(key)?;
        self.keys[id as usize] = None;
        self.free.push(id);
        Some(id)
    }
}
